"""Is B better than A over several data sets or tasks? On each of them, on their average, and on others like them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nondet.analysis.arm import Arm
from nondet.analysis.compare import compare
from nondet.analysis.comparison import Comparison, Several, Verdict, sides, verdict_of
from nondet.errors import BadInput
from nondet.measures.figure import Score
from nondet.records import finding, picked
from nondet.stats.datasets import Ranks, bootstrapped, improvement, interquartile_mean, mean_shift, ranks, signed_rank
from nondet.stats.estimate import Estimate, number
from nondet.stats.holm import holm


@dataclass(frozen=True)
class OverSets:
    """B compared with A over data sets.

    Attributes:
        a, b: the arms' names. by_set: the comparison on each data set, adjusted for their number (Holm).
        difference: mean over the data sets of the differences of means, B - A, with its interval at 1 - level, for
            other runs on these data sets. p_value: of the test that it is 0. p_holm: adjusted for several arms.
        iqm: interquartile means of A and of B, and B's minus A's. improvement: the chance, over data sets, that a run
            of B beats one of A. Both have stratified bootstrap intervals.
        wilcoxon: statistic and p-value of the signed-rank test over data sets. wilcoxon_holm: adjusted likewise.
        verdict: on B by the mean over these data sets, at `level`. sentence: the verdict in words.
    """

    a: str
    b: str
    by_set: Mapping[str, Comparison]
    difference: Estimate
    p_value: float
    p_holm: float
    iqm: tuple[Estimate, Estimate, Estimate]
    improvement: Estimate
    wilcoxon: tuple[float, float]
    wilcoxon_holm: float
    verdict: Verdict
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "datasets": [{"dataset": name, **c.to_dict(), "p_holm": c.p_holm} for name, c in self.by_set.items()],
            "difference": sides(self.difference),
            **picked(self, "p_value p_holm"),
            "iqm": dict(zip(("a", "b", "difference"), map(sides, self.iqm), strict=True)),
            "probability_of_improvement": sides(self.improvement),
            "wilcoxon": {
                "statistic": number(self.wilcoxon[0]),
                "p_value": self.wilcoxon[1],
                "p_holm": self.wilcoxon_holm,
            },
            "verdict": self.verdict,
        }


@dataclass(frozen=True, repr=False, kw_only=True)
class OverDatasets(Several):
    """Arms compared with the first over data sets.

    arms: the names, A's first. ranks: Friedman's and Nemenyi's tests, for at least three arms and three data sets.
    """

    comparisons: tuple[OverSets, ...]
    metric: Score
    datasets: tuple[str, ...]
    arms: tuple[str, ...]
    ranks: Ranks | None
    level: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet compare` over data sets: a single comparison, or a list of several."""
        found: dict[str, Any] = {"metric": self.metric.name, "level": self.level}
        several = [c.to_dict() for c in self.comparisons]
        found |= several[0] if len(several) == 1 else {"comparisons": several}
        friedman = self.ranks and {
            "statistic": self.ranks.statistic,
            "p_value": self.ranks.p_value,
            "ranks": dict(zip(self.arms, self.ranks.mean, strict=True)),
            "nemenyi": [{"a": self.arms[i], "b": self.arms[j], "p_value": p} for (i, j), p in self.ranks.pairs.items()],
        }
        return {**found, "friedman": friedman, "sentence": self.sentence, **finding(self)}

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each comparison and data set."""
        rows = [
            {"dataset": name, "a": c.a, "b": c.b, **sides(c.difference), "p_value": c.p_value, "verdict": c.verdict}
            for over in self.comparisons
            for name, c in over.by_set.items()
        ]
        return {name: [row[name] for row in rows] for name in rows[0]}


def compare_over(by_set: Mapping[str, Sequence[Arm]], level: float = 0.05) -> OverDatasets:
    """Compare the arms of each data set, the same in the same order, with the first, and all data sets together."""
    found = {name: compare(arms, None, level) for name, arms in by_set.items()}
    arms = next(iter(by_set.values()))
    sign = arms[0].metric.better
    values = [[arms[place].values for arms in by_set.values()] for place in range(len(arms))]
    a, *others = values
    shifts = [mean_shift(a, b) for b in others]
    p_values = [shift.p_value() or 0.0 if shift.error else float(shift.estimate == 0) for shift in shifts]
    ranked = [signed_rank(a, b) for b in others]
    p_holm, w_holm = holm(p_values), holm([p for _, p in ranked])
    comparisons: list[OverSets] = []
    for place, (b, shift) in enumerate(zip(others, shifts, strict=True)):
        low, high = shift.interval(level) or (math.nan, math.nan)
        comparisons.append(
            OverSets(
                a=arms[0].name,
                b=arms[place + 1].name,
                by_set=_adjusted({name: c[place] for name, c in found.items()}, level),
                difference=Estimate(shift.estimate, shift.error, low, high),
                p_value=p_values[place],
                p_holm=p_holm[place],
                iqm=(
                    bootstrapped(interquartile_mean, a, level=level),
                    bootstrapped(interquartile_mean, b, level=level),
                    bootstrapped(lambda a, b: interquartile_mean(b) - interquartile_mean(a), a, b, level=level),
                ),
                improvement=bootstrapped(improvement, *([sign * x for x in arm] for arm in (a, b)), level=level),
                wilcoxon=ranked[place],
                wilcoxon_holm=w_holm[place],
                verdict=verdict_of(shift.estimate, sign, p_holm[place], None, level),
            )
        )
    return OverDatasets(
        comparisons=tuple(comparisons),
        metric=arms[0].metric,
        datasets=tuple(by_set),
        arms=tuple(arm.name for arm in arms),
        ranks=ranks(values, sign),
        level=level,
    )


def _adjusted(found: Mapping[str, Comparison], level: float) -> dict[str, Comparison]:
    """Adjust the verdicts for the number of data sets."""
    p_holm = holm([max(c.p_value, c.p_holm) for c in found.values()])
    adjusted: dict[str, Comparison] = {}
    for (name, c), p in zip(found.items(), p_holm, strict=True):
        kept = c.verdict if p <= level else "undecided"
        adjusted[name] = replace(c, p_holm=p, comparisons=len(found), verdict=kept)
    return adjusted


def refuse_margin(margin: float | None) -> None:
    """Refuse a margin: its unit is that of one data set."""
    if margin is not None:
        raise BadInput(
            f"<<margin>> is in the unit of one data set (got {margin} for several); leave it out, or compare on each "
            "data set by itself"
        )
