"""Check a task's data, and choose its kind and loss by what its model returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nondet.data.given import LABELS, Data, read, takes
from nondet.errors import BadInput
from nondet.kinds import ANY, CLASSIFICATION, TOKENS, Kind, fitting
from nondet.kinds.classification import IGNORED
from nondet.sources import globals_drawn
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task
from nondet.training.batches import copied, count, each, in_memory, leaves, shapes, typed
from nondet.training.objective import Objective
from nondet.training.problem import Seen, drawn_outside, first_line
from nondet.training.recipes import criterion_of, expects

PARTS = ("train", "test", "val")


def checked_inputs(name: str, given: Any, task: Task, recipe: Recipe) -> Data:
    """Check one part of the data, and convert its inputs to the recipe's precision, unless training reads them."""
    data = read(name, given, task.collate)
    labels = data.labels
    if labels is not None and not is_text(labels):
        labels = _tensor(name, labels)
    if not in_memory(data.inputs) and hasattr(data.inputs, "prefetch"):
        return replace(data, labels=labels)
    inputs = data.inputs if isinstance(data.inputs, dict | tuple) else _tensor(name, data.inputs)
    inputs = each(lambda t: t.detach().cpu(), inputs)
    for part in leaves(inputs):
        if part.is_sparse or part.is_complex():
            raise BadInput(f"{name} inputs must be dense real numbers (got {part.layout}, {part.dtype}); convert them")
    lengths = [len(part) if part.dim() else 0 for part in leaves(inputs)]
    if not lengths or min(lengths) < 1 or len({*lengths, *([len(labels)] if labels is not None else [])}) > 1:
        others = f" and {len(labels)}" if labels is not None else ""
        raise BadInput(
            f"{name} inputs and labels must have the same length, at least 1 "
            f"(got {', '.join(map(str, lengths)) or 0}{others}); give one label for each input"
        )
    inputs = typed(inputs, getattr(torch, recipe.precision))
    if not all(bool(part.isfinite().all()) for part in leaves(inputs) if part.is_floating_point()):
        raise BadInput(f"{name} inputs must be finite numbers (got NaN or infinity); clean the data first")
    return replace(data, inputs=each(lambda t: t.contiguous(), inputs), labels=labels)


def is_text(labels: Any) -> bool:
    """Whether the labels are names of classes."""
    return not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind in "UO" and isinstance(labels[0], str)


def numbered(given: list[Data]) -> list[Data]:
    """Number classes that have names, in the sorted order of the names in `train`; leave other labels unchanged."""
    if not any(data.labels is not None and is_text(data.labels) for data in given):
        return given
    named = [np.asarray(d.labels if is_text(d.labels) else [str(x) for x in d.labels.tolist()], str) for d in given]
    classes = np.unique(named[0])
    for name, labels in zip(PARTS, named, strict=False):
        strange = np.setdiff1d(labels, classes)
        if len(strange):
            known = shorten(", ".join(classes.tolist()), 80, placeholder=" ...")
            raise BadInput(
                f"{name} labels must be classes of the training set (got {str(strange[0])!r}; the classes are "
                f"{known}); leave those examples out, or add some to train"
            )
    return [
        replace(data, labels=torch.from_numpy(np.searchsorted(classes, labels).astype(np.int64)))
        for data, labels in zip(given, named, strict=True)
    ]


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{name} must be a pair of tensors (inputs, labels): {error}; give classes as numbers, such as "
            "numpy.unique(labels, return_inverse=True)[1]"
        ) from error


def with_labels(name: str, data: Data, kind: Kind, task: Task) -> Data:
    """Return the data with its labels as the kind stores them; missing labels become zeros."""
    if data.labels is None:
        if task.loss is None and not data.inside:
            raise BadInput(f"{name} must be a pair (inputs, labels) (got only inputs); give labels, or a loss")
        return replace(data, labels=torch.zeros(count(data.inputs), dtype=torch.int64))
    labels = data.labels
    if task.ignore is not None and not labels.is_floating_point():
        labels = torch.where(labels == task.ignore, IGNORED, labels.to(torch.int64))
    labels = kind.check_labels(name, labels)
    if len(labels) != count(data.inputs):
        raise BadInput(
            f"{name} inputs and labels must have the same length, at least 1 "
            f"(got {count(data.inputs)} and {len(labels)}); give one label for each input"
        )
    return replace(data, labels=labels)


def some(inputs: Any, index: np.ndarray) -> Any:
    """Return the inputs of these examples, without augmentation."""
    places = torch.from_numpy(index)
    return each(lambda t: t[places], inputs) if in_memory(inputs) else inputs.batch(index, None)


