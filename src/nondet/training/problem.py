"""A task made ready for training: its data on the device, and its model tried out before hours are spent on it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, SOURCES, seeded_globals, stream
from nondet.tasks.task import Recipe, Task, sha256_of_json
from nondet.training.described import described, without_addresses
from nondet.training.dropout import backward, recorded_dropout
from nondet.training.perturb import has_bit
from nondet.training.schedule import lr_factor, schedule_hash

if TYPE_CHECKING:
    from nondet.data.streamed import Streamed
    from nondet.tasks.augment import Augmentation
    from nondet.training.loop import Batch, Trace
    from nondet.training.track import Track


@dataclass(frozen=True)
class Problem:
    """What a stack needs besides its runs' seeds.

    train, test: (inputs (n, ...), labels (n,)) on the device, in the recipe's precision; streamed inputs stay where
        they are.
    dropout: for each mini-batch size that occurs, the shapes of the uniform numbers that one forward pass takes.
        Of a sequence, for each window's length.
    sources: the sources of nondeterminism that this task has.
    identity: what names the task in a run's key.
    track: what is looked at on the way. tf32: whether CUDA may round factors to TF32.
    alone: why its models can only be trained one at a time; empty if nothing is known against a stack.
    again: whether the backward pass runs parts of the forward pass again, with dropout in them.
    compiled: whether the model is compiled by torch. state: the attribute in which it keeps count by itself, if any.
    repeats: whether one model trained twice takes the same steps; else nothing can be held against it.
    reached: of each parameter the elements that had a gradient in the trial steps.
    """

    task: Task
    recipe: Recipe
    device: torch.device
    train: tuple[Tensor | Streamed, Tensor]
    test: tuple[Tensor | Streamed, Tensor]
    dropout: Mapping[int, list[tuple[int, ...]]]
    sources: tuple[str, ...]
    identity: Mapping[str, Any]
    track: Track | None = None
    tf32: bool = False
    alone: str = ""
    again: bool = False
    compiled: bool = False
    state: str = ""
    repeats: bool = True
    reached: Mapping[str, Tensor] | None = None

    @property
    def augment(self) -> tuple[Augmentation | Streamed, ...]:
        """What draws the random changes of the training inputs: streamed inputs draw their own."""
        inputs = self.train[0]
        return self.task.augment if isinstance(inputs, Tensor) else (inputs,)


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is a CUDA device where there is one, and else the CPU."""
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]
    if name not in here:
        raise BadInput(f"device must be auto, or one of those that are here: {', '.join(here)} (got {name!r})")
    return torch.device(torch.device(name).type if name == "cuda:0" else name)


