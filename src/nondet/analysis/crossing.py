"""What a crossed design found: the variance of its runs, taken apart by source, as JSON, table and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.analysis.reach import CAUSES, outputs_digest
from nondet.analysis.runs import is_text, sound_runs
from nondet.measures.arrays import predictions
from nondet.measures.language import perplexity, token_cross_entropy
from nondet.measures.variability import accuracy, cross_entropy
from nondet.stats.components import UNKNOWN, Component, Components, Estimate, disagreement_by_set, variance_components
from nondet.study.design import Crossed
from nondet.study.record import Study
from nondet.study.store import Stored

DASH = "\N{EN DASH}"
TIMES = " \N{MULTIPLICATION SIGN} "
SHOWN = 5
"""Failed runs that are named."""

DECIDED = 0.5
"""A share whose whole interval is above this is most of the variance."""


@dataclass(frozen=True)
class Crossing:
    """A crossed design: how many runs are there, which failed, and what they say once every cell has a sound one.

    failures: number of the failed run -> epoch, both counted from 1.
    split: accuracy (or perplexity) and cross_entropy -> their components; empty while a cell is.
    disagreement: in percent, of the pairs of runs that differ in exactly a set of sources.
    dead: the sources whose seeds change no output of any run.
    """

    design: Crossed
    text: bool
    runs: int
    failures: Mapping[int, int]
    split: Mapping[str, Components]
    disagreement: tuple[tuple[tuple[int, ...], Estimate], ...]
    dead: tuple[str, ...] = ()

    def is_dead(self, s: tuple[int, ...]) -> bool:
        """Whether a set of sources holds a dead one: then it has no part of its own in anything."""
        return any(self.design.vary[axis] in self.dead for axis in s)

    @property
    def performance(self) -> str:
        return "perplexity" if self.text else "accuracy"

    def as_dict(self) -> dict[str, Any]:
        """The fields `crossed` and `components` of `nondet show --json`."""
        return {
            "crossed": {
                "vary": list(self.design.vary),
                "levels": self.design.levels,
                "runs": self.runs,
                "failed": len(self.failures),
                **{name: self._summary(name) for name in (self.performance, "cross_entropy")},
            },
            "components": [
                {
                    "sources": [self.design.vary[axis] for axis in s],
                    "dead": self.is_dead(s),
                    **self._part(self.performance, number),
                    "cross_entropy": self._part("cross_entropy", number),
                    "disagreement": pairs.as_dict("mean"),
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
        return {"mean": found.mean, **found.total.as_dict("variance"), "interactions": interactions, "alone": alone}

    def _part(self, name: str, number: int) -> dict[str, float | None]:
        found = self.split.get(name)
        return _component(found.parts[number][1] if found else None)


def _component(c: Component | None) -> dict[str, float | None]:
    variance, share = (c.variance, c.share) if c else (UNKNOWN, UNKNOWN)
    sides = {f"variance_{side}": value for side, value in variance.as_dict().items() if side != "value"}
    return {"variance": variance.value, **share.as_dict("share"), **sides}


def read_crossing(study: Study, stored: Mapping[str, Stored]) -> Crossing | None:
    """What the runs of a study's crossed design say; None if it has none."""
    design = study.crossed
    if design is None:
        return None
    sound, failures = sound_runs(study, design, stored)
    crossing = Crossing(design, is_text(study), len(sound) + len(failures), failures, {}, ())
    if len(sound) < design.runs:
        return crossing
    cells = (design.levels,) * len(design.vary)
    values, predicted = _figures(study, [sound[number] for number in sorted(sound)])
    split = {name: variance_components(each.reshape(cells)) for name, each in values.items() if np.isfinite(each).all()}
    disagreement = disagreement_by_set(predicted.reshape(*cells, -1))
    digests = [outputs_digest(sound[number]) for number in sorted(sound)]
    return Crossing(design, crossing.text, crossing.runs, failures, split, disagreement, _dead(design, digests))


def _dead(design: Crossed, digests: Sequence[bytes]) -> tuple[str, ...]:
    """The sources along whose axes all runs' outputs are equal to the last bit."""
    numbers = {digest: number for number, digest in enumerate(dict.fromkeys(digests))}
    cells = np.array([numbers[digest] for digest in digests]).reshape((design.levels,) * len(design.vary))
    return tuple(source for axis, source in enumerate(design.vary) if (cells == cells.take([0], axis=axis)).all())


