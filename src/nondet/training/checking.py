"""Check a task's data, and choose its kind and loss by what its model returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nondet.data.given import LABELS, Data, read, takes
from nondet.errors import BadInput
from nondet.kinds import ANY, CLASSIFICATION, REGRESSION, TOKENS, Kind, fitting
from nondet.kinds.base import received
from nondet.kinds.classification import IGNORED
from nondet.sources import globals_drawn
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task
from nondet.training.batches import copied, count, each, in_memory, leaves, shapes, some, typed
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
            f"(got {', '.join(map(str, lengths)) or 0}{others}); give one row and one label for each example, padded "
            "to one length if they have several"
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
    labels = data.labels if kind in (REGRESSION, ANY) else _marked(data.labels, task.ignore)
    labels = kind.check_labels(name, labels)
    if len(labels) != count(data.inputs):
        raise BadInput(
            f"{name} inputs and labels must have the same length, at least 1 "
            f"(got {count(data.inputs)} and {len(labels)}); give one label for each input"
        )
    return replace(data, labels=labels)


def _marked(labels: Tensor, ignore: int | None) -> Tensor:
    """Return the labels with IGNORED in the place of the task's own label to ignore."""
    if ignore is None or labels.is_complex():
        return labels
    whole = labels if labels.is_floating_point() else labels.to(torch.int64)
    return torch.where(whole == ignore, IGNORED, whole)


def chosen(
    task: Task,
    recipe: Recipe,
    model: nn.Module,
    given: list[Data],
    kind: Kind | None,
    seen: Seen,
    raw: list[Data],
) -> tuple[Objective, list[Data]]:
    """Choose the task's loss and kind from what the model returns for a few examples; also return the labelled data.

    raw: the data with the labels as they were given.

    BadInput says what does not fit.
    """
    train = given[0]
    if len({data.inside for data in given}) > 1:
        raise BadInput("train, test and val must have the same form (got separate labels in only some); use one form")
    own, said = task.loss, kind
    if isinstance(own, str | nn.Module) or getattr(own, "__module__", "") == "torch.nn.functional":
        recipe, own = replace(recipe, loss=own), None  # a loss of outputs and labels, like the recipe's
    stored = given
    if own is not None:  # it was written for the labels as they are
        given, train = raw, raw[0]
    inside = train.inside and (own is not None or takes(model.forward, {LABELS}))
    if train.inside and not inside and isinstance(train.inputs, dict):
        given = [replace(d, inputs={k: v for k, v in d.inputs.items() if k != LABELS}, inside=False) for d in given]
        train = given[0]
    if train.labels is None and own is None and not inside:
        names = list(train.inputs) if isinstance(train.inputs, dict) else []
        near = next((name for name in names if name in ("label", "target", "targets", "y", "class")), "")
        got = f"a dictionary of {', '.join(names)}" if names else type(task.train).__name__
        way = f"rename {near} to labels" if near else "give labels"
        raise BadInput(
            f"train must be a pair (inputs, labels) (got {got}); {way}, or loss=lambda model, batch: (loss, outputs)"
        )
    first = np.arange(min(recipe.batch_size, count(train.inputs)))

    def few(data: Data) -> tuple[Any, Tensor]:
        index = first[: count(data.inputs)]
        labels = torch.zeros(len(index)) if data.labels is None else data.labels[: len(index)]
        return typed(some(data.inputs, index), getattr(torch, recipe.precision)), labels

    inputs, labels = few(train)
    names = set(inputs) if isinstance(inputs, dict) else set[str]()
    trial = Objective(kind or ANY, None, own, inside, takes(model.forward, names))
    with torch.no_grad(), globals_drawn() as drawn:
        outputs = answered(trial.outputs, model.eval(), inputs, labels)
    for part, data in zip(PARTS[1:], given[1:], strict=False):
        if in_memory(data.inputs):  # do not read files just for this
            with torch.no_grad(), globals_drawn():
                answered(trial.outputs, model, *few(data), f"{part} ")
    seen.random_answers = bool(drawn())
    seen.alone = seen.alone or drawn_outside(drawn())
    if kind is None:
        marked = None if train.labels is None else _marked(train.labels, task.ignore)
        kind = None if marked is None else fitting(marked, outputs, expects(recipe.loss))
        kind = kind or (ANY if own is not None or (inside and train.labels is None) else CLASSIFICATION)
        if own is None and train.labels is not None and kind is CLASSIFICATION:
            _seem_classes(train.labels, outputs)
        if own is not None and not _fits(kind, given, outputs, len(first), task):
            kind = ANY
    if own is not None and said is not None and train.labels is not None:
        given = stored
    elif said is None or train.labels is None:
        given = [with_labels(name, data, kind, task) for name, data in zip(PARTS, given, strict=False)]
    if own is not None and not inside and not task.augment:
        given = _as_given(raw, given)
        inside = given[0].inside
    if kind is TOKENS and inside and own is None:
        with torch.no_grad(), globals_drawn():
            loss, logits = answered(Objective(kind, None, None, True, trial.by_name), model.eval(), inputs, labels)
        if _shifts(kind, loss, logits, given[0].labels[: len(first)]):
            given = [replace(data, labels=_ahead(data.labels)) for data in given]
    kind.check_outputs(outputs, len(first), {name: d.labels for name, d in zip(PARTS, given, strict=False)})
    unknown = any(bool((data.labels == IGNORED).any()) for data in given)
    criterion = None if own else criterion_of(recipe, kind, task.ignore, unknown)
    return Objective(kind, criterion, own, inside, trial.by_name), given