def build_model(task: Task, recipe: Recipe, init_seed: int) -> nn.Module:
    """The task's model as its constructor makes it from the init source's numbers, on the CPU."""
    try:
        with seeded_globals(stream("init", init_seed)):
            model = task.model()
    except BadInput:  # a network by name says itself what is wrong
        raise
    except Exception as error:
        raise BadInput(f"the model's constructor fails: {first_line(error)}; mend it and try again") from error
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's function
        raise BadInput(f"model must return an nn.Module (got {type(model).__name__}); see examples/my_task.py")
    if any(is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
        raise BadInput("model must know its shapes from the start (it has lazy layers); give their sizes")
    if not any(p.requires_grad for p in model.parameters()):
        raise BadInput("model must have parameters to train (it has none that require a gradient)")
    return _in_precision(model, getattr(torch, recipe.precision))


def _in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with real numbers of this type, and complex ones of the type that goes with it.

    `model.to(dtype)` would keep the real part of a complex weight alone.
    """
    with_it = torch.complex128 if dtype == torch.float64 else torch.complex64

    def converted(t: Tensor) -> Tensor:
        return t.to(with_it) if t.is_complex() else t.to(dtype) if t.is_floating_point() else t

    return model._apply(converted)  # pyright: ignore[reportPrivateUsage] -- what `to` itself calls


def prepare(
    task: Task,
    recipe: Recipe,
    device: torch.device,
    *,
    track: Sequence[int] = (),
    layers: Sequence[str] = (),
    tf32: bool = False,
) -> Problem:
    """Check a task and try its model on two mini-batches; BadInput says what is wrong with it.

    track: the epochs after which to look at the modules named `layers`, or at the usual ones.
    """
    from nondet.training import track as tracking

    if layers and not track:
        raise BadInput(f"--layers says what to look at with --track (got --layers {layers[0]} alone); add --track 0,1")
    if (track or recipe.cycles > 1) and recipe.bptt:
        raise BadInput("--track and cycles are for classifiers, and this task is a language model; leave them out")
    _try_schedule(recipe)
    train, test = (_checked(name, data, recipe) for name, data in (("train", task.train), ("test", task.test)))
    if not isinstance(train[0], Tensor) and task.augment:
        raise BadInput("streamed inputs draw their own augmentations; leave the task's augment empty")
    model, seen = build_model(task, recipe, FIXED_SEED), Seen()
    trial = _try_text if recipe.bptt else _try_batches
    dropout = trial(model, train, test, recipe, seen)
    has = {
        "shuffle": not recipe.bptt,
        "augment": bool(task.augment) or not isinstance(train[0], Tensor),
        "dropout": any(dropout.values()),
        "bit": has_bit(dict(model.named_parameters()), recipe.bit),
        "kernels": device.type == "cuda",
    }
    looked = tracking.choose(model, track, layers, recipe.epochs) if track else None
    problem = Problem(
        task=task,
        recipe=recipe,
        device=device,
        train=_on(device, train),
        test=_on(device, test),
        dropout=dropout,
        sources=tuple(source for source in SOURCES if has.get(source, True)),
        identity=_identity(task, recipe, model, _data_hash(train, test), looked),
        track=looked,
        tf32=tf32,
        **asdict(seen),
    )
    return _with_trial(problem)


def _with_trial(problem: Problem) -> Problem:
    """The problem with what a few steps of one model came to, on the CPU: what its runs compute is in their names.

    In float64 if the model can be trained in it, so that another processor gives the same numbers but for the last
    digits. A model that does not repeat its own steps has no such numbers: its control will tell.
    """
    from nondet.training import loop

    here = replace(problem, device=torch.device("cpu"), train=_on_cpu(problem.train), test=_on_cpu(problem.test))
    run = dict.fromkeys(problem.sources, FIXED_SEED)
    taken = loop.batches(here, run, small=True)
    first = _traced(here, run, taken)
    repeats = loop.trace(here, run, loop.batches(here, run, small=True), first[1], answers=False).same(first[0])
    reached = loop.all_reached(here, run, taken, first[0].reached)
    trial = {"precision": first[1], **first[0].numbers()} if repeats else None
    return replace(problem, identity={**problem.identity, "trial": trial}, repeats=repeats, reached=reached)


def _traced(problem: Problem, run: Mapping[str, int], taken: Sequence[Batch]) -> tuple[Trace, str]:
    """The steps, and the precision they were taken in: float64, or else the recipe's."""
    from nondet.training import loop

    for precision in ("float64", problem.recipe.precision):
        try:
            return loop.trace(problem, run, taken, precision, answers=False), precision
        except OSError:
            raise
        except Exception as error:
            if precision == problem.recipe.precision and isinstance(error, BadInput):
                raise
            if precision == problem.recipe.precision:
                raise BadInput(f"the model cannot be trained: {first_line(error)}; mend it and try again") from error
    raise AssertionError("the last precision returned or raised")


def _on_cpu(data: tuple[Tensor | Streamed, Tensor]) -> tuple[Tensor | Streamed, Tensor]:
    return _on(torch.device("cpu"), data)


def _on(device: torch.device, data: tuple[Tensor | Streamed, Tensor]) -> tuple[Tensor | Streamed, Tensor]:
    inputs, labels = data
    return inputs.to(device) if isinstance(inputs, Tensor) else inputs, labels.to(device)


def _first(inputs: Tensor | Streamed, count: int) -> Tensor:
    """The first inputs, as they are evaluated."""
    return inputs[:count] if isinstance(inputs, Tensor) else inputs.batch(np.arange(min(count, len(inputs))), None)


def _try_text(
    model: nn.Module, train: tuple[Any, Tensor], test: tuple[Any, Tensor], recipe: Recipe, seen: Seen
) -> dict[int, list[tuple[int, ...]]]:
    from nondet.training import sequences as text

    text.try_out(model, *test, recipe, seen)
    return text.try_out(model, *train, recipe, seen)


def _try_batches(
    model: nn.Module,
    train: tuple[Tensor | Streamed, Tensor],
    test: tuple[Tensor | Streamed, Tensor],
    recipe: Recipe,
    seen: Seen,
) -> dict[int, list[tuple[int, ...]]]:
    """The shapes of dropout's numbers by mini-batch size, once the model has shown what it returns."""
    n, batch = len(train[1]), min(recipe.batch_size, len(train[1]))
    precision = getattr(torch, recipe.precision)
    inputs = _first(train[0], batch)
    inputs = inputs.to(precision) if inputs.is_floating_point() else inputs
    dropout = {size: _try_out(model, inputs[:size], train[1][:size], seen) for size in {batch, n % batch or batch}}
    before = torch.get_rng_state()
    with torch.no_grad():
        outputs = _outputs(model.eval(), inputs[:2])
    if not torch.equal(torch.get_rng_state(), before):
        raise BadInput("the model draws random numbers in evaluation too; write F.dropout(x, p, self.training)")
    classes = outputs.shape[1]
    for name, (_, labels) in (("train", train), ("test", test)):
        if int(labels.max()) >= classes:
            raise BadInput(
                f"{name} labels must be smaller than the model's {classes} outputs (got {int(labels.max())}); "
                "give the model one output for each class"
            )
    return dropout


def _try_schedule(recipe: Recipe) -> None:
    for epoch in (0.0, recipe.epochs / 2, recipe.epochs - 0.5):
        try:
            factor = lr_factor(recipe, epoch)
        except Exception as error:
            raise BadInput(f"the schedule fails at epoch {epoch}: {first_line(error)}; mend it") from error
        if not 0 <= factor < float("inf"):
            raise BadInput(f"schedule must return a factor of at least 0 (got {factor} at epoch {epoch}); mend it")


def _identity(task: Task, recipe: Recipe, model: nn.Module, data: str, track: Track | None) -> dict[str, Any]:
    """What names the task in a run's key, as JSON gives it back."""
    shapes = [[name, list(value.shape)] for name, value in model.state_dict().items()]
    identity = {
        "name": task.name,
        "code": task.code,
        "data": data,
        "model": sha256_of_json([without_addresses(model), shapes]),
        "augment": [described(a) for a in task.augment],
        "recipe": recipe.as_dict(),
        **({"track": track.as_dict()} if track else {}),
        **({"schedule": schedule_hash(recipe)} if callable(recipe.schedule) else {}),
    }
    try:
        return json.loads(json.dumps(identity, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(f"a recipe's options must be numbers, texts, booleans or lists of them ({error})") from error


def _checked(name: str, data: tuple[Any, Tensor], recipe: Recipe) -> tuple[Tensor | Streamed, Tensor]:
    """Inputs in the recipe's precision and labels as int64; streamed inputs come back as they are."""
    if hasattr(data[0], "prefetch"):
        return data[0], _checked(name, (torch.zeros(len(data[0])), data[1]), recipe)[1]
    try:
        inputs, labels = (torch.as_tensor(part).detach().cpu() for part in data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{name} must be a pair of tensors (inputs, labels): {error}") from error
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        raise BadInput(
            f"{name} labels must be whole class numbers of shape (n,) "
            f"(got {labels.dtype} of shape {tuple(labels.shape)}); convert them with .long()"
        )
    if inputs.is_sparse or inputs.is_complex():
        raise BadInput(f"{name} inputs must be dense real numbers (got {inputs.layout}, {inputs.dtype}); convert them")
    if inputs.dim() < 1 or len(inputs) != len(labels) or len(labels) == 0:
        raise BadInput(
            f"{name} inputs and labels must have the same length, at least 1 "
            f"(got {len(inputs) if inputs.dim() else 0} and {len(labels)}); give one label for each input"
        )
    if int(labels.min()) < 0:
        raise BadInput(f"{name} labels must be at least 0 (got {int(labels.min())}); number the classes from 0")
    if inputs.is_floating_point():
        inputs = inputs.to(getattr(torch, recipe.precision))
        if not bool(inputs.isfinite().all()):
            raise BadInput(f"{name} inputs must be finite numbers (got NaN or infinity); clean the data first")
    return inputs.contiguous(), labels.to(torch.int64)


@dataclass
class Seen:
    """What trial steps of a model showed of it; the fields are those of `Problem`."""

    alone: str = ""
    again: bool = False
    compiled: bool = False
    state: str = ""


def _try_out(model: nn.Module, inputs: Tensor, labels: Tensor, seen: Seen) -> list[tuple[int, ...]]:
    """The shapes of dropout's numbers in one training step of one model, tried on the CPU."""

    def forward() -> Tensor:
        outputs = _outputs(model.train(), inputs)
        return F.cross_entropy(outputs.to(torch.float64), labels % outputs.shape[1])

    return tried(model, forward, seen)


def tried(model: nn.Module, forward: Callable[[], Tensor], seen: Seen) -> list[tuple[int, ...]]:
    """Try a training step of a model, whose loss `forward` gives; its gradients and buffers are put back after it.

    Returns the shapes of dropout's numbers. BadInput if the step fails, or draws from torch's global generator.
    """
    before, graphs, counts = torch.get_rng_state(), _graphs(), _counts(model)
    objects = dict(model.named_buffers())
    buffers = {name: b.clone() for name, b in objects.items()}
    learns = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        with recorded_dropout() as recorded:
            loss = forward()
            shapes = list(recorded)
            backward(loss, again=True)
            seen.again |= len(recorded) > len(shapes)
    except RuntimeError as error:
        raise BadInput(f"the model cannot be trained on its outputs: {first_line(error)}; mend the model") from error
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
    if not torch.equal(torch.get_rng_state(), before):
        raise BadInput(
            "the model's forward pass draws from torch's global generator, which no source seeds; "
            "use nn.Dropout or F.dropout, which nondet seeds for each run, and take other random operations out "
            "(attention layers: dropout=0)"
        )
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


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """The model's logits for one mini-batch; BadInput unless they are (batch, classes)."""
    try:
        outputs = model(inputs.clone())  # a model may change its input in place
    except Exception as error:
        raise BadInput(
            f"the model fails on inputs of shape {tuple(inputs.shape)}: {first_line(error)}; mend the model or the data"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(inputs) or outputs.shape[1] < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise BadInput(
            f"the model must return logits of shape (batch, classes), at least 2 classes "
            f"(got {shape} for a batch of {len(inputs)}); mend its last layer"
        )
    return outputs


def first_line(error: BaseException) -> str:
    """An error in one line, for a sentence that goes on after it."""
    return f"{type(error).__name__}: " + next(iter(str(error).strip().splitlines()), "no message").rstrip(".")


def _data_hash(*parts: tuple[Tensor | Streamed, Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in (tensor for part in parts for tensor in part):
        if not isinstance(tensor, Tensor):
            digest.update(tensor.identity.encode())
            continue
        # numpy knows no bfloat16: its bits are read as whole numbers
        array: np.ndarray = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
