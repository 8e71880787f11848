"""A kind of task: what its outputs are, and everything that follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.io import extensions
from nondet.measures.figure import Figure, Score

if TYPE_CHECKING:
    from torch import Tensor


def received(outputs: object) -> tuple[str, str]:
    """What a model returned that its kind does not take, in words, and what it should return instead."""
    given: Any = outputs
    if hasattr(given, "detach"):
        return str(tuple(given.shape)), "mend its last layer"
    kind = type(given).__name__
    names = [str(name) for name in (given if isinstance(given, Mapping) else getattr(given, "__dict__", ()))]
    names = [*getattr(given, "_fields", names)]
    if names:
        chosen = f"out.{names[0]}" if hasattr(given, names[0]) else f"out[{names[0]!r}]"
        return f"a {kind} of {', '.join(names)}", f"return its logits alone, such as return {chosen}"
    if isinstance(given, tuple | list) and given:
        return f"a {kind} of {len(given)}", "return its logits alone, such as return out[0]"
    return f"a {kind}", "return its logits alone"


class Kind:
    """One kind of task. Subclass it for another, and give an instance to the task, or install it by an entry point.

    name: of the kind. what: what such a model is called. example: what one of the test set is called.
    answers: the arrays that a run leaves of the test set, each with its number of axes, the first of which is the
        examples but for those in `sampled` (of some examples) and `by_run` (of none).
    scores: one number for each run; the first is the performance. figures: what is measured, in order.
    by_example: whether the test examples are drawn one by one, so that errors can hold for others.
    feed: how it is read in training: "examples", in shuffled mini-batches; or "sequence", a text window by window.
    losses: those of a recipe, by name, that it takes.
    curve: the name of a second curve of training beside "loss", the percentage that `right` counts; none if empty.
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
        """What is measured of runs of this kind: its own figures, then those that others have added to it."""
        others = extensions.load_all("nondet.figures").values()
        return (*self.own_figures, *(figure for figure in others if self.name in figure.kinds))

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        """What the figures are computed from: the answers of N runs, each array `(N, ...)`."""
        raise NotImplementedError

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        """The labels of a part of the data, "train" or "test", as they are kept; BadInput unless they fit."""
        raise NotImplementedError

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        """What the model returns for a mini-batch of so many examples; BadInput unless it fits, also the labels."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over a mini-batch of what training makes small; it is differentiated, under vmap too."""
        raise NotImplementedError

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and labels as the losses of torch take them."""
        return outputs, labels

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How many examples of a mini-batch count in the second curve; a share, where an example is of parts."""
        return outputs.new_zeros(())

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        """What runs keep of their outputs `(R, B, ...)` for a batch of the test set: by name `(R, m, ...)`.

        labels: of the same examples `(B, ...)`. place: how many of the labels before these are known, and of all.
        """
        return {"outputs": outputs}

    def known(self, labels: Tensor) -> Tensor:
        """The labels of the test set that are measured, `(m, ...)`, as the study keeps them."""
        return labels
