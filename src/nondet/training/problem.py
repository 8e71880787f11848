"""A task that is ready for training, and what a trial step shows about its model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.sources import seeded_globals, stream
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task
from nondet.training.batches import in_memory
from nondet.training.dropout import SEED, backward, recorded_dropout
from nondet.training.objective import Objective, with_state
from nondet.training.settings import set_compiler

if TYPE_CHECKING:
    from nondet.data.streamed import Streamed
    from nondet.tasks.augment import Augmentation
    from nondet.training.kernels.mode import Door


@dataclass(frozen=True)
class Track:
    """epochs: the epochs after which to record (0: at the start). layers: names of the model's modules."""

    epochs: tuple[int, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """Everything that a stack needs besides its runs' seeds.

    train, test: (inputs (n, ...), labels (n,)) on the device, in the recipe's precision; streamed inputs stay where
        they are.
    dropout: for each mini-batch size that occurs, or each window length of a sequence, the shapes of the uniform
        numbers that one forward pass uses.
    sources: the sources of nondeterminism that this task has.
    identity: what identifies the task in a run's key. objective: its loss and answers.
    track: what is recorded during training. tf32: whether CUDA may round factors to TF32.
    alone: why its models can only be trained one at a time; empty if no reason is known.
    again: whether the backward pass runs parts of the forward pass again, including dropout.
    seeded: whether the model draws from the global generators in its forward pass. A number from the dropout source
        then seeds them at each step. random_answers: whether it also does so in evaluation, then from a fixed seed.
    compiled: whether torch compiles the model. state: the attribute in which the model keeps a count itself, if any.
    closure: whether the optimizer's step evaluates the loss again, as in LBFGS.
    repeats: whether one model trained twice takes the same steps; if not, it cannot be compared with a stack.
    reached: for each parameter, the elements that had a gradient in the trial steps.
    door: which operations use stacked kernels; None if all use torch's own.
    val: the examples that choose a run's epoch, in the form of `test`; None if there are none.
    settings: what a torch scheduler sets at each step of the training; empty without one.
    lists: recorded steps, by the shapes of their inputs (see `nondet.training.recorded`).
    """

    task: Task
    recipe: Recipe
    device: torch.device
    train: tuple[Tensor | Streamed, Tensor]
    test: tuple[Tensor | Streamed, Tensor]
    dropout: Mapping[int, list[tuple[int, ...]]]
    sources: tuple[str, ...]
    identity: Mapping[str, Any]
    objective: Objective
    track: Track | None = None
    tf32: bool = False
    alone: str = ""
    again: bool = False
    compiled: bool = False
    state: str = ""
    seeded: bool = False
    random_answers: bool = False
    closure: bool = False
    repeats: bool = True
    reached: Mapping[str, Tensor] | None = None
    door: Door | None = None
    settings: Sequence[Mapping[str, Any]] = ()
    val: tuple[Any, Tensor] | None = None
    lists: dict[Any, Any] = field(default_factory=dict[Any, Any], compare=False, repr=False)

    @property
    def kind(self) -> Kind:
        """What the task's outputs are."""
        return self.objective.kind

    @property
    def mixes(self) -> bool:
        """Whether an augmentation mixes the examples of a mini-batch."""
        return any(hasattr(augmentation, "mix") for augmentation in self.task.augment)

    @property
    def curves(self) -> list[str]:
        """The names of the training curves."""
        return [*filter(None, ("loss", self.kind.curve)), *(["val_loss"] if self.val is not None else [])]

    @property
    def width_free(self) -> bool:
        """Whether a run's bits are the same in a stack of any width."""
        return self.door is not None and self.door.width_free

    @property
    def an_epoch(self) -> int:
        """The number of examples in an epoch: all, or those that fill mini-batches."""
        n = len(self.train[1])
        return n // self.recipe.batch_size * self.recipe.batch_size if self.recipe.drop_last else n

    @property
    def steps(self) -> int:
        """The number of mini-batches in an epoch."""
        batch, n = self.recipe.batch_size, self.an_epoch
        return -(-(n // batch) // self.recipe.bptt) if self.recipe.bptt else -(-n // batch)

    @property
    def plain(self) -> bool:
        """Whether an epoch's steps can be prepared on the device, with the examples as one tensor there."""
        turns = self.recipe.bptt or self.recipe.accumulate > 1
        special = self.mixes or self.closure or self.settings or self.seeded or turns
        return isinstance(self.train[0], Tensor) and self.val is None and not special

    @property
    def augment(self) -> tuple[Augmentation | Streamed, ...]:
        """What draws the random changes of the training inputs; streamed inputs draw their own."""
        inputs: Any = self.train[0]
        return self.task.augment if in_memory(inputs) else (inputs,)


def choose_device(name: str) -> torch.device:
    """Return the device with this name; `auto` is a CUDA device if there is one, and otherwise the CPU."""
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]
    if name not in here:
        raise BadInput(
            f"device must be auto or one that this machine has: {', '.join(here)} (got {name!r}); try <<device=cpu>>"
        )
    return torch.device(torch.device(name).type if name == "cuda:0" else name)


def build_model(task: Task, recipe: Recipe, init_seed: int) -> nn.Module:
    """Make the task's model on the CPU, with the init source seeding its constructor."""
    try:
        with seeded_globals(stream("init", init_seed)):
            model = task.model()
        set_compiler()
    except BadInput:  # a built-in network reports its own errors
        raise
    except Exception as error:
        raise BadInput(f"the model's constructor fails: {first_line(error)}; fix it and try again") from error
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's function
        raise BadInput(
            f"model must return an nn.Module (got {type(model).__name__}); write model=lambda: nn.Sequential(...)"
        )
    if any(is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
        raise Lazy("model must know its shapes from the start (it has lazy layers); give their sizes")
    if not any(p.requires_grad for p in model.parameters()):
        raise BadInput(
            "model must have parameters to train (it has none that require a gradient); leave requires_grad on for "
            "those to be trained"
        )
    model = _in_precision(model, getattr(torch, recipe.precision))
    return with_state(model) if recipe.bptt else model


class Lazy(BadInput):
    """A model has lazy layers, which take their shapes from their first inputs."""


def _in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert a model's real numbers to this type, and its complex numbers to the matching complex type.

    `model.to(dtype)` would keep only the real part of a complex weight.
    """
    with_it = torch.complex128 if dtype == torch.float64 else torch.complex64

    def converted(t: Tensor) -> Tensor:
        return t.to(with_it) if t.is_complex() else t.to(dtype) if t.is_floating_point() else t

    return model._apply(converted)  # pyright: ignore[reportPrivateUsage] -- what `to` itself calls


def drawn_outside(generators: Sequence[str]) -> str:
    """Say why a model that draws from these global generators trains alone: a stack shares all but torch's."""
    others = [name for name in generators if name != "torch"]
    return f"its forward pass draws random numbers from {' and '.join(others)}" if others else ""


@dataclass
class Seen:
    """What trial steps of a model showed about it; the fields are those of `Problem`."""

    alone: str = ""
    again: bool = False
    compiled: bool = False
    state: str = ""
    seeded: bool = False
    random_answers: bool = False


def tried(model: nn.Module, forward: Callable[[], Tensor], seen: Seen) -> list[tuple[int, ...]]:
    """Try a training step of a model, with `forward` returning its loss, and then restore its gradients and buffers.

    Returns the shapes of dropout's numbers. BadInput if the step fails.
    """
    graphs, counts = _graphs(), _counts(model)
    objects = dict(model.named_buffers())
    buffers = {name: b.clone() for name, b in objects.items()}
    learns = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        with recorded_dropout() as recorded:
            loss = forward()
            shapes = list(recorded)
            backward(loss, again=True)
            again = len(recorded) > len(shapes)
    except RuntimeError as error:
        raise BadInput(f"the model cannot be trained on its outputs: {first_line(error)}; fix the model") from error
    if recorded == [SEED]:
        shapes, seen.seeded = [SEED], True
        seen.alone = seen.alone or drawn_outside(recorded.generators)
    seen.again |= again and not seen.seeded
    seen.compiled |= _graphs() > graphs or any(m._compiled_call_impl is not None for m in model.modules())  # pyright: ignore[reportPrivateUsage]
    seen.state = seen.state or next((name for name, count in _counts(model).items() if counts.get(name) != count), "")
    replaced = [name for name, b in model.named_buffers() if b is not objects.get(name)]
    switched = [name for name, p in model.named_parameters() if p.requires_grad != learns.get(name)]
    reasons = [
        "it is compiled by torch.compile, which a stack would skip" if seen.compiled else "",
        f"it replaces its buffer {replaced[0]} in the forward pass" if replaced else "",
        f"its forward pass changes whether {switched[0]} is trained" if switched else "",
        "its backward pass runs parts of it again, including dropout" if seen.again else "",
    ]
    seen.alone = seen.alone or next(filter(None, reasons), "")
    with torch.no_grad():
        model.zero_grad()
        for name, b in model.named_buffers():
            b.copy_(buffers[name])
    return shapes


def _graphs() -> int:
    """Return how many graphs torch has compiled in this process."""
    if "torch._dynamo.utils" not in sys.modules:
        return 0
    return int(sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])


def _counts(model: nn.Module) -> dict[str, Any]:
    """Return the attributes in which a model may keep a count, such as `self.step`, which a snapshot does not contain.

    These are plain numbers, and, for each tensor that is not a buffer, how often it was changed in place.
    """
    return {
        f"{name}.{attribute}".lstrip("."): value._version if isinstance(value, Tensor) else value
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if isinstance(value, Tensor) or (type(value) in (int, float, bool) and attribute != "training")
    }


def first_line(error: BaseException) -> str:
    """Return an error in one line, for use inside a sentence."""
    return f"{type(error).__name__}: " + next(iter(str(error).strip().splitlines()), "no message").rstrip(".")
