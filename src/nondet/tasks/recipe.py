"""A recipe: how a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.io.files import read_json
from nondet.io.nearest import did_you_mean
from nondet.tasks.checks import at_least, fields_listed, is_a
from nondet.tasks.named import LOSSES, optimizer_options, scheduler_class, scheduler_names

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "float64", "float16", "bfloat16")
SHORT = ("bfloat16", "float16")
LIGHTNING = {
    "32-true": ("float32", ""),
    "64-true": ("float64", ""),
    "16-true": ("float16", ""),
    "bf16-true": ("bfloat16", ""),
    "16-mixed": ("float32", "float16"),
    "bf16-mixed": ("float32", "bfloat16"),
}
"""Lightning's names of precisions: our name, and the type of mixed precision, if any."""


@fields_listed
@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Every field is part of a run's name, and `--set field=value` changes it.

    epochs: passes over the training set.
    batch_size: examples in a mini-batch. A smaller last mini-batch is kept, unless drop_last is true.
    lr: the highest learning rate.
    optimizer: an element-wise optimizer, by its name in `torch.optim` or as a class.
    options: the optimizer's other arguments, such as `{"momentum": 0.9}`.
    schedule: "cosine", "constant", or a function (epoch, epochs) -> factor of `lr`, called at every step with
        a fractional epoch.
    warmup: epochs of linear warm-up from 0.
    bias_lr: a factor on the learning rate of biases and normalisation scales (parameters with one axis).
    precision: the type of parameters and inputs: "float32", "float64", "float16" or "bfloat16"; or one of Lightning's
        names, such as "bf16-mixed".
    bit: where the `bit` source changes a weight: in the "first" weight tensor (one with at least two axes), in a
        "random" place (any element of any parameter), or in the parameter with this name.
    cycles: the number of members of an accelerated ensemble. The schedule and its warm-up start again in each cycle of
        epochs / cycles epochs, and the answer is the mean of the logits at the ends of the cycles.
    ema, swa: besides the last weights, also evaluate their exponential moving average (the weight of the past at
        each step, such as 0.99; 0: none) and their mean over the ends of the last `swa` epochs (0: none).
    bptt: for a language model, the steps of truncated back-propagation; 0: the data are not a sequence.
    amp: "bfloat16" or "float16": automatic mixed precision as in `torch.autocast`, with products in this type, and
        sums, parameters and their updates in float32. Empty: everything in `precision`.
    loss: for kinds that allow a choice, a name ("cross_entropy", "mse", "l1", "smooth_l1", "huber", "bce"), or a
        function (outputs, labels) -> mean loss, such as `torch.nn.CrossEntropyLoss(label_smoothing=0.1)`.
    label_smoothing, class_weights: for the cross-entropy, as in torch: a share, and one number for each class.
    no_decay: parameters without weight decay: those whose name contains one of these texts, such as ("bias", "norm").
    grad_clip: the largest norm of a run's whole gradient, as in `clip_grad_norm_`; 0: no limit.
    accumulate: how many mini-batches make one step, with each gradient divided by this number; the remaining ones at
        the end of an epoch make a step too.
    schedule_options: the arguments of a `schedule` that is a torch scheduler, given by name or as its class.
    schedule_by: whether that scheduler is stepped by "step" or "epoch"; if left out, OneCycleLR and CyclicLR by step,
        and others by epoch.
    select: which weights to keep: the "last" ones, or the "best" at an epoch's end by the loss on the task's `val`.
    patience: a run stops after this many epochs without a smaller loss on `val`; 0: it never stops early.
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
    loss: str | Callable[[Any, Any], Any] = ""
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    no_decay: tuple[str, ...] = ()
    grad_clip: float = 0.0
    accumulate: int = 1
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    schedule_by: str = ""
    select: str = "last"
    patience: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("batch_size", self.batch_size, 1)
        at_least("cycles", self.cycles, 1)
        at_least("swa", self.swa, 0)
        at_least("bptt", self.bptt, 0)
        if self.epochs % self.cycles:
            raise BadInput(
                f"epochs must be a multiple of cycles (got {self.epochs} and {self.cycles}); "
                f"try <<recipe=epochs={self.epochs // self.cycles * self.cycles or self.cycles}>>"
            )
        if self.swa > self.epochs:
            raise BadInput(
                f"swa must be at most epochs (got {self.swa} with {self.epochs} epochs); try <<recipe=swa=1>>"
            )
        for name in ("lr", "warmup", "bias_lr", "ema", "label_smoothing", "grad_clip"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise BadInput(f"{name} must be a number of at least 0 (got {value!r}); try <<recipe={name}=0.1>>")
        at_least("accumulate", self.accumulate, 1)
        at_least("patience", self.patience, 0)
        if not is_a(self.drop_last, bool):
            raise BadInput(f"drop_last must be true or false (got {self.drop_last!r}); try <<recipe=drop_last=true>>")
        if self.label_smoothing > 1:
            raise BadInput(f"label_smoothing must be at most 1 (got {self.label_smoothing}); try 0.1")
        if self.select not in ("last", "best"):
            raise BadInput(f"select must be last or best (got {self.select!r}); try <<recipe=select=best>>")
        if self.schedule_by not in ("", "step", "epoch"):
            raise BadInput(f"schedule_by must be step or epoch (got {self.schedule_by!r}); leave it out")
        if isinstance(self.loss, str) and self.loss not in ("", *LOSSES.values()):
            known = ", ".join(dict.fromkeys(LOSSES.values()))
            raise BadInput(
                f"loss must be one of {known}, or a function of outputs and labels "
                f"(got {self.loss!r}{did_you_mean(self.loss, LOSSES.values(), '; {}')}); choose one"
            )
        if not isinstance(self.loss, str) and not callable(self.loss):
            raise BadInput(
                f'loss must be a name or a function of outputs and labels (got {self.loss!r}); write loss="mse", or '
                "loss=lambda outputs, labels: ..."
            )
        for name, kind, of, such in (
            ("class_weights", int | float, "numbers", [1.0, 2.0]),
            ("no_decay", str, "strings", ["bias"]),
        ):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or not all(isinstance(part, kind) for part in value):
                raise BadInput(f"{name} must be a list of {of} (got {value!r}); write {name}={such}")
            object.__setattr__(self, name, tuple(value))
        for name, of, such in (
            ("schedule_options", "", '{"step_size": 10}'),
            ("options", " of the optimizer's arguments", '{"weight_decay": 0.01}'),
        ):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise BadInput(f"{name} must be a dictionary{of} (got {type(value).__name__}); write {name}={such}")
            object.__setattr__(self, name, {key: _settled(part) for key, part in value.items()})
        if self.ema >= 1:
            raise BadInput(f"ema must be at least 0 and below 1 (got {self.ema}); try <<recipe=ema=0.99>>")
        if not is_a(self.bit, str):
            raise BadInput(
                f"bit must be first, random or the name of a parameter (got {self.bit!r}); try <<recipe=bit=random>>"
            )
        if isinstance(self.precision, str) and self.precision in LIGHTNING:  # pyright: ignore[reportUnnecessaryIsInstance]
            precision, amp = LIGHTNING[self.precision]
            object.__setattr__(self, "precision", precision)
            object.__setattr__(self, "amp", self.amp or amp)
        if self.precision not in PRECISIONS:
            raise BadInput(
                f"precision must be one of {', '.join(PRECISIONS)} "
                f"(got {self.precision!r}{did_you_mean(self.precision, PRECISIONS, '; {}')}); mixed precision is "
                "<<recipe=amp=bfloat16>>"
            )
        if self.amp not in ("", *SHORT):
            raise BadInput(f"amp must be {' or '.join(SHORT)} (got {self.amp!r}); try <<recipe=amp=bfloat16>>")
        if self.amp and self.precision != "float32":
            raise BadInput(f"amp needs precision float32 (got precision {self.precision}); leave out one of the two")
        named = isinstance(self.schedule, str) and scheduler_class(self.schedule) is not None
        if self.schedule not in ("cosine", "constant") and not callable(self.schedule) and not named:
            near = did_you_mean(self.schedule, ("cosine", "constant", *scheduler_names()), "; {}")
            raise BadInput(
                "schedule must be cosine, constant, a scheduler of torch.optim.lr_scheduler by name, or a function "
                f"of (epoch, epochs) that returns a factor (got {self.schedule!r}{near}); "
                "try <<recipe=schedule=constant>>"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as one flat JSON object, with the optimizer's options among the fields.

        An option with the same name as a field goes under "options" instead. Fields added since the first version are
        left out if they have their default values, so that older runs keep their keys.
        """
        own = [f.name for f in fields(self)]
        later = own[own.index("bit") :]
        named = {name: getattr(self, name) for name in own if name != "options"}
        named = {k: v for k, v in named.items() if k not in later or v != _DEFAULTS[k]}
        for name in ("optimizer", "schedule", "loss"):
            if name in named and not isinstance(named[name], str):
                named[name] = _called(named[name])
        if "schedule_options" in named:  # such as LambdaLR's function
            given = named["schedule_options"]
            named["schedule_options"] = {k: _called(v) if callable(v) else v for k, v in given.items()}
        apart = {name: value for name, value in sorted(self.options.items()) if name in own}
        return (
            named
            | {name: self.options[name] for name in sorted(self.options) if name not in own}
            | ({"options": apart} if apart else {})
        )

    def computed_in(self, precision: str) -> Recipe:
        """Return this recipe in another precision; mixed precision is kept only if `precision` is the recipe's own."""
        return replace(self, precision=precision, amp=self.amp if precision == self.precision else "")

    def set(self, assignments: Mapping[str, str]) -> Recipe:
        """Return this recipe with fields replaced by values in text form, as in `--set`."""
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
                    f"a recipe has no field {name!r}{did_you_mean(option, [*own, *allowed])}; "
                    f"<<recipe>> takes {', '.join(own)}, "
                    f"and the optimizer's {', '.join(allowed)}"
                )
        return replace(self, **changed, options=options)


_DEFAULTS = {f.name: f.default for f in fields(Recipe)} | {"schedule_options": {}}


def _settled(value: Any) -> Any:
    """Return a copy of an option's value that nothing changes later; lists become tuples, which have the same JSON."""
    if isinstance(value, list | tuple):
        parts: Any = value
        return tuple(_settled(part) for part in parts)
    if isinstance(value, Mapping):
        pairs: Any = value
        if not all(isinstance(name, str) for name in pairs):
            raise BadInput(f"the names in an option must be strings (got {value!r}); write them in quotes")
        return {name: _settled(part) for name, part in pairs.items()}
    return value


def _called(function: Any) -> str:
    """Return the name of a class or function, or the name of its type if it has none, as a partial or callable object.

    Other parts of a run's name tell apart what it does: the code, and the schedule's values.
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _typed(name: str, text: str) -> Any:
    kind = str(next(f.type for f in fields(Recipe) if f.name == name))
    if kind.startswith("str"):
        return text
    value = _parsed(text)
    return float(value) if kind == "float" and type(value) is int else value


def _parsed(text: str) -> Any:
    """Parse JSON (`0.9`, `true`, `[0.9, 0.99]`) or Python's True, False or None; return any other text unchanged."""
    words: dict[str, Any] = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        value = read_json(text.encode(errors="replace"))
    except ValueError:
        try:
            return float(text)  # such as .1, which is not JSON
        except ValueError:
            return text
    return tuple(value) if isinstance(value, list) else value
