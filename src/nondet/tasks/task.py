"""A task: data, a model and the recipe that trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.tasks.checks import at_least, fields_listed, is_a
from nondet.tasks.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from nondet.kinds import Kind
    from nondet.tasks.augment import Augmentation


@fields_listed
@dataclass(frozen=True)
class Task:
    """What is trained: a model, data, and a recipe.

    model: a function without arguments that returns a new `nn.Module`; it may draw from torch's, numpy's and
        Python's global generators, which are seeded for it by the `init` source.
    train, test: (inputs, labels): inputs (n, ...) of any shape the model takes in batches, or a dictionary or tuple
        of such, which the model is given as model(**inputs) or model(*inputs); labels (n, ...) as its kind has them.
        Also one dictionary with "labels" in it, a map-style `Dataset`, a `DataLoader`, or other batches. Of a language
        model (`bptt` of the recipe), both are word numbers (n,), the labels one word ahead. Inputs may also be read
        while training: see `nondet.data.streamed.Streamed`.
    recipe: how it is trained.
    name: what tables call it; the file's name if left out.
    augment: the augmentations of the training inputs, in order, such as `(nondet.Crop(4), nondet.Flip())`; also
        transforms of one example, such as those of `torchvision.transforms.v2`, and its MixUp and CutMix.
    stack: how many runs train together, if `--stack` does not say.
    kind: what the model's outputs are: a kind, or the name of one; a classifier, or a language model with `bptt`, if
        left out by what its labels and outputs are.
    loss: loss(model, batch) -> (mean loss, outputs), for what no kind trains; the batch is (inputs, labels), or what
        `train` is without labels apart.
    ignore: the label, such as 255, of what neither trains nor counts, as -100 does.
    val: further examples, as `test`, which choose the epoch a run ends with: see `select` and `patience` of the recipe.
    collate: makes a batch of a list of a data set's examples, as a DataLoader's `collate_fn` does.
    code: the SHA-256 of the file that defines the task; filled in when it is loaded.
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
    """Whether this is an augmentation, or a transform such as those of torchvision."""
    return (hasattr(augmentation, "draw") and hasattr(augmentation, "apply")) or (
        callable(augmentation) and not isinstance(augmentation, type)
    )
