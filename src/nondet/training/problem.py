"""A task made ready for training, and what a trial step shows of its model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.sources import seeded_globals, stream
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task
from nondet.training.batches import called, copied, in_memory, typed
from nondet.training.dropout import SEED, backward, recorded_dropout
from nondet.training.objective import Objective
from nondet.training.settings import set_compiler
from nondet.training.stateless import with_state

if TYPE_CHECKING:
    from nondet.data.streamed import Streamed
    from nondet.tasks.augment import Augmentation
    from nondet.training.kernels.mode import Door


@dataclass(frozen=True)
class Track:
    """epochs: after how many epochs to look (0: at the start). layers: names of the model's modules."""

    epochs: tuple[int, ...]
    layers: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {k: list(v) for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Problem:
    """What a stack needs besides its runs' seeds.

    train, test: (inputs (n, ...), labels (n,)) on the device, in the recipe's precision; streamed inputs stay where
        they are.
    dropout: for each mini-batch size that occurs, the shapes of the uniform numbers that one forward pass takes.
        Of a sequence, for each window's length.
    sources: the sources of nondeterminism that this task has.
    identity: what names the task in a run's key. kind: what its outputs are. objective: its loss and answers.
    track: what is looked at on the way. tf32: whether CUDA may round factors to TF32.
    alone: why its models can only be trained one at a time; empty if nothing is known against a stack.
    again: whether the backward pass runs parts of the forward pass again, with dropout in them.
    seeded: whether the model draws from the global generators in its forward pass, which a number of the dropout source
        then seeds for each step. random_answers: whether it also does so in evaluation: then from a fixed seed.
    compiled: whether the model is compiled by torch. state: the attribute in which it keeps count by itself, if any.
    closure: whether the optimizer's step evaluates the loss again, as that of LBFGS.
    repeats: whether one model trained twice takes the same steps; else nothing can be held against it.
    reached: of each parameter the elements that had a gradient in the trial steps.
    door: which operations take stacked kernels; None where all take torch's own.
    val: the examples that choose a run's epoch, as `test`; None where none does.
    settings: what a scheduler of torch sets at each step of the training; empty without one.
    """

    task: Task
    recipe: Recipe
    device: torch.device
    train: tuple[Tensor | Streamed, Tensor]
    test: tuple[Tensor | Streamed, Tensor]
    dropout: Mapping[int, list[tuple[int, ...]]]
    sources: tuple[str, ...]
    identity: Mapping[str, Any]
    kind: Kind
    objective: Objective = None  # type: ignore[assignment] -- the kind's own, once it is made
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

    def __post_init__(self) -> None:
        if self.objective is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "objective", Objective(self.kind))

    @property
    def mixes(self) -> bool:
        """Whether an augmentation mixes the examples of a mini-batch."""
        return any(hasattr(augmentation, "mix") for augmentation in self.task.augment)

    @property
    def curves(self) -> list[str]:
        """The names of the curves of training."""
        return [*filter(None, ("loss", self.kind.curve)), *(["val_loss"] if self.val is not None else [])]

    @property
    def width_free(self) -> bool:
        """Whether a run has the same bits in a stack of any width."""
        return self.door is not None and self.door.width_free

    @property
    def an_epoch(self) -> int:
        """The examples that an epoch trains on: all, or those that fill mini-batches."""
        n = len(self.train[1])
        return n // self.recipe.batch_size * self.recipe.batch_size if self.recipe.drop_last else n

    @property
    def steps(self) -> int:
        """The mini-batches of an epoch."""
        batch, n = self.recipe.batch_size, self.an_epoch
        return -(-(n // batch) // self.recipe.bptt) if self.recipe.bptt else -(-n // batch)

    @property
    def plain(self) -> bool:
        """Whether an epoch's steps can be prepared on the device: examples that are one tensor there."""
        simple = (
            not (self.mixes or self.closure or self.settings)
            and self.val is None
            and not self.recipe.bptt
            and not self.seeded
            and self.recipe.accumulate == 1
        )
        return isinstance(self.train[0], Tensor) and simple

    @property
    def augment(self) -> tuple[Augmentation | Streamed, ...]:
        """What draws the random changes of the training inputs: streamed inputs draw their own."""
        inputs: Any = self.train[0]
        return self.task.augment if in_memory(inputs) else (inputs,)


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is a CUDA device where there is one, and else the CPU."""
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]
    if name not in here:
        raise BadInput(
            f"device must be auto, or one of those that are here: {', '.join(here)} (got {name!r}); try <<device=cpu>>"
        )
    return torch.device(torch.device(name).type if name == "cuda:0" else name)


def build_model(task: Task, recipe: Recipe, init_seed: int) -> nn.Module:
    """The task's model as its constructor makes it from the init source's numbers, on the CPU."""
    try:
        with seeded_globals(stream("init", init_seed)):
            model = task.model()
        set_compiler()
    except BadInput:  # a network by name says itself what is wrong
        raise
    except Exception as error:
        raise BadInput(f"the model's constructor fails: {first_line(error)}; mend it and try again") from error
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's function
        raise BadInput(
            f"model must return an nn.Module (got {type(model).__name__}); write model=lambda: nn.Sequential(...)"
        )
    if any(is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
        raise Lazy("model must know its shapes from the start (it has lazy layers); give their sizes")
    if not any(p.requires_grad for p in model.parameters()):
        raise BadInput(
            "model must have parameters to train (it has none that require a gradient); leave requires_grad on for "
            "those that are to be trained"
        )
    model = _in_precision(model, getattr(torch, recipe.precision))
    return with_state(model) if recipe.bptt else model


class Lazy(BadInput):
    """A model whose layers take their shapes from the first inputs that they see."""


@dataclass(frozen=True)
class Shaped:
    """A task's `model`, whose lazy layers see these inputs, and draw their weights, when it is made."""

    model: Callable[[], nn.Module]
    inputs: Any
    by_name: bool

    def __call__(self) -> nn.Module:
        model = self.model().eval()
        with torch.no_grad():
            called(model, typed(copied(self.inputs), torch.get_default_dtype()), self.by_name)
        return model


def _in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with real numbers of this type, and complex ones of the type that goes with it.

    `model.to(dtype)` would keep the real part of a complex weight alone.
    """
    with_it = torch.complex128 if dtype == torch.float64 else torch.complex64

    def converted(t: Tensor) -> Tensor:
        return t.to(with_it) if t.is_complex() else t.to(dtype) if t.is_floating_point() else t

    return model._apply(converted)  # pyright: ignore[reportPrivateUsage] -- what `to` itself calls


def drawn_outside(generators: Sequence[str]) -> str:
    """Why a model that draws from these global generators trains alone: a stack would share what is not torch's."""
    others = [name for name in generators if name != "torch"]
    return f"its forward pass draws random numbers of {' and '.join(others)}" if others else ""


@dataclass
class Seen:
    """What trial steps of a model showed of it; the fields are those of `Problem`."""

    alone: str = ""
    again: bool = False
    compiled: bool = False
    state: str = ""
    seeded: bool = False
    random_answers: bool = False


def tried(model: nn.Module, forward: Callable[[], Tensor], seen: Seen) -> list[tuple[int, ...]]:
    """Try a training step of a model, whose loss `forward` gives; its gradients and buffers are put back after it.

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
        raise BadInput(f"the model cannot be trained on its outputs: {first_line(error)}; mend the model") from error
    if recorded == [SEED]:
        shapes, seen.seeded = [SEED], True
        seen.alone = seen.alone or drawn_outside(recorded.generators)
    seen.again |= again and not seen.seeded
    seen.compiled |= _graphs() > graphs or any(m._compiled_call_impl is not None for m in model.modules())  # pyright: ignore[reportPrivateUsage]
    seen.state = seen.state or next((name for name, count in _counts(model).items() if counts.get(name) != count), "")
    replaced = [name for name, b in model.named_buffers() if b is not objects.get(name)]
    switched = [name for name, p in model.named_parameters() if p.requires_grad != learns.get(name)]
    reasons = [
        "it is compiled by torch.compile, which a stack would leave out" if seen.compiled else "",
        f"it replaces its buffer {replaced[0]} in the forward pass" if replaced else "",
        f"its forward pass changes whether {switched[0]} is trained" if switched else "",
        "its backward pass runs parts of it again, with dropout in them" if seen.again else "",
    ]
    seen.alone = seen.alone or next(filter(None, reasons), "")
    with torch.no_grad():
        model.zero_grad()
        for name, b in model.named_buffers():
            b.copy_(buffers[name])
    return shapes


def _graphs() -> int:
    """How many graphs torch has compiled in this process."""
    if "torch._dynamo.utils" not in sys.modules:
        return 0
    return int(sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])


def _counts(model: nn.Module) -> dict[str, Any]:
    """A model's attributes in which it may keep count, such as `self.step`: a snapshot does not hold them.

    Plain numbers, and how often a tensor that is no buffer was changed in place.
    """
    return {
        f"{name}.{attribute}".lstrip("."): value._version if isinstance(value, Tensor) else value
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if isinstance(value, Tensor) or (type(value) in (int, float, bool) and attribute != "training")
    }


def first_line(error: BaseException) -> str:
    """An error in one line, for a sentence that goes on after it."""
    return f"{type(error).__name__}: " + next(iter(str(error).strip().splitlines()), "no message").rstrip(".")
