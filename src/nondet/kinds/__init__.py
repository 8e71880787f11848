"""The kinds of task: what a task's outputs are, with one object for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nondet.errors import BadInput
from nondet.io import extensions
from nondet.io.nearest import did_you_mean
from nondet.kinds.base import Kind
from nondet.kinds.binary import BINARY, SEVERAL
from nondet.kinds.classification import CLASSIFICATION, PREDICTIONS
from nondet.kinds.dense import LANGUAGE, SEGMENTATION, TOKENS
from nondet.kinds.fitting import fitting
from nondet.kinds.regression import ANY, REGRESSION
from nondet.kinds.scores import with_scores

__all__ = [
    "ANY",
    "CLASSIFICATION",
    "LANGUAGE",
    "PREDICTIONS",
    "TOKENS",
    "Kind",
    "fitting",
    "kind_called",
    "kind_of",
    "named",
]

_OWN = {
    kind.name: kind
    for kind in (
        CLASSIFICATION,
        PREDICTIONS,
        BINARY,
        SEVERAL,
        REGRESSION,
        SEGMENTATION,
        TOKENS,
        LANGUAGE,
        ANY,
    )
}


def kind_called(name: str) -> Kind:
    """Return the kind with this name, from nondet or another package; BadInput if there is none."""
    if name in _OWN:
        return _OWN[name]
    known = [*_OWN, *extensions.names("nondet.kinds")]
    if name not in known:
        raise BadInput(
            f"unknown kind of task {name!r}{did_you_mean(name, known)}; choose from {', '.join(known)}, or "
            "install the package that provides it"
        )
    return extensions.load("nondet.kinds", name)


def kind_of(identity: Mapping[str, Any]) -> Kind:
    """Return the kind of the task that an identity describes."""
    name = identity.get("kind") or _usual(bool(identity["recipe"].get("bptt")))
    scores = tuple(identity.get("scores", ()))
    if scores:
        return with_scores(scores, None if name == "scores" else kind_called(name))
    return kind_called(name)


def named(kind: str | Kind, text: bool) -> Kind:
    """Return the kind that a task names or passes; if it does neither, language for text and classification otherwise.

    A kind passed as an object is registered under its name for the rest of this process.
    """
    if isinstance(kind, Kind):
        if _OWN.get(kind.name) is not kind:
            extensions.register("nondet.kinds", kind.name, kind)
        return kind
    return kind_called(kind or _usual(text))


def _usual(text: bool) -> str:
    return "language" if text else "classification"