def _fits(kind: Kind, given: list[Data], outputs: Any, examples: int, task: Task) -> bool:
    """Whether a kind that was found from a few outputs fits all labels."""
    try:
        labels = {name: with_labels(name, d, kind, task).labels for name, d in zip(PARTS, given, strict=False)}
        kind.check_outputs(outputs, examples, labels)
    except BadInput:
        return False
    return True


def _seem_classes(labels: Tensor, outputs: Any) -> None:
    """BadInput if outputs are not logits of classes, with what to write in the cases that people have."""
    if not isinstance(outputs, Tensor) and (labels.is_floating_point() or labels.dim() > 1):
        got, so = received(outputs)
        raise BadInput(
            f"the model must return one tensor of outputs (got {got}); {so.replace('its logits', 'that')}, or give the "
            "task loss=lambda model, batch: (loss, outputs)"
        )
    one = isinstance(outputs, Tensor) and len(labels) and outputs[0].numel() == labels[0].numel() == 1
    if one and not labels.is_floating_point() and int(labels.max()) > 1:
        raise BadInput(
            f"whole numbers are classes, and need one output for each (got labels up to {int(labels.max())} and one "
            "output); for numbers to predict use kind='regression'"
        )


def _as_given(raw: list[Data], given: list[Data]) -> list[Data]:
    """Return the data so that a loss of the user's gets labels as they were given, where the kind stores others."""
    if not all(in_memory(data.inputs) and isinstance(data.labels, Tensor) for data in raw):
        return given
    if all(
        a.labels.dtype == b.labels.dtype and torch.equal(a.labels, b.labels) for a, b in zip(raw, given, strict=True)
    ):
        return given
    return [replace(b, inputs=(b.inputs, a.labels), inside=True) for a, b in zip(raw, given, strict=True)]


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
    named, depth, returned = False, 0, ""

    def enter(_: nn.Module, __: Any, keywords: Mapping[str, Any]) -> None:
        nonlocal named, depth
        named, depth = bool(keywords), depth + 1

    def leave(_: nn.Module, __: Any, out: Any) -> None:
        nonlocal depth, returned
        depth -= 1
        real = not isinstance(out, Tensor) or out.is_floating_point() or out.is_complex()
        returned = "" if real else str(out.dtype).removeprefix("torch.")

    hooks = (model.register_forward_pre_hook(enter, with_kwargs=True), model.register_forward_hook(leave))
    try:
        return ask(model, copied(inputs), labels)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, BadInput) and error.__cause__ else error
        if isinstance(cause, BadInput) or (not depth and isinstance(error, BadInput)):
            raise
        if returned:
            raise BadInput(
                f"a model whose outputs are whole numbers cannot be trained (got {returned}); fix it, such as by "
                "leaving out .long() or argmax"
            ) from error
        if depth:
            raise _model_failed(cause, inputs, named, part) from cause
        if getattr(getattr(ask, "__self__", ask), "own", None) is not None:
            raise BadInput(
                f"the task's loss fails: {first_line(error)}; called as loss(model, batch), it must return (loss, "
                "outputs), and also without gradients, as for test examples: where it needs them itself, use "
                "torch.enable_grad()"
            ) from error
        raise BadInput(
            f"the loss fails on outputs of the model and {part}labels of shape {tuple(labels.shape)} and type "
            f"{str(labels.dtype).removeprefix('torch.')}: {first_line(error)}; it is called as loss(outputs, "
            "labels) and must return one number"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _model_failed(error: BaseException, inputs: Any, named: bool, part: str) -> BadInput:
    said = shapes(inputs)
    if isinstance(inputs, dict) and not named:
        return BadInput(
            f"the model fails on the dictionary of {', '.join(inputs)}, passed to it as a whole because its "
            f"forward has no such arguments: {first_line(error)}; write forward(self, {', '.join(inputs)})"
        )
    whole = all(not (t.is_floating_point() or t.is_complex()) for t in leaves(inputs))
    way = (
        "give real numbers, such as inputs.float()" if whole and "dtype" in str(error) else "fix the model or the data"
    )
    return BadInput(
        f"the model fails on {part}inputs of shape {said[0] if len(said) == 1 else said}: {first_line(error)}; {way}"
    )
