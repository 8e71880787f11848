"""A task: data, a model and the recipe that trains it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.io.files import read_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nondet.data.streamed import Streamed
    from nondet.kinds import Kind
    from nondet.tasks.augment import Augmentation

PRECISIONS = ("float32", "float64", "float16", "bfloat16")
SHORT = ("bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; every field is part of a run's name, and `--set field=value` changes it.

    epochs, batch_size: passes over the training set, examples in a mini-batch (the last, smaller one is kept).
    lr: the highest learning rate.
    optimizer: an element-wise optimizer, by its name in `torch.optim` or as a class.
    options: the optimizer's other arguments, such as `{"momentum": 0.9}`.
    schedule: "cosine", "constant", or a function (epoch, epochs) -> factor of `lr`, called at every step with
        a fractional epoch.
    warmup: epochs of linear warm-up from 0.
    bias_lr: the factor on the learning rate of biases and normalisation scales (parameters of one axis).
    precision: "float32", "float64", "float16" or "bfloat16": the type of parameters and inputs.
    bit: the weight that the `bit` source changes: an element of the "first" weight tensor (of two axes or more), of a
        "random" one (any element of all parameters), or of the parameter of this name.
    cycles: an accelerated ensemble of so many members: the schedule and its warm-up start anew in each cycle of
        epochs / cycles epochs, and the answer is the mean of the members' logits at the cycles' ends.
    ema, swa: besides the last weights, also evaluate their exponential moving average (the weight of the past at
        each step, such as 0.99; 0: none) and their mean over the ends of the last `swa` epochs (0: none).
    bptt: of a language model, the steps of truncated back-propagation; 0: no sequence.
    amp: "bfloat16" or "float16": automatic mixed precision, as `torch.autocast` has it: products in this type, sums,
        parameters and their updates in float32. Empty: all in `precision`.
    """

    epochs: int
    batch_size: int
    lr: float
    optimizer: str | type[torch.optim.Optimizer] = "SGD"
    options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | Callable[[float, int], float] = "cosine"
    warmup: float = 0.0
    bias_lr: float = 1.0
    precision: str = "float32"
    bit: str = "first"
    cycles: int = 1
    ema: float = 0.0
    swa: int = 0
    bptt: int = 0
    amp: str = ""

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 1)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("cycles", self.cycles, 1)
        _at_least("swa", self.swa, 0)
        _at_least("bptt", self.bptt, 0)
        if self.epochs % self.cycles:
            raise BadInput(
                f"epochs must be a multiple of cycles (got {self.epochs} and {self.cycles}); "
                f"try <<recipe=epochs={self.epochs // self.cycles * self.cycles or self.cycles}>>"
            )
        if self.swa > self.epochs:
            raise BadInput(f"swa must be at most epochs (got {self.swa} of {self.epochs}); try <<recipe=swa=1>>")
        for name in ("lr", "warmup", "bias_lr", "ema"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise BadInput(f"{name} must be a number of at least 0 (got {value!r}); try <<recipe={name}=0.1>>")
        if self.ema >= 1:
            raise BadInput(f"ema must be at least 0 and below 1 (got {self.ema}); try <<recipe=ema=0.99>>")
        if not _is(self.bit, str):
            raise BadInput(f"bit must be first, random or the name of a parameter (got {self.bit!r})")
        if self.precision not in PRECISIONS:
            raise BadInput(f"precision must be one of {', '.join(PRECISIONS)} (got {self.precision!r})")
        if self.amp not in ("", *SHORT):
            raise BadInput(f"amp must be {' or '.join(SHORT)} (got {self.amp!r}); try <<recipe=amp=bfloat16>>")
        if self.amp and self.precision != "float32":
            raise BadInput(
                f"amp is for a recipe of precision float32 (got precision {self.precision}); leave out one of them"
            )
        if self.schedule not in ("cosine", "constant") and not callable(self.schedule):
            raise BadInput(f"schedule must be cosine, constant or a function (got {self.schedule!r})")
        if not _is(self.options, Mapping):
            raise BadInput(f"options must be a dictionary (got {type(self.options).__name__})")
        object.__setattr__(self, "options", {name: _settled(value) for name, value in self.options.items()})

    def as_dict(self) -> dict[str, Any]:
        """The recipe as one flat JSON object, the optimizer's options among the fields.

        Options that are called as a field is stand under "options", apart from it.
        What came later than the first version is left out where it changes nothing, so that older runs keep their keys.
        """
        later = ("bit", "cycles", "ema", "swa", "bptt", "amp")
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        named = {k: v for k, v in named.items() if k not in later or v != _DEFAULTS[k]}
        for name in ("optimizer", "schedule"):
            if not isinstance(named[name], str):
                named[name] = _called(named[name])
        own = {f.name for f in fields(self)}
        apart = {name: value for name, value in sorted(self.options.items()) if name in own}
        return (
            named
            | {name: self.options[name] for name in sorted(self.options) if name not in own}
            | ({"options": apart} if apart else {})
        )

    def computed_in(self, precision: str) -> Recipe:
        """This recipe in another precision; in its own with its mixed precision, in any other without."""
        return replace(self, precision=precision, amp=self.amp if precision == self.precision else "")

    def set(self, assignments: Mapping[str, str]) -> Recipe:
        """This recipe with fields replaced by values in text form, as `--set` gives them."""
        changed: dict[str, Any] = {}
        options = dict(self.options)
        own = [f.name for f in fields(self) if f.name != "options"]
        allowed = optimizer_options(assignments.get("optimizer", self.optimizer))
        if "optimizer" in assignments:
            options = {name: value for name, value in options.items() if name in allowed}
        for name, text in assignments.items():
            option = name.removeprefix("options.")
            if name in own:
                changed[name] = _typed(name, text)
            elif option in allowed:
                options[option] = _parsed(text)
            else:
                raise BadInput(
                    f"a recipe has no field {name!r}; <<recipe>> takes {', '.join(own)}, "
                    f"and the optimizer's {', '.join(allowed)}"
                )
        return replace(self, **changed, options=options)


_DEFAULTS = {f.name: f.default for f in fields(Recipe)}


def optimizer_class(optimizer: Any) -> type[torch.optim.Optimizer]:
    """The optimizer class of a name in `torch.optim`."""
    import torch

    if isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        return optimizer
    found = getattr(torch.optim, optimizer, None) if isinstance(optimizer, str) else None
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise BadInput(f"optimizer must be a class in torch.optim, such as SGD or AdamW (got {optimizer!r})")
    return found


def optimizer_options(optimizer: Any) -> list[str]:
    """The names of the arguments that an optimizer takes besides its parameters and learning rate."""
    return [name for name in inspect.signature(optimizer_class(optimizer)).parameters if name not in ("params", "lr")]


@dataclass(frozen=True)
class Task:
    """What is trained: a model, data, and a recipe.

    model: a function without arguments that returns a new `nn.Module`; it may draw from torch's, numpy's and
        Python's global generators, which are seeded for it by the `init` source.
    train, test: (inputs, labels): inputs (n, ...) of any shape the model takes in batches, labels (n,) class numbers.
        The model returns logits (batch, classes). Of a language model (`bptt` of the recipe), both are word numbers
        (n,), the labels one word ahead. Inputs may also be read while training: see `nondet.data.streamed.Streamed`.
    recipe: how it is trained.
    name: what tables call it; the file's name if left out.
    augment: the augmentations of the training inputs, in order, such as `(nondet.Crop(4), nondet.Flip())`.
    stack: how many runs train together, if `--stack` does not say.
    kind: what the model's outputs are: a kind, or the name of one; a classifier, or a language model with `bptt`, if
        left out.
    code: the SHA-256 of the file that defines the task; filled in when it is loaded.
    """

    model: Callable[[], nn.Module]
    train: tuple[torch.Tensor | Streamed, torch.Tensor]
    test: tuple[torch.Tensor | Streamed, torch.Tensor]
    recipe: Recipe
    name: str = ""
    augment: tuple[Augmentation, ...] = ()
    stack: int = 20
    code: str = ""
    kind: str | Kind = ""
    loss: Callable[[Any, Any], Any] | None = None
    ignore: int | None = None
    collate: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.model) or (hasattr(self.model, "parameters") and not isinstance(self.model, type)):
            raise BadInput(
                "model must be a function without arguments that returns a new nn.Module "
                f"(got {type(self.model).__name__}); write model=lambda: ..."
            )
        if not _is(self.recipe, Recipe):
            raise BadInput(f"recipe must be a nondet.Recipe (got {type(self.recipe).__name__})")
        if not _is(self.augment, tuple) or not all(hasattr(a, "draw") and hasattr(a, "apply") for a in self.augment):
            raise BadInput(
                f"augment must be a tuple of augmentations, such as (nondet.Crop(1),) (got {self.augment!r})"
            )
        _at_least("stack", self.stack, 1)


