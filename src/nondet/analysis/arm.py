"""One arm of a comparison: runs with one number each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.reader import control_is_zero
from nondet.analysis.runs import Runs
from nondet.kinds.scores import ARRAY
from nondet.measures.figure import Score
from nondet.measures.shape import Shape, about, shape_of, shape_words
from nondet.stats.estimate import Estimate
from nondet.stats.looks import after_rule
from nondet.stats.spread import population_sd, sd_of
from nondet.stats.values import Floats


@dataclass(frozen=True, eq=False)
class Arm:
    """Runs of one kind with one number each, and what shows whether they are independent.

    Attributes:
        runs: the runs. metric: what `values` are. values: one number per run, `(N,)`.
        numbers: of the runs, counted from 1. run_names: the runs' names for people, if they have any.
        digests: of each run's outputs, rounded to float32: the same run in two files has equal ones.
        seeds: of each run, the seeds of the sources that vary; None for outputs that no study made.
        points: features of each run's outputs that tell near-copies from other runs; see `features`.
        copies: runs that were left out, each with the earlier one that it equals or nearly equals; see `listed_copies`.
        failed: how many further runs failed.
        paired: whether runs with equal seeds are pairs by design, however their values correlate.
        notes: what a reader must know about the arm, a sentence each.
    """

    name: str
    runs: Runs
    metric: Score
    values: Floats
    numbers: tuple[int, ...]
    digests: tuple[str, ...]
    seeds: tuple[Mapping[str, int], ...] | None = None
    run_names: tuple[str, ...] = ()
    points: NDArray[Any] | None = None
    copies: tuple[dict[str, int], ...] = ()
    failed: int = 0
    paired: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def of_scores(self) -> bool:
        """Whether only scores of the runs are known, and none of their answers."""
        return list(self.runs.kind.answers) == [ARRAY]

    @cached_property
    def predictions(self) -> NDArray[np.integer] | None:
        """What each run predicts, `(N, n)`; None for runs that predict no classes."""
        found = getattr(self.runs.answers, "predicted", None)
        return None if found is None else found.astype(np.int32)

    @property
    def classes_alone(self) -> bool:
        """Whether these are outputs that no study made, of which only predicted classes are known."""
        return self.runs.study is None and self.runs.answers.classes_alone

    @property
    def probabilities(self) -> bool:
        """Whether these are outputs that no study made, and look like probabilities instead of logits."""
        return self.runs.study is None and getattr(self.runs.answers, "probabilities", False)

    @property
    def control(self) -> bool | None:
        """Whether the study's control is exactly zero; None if not known."""
        return control_is_zero(self.runs.study) if self.runs.study and self.runs.made else None

    @property
    def sd(self) -> Estimate:
        """The SD of these runs as every table shows it, with its interval.

        For outputs it is as in the protocol (ddof = 0), for scores in files as in spreadsheets (ddof = 1).
        """
        sd = (sd_of if self.of_scores and self.runs.study is None else population_sd)(self.values)
        if self.runs.by_rule:
            sd = after_rule(sd, len(self), 0.0, float(self.values.std()))
        return sd.within(0.0, max(self.metric.most, sd.value))

    @cached_property
    def shape(self) -> Shape:
        """The shape of the values, in which some runs may have collapsed."""
        return shape_of(self.values, self.metric.better, self.predictions, self.runs.labels)

    @property
    def named(self) -> Sequence[object]:
        """The runs as people call them."""
        return self.run_names or self.numbers

    @property
    def cautions(self) -> list[str]:
        """What in the values makes their intervals miss the truth more often than they say, a sentence each."""
        said = shape_words(self.shape, self.values, self.metric.words, self.named)
        return [about(self.name, sentence) for sentence in said]

    def keep(self, places: Sequence[int]) -> Arm:
        """Return the arm with only the runs at these places."""
        listed = ("numbers", "digests", "seeds", "run_names")
        parts: dict[str, Any] = {name: getattr(self, name) for name in listed}
        kept = {name: tuple(part[i] for i in places) if part else part for name, part in parts.items()}
        points = None if self.points is None else self.points[places]
        return replace(self, runs=self.runs.only(places), values=self.values[places], points=points, **kept)
