"""What a user says about the arms of a question, besides their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from nondet.io.roles import Asked

Better = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class Options:
    """How arms are read, and which of them.

    Attributes:
        labels: of outputs: class numbers, or a file of them. columns: those of a table that contain outputs.
        metric: a score of the runs' kind, or a column of scores; the first if left out.
        arm, seed, dataset: columns of a table of scores, as in `Asked`.
        of: the arm that others are compared with, or the one that is used. against: these others; all if empty.
        paired: whether runs with equal seeds are pairs by design.
        better: which scores are better; by the metric's name if None.
        compared: whether means are compared at all, so that the direction and the pairs are mentioned.
        say: is called with what was read as what, and what was left out.
    """

    labels: str | Path | ArrayLike | None = None
    columns: Sequence[str] = ()
    metric: str | None = None
    arm: str = ""
    seed: str = ""
    dataset: str = ""
    of: str = ""
    against: tuple[str, ...] = ()
    paired: bool = False
    better: Better | None = None
    compared: bool = True
    say: Callable[[str], None] = lambda line: None

    @property
    def asked(self) -> Asked:
        """What is said about a table of scores."""
        wanted = tuple(filter(None, (self.of, *self.against)))
        return Asked((self.metric,) if self.metric else (), self.arm, self.seed, self.dataset, wanted)

    @property
    def for_outputs(self) -> bool:
        """Whether something is said that only outputs have."""
        return self.labels is not None or bool(self.columns)


PLAIN = Options()