def _figures(study: Study, runs: list[Stored]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each run's performance and cross-entropy, (N,), and predictions, (N, n)."""
    if is_text(study):
        losses = token_cross_entropy(np.stack([run.arrays["logprob"] for run in runs]))
        values = {"perplexity": perplexity(losses), "cross_entropy": losses}
        return values, np.stack([run.arrays["prediction"] for run in runs])
    outputs = np.stack([run.arrays["outputs"] for run in runs])
    values = {"accuracy": accuracy(outputs, study.labels), "cross_entropy": cross_entropy(outputs, study.labels)}
    return values, predictions(outputs)


def head(crossing: Crossing) -> tuple[str, ...]:
    performance = "PPL" if crossing.text else "accuracy"
    return ("what varies", f"{performance} variance (%)", "95 %", "CE variance (%)", "95 %", "disagree (%)", "95 %")


def rows(crossing: Crossing) -> list[tuple[str, ...]]:
    """A row for each set of sources: its shares of the variance, and how far runs are apart that differ in it alone."""
    table: list[tuple[str, ...]] = []
    for number, (s, pairs) in enumerate(crossing.disagreement):
        name = TIMES.join(crossing.design.vary[axis] for axis in s)
        if crossing.is_dead(s):
            table.append((f"{name} (dead)", *(DASH,) * (len(head(crossing)) - 1)))
        else:
            shares = _share_cells(crossing, lambda found, number=number: found.parts[number][1])
            table.append((name, *shares, _plus_minus(pairs, 1, 2), _range(pairs, 1, 2)))
    if len(crossing.design.vary) > 2 and table:
        table.append(("all interactions", *_share_cells(crossing, lambda found: found.interactions), DASH, DASH))
    return table


def _share_cells(crossing: Crossing, part: Callable[[Components], Component]) -> tuple[str, ...]:
    found = [crossing.split.get(name) for name in (crossing.performance, "cross_entropy")]
    shares = [part(split).share if split else UNKNOWN for split in found]
    return tuple(cell for share in shares for cell in (_plus_minus(share, 100, 0), _range(share, 100, 0)))


def _plus_minus(e: Estimate, unit: float, decimals: int) -> str:
    if e.value is None:
        return DASH
    value = round(unit * e.value, decimals) + 0.0  # no -0
    return f"{value:.{decimals}f}" + ("" if e.error is None else f" ± {unit * e.error:.{decimals}f}")


def _range(e: Estimate, unit: float, decimals: int) -> str:
    if e.low is None or e.high is None:
        return DASH
    return f"{unit * e.low:.{decimals}f} to {unit * e.high:.{decimals}f}"


def words(crossing: Crossing) -> list[str]:
    """What the crossing says, in two or three sentences; or why it says nothing."""
    design = crossing.design
    if crossing.failures:
        named = [f"run {run} at epoch {epoch}" for run, epoch in crossing.failures.items()]
        more = len(named) - SHOWN
        failed = "; ".join(named[:SHOWN]) + (f" and {more} other{'s' * (more > 1)}" if more > 0 else "")
        return [
            f"Of the crossed design's runs {len(crossing.failures)} failed ({failed}), and variance components need a "
            "sound run in every cell, so there are none; try a lower learning rate (--set lr=...) in a new study."
        ]
    if not crossing.disagreement:
        return [f"The crossed design has {crossing.runs} of its {design.runs} runs: variance components need them all."]
    if len(crossing.dead) == len(design.vary):
        return dead_words(crossing)
    return [*dead_words(crossing), _variance_words(crossing), _disagreement_words(crossing)]


def dead_words(crossing: Crossing) -> list[str]:
    """Which of the crossed sources reach nothing, and why that may be; nothing if all reach something."""
    if not crossing.dead:
        return []
    causes = "; ".join(f"{source}: {CAUSES[source]}" for source in crossing.dead if source in CAUSES)
    return [
        f"DEAD: in the crossed design no seed of {' or '.join(crossing.dead)} changes an output of any run, not by a "
        "bit. This is not an effect of 0, and it counts in no finding."
        + (f" Likely causes: {causes}." if causes else "")
    ]


def _variance_words(crossing: Crossing) -> str:
    found, design = crossing.split.get(crossing.performance), crossing.design
    if found is None:
        return "The perplexity of a run is beyond all bounds, so its variance cannot be shared out."
    total = [math.sqrt(v or 0.0) for v in (found.total.value, found.total.low, found.total.high)]
    if not total[0]:
        return f"All {design.runs} runs have the same {crossing.performance}: there is no variance to share out."
    named = [*((f"{design.vary[s[0]]} alone", c) for s, c in found.parts if len(s) == 1 and not crossing.is_dead(s))]
    named.append(("what they do together", found.interactions))
    shares = [f"{name} {_share_words(c.share)}" for name, c in named]
    most = [name for name, c in named if (c.share.low or 0.0) > DECIDED]
    verdict = (
        f"most of it is due to {most[0]}"
        if most
        else f"{design.levels} levels do not decide what causes most of it; more --levels narrow the intervals"
    )
    unit = "" if crossing.text else " points"
    return (
        f"Between runs whose seeds of {', '.join(design.vary)} are all new, {crossing.performance} has an SD of "
        f"{total[0]:.3g}{unit} ({total[1]:.2g} to {total[2]:.2g}) around {found.mean:.2f}; the shares of that variance "
        f"are: {', '.join(shares[:-1])}, and {shares[-1]}, with 95 % intervals in brackets; {verdict}."
    )


def _share_words(share: Estimate) -> str:
    value, low, high = (100 * (v or 0.0) for v in (share.value, share.low, share.high))
    if value < 0:
        return f"none that shows (at most {high:.0f} %)"
    if value > 100:
        return f"all that shows (at least {low:.0f} %)"
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def _disagreement_words(crossing: Crossing) -> str:
    what = "tokens" if crossing.text else "examples"
    single = [
        f"{_plus_minus(pairs, 1, 2)} % where {crossing.design.vary[s[0]]} alone differs"
        for s, pairs in crossing.disagreement
        if len(s) == 1 and not crossing.is_dead(s)
    ]
    together = _plus_minus(crossing.disagreement[-1][1], 1, 2)
    return f"Two runs disagree on {', '.join(single)}, and on {together} % of the test {what} where all differ."
