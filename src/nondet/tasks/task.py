"""A task: data, a model and the recipe that trains it; and what a command can set for one besides its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.tasks.checks import at_least, fields_listed, is_a
from nondet.tasks.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nondet.kinds import Kind
    from nondet.tasks.augment import Augmentation


@fields_listed
@dataclass(frozen=True)
class Task:
    """What is trained: a model, data, and a recipe.

    model: a function without arguments that returns a new `nn.Module`. It may draw from torch's, numpy's and
        Python's global generators, which the `init` source seeds.
    train, test: (inputs, labels). Inputs (n, ...) can have any shape that the model takes in batches. They can also be
        a dictionary or tuple of tensors, passed as model(**inputs) or model(*inputs). Labels (n, ...) are as the kind
        needs them. Also accepted: one dictionary with "labels" in it, a map-style `Dataset`, a `DataLoader`, or other
        batches. For a language model (`bptt` in the recipe), both are word numbers (n,), with labels one word ahead.
        Inputs may also be read during training: see `nondet.data.streamed.Streamed`.
    recipe: how it is trained.
    name: its name in tables; the file's name if left out.
    augment: the augmentations of the training inputs, in order, such as `(nondet.Crop(4), nondet.Flip())`; also
        transforms of one example, such as those of `torchvision.transforms.v2`, and its MixUp and CutMix.
    stack: how many runs train together, unless `--stack` sets it.
    kind: what the model's outputs are: a kind, or its name. If left out, a language model with `bptt`, or else
        whatever fits the labels and outputs.
    loss: loss(model, batch) -> (mean loss, outputs), for a loss that no kind has. The batch is (inputs, labels), or, if
        `train` has no separate labels, a batch of `train` as it is.
    ignore: a label, such as 255, that is left out of the training and the measures, as -100 is.
    val: further examples in the form of `test`. They choose the epoch whose weights a run keeps: see `select` and
        `patience` in the recipe.
    collate: makes a batch from a list of a data set's examples, like a DataLoader's `collate_fn`.
    code: the SHA-256 of the file that defines the task; filled in on loading.
    """

    model: Callable[[], nn.Module]
    train: Any
    test: Any
    recipe: Recipe
    name: str = ""
    augment: tuple[Augmentation, ...] = ()
    stack: int = 20
    code: str = ""
    kind: str | Kind = ""
    loss: Callable[[Any, Any], Any] | None = None
    ignore: int | None = None
    val: Any = None
    collate: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.model) or (hasattr(self.model, "parameters") and not isinstance(self.model, type)):
            raise BadInput(
                "model must be a function without arguments that returns a new nn.Module "
                f"(got {type(self.model).__name__}); write model=lambda: ..."
            )
        if not is_a(self.recipe, Recipe):
            raise BadInput(
                f"recipe must be a nondet.Recipe (got {type(self.recipe).__name__}); write "
                "recipe=nondet.Recipe(epochs=10, batch_size=32, lr=0.1)"
            )
        if not is_a(self.augment, tuple) or not all(_changes(a) for a in self.augment):
            raise BadInput(
                f"augment must be a tuple of augmentations, such as (nondet.Crop(1),) (got {self.augment!r}); put "
                "them in parentheses, with a comma after the last"
            )
        if not all(hasattr(a, "draw") for a in self.augment):
            from nondet.tasks.transforms import adapted

            object.__setattr__(self, "augment", tuple(adapted(a) for a in self.augment))
        at_least("stack", self.stack, 1)
        if getattr(self.train, "drop_last", False) is True and not self.recipe.drop_last:  # a DataLoader's
            object.__setattr__(self, "recipe", replace(self.recipe, drop_last=True))


def _changes(augmentation: Any) -> bool:
    """Whether this is an augmentation, or a transform like those of torchvision."""
    return (hasattr(augmentation, "draw") and hasattr(augmentation, "apply")) or (
        callable(augmentation) and not isinstance(augmentation, type)
    )


@dataclass(frozen=True)
class Options:
    """data: the folder of the official files; None fetches them into a cache. model: a network by name.
    train_examples, test_examples: use only this many examples, from the start. broken: what to do with images that
    cannot be decoded, "stop" or "skip".
    """

    data: Path | None = None
    model: str | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    broken: str = "stop"

    def first(self, part: str, data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return this many examples of "train" or "test", or all of them; BadInput if there are fewer."""
        count = getattr(self, f"{part}_examples")
        if count is not None and not 1 <= count <= len(data[1]):
            raise BadInput(
                f"{part}_examples must be from 1 to {len(data[1])} (got {count}); choose fewer, or leave it out"
            )
        return data[0][:count], data[1][:count]
