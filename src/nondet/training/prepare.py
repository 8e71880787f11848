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
from nondet.training.batches import called, copied, count, each, in_memory, leaves, some, typed
from nondet.training.checking import PARTS, answered, checked_inputs, chosen, numbered, with_labels
from nondet.training.described import described, own_code, without_addresses
from nondet.training.dropout import SEED
from nondet.training.kernels import door
from nondet.training.loop import Batch, Trace
from nondet.training.objective import Objective
from nondet.training.perturb import has_bit
from nondet.training.problem import Lazy, Problem, Seen, Track, build_model, first_line, tried
from nondet.training.recipes import (
    Plateau,
    is_plateau,
    lr_factor,
    needs_closure,
    own_ignored,
    schedule_hash,
    settings_of,
)

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
    seen = Seen()
    try:
        model = build_model(task, recipe, FIXED_SEED)
    except Lazy:
        if recipe.bptt:
            raise
        task = _shaped(task, given[0])
        model = build_model(task, recipe, FIXED_SEED)
    objective = Objective(kind or LANGUAGE)
    if not recipe.bptt:
        objective, given = chosen(task, recipe, model, given, kind, seen, raw)
    kind = objective.kind
    train, test, *chooses = ((data.inputs, data.labels) for data in given)
    if recipe.bptt:
        sequences.try_out(model, *test, recipe, seen)
        dropout = sequences.try_out(model, *train, recipe, seen)
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
        objective=objective,
        closure=closure,
        val=_on(device, chooses[0]) if chooses else None,
        track=looked,
        tf32=tf32,
        door=None if seen.compiled or seen.again or seen.seeded else door(device, recipe, tf32),
        **asdict(_alone(recipe, seen, closure)),
    )
    if not problem.steps:
        raise BadInput(
            f"drop_last leaves out an incomplete mini-batch, but the {len(train[1])} training examples do not fill "
            f"even one of {recipe.batch_size}; try <<recipe=batch_size={len(train[1])}>>"
        )
    return _with_trial(replace(problem, settings=settings_of(recipe, problem.steps)))


def _shaped(task: Task, train: Data) -> Task:
    """Return the task with a model whose lazy layers take their shapes from the first training examples."""
    few = some(train.inputs, np.arange(min(2, count(train.inputs))))
    made: nn.Module = task.model()
    by_name = takes(made.forward, set(few) if isinstance(few, dict) else set())

    def shaped() -> nn.Module:
        model = task.model().eval()
        with torch.no_grad():
            called(model, typed(copied(few), torch.get_default_dtype()), by_name)
        return model

    return replace(task, model=shaped)


def _with_own(sources: Sequence[str], drawn: Sequence[str]) -> tuple[str, ...]:
    """Return the sources with those that augmentations define themselves, in the place of `augment`."""
    own = [name for name in drawn if name not in SOURCES]
    first = [name for name in sources if name in ("init", "shuffle", "augment")]
    return (*first, *own, *(name for name in sources if name not in first))


def _with_trial(problem: Problem) -> Problem:
    """Add the results of a few steps of one model on the CPU, so that what its runs compute is part of their names.

    The steps are in float64 if possible, so that another processor gives the same numbers except for the last digits.
    A model that does not repeat its own steps has no such numbers; its control will show that.
    """
    cpu = torch.device("cpu")
    here = replace(problem, device=cpu, door=None, train=_on(cpu, problem.train), test=_on(cpu, problem.test))
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
            if precision != problem.recipe.precision:
                continue
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"the model cannot be trained: {first_line(error)}; fix it and try again") from error
    raise AssertionError("the last precision returned or raised")


def _on(device: torch.device, data: tuple[Tensor | Streamed, Tensor]) -> tuple[Tensor | Streamed, Tensor]:
    inputs, labels = data
    return each(lambda t: t.to(device), inputs) if in_memory(inputs) else inputs, labels.to(device)


def _try_batches(
    model: nn.Module, train: tuple[Any, Tensor], recipe: Recipe, seen: Seen, objective: Objective
) -> dict[int, list[tuple[int, ...]]]:
    """Return the shapes of dropout's numbers by mini-batch size, from training steps of one model on the CPU."""

    def shapes(index: np.ndarray) -> list[tuple[int, ...]]:
        inputs = typed(some(train[0], index), getattr(torch, recipe.precision))
        labels = train[1][torch.from_numpy(index)]
        return tried(model, lambda: answered(objective, model.train(), inputs, labels)[0], seen)

    n = len(train[1])
    batch = min(recipe.batch_size, n)
    sizes = {batch, batch if recipe.drop_last else n % batch or batch}
    dropout = {size: shapes(np.arange(size)) for size in sizes}
    if any(dropout.values()) and not seen.seeded:
        if dropout != {size: shapes(np.arange(n - size, n)) for size in sizes}:
            seen.seeded, seen.alone = True, seen.alone or "its dropout calls depend on the data"
        seen.again &= not seen.seeded
    return {size: [SEED] if seen.seeded else found for size, found in dropout.items()}


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
    functions = {name: value for name, value in recipe.schedule_options.items() if callable(value)}
    shapes = [[name, list(value.shape)] for name, value in model.state_dict().items()]
    identity = {
        "name": task.name,
        "code": task.code,
        "data": data,
        "model": sha256_of_json([without_addresses(model), shapes]),
        "augment": [described(a) for a in task.augment],
        "recipe": recipe.as_dict(),
        **({"kind": kind.name} if kind is not named("", bool(recipe.bptt)) else {}),
        **({"track": asdict(track)} if track else {}),
        **({"schedule": schedule_hash(recipe)} if callable(recipe.schedule) else {}),
        **({"schedule_options": own_code(functions)} if functions else {}),
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


def _data_hash(*parts: tuple[Tensor | Streamed, Tensor]) -> str:
    digest = hashlib.sha256()
    for inputs, labels in parts:
        for tensor in (*(leaves(inputs) if in_memory(inputs) else [inputs]), labels):
            if not isinstance(tensor, Tensor):
                digest.update(tensor.identity.encode())
                continue
            # numpy has no bfloat16, so its bits are read as integers
            array: np.ndarray = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
