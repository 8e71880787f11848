"""One run of each of two models on many examples: what it says about these models, not about their recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.compare import check_options
from nondet.analysis.comparison import Several, Verdict, sides, verdict_of
from nondet.analysis.groups import read_groups
from nondet.analysis.one_run import OneRun
from nondet.errors import BadInput
from nondet.records import picked
from nondet.stats.estimate import Estimate
from nondet.stats.examples import difference_of, error_of_mean, mcnemar, p_within_without_flips
from nondet.stats.holm import holm
from nondet.stats.values import Floats

Clusters = str | Path | ArrayLike


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Model B compared with model A on the same examples.

    Attributes:
        a, b: names. metric: the score of an example. points: the unit of a difference.
        examples: how many both answered. clusters: how many clusters these form; None without clusters.
        means: of A and of B. errors: standard errors of these means, and of the difference, over examples.
        difference: mean of B - A, with its interval at 1 - level over examples.
        better_in, worse_in: examples on which B scores higher, and lower, than A.
        binary: whether every score is right or wrong. Then the two numbers above count flips, and p_value is the exact
            McNemar test's (without clusters); otherwise it is the paired t-test's.
        p_holm: `p_value` adjusted for several comparisons. p_alike: of a difference outside the margin.
        verdict: on model B. notes: what else a reader must know. sentence: the verdict in words.
    """

    a: str
    b: str
    metric: str
    points: str
    examples: int
    clusters: int | None
    means: tuple[float, float]
    errors: tuple[float, float, float]
    difference: Estimate
    better_in: int
    worse_in: int
    binary: bool
    p_value: float
    p_holm: float
    p_alike: float | None
    mcnemar: float | None
    verdict: Verdict = "undecided"
    level: float
    margin: float | None
    comparisons: int = 1
    better: int
    notes: tuple[str, ...]
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON. What only more runs of a recipe could show is null."""
        flips = {"b_only": self.better_in, "a_only": self.worse_in, "p_value": self.mcnemar}
        return {
            **picked(self, "a b metric"),
            "runs": {"a": 1, "b": 1},
            **picked(self, "examples clusters"),
            "mean": {"a": self.means[0], "b": self.means[1]},
            "errors": dict(zip(("a", "b", "difference"), self.errors, strict=True)),
            "difference": sides(self.difference),
            "mcnemar": flips if self.binary else None,
            **picked(self, "better_in worse_in p_value p_alike"),
            "superiority": None,
            "sd_ratio": None,
            "churn": None,
            "verdict": self.verdict,
            "more_runs": None,
            **picked(self, "level margin"),
            "notes": list(self.notes),
            "sentence": self.sentence,
        }


@dataclass(frozen=True, repr=False)
class ModelComparisons(Several):
    """Comparisons of two models by their examples."""

    comparisons: tuple[ModelComparison, ...]

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each comparison."""
        names = ("a", "b", "metric", "examples", "better_in", "worse_in", "p_value", "verdict")
        found = {name: [getattr(c, name) for c in self.comparisons] for name in names}
        ends = {"difference_estimate": "value", "difference_low": "low", "difference_high": "high"}
        return found | {name: [getattr(c.difference, e) for c in self.comparisons] for name, e in ends.items()}


def compare_models(
    arms: Sequence[OneRun], margin: float | None = None, level: float = 0.05, cluster: Clusters | None = None
) -> ModelComparisons:
    """Compare each model with the first, on the examples that both answered.

    cluster: a key in the logs or tables; or the cluster of each example, `(n,)`, or a file of these. Examples of one
    cluster may depend on each other. BadInput if the examples or the metrics differ.
    """
    check_options(margin, level)
    a, *others = arms
    found = [_compared(a, b, margin, level, cluster) for b in others]
    different = holm([c.p_value for c in found])
    alike = holm([1.0 if c.p_alike is None else c.p_alike for c in found])
    done: list[ModelComparison] = []
    for c, p_holm, p_alike in zip(found, different, alike, strict=True):
        p_within = None if margin is None else p_alike
        verdict = verdict_of(c.difference.value, c.better, p_holm, p_within, level)
        done.append(replace(c, p_holm=p_holm, p_alike=p_within, verdict=verdict, comparisons=len(found)))
    return ModelComparisons(tuple(done))


