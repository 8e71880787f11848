"""A kind of task: what its outputs are, and everything that follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.errors import BadInput
from nondet.io import extensions
from nondet.measures.figure import Figure, Score

if TYPE_CHECKING:
    from torch import Tensor


def received(outputs: object) -> tuple[str, str]:
    """Describe a model's output that does not fit its kind, and say what the model should return instead."""
    given: Any = outputs
    if hasattr(given, "detach"):
        return str(tuple(given.shape)), "fix its last layer"
    kind = type(given).__name__
    names = [str(name) for name in (given if isinstance(given, Mapping) else getattr(given, "__dict__", ()))]
    names = [*getattr(given, "_fields", names)]
    if names:
        chosen = f"out.{names[0]}" if hasattr(given, names[0]) else f"out[{names[0]!r}]"
        return f"a {kind} of {', '.join(names)}", f"return its logits alone, such as return {chosen}"
    if isinstance(given, tuple | list) and given:
        return f"a {kind} of {len(given)}", "return its logits alone, such as return out[0]"
    return f"a {kind}", "return its logits alone"


def unfit(outputs: object, examples: int, must: str, otherwise: str = "choose another kind") -> BadInput:
    """Say what a model must return, for outputs that do not fit its kind."""
    shape, so = received(outputs)
    return BadInput(f"the model must return {must} (got {shape} for a batch of {examples}); {so}, or {otherwise}")


class Kind:
    """One kind of task. To add one, subclass this and pass an instance to the task, or install it by an entry point.

    name: the kind's name. what: what such a model is called. example: what one item of the test set is called.
    answers: the arrays that a run saves for the test set, each with its number of axes. The first axis is the
        examples, except in `sampled` (only some examples) and `by_run` (no axis of examples).
    scores: one number for each run; the first is the performance. figures: what is measured, in order.
    by_example: whether the test examples are drawn one by one, so that errors can allow for other test examples.
    feed: how training reads the data: "examples", in shuffled mini-batches; or "sequence", a text window by window.
    losses: the names of the losses in a recipe that it accepts.
    curve: the name of a second training curve besides "loss": the percentage that `right` counts; empty for none.
    """

    name: str = ""
    what: str = "model"
    example: str = "example"
    answers: Mapping[str, int] = MappingProxyType({"outputs": 2})
    sampled: tuple[str, ...] = ()
    by_run: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    own_figures: tuple[Figure, ...] = ()
    by_example: bool = False
    feed: str = "examples"
    curve: str = ""
    losses: tuple[str, ...] = ()

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What is measured for runs of this kind: its own measures, then those that other packages have added."""
        others = [extensions.load("nondet.figures", name) for name in extensions.names("nondet.figures")]
        return (*self.own_figures, *(figure for figure in others if self.name in figure.kinds))

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        """Return the object from which everything is measured, given the answers of N runs, each array `(N, ...)`."""
        raise NotImplementedError

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        """Return the labels of a part of the data, "train" or "test", as they are stored; BadInput unless they fit."""
        raise NotImplementedError

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        """Return a model's outputs for a mini-batch of `examples`; BadInput unless they fit the kind and the labels."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return a mini-batch's mean loss, which training minimises; it must be differentiable, also under vmap."""
        raise NotImplementedError

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and labels in the form that torch's losses expect."""
        return outputs, labels

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how many examples of a mini-batch are right; an example with several parts counts by its share."""
        return outputs.new_zeros(())

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        """Return what runs keep of their outputs `(R, B, ...)` for one test batch: arrays `(R, m, ...)` by name.

        labels: those of the same examples, `(B, ...)`.
        place: the number of known labels before this batch, and the number in the whole test set.
        """
        return {"outputs": outputs}

    def known(self, labels: Tensor) -> Tensor:
        """Return the test labels that are measured, `(m, ...)`, as the study stores them."""
        return labels