def _settled(value: Any) -> Any:
    """An option's value that nothing changes later; a list is the tuple of the same, as their JSON is."""
    if isinstance(value, list | tuple):
        parts: Any = value
        return tuple(_settled(part) for part in parts)
    if isinstance(value, Mapping):
        pairs: Any = value
        if not all(isinstance(name, str) for name in pairs):
            raise BadInput(f"the names in an option must be texts (got {value!r}); write them in quotes")
        return {name: _settled(part) for name, part in pairs.items()}
    return value


def _called(function: Any) -> str:
    """The name of a class or function; of what has none, such as a partial or an object that can be called, its type's.

    What it does is told apart by other members of a run's name: the code, and the schedule's values.
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)  # users' files are not type-checked


def _at_least(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise BadInput(f"{name} must be a whole number of at least {low} (got {value!r}); try <<recipe={name}={low}>>")


def _typed(name: str, text: str) -> Any:
    real = ("lr", "warmup", "bias_lr", "ema")
    if name in ("epochs", "batch_size", "cycles", "swa", "bptt", *real):
        value = _parsed(text)
        return float(value) if name in real and type(value) is int else value
    return text


def _parsed(text: str) -> Any:
    """A value as JSON has it (`0.9`, `true`, `[0.9, 0.99]`), or else the text itself; also Python's True and None."""
    words: dict[str, Any] = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        value = read_json(text.encode(errors="replace"))
    except ValueError:
        try:
            return float(text)  # such as .1, which JSON does not know
        except ValueError:
            return text
    return tuple(value) if isinstance(value, list) else value
