"""What a crossed design found: the variance of its runs, split by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.analysis.reader import Reader
from nondet.analysis.runs import Failure
from nondet.kinds import Kind
from nondet.stats.components import Component, Components, disagreement_by_set, variance_components
from nondet.stats.estimate import UNKNOWN, Estimate, number
from nondet.study.design import Crossed
from nondet.study.study import Study


@dataclass(frozen=True)
class Crossing:
    """A crossed design: how many runs are there, which failed, and what they show once every cell has a sound run.

    failures: number of the failed run, from 1 -> why and when it failed.
    split: accuracy (or perplexity) and cross_entropy -> their components; empty while any cell is empty.
    disagreement: for each set of sources, in percent: how much runs disagree that differ in exactly these.
    dead: the sources whose seeds change no output of any run.
    """

    design: Crossed
    kind: Kind
    runs: int
    failures: Mapping[int, Failure]
    split: Mapping[str, Components]
    disagreement: tuple[tuple[tuple[int, ...], Estimate], ...]
    dead: tuple[str, ...] = ()

    def is_dead(self, s: tuple[int, ...]) -> bool:
        """Whether a set of sources contains a dead one; such a set has no effect of its own."""
        return any(self.design.vary[axis] in self.dead for axis in s)

    @property
    def performance(self) -> str:
        """The name of the kind's first score."""
        return self.kind.scores[0].name

    def to_dict(self) -> dict[str, Any]:
        """The fields `crossed` and `components` of `nondet show --json`."""
        return {
            "crossed": {
                "vary": list(self.design.vary),
                "levels": self.design.levels,
                "runs": self.runs,
                "failed": len(self.failures),
                **{name: self._summary(name) for name in (score.name for score in self.kind.scores)},
            },
            "components": [
                {
                    "sources": [self.design.vary[axis] for axis in s],
                    "dead": self.is_dead(s),
                    **self._part(self.performance, number),
                    "cross_entropy": self._part("cross_entropy", number),
                    "disagreement": pairs.to_dict("mean"),
                }
                for number, (s, pairs) in enumerate(self.disagreement)
            ],
        }

    def _summary(self, name: str) -> dict[str, Any] | None:
        if name not in self.split:
            return None
        found = self.split[name]
        alone = {source: _component(c) for source, c in zip(self.design.vary, found.alone, strict=True)}
        interactions = _component(found.interactions)
        return {"mean": found.mean, **found.total.to_dict("variance"), "interactions": interactions, "alone": alone}

    def _part(self, name: str, number: int) -> dict[str, float | None]:
        found = self.split.get(name)
        return _component(found.parts[number][1] if found else None)


def _component(c: Component | None) -> dict[str, float | None]:
    variance, share = (c.variance, c.share) if c else (UNKNOWN, UNKNOWN)
    sides = {f"variance_{side}": value for side, value in variance.to_dict().items() if side != "value"}
    return {"variance": number(variance.value), **share.to_dict("share"), **sides}


def read_crossing(study: Study, reader: Reader) -> Crossing | None:
    """Measure the runs of a study's crossed design; None if it has no such design."""
    design = study.crossed
    if design is None:
        return None
    runs = reader.runs(design)
    there = len(runs.made) + len(runs.failed)
    if len(runs.made) < design.runs:
        return Crossing(design, runs.kind, there, runs.failures, {}, ())
    cells = (design.levels,) * len(design.vary)
    scores = runs.scores()
    split = {name: variance_components(each.reshape(cells)) for name, each in scores.items() if np.isfinite(each).all()}
    predicted = getattr(runs.answers, "predicted", None)
    disagreement = () if predicted is None else disagreement_by_set(predicted.reshape(*cells, -1))
    dead = _dead(design, [made.digest for made in runs.made])
    return Crossing(design, runs.kind, there, runs.failures, split, disagreement, dead)


def _dead(design: Crossed, digests: Sequence[bytes]) -> tuple[str, ...]:
    """Return the sources along whose axes all outputs are equal to the last bit."""
    numbers = {digest: number for number, digest in enumerate(dict.fromkeys(digests))}
    cells = np.array([numbers[digest] for digest in digests]).reshape((design.levels,) * len(design.vary))
    return tuple(source for axis, source in enumerate(design.vary) if (cells == cells.take([0], axis=axis)).all())
