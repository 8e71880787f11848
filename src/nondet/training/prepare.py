"""Prepare a task: check its data, and try its model before hours are spent on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nondet.data.given import Data, takes
from nondet.errors import BadInput
from nondet.io.files import sha256_of_json
from nondet.kinds import LANGUAGE, Kind, named
from nondet.kinds.classification import IGNORED
from nondet.sources import FIXED_SEED, OF_THE_MACHINE, SOURCES
from nondet.tasks.augment import source_of
from nondet.tasks.named import optimizer_class
from nondet.tasks.recipe import SHORT, Recipe
from nondet.tasks.task import Task
from nondet.training import loop, sequences
from nondet.training import track as tracking
from nondet.training.batches import count, each, in_memory, leaves, typed
from nondet.training.checking import PARTS, answered, checked_inputs, chosen, numbered, some, with_labels
from nondet.training.described import described, own_code, without_addresses
from nondet.training.dropout import SEED
from nondet.training.kernels import door
from nondet.training.loop import Batch, Trace
from nondet.training.objective import Objective
from nondet.training.perturb import has_bit
from nondet.training.problem import Lazy, Problem, Seen, Shaped, Track, build_model, first_line, tried
from nondet.training.recipes import Plateau, is_plateau, needs_closure, own_ignored, settings_of
from nondet.training.schedule import lr_factor, schedule_hash

if TYPE_CHECKING:
    from nondet.data.streamed import Streamed


def prepare(
    task: Task,
    recipe: Recipe,
    device: torch.device,
    *,
    track: Sequence[int] = (),
    layers: Sequence[str] = (),
    tf32: bool = False,
) -> Problem:
    """Check a task and try its model on two mini-batches; BadInput says what is wrong.

    track: the epochs after which to examine the modules named `layers`, or the default ones.
    """
    if layers and not track:
        raise BadInput(f"<<layers>> is only for <<track>> (got <<layers={layers[0]}>> without it); add <<track=0,1>>")
    if (track or recipe.cycles > 1) and recipe.bptt:
        raise BadInput("<<track>> and cycles are for classifiers, but this task is a language model; leave them out")
    _try_schedule(recipe)
    if recipe.bptt and recipe.drop_last:
        raise BadInput(
            "drop_last is for examples, but a text is read in windows (got a recipe with both); leave it out"
        )
    if recipe.bptt and (task.loss or recipe.loss or recipe.label_smoothing or recipe.class_weights):
        raise BadInput(
            "a text that is read in windows is trained with the cross-entropy (got a recipe with bptt and a loss); "
            "leave one out, or give sequences (n, tokens) and no bptt"
        )
    kind = named(task.kind, bool(recipe.bptt)) if task.kind or recipe.bptt else None
    if kind is not None and (kind.feed == "sequence") != bool(recipe.bptt):
        raise BadInput(
            "the recipe's bptt must be set for kinds that read a text in windows, and for no others (got kind "
            f"{kind.name}); change one of the two"
        )
    ignored = own_ignored(task.loss) if recipe.loss == "" else own_ignored(recipe.loss)
    if task.ignore is None and ignored not in (None, IGNORED):
        task = replace(task, ignore=ignored)
    given = [checked_inputs(name, data, task, recipe) for name, data in (("train", task.train), ("test", task.test))]
    if not in_memory(given[0].inputs) and task.augment:
        raise BadInput("streamed inputs draw their own augmentations; leave the task's augment empty")
    val = None if task.val is None else checked_inputs("val", task.val, task, recipe)
    selects = recipe.select == "best" or recipe.patience > 0
    if selects and (val is None or recipe.bptt):
        raise BadInput(
            "select and patience need validation examples to choose the epoch (got none"
            f"{' for a text' if recipe.bptt else ''}); give the task val=(inputs, labels), or leave them out"
        )
    given += [val] if val is not None and (selects or is_plateau(recipe)) else []
    given = raw = numbered(given)
    if kind is not None:  # before a model is built, so that errors in the data come first
        given = [with_labels(name, data, kind, task) for name, data in zip(PARTS, given, strict=False)]
    try:
        model, seen = build_model(task, recipe, FIXED_SEED), Seen()
    except Lazy:
        if recipe.bptt:
            raise
        task = _shaped(task, given[0])
        model, seen = build_model(task, recipe, FIXED_SEED), Seen()
    if recipe.bptt:
        objective = Objective(LANGUAGE if kind is None else kind)
    else:
        objective, given = chosen(task, recipe, model, given, kind, seen, raw)
    kind = objective.kind
    train, test, *chooses = ((data.inputs, data.labels) for data in given)
    if recipe.bptt:
        dropout = _try_text(model, train, test, recipe, seen)
    else:
        dropout = _try_batches(model, train, recipe, seen, objective)
    if recipe.cycles > 1 and "outputs" not in kind.answers:
        raise BadInput(f"cycles are for kinds that keep their outputs (got kind {kind.name}); leave them out")
    closure = needs_closure(recipe)
    drawn = list(dict.fromkeys(source_of(augmentation).name for augmentation in task.augment))
    has = {
        "shuffle": not recipe.bptt,
        "augment": "augment" in drawn or not in_memory(train[0]),
        "dropout": any(dropout.values()),
        "bit": has_bit(dict(model.named_parameters()), recipe.bit),
        "selection": selects,
        # in these cases, an example's position in a mini-batch decides its draws, or what it is mixed with
        "order": not seen.seeded and not any(hasattr(a, "mix") for a in task.augment),
        "kernels": device.type == "cuda",
        "other": False,
        **dict.fromkeys(OF_THE_MACHINE, False),  # the runs of a task share one process
    }
    looked = tracking.choose(model, track, layers, recipe.epochs) if track else None
    problem = Problem(
        task=task,
        recipe=recipe,
        device=device,
        train=_on(device, train),
        test=_on(device, test),
        dropout=dropout,
        sources=_with_own([name for name in SOURCES if has.get(name, True)], drawn),
        identity=_identity(task, recipe, model, _data_hash(train, test, *chooses), looked, kind),
        kind=kind,
        objective=objective,
        closure=closure,
        val=_on(device, chooses[0]) if chooses else None,
        settings=settings_of(recipe, _steps(recipe, train)),
        track=looked,
        tf32=tf32,
        door=None if seen.compiled or seen.again or seen.seeded else door(device, recipe, tf32),
        **asdict(_alone(recipe, seen, closure)),
    )
    return _with_trial(problem)


def _shaped(task: Task, train: Data) -> Task:
    """Return the task with a model whose lazy layers take their shapes from the first training examples."""
    few = some(train.inputs, np.arange(min(2, count(train.inputs))))
    made: nn.Module = task.model()
    return replace(
        task, model=Shaped(task.model, few, takes(made.forward, set(few) if isinstance(few, dict) else set()))
    )


def _with_own(sources: Sequence[str], drawn: Sequence[str]) -> tuple[str, ...]:
    """Return the sources with those that augmentations define themselves, in the place of `augment`."""
    before = [name for name in SOURCES if name in ("init", "shuffle", "augment")]
    own = [name for name in drawn if name not in SOURCES]
    first = [name for name in sources if name in before]
    return (*first, *own, *(name for name in sources if name not in before))


def _with_trial(problem: Problem) -> Problem:
    """Add the results of a few steps of one model on the CPU, so that what its runs compute is part of their names.

    The steps are in float64 if possible, so that another processor gives the same numbers except for the last digits.
    A model that does not repeat its own steps has no such numbers; its control will show that.
    """
    here = replace(
        problem, device=torch.device("cpu"), door=None, train=_on_cpu(problem.train), test=_on_cpu(problem.test)
    )
    run = dict.fromkeys(problem.sources, FIXED_SEED)
    taken = loop.batches(here, run, small=True)
    first = _traced(here, run, taken)
    repeats = loop.trace(here, run, loop.batches(here, run, small=True), first[1], answers=False).same(first[0])
    reached = loop.all_reached(here, run, taken, first[0].reached)
    trial = {"precision": first[1], **first[0].numbers()} if repeats else None
    return replace(problem, identity={**problem.identity, "trial": trial}, repeats=repeats, reached=reached)


def _traced(problem: Problem, run: Mapping[str, int], taken: Sequence[Batch]) -> tuple[Trace, str]:
    """Return the steps' trace and its precision: float64 or, if that fails, the recipe's."""
    for precision in ("float64", problem.recipe.precision):
        try:
            return loop.trace(problem, run, taken, precision, answers=False), precision
        except OSError:
            raise
        except Exception as error:
            if precision == problem.recipe.precision and isinstance(error, BadInput):
                raise
            if precision == problem.recipe.precision:
                raise BadInput(f"the model cannot be trained: {first_line(error)}; fix it and try again") from error
    raise AssertionError("the last precision returned or raised")


def _on_cpu(data: tuple[Tensor | Streamed, Tensor]) -> tuple[Tensor | Streamed, Tensor]:
    return _on(torch.device("cpu"), data)


def _on(device: torch.device, data: tuple[Tensor | Streamed, Tensor]) -> tuple[Tensor | Streamed, Tensor]:
    inputs, labels = data
    return each(lambda t: t.to(device), inputs) if in_memory(inputs) else inputs, labels.to(device)


def _try_text(
    model: nn.Module, train: tuple[Any, Tensor], test: tuple[Any, Tensor], recipe: Recipe, seen: Seen
) -> dict[int, list[tuple[int, ...]]]:
    sequences.try_out(model, *test, recipe, seen)
    return sequences.try_out(model, *train, recipe, seen)


def _try_batches(
    model: nn.Module, train: tuple[Any, Tensor], recipe: Recipe, seen: Seen, objective: Objective
) -> dict[int, list[tuple[int, ...]]]:
    """Return the shapes of dropout's numbers by mini-batch size."""
    n = len(train[1])
    batch = min(recipe.batch_size, n)
    rows = {size: np.arange(size) for size in {batch, batch if recipe.drop_last else n % batch or batch}}
    dropout = {size: _try_out(model, train, rows[size], recipe, seen, objective) for size in rows}
    if any(dropout.values()) and not seen.seeded:
        others = {size: np.arange(n - size, n) for size in rows}
        again = {size: _try_out(model, train, others[size], recipe, seen, objective) for size in rows}
        if dropout != again:
            seen.seeded, seen.alone = True, seen.alone or "its dropout calls depend on the data"
        seen.again &= not seen.seeded
    return {size: [SEED] if seen.seeded else shapes for size, shapes in dropout.items()}