def _compared(a: OneRun, b: OneRun, margin: float | None, level: float, cluster: Clusters | None) -> ModelComparison:
    if a.metric != b.metric:
        raise BadInput(
            f"{a.name} and {b.name} must have the same score (got {a.metric!a} and {b.metric!a}); name <<metric>>"
        )
    x, y, ids, notes = _matched(a, b)
    groups = None if cluster is None else _clusters(a, b, ids, cluster)
    shift = difference_of(x, y, groups)
    binary = bool(np.isin(np.concatenate([x, y]), (0.0, a.unit)).all())
    higher, lower = int(np.count_nonzero(y > x)), int(np.count_nonzero(y < x))
    exact = mcnemar(lower, higher) if binary else None
    t_test = shift.p_value()
    p_value = exact if exact is not None and groups is None else 1.0 if t_test is None else t_test
    p_alike = None if margin is None else shift.p_within(margin)
    if margin is not None and not higher + lower and binary and groups is None:
        p_alike = p_within_without_flips(len(x), margin / a.unit)
    return ModelComparison(
        a=a.name,
        b=b.name,
        metric=a.metric,
        points="points" if a.unit == 100 else "",
        examples=len(x),
        clusters=None if groups is None else len(set(groups)),
        means=(float(x.mean()), float(y.mean())),
        errors=(error_of_mean(x, groups)[0], error_of_mean(y, groups)[0], shift.error),
        difference=Estimate(shift.estimate, shift.error, *(shift.interval(level) or (float("nan"), float("nan")))),
        better_in=higher,
        worse_in=lower,
        binary=binary,
        p_value=p_value,
        p_holm=p_value,
        p_alike=p_alike,
        mcnemar=exact,
        level=level,
        margin=margin,
        better=a.better,
        notes=tuple(notes),
    )


def _matched(a: OneRun, b: OneRun) -> tuple[Floats, Floats, list[str], list[str]]:
    """Return the scores of the examples that both answered, their names, and a note on those that only one has."""
    places = {name: place for place, name in enumerate(b.ids)}
    shared = [(i, places[name]) for i, name in enumerate(a.ids) if name in places]
    named = bool(a.details or b.details)
    if len(shared) < 2 or (not named and len(a.ids) != len(b.ids)):
        raise BadInput(
            f"both must answer the same examples ({a.name} has {len(a.ids)}, {b.name} {len(b.ids)}, and {len(shared)} "
            "are in both); give scores of the same test set"
        )
    for i, _ in shared:
        name = a.ids[i]
        if a.marks.get(name, "") != b.marks.get(name, a.marks.get(name, "")) and name in a.marks:
            raise BadInput(
                f"both must answer the same examples ({name!a} is not the same in {a.name} as in {b.name}); give logs "
                "of one version of the task"
            )
    left = len(a.ids) + len(b.ids) - 2 * len(shared)
    notes = [f"{left} examples are left out: only one of {a.name} and {b.name} has them."] if left else []
    rows = np.array(shared)
    return a.values[rows[:, 0]], b.values[rows[:, 1]], [a.ids[i] for i, _ in shared], notes


def _clusters(a: OneRun, b: OneRun, ids: Sequence[str], cluster: Clusters) -> list[str]:
    """Return the cluster of each example."""
    details = a.details or b.details
    if isinstance(cluster, str | Path) and details:
        missing = [name for name in ids if str(cluster) not in details.get(name, {})]
        if missing:
            keys = list(details[missing[0]]) if missing[0] in details else []
            raise BadInput(
                f"<<cluster>> must be a key that each example has (got {str(cluster)!a}, which {missing[0]!a} lacks); "
                f"choose from {', '.join(map(ascii, keys[:8])) or 'none'}"
            )
        groups = [str(details[name][str(cluster)]) for name in ids]
    else:
        given = read_groups(cluster, "cluster", len(a.ids))
        by_name = dict(zip(a.ids, map(str, given), strict=True))
        groups = [by_name[name] for name in ids]
    if len(set(groups)) < 2:
        raise BadInput(f"<<cluster>> must have at least 2 clusters (got {len(set(groups))}); leave it out")
    return groups