def chosen(
    task: Task, recipe: Recipe, model: nn.Module, given: list[Data], kind: Kind | None, seen: Seen
) -> tuple[Objective, list[Data]]:
    """Choose the task's loss and kind from what the model returns for a few examples; also return the labelled data.

    BadInput says what does not fit.
    """
    train = given[0]
    if len({data.inside for data in given}) > 1:
        raise BadInput("train, test and val must have the same form (got separate labels in only some); use one form")
    own, said = task.loss, kind
    if isinstance(own, str | nn.Module) or getattr(own, "__module__", "") == "torch.nn.functional":
        recipe, own = replace(recipe, loss=own), None  # a loss of outputs and labels, like the recipe's
    inside = train.inside and (own is not None or takes(model.forward, {LABELS}))
    if train.inside and not inside and isinstance(train.inputs, dict):
        given = [replace(d, inputs={k: v for k, v in d.inputs.items() if k != LABELS}, inside=False) for d in given]
        train = given[0]
    if train.labels is None and own is None and not inside:
        raise BadInput(
            f"train must be a pair (inputs, labels) (got {type(task.train).__name__}); give labels, or "
            "loss=lambda model, batch: (loss, outputs)"
        )
    first = np.arange(min(recipe.batch_size, count(train.inputs)))
    inputs = typed(some(train.inputs, first), getattr(torch, recipe.precision))
    labels = torch.zeros(len(first)) if train.labels is None else train.labels[: len(first)]
    names = set(inputs) if isinstance(inputs, dict) else set[str]()
    trial = Objective(kind or ANY, None, own, inside, takes(model.forward, names))
    with torch.no_grad(), globals_drawn() as drawn:
        outputs = answered(trial.outputs, model.eval(), inputs, labels)
    for part, data in zip(PARTS[1:], given[1:], strict=False):
        if not in_memory(data.inputs):
            continue  # do not read files just for this
        with torch.no_grad(), globals_drawn():
            own_first = first[: count(data.inputs)]
            asked = typed(some(data.inputs, own_first), getattr(torch, recipe.precision))
            known = labels if data.labels is None else data.labels
            answered(trial.outputs, model, asked, known[: len(own_first)], f"{part} ")
    seen.random_answers = bool(drawn())
    seen.alone = seen.alone or drawn_outside(drawn())
    if kind is None:
        kind = None if train.labels is None else fitting(train.labels, outputs, expects(recipe.loss))
        kind = kind or (ANY if own is not None or (inside and train.labels is None) else CLASSIFICATION)
    if said is None or train.labels is None:
        given = [with_labels(name, data, kind, task) for name, data in zip(PARTS, given, strict=False)]
    if kind is TOKENS and inside and own is None:
        with torch.no_grad(), globals_drawn():
            loss, logits = answered(Objective(kind, None, None, True, trial.by_name), model.eval(), inputs, labels)
        if _shifts(kind, loss, logits, given[0].labels[: len(first)]):
            given = [replace(data, labels=_ahead(data.labels)) for data in given]
    kind.check_outputs(outputs, len(first), {name: d.labels for name, d in zip(PARTS, given, strict=False)})
    return Objective(kind, None if own else criterion_of(recipe, kind), own, inside, trial.by_name), given


def _ahead(labels: Tensor) -> Tensor:
    """Return the labels (n, T) for a model that predicts the next token: shifted by one, with the last one ignored."""
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORED)], dim=1)


def _shifts(kind: Kind, loss: Tensor, logits: Tensor, labels: Tensor) -> bool:
    """Whether a model's own loss compares outputs with the labels one position ahead, as in causal language models."""
    apart = [abs(float(kind.loss(logits, given)) - float(loss)) for given in (labels, _ahead(labels))]
    return apart[1] < apart[0]


def answered(ask: Callable[..., Any], model: nn.Module, inputs: Any, labels: Tensor, part: str = "") -> Any:
    """Return ask(model, inputs, labels), where `ask` belongs to an objective; BadInput if the model or loss fails.

    part: the part of the data, as the message names it: "test ".
    """

    def call(*x: Any, **named: Any) -> Any:
        try:
            return model(*x, **named)
        except Exception as error:
            said = shapes(inputs)
            if isinstance(inputs, dict) and not named:
                raise BadInput(
                    f"the model fails on the dictionary of {', '.join(inputs)}, passed to it as a whole because its "
                    f"forward has no such arguments: {first_line(error)}; write forward(self, {', '.join(inputs)})"
                ) from error
            whole = all(not (t.is_floating_point() or t.is_complex()) for t in leaves(inputs))
            raise BadInput(
                f"the model fails on {part}inputs of shape {said[0] if len(said) == 1 else said}: {first_line(error)}; "
                + (
                    "give real numbers, such as inputs.float()"
                    if whole and "dtype" in str(error)
                    else "fix the model or the data"
                )
            ) from error

    return ask(call, copied(inputs), labels)