def _alone(recipe: Recipe, seen: Seen, closure: bool) -> Seen:
    """Return what was seen of the model, with any reason in its recipe not to stack it."""
    if is_plateau(recipe):
        seen.alone = seen.alone or "ReduceLROnPlateau gives each run its own rate"
    if closure:
        name = optimizer_class(recipe.optimizer).__name__
        seen.alone = seen.alone or f"{name} evaluates the loss of a model several times in a step"
        if recipe.accumulate > 1 or recipe.amp or recipe.precision in SHORT:
            raise BadInput(
                f"{name} evaluates the loss again in its step, which needs float32 or float64 and accumulate=1 "
                f"(got precision {recipe.precision}, amp {recipe.amp or 'none'} and accumulate {recipe.accumulate}); "
                "choose those, or another optimizer"
            )
    return seen


def _steps(recipe: Recipe, train: tuple[Any, Tensor]) -> int:
    """Return the number of mini-batches in an epoch."""
    if recipe.bptt:
        return -(-(len(train[1]) // recipe.batch_size) // recipe.bptt)
    if recipe.drop_last and len(train[1]) < recipe.batch_size:
        raise BadInput(
            f"drop_last leaves out an incomplete mini-batch, but the {len(train[1])} training examples do not fill "
            f"even one of {recipe.batch_size}; try <<recipe=batch_size={len(train[1])}>>"
        )
    return len(train[1]) // recipe.batch_size if recipe.drop_last else -(-len(train[1]) // recipe.batch_size)


def _try_schedule(recipe: Recipe) -> None:
    for epoch in (0.0, recipe.epochs / 2, recipe.epochs - 0.5):
        try:
            factor = lr_factor(recipe, epoch)
        except Exception as error:
            raise BadInput(
                f"the schedule fails at epoch {epoch}: {first_line(error)}; it is called as schedule(epoch, epochs) "
                "and returns a factor of the learning rate"
            ) from error
        if not 0 <= factor < float("inf"):
            raise BadInput(f"schedule must return a factor of at least 0 (got {factor} at epoch {epoch}); fix it")
    if is_plateau(recipe):
        Plateau(recipe)


def _identity(
    task: Task, recipe: Recipe, model: nn.Module, data: str, track: Track | None, kind: Kind
) -> dict[str, Any]:
    """Return the parts of a run's key that identify the task, as they are after a round trip through JSON."""
    shapes = [[name, list(value.shape)] for name, value in model.state_dict().items()]
    identity = {
        "name": task.name,
        "code": task.code,
        "data": data,
        "model": sha256_of_json([without_addresses(model), shapes]),
        "augment": [described(a) for a in task.augment],
        "recipe": recipe.as_dict(),
        **({"kind": kind.name} if kind is not named("", bool(recipe.bptt)) else {}),
        **({"track": track.as_dict()} if track else {}),
        **({"schedule": schedule_hash(recipe)} if callable(recipe.schedule) else {}),
        **({"schedule_options": own_code(written)} if (written := _functions(recipe.schedule_options)) else {}),
        **({"loss": own_code(own)} if (own := task.loss or recipe.loss) and not isinstance(own, str) else {}),
        **({"ignore": task.ignore} if task.ignore is not None else {}),
    }
    try:
        return json.loads(json.dumps(identity, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"a recipe's options must be numbers, strings, booleans or lists of them ({error}); give these instead, or "
            "make the rest in a class of your own that takes none of them"
        ) from error


def _functions(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if callable(value)}


def _try_out(
    model: nn.Module, train: tuple[Any, Tensor], index: np.ndarray, recipe: Recipe, seen: Seen, objective: Objective
) -> list[tuple[int, ...]]:
    """Return the shapes of dropout's numbers in one training step of one model, tried on the CPU."""
    inputs = typed(some(train[0], index), getattr(torch, recipe.precision))
    labels = train[1][torch.from_numpy(index)]

    def forward() -> Tensor:
        return answered(objective, model.train(), inputs, labels)[0]

    return tried(model, forward, seen)


def _data_hash(*parts: tuple[Tensor | Streamed, Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in (tensor for inputs, labels in parts for tensor in (*_read(inputs), labels)):
        if not isinstance(tensor, Tensor):
            digest.update(tensor.identity.encode())
            continue
        # numpy has no bfloat16, so its bits are read as integers
        array: np.ndarray = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(inputs: Any) -> list[Any]:
    return leaves(inputs) if in_memory(inputs) else [inputs]
