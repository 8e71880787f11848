"""Is B better than A? One comparison, or several with one A."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from nondet.analysis.arms import Arm
from nondet.analysis.cautions import arm_cautions, arm_shape, skewed_and_unequal
from nondet.analysis.criteria import (
    by_chance,
    check_criteria,
    conditions_of_one_study,
    more_by_chance,
    p_equal,
    with_examples,
)
from nondet.analysis.groups import groups_words, numbered_groups
from nondet.analysis.independence import environments_differ, pairs, separated, without_copies
from nondet.errors import BadInput
from nondet.kinds.scores import ARRAY
from nondet.measures.churn import Churn, churn
from nondet.measures.figure import Score
from nondet.measures.measured import listed_copies
from nondet.measures.shape import few_runs
from nondet.records import Record, finding
from nondet.stats.estimate import Estimate, number
from nondet.stats.holm import holm
from nondet.stats.jackknife import summed
from nondet.stats.looks import look_level
from nondet.stats.means import Shift, holding, paired, pairing_helps, permutation_p, sign_flip_p, welch, widened
from nondet.stats.power import fewest, power_of_difference, power_of_equivalence
from nondet.stats.spread import sd_ratio
from nondet.stats.superiority import superiority
from nondet.stats.values import Integers

Verdict = Literal["better", "worse", "different", "alike", "undecided"]
Method = Literal["welch", "paired", "widened"]

POWER = 0.8
"""The chance with which `more_runs` decide, if what was seen is the truth."""

LOOKS = (
    "This was one look: who adds runs and looks again until something is found errs more often than the level says. To "
    "look several times, plan how often before the first look."
)

MOST_RUNS = 10_000
"""No answer to "how many more runs" is larger."""


@dataclass(frozen=True)
class Comparison:
    """B compared with A.

    Attributes:
        a, b: the arms' names. metric: what they are compared by.
        runs: independent runs of A and of B. means: of A and of B. sds: likewise, as
            `nondet show` has them, with their intervals at 95 %.
        difference: of means, B - A, with its interval at 1 - level; in points of accuracy, nats, or perplexity.
        inner: the difference's interval at 1 - 2 level: with it inside the margin, the arms are alike.
        p_value: that the difference is 0: Welch's t-test, or that of the pairs; the permutation test's where no run
            of either arm differs from the others.
        p_permutation: of the permutation test; a verdict needs both, see `nondet.stats.means.holding`.
        p_holm: `p_value`, adjusted for several comparisons.
        p_alike: that the difference is outside of the margin, adjusted likewise; None without a margin.
        method: "welch": the runs were compared as independent ones; "paired": those with equal seeds as pairs;
            "widened": as independent ones, with the error that pairs among them add, which correlate below 0.
        pairs: how many pairs with equal seeds the method counts in; 0 for "welch".
        correlation: of the values of runs with equal seeds; None where there are none.
        superiority, superiority_interval: chance that one run of B beats one of A, ties counted half.
        sd_ratio: SD of B divided by SD of A.
        churn: of predictions; None of runs that predict no classes.
        verdict: on B, at `level`. more_runs: further runs of each arm that would be expected to decide; None if it is
            decided, or no number follows. more_runs_aim: what they would show, if what was seen is the truth.
        copies: runs of A and of B that were left out, each with the earlier one that it equals, or is near.
        collapsed: names of runs of A and of B that answer one class alone, or are far worse than the others.
        failed: how many further runs of A and of B failed.
        verdict_all, verdict_sound: where any run collapsed or failed, the verdict of all runs, those that failed
            counted as the worst; and of those that neither failed nor collapsed, None where too few are left.
        test_set: whether all runs are known to answer one test set, which of scores alone is not.
        notes: what else a reader must know, a sentence each. sentence: the verdict in words.
        more_runs_range: `more_runs` at the ends of the difference's 80 % interval; None for more than MOST_RUNS.
        conditions: whether these are two conditions of one study: then a difference is "different", for a source is not
            better than another. chance: that which the verdict goes by, in place of the means. examples: whether errors
            are of other test examples too. looks: how many are planned; `level` is that of each.
    """

    a: str
    b: str
    metric: Score
    runs: tuple[int, int]
    means: tuple[float, float]
    sds: tuple[Estimate, Estimate]
    difference: Estimate
    inner: tuple[float, float] | None
    p_value: float
    p_permutation: float
    p_holm: float
    p_alike: float | None
    method: Method
    pairs: int
    correlation: float | None
    superiority: float
    superiority_interval: tuple[float, float]
    sd_ratio: Estimate
    churn: Churn | None
    verdict: Verdict
    more_runs: int | None
    more_runs_aim: Literal["difference", "alike", ""]
    level: float
    margin: float | None
    comparisons: int
    notes: tuple[str, ...]
    copies: tuple[list[dict[str, int]], list[dict[str, int]]] = field(default_factory=lambda: ([], []))
    collapsed: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    failed: tuple[int, int] = (0, 0)
    verdict_all: Verdict | None = None
    verdict_sound: Verdict | None = None
    test_set: bool = True
    sentence: str = ""
    more_runs_range: tuple[int | None, int | None] | None = None
    conditions: bool = False
    chance: float | None = None
    examples: bool = False
    looks: int = 1

    @property
    def all_notes(self) -> list[str]:
        """The notes, and the caution for few runs."""
        return [*self.notes, *filter(None, [few_runs(dict(zip((self.a, self.b), self.runs, strict=True)))])]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.superiority_interval
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric.name,
            "runs": {"a": self.runs[0], "b": self.runs[1]},
            "mean": {"a": self.means[0], "b": self.means[1]},
            "sd": dict(zip("ab", (sd.value for sd in self.sds), strict=True)),
            "sd_interval": {
                arm: _interval((number(sd.low), number(sd.high))) for arm, sd in zip("ab", self.sds, strict=True)
            },
            "difference": _sides(self.difference),
            "mcnemar": None,
            "p_value": self.p_value,
            "p_permutation": self.p_permutation,
            "p_alike": self.p_alike,
            "method": self.method,
            "pairs": self.pairs,
            "correlation": self.correlation,
            "superiority": self.superiority,
            "superiority_interval": {"low": low, "high": high},
            "sd_ratio": _sides(self.sd_ratio),
            "churn": self.churn
            and {
                **{name: getattr(self.churn, name) for name in ("between", "within_a", "within_b", "excess")},
                "errors": self.churn.errors,
                "excess_interval": _interval(self.churn.interval),
            },
            "verdict": self.verdict,
            "more_runs": self.more_runs,
            "more_runs_aim": self.more_runs_aim or None,
            "more_runs_range": self.more_runs_range and _interval(self.more_runs_range),
            "compared": "conditions" if self.conditions else "recipes",
            "level": self.level,
            "looks": self.looks,
            "margin": self.margin,
            "chance": self.chance,
            "examples": self.examples,
            "copies": dict(zip("ab", self.copies, strict=True)),
            "collapsed": {arm: list(runs) for arm, runs in zip("ab", self.collapsed, strict=True)},
            "failed": dict(zip("ab", self.failed, strict=True)),
            "verdicts": {"all": self.verdict_all, "sound": self.verdict_sound},
            "notes": self.all_notes,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, repr=False)
class Several(Record):
    """One comparison, or several with one A; `found[0]` is the first."""

    comparisons: tuple[Any, ...]

    def __getitem__(self, number: int) -> Any:
        return self.comparisons[number]

    def __len__(self) -> int:
        return len(self.comparisons)

    @property
    def verdict(self) -> Verdict:
        """Of the first comparison."""
        return self.comparisons[0].verdict

    @property
    def difference(self) -> Estimate:
        """Of the first comparison."""
        return self.comparisons[0].difference

    @property
    def sentence(self) -> str:
        """All verdicts in words."""
        return " ".join(c.sentence for c in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet compare`: one comparison itself, or a list of several with their adjusted p-values."""
        records = [c.to_dict() for c in self.comparisons]
        if len(records) == 1:
            return {**records[0], **finding(self)}
        several = [{**r, "p_holm": c.p_holm} for r, c in zip(records, self.comparisons, strict=True)]
        return {"comparisons": several, **finding(self)}


@dataclass(frozen=True, repr=False)
class Comparisons(Several):
    """Comparisons of arms by their runs.

    broken: whether the control of a study among the arms is not zero. probabilities: the arms whose outputs look like
    probabilities, where logits are meant.
    """

    comparisons: tuple[Comparison, ...]
    broken: bool = False
    probabilities: tuple[str, ...] = ()

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each comparison."""
        rows = [
            {
                "a": c.a,
                "b": c.b,
                "metric": c.metric.name,
                "runs_a": c.runs[0],
                "runs_b": c.runs[1],
                **{f"difference_{side}": value for side, value in _sides(c.difference).items()},
                "p_value": c.p_value,
                "verdict": c.verdict,
            }
            for c in self.comparisons
        ]
        return {name: [row[name] for row in rows] for name in rows[0]}


def check_options(margin: float | None, level: float) -> None:
    """Refuse a margin that is not above 0 and a level that is no probability.

    Raises:
        BadInput: `margin` is not a finite number above 0, or `level` not above 0 and below 0.5.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise BadInput(f"margin must be above 0 (got {margin}); give the largest difference that does not matter")
    if not 0 < level < 0.5:
        raise BadInput(f"level must be above 0 and below 0.5 (got {level}); try 0.05")


def compare(
    arms: Sequence[Arm],
    margin: float | None = None,
    level: float = 0.05,
    *,
    chance: float | None = None,
    examples: bool = False,
    looks: int = 1,
    groups: str | Path | ArrayLike | None = None,
) -> Comparisons:
    """Compare each arm with the first; with several, verdicts go by Holm's adjusted p-values.

    Args:
        arms: at least two, of one test set and one metric.
        margin: the largest difference, in the metric's unit, within which two arms count as alike.
        level: the chance of a false `better` or `worse` in all comparisons together, and likewise of a false `alike`.
        chance: that a run of B beats one of A, by which the verdict goes in place of the means; see `by_chance`.
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.
        looks: how often the runs are looked at in all, this time included; see `look_level`.
        groups: with `examples`, of each the group with which it is drawn, or a file of these; see `numbered_groups`.

    Raises:
        BadInput: see `check_options`, `check_criteria`, `without_copies` and `separated`; or fewer than two arms.
    """
    check_options(margin, level)
    check_criteria(chance, margin, looks)
    level = look_level(level, looks)
    if len(arms) < 2:
        raise BadInput(f"arms must be at least 2 (got {len(arms)}); name what to compare with the first")
    a, *others = (without_copies(arm) for arm in arms)
    numbers = None if groups is None or not a.runs.kind.by_example else numbered_groups(groups, len(a.labels))
    measured = [_measured(a, b, margin, level, examples, numbers) for b in others]
    different = holm([m.found.p_value for m in measured])
    deciding = holm([_holding(m, level / len(others)) for m in measured])
    alike = holm([1.0 if m.found.p_alike is None else m.found.p_alike for m in measured])
    found: list[Comparison] = []
    for m, p_holm, p_alike, decides in zip(measured, different, alike, deciding, strict=True):
        one = replace(m.found, p_holm=p_holm, p_alike=None if margin is None else p_alike, comparisons=len(others))
        one = replace(one, chance=chance, examples=examples, looks=looks)
        one = _by_chance(one, m.arms, level / len(others)) if chance else replace(one, verdict=_verdict(one, decides))
        bold = skewed_and_unequal(m.arms, level) if one.verdict in ("better", "worse") and not chance else []
        one = replace(one, notes=(*one.notes, *_cautions(one), *bold))
        if one.verdict == "undecided" and looks == 1:
            one = replace(one, notes=(*one.notes, LOOKS))
        if one.verdict == "undecided" and not chance:
            parts = _as_tested(m, level / len(others))
            more, aim = _more_runs(one, parts, level / len(others))
            one = replace(one, more_runs=more, more_runs_aim=aim)
            one = replace(one, more_runs_range=_range_of_more(one, parts, level / len(others)) if more else None)
        one = _with_both_verdicts(one, m, level / len(others))
        found.append(replace(one, verdict=_of_conditions(one.verdict)) if one.conditions else one)
    probable = tuple(arm.name for arm in arms if arm.probabilities)
    return Comparisons(tuple(found), any(arm.control is False for arm in arms), probable)


@dataclass(frozen=True)
class _Parts:
    """Variances and numbers of runs that an error consists of: one of pairs, or one of each arm."""

    estimate: float
    variances: tuple[float, ...]
    runs: tuple[int, ...]
    added: tuple[float, int] | None = None  # what drawing the examples adds, and how many these are, or their groups

    def later(self, more: int) -> tuple[float, float]:
        """The error, and its degrees of freedom, after so many further runs of each."""
        runs = np.array(self.runs) + more
        variances, freedom = list(np.array(self.variances) / runs), list(runs - 1)
        if self.added:
            variances, freedom = [*variances, self.added[0]], [*freedom, self.added[1] - 1]
        return summed(variances, freedom)

    def exchanges(self, more: int = 0) -> float:
        """How many exchanges a permutation test has after so many further runs of each; 10^9 at the most."""
        runs = [n + more for n in self.runs]
        return min(1e9, 2.0 ** min(runs[0], 30) if len(runs) == 1 else float(special.comb(sum(runs), runs[0])))


@dataclass(frozen=True)
class _Measured:
    """A comparison as yet without a verdict, the arms without what they share, and what the error consists of."""

    found: Comparison
    arms: tuple[Arm, Arm]
    shift: Shift
    parts: _Parts
    groups: Integers | None


def _of_conditions(verdict: Any) -> Any:
    """A verdict on two conditions of one study: of which none is better."""
    return "different" if verdict in ("better", "worse") else verdict


def _by_chance(found: Comparison, arms: tuple[Arm, Arm], level: float) -> Comparison:
    """The comparison with the verdict that goes by the chance that B beats A, by its interval at this level."""
    a, b = (arm.metric.better * arm.values for arm in arms)
    verdict: Any = by_chance(*superiority(a, b, level)[1:], found.chance or 0.5)
    if found.comparisons > 1:
        said = f"Of {found.comparisons} comparisons the verdict on {found.b} goes by the interval of the chance at "
        found = replace(found, notes=(*found.notes, f"{said}{100 * (1 - level):.3g} %."))
    if verdict != "undecided":
        return replace(found, verdict=verdict)
    more = more_by_chance(found.superiority, found.runs, level, POWER, MOST_RUNS)
    return replace(found, verdict=verdict, more_runs=more, more_runs_aim="difference" if more < MOST_RUNS else "")


def _measured(
    a: Arm, b: Arm, margin: float | None, level: float, examples: bool = False, groups: Integers | None = None
) -> _Measured:
    a, b = separated(a, b)
    matched = pairs(a, b)
    method, shift, p_permutation, correlation, parts = _difference(a, b, matched)
    if examples:
        shift, *added = with_examples(shift, a, b, groups)
        parts = replace(parts, added=(added[0], added[1]))
    p_value = shift.p_value()
    sign = a.metric.better
    chance, low, high = superiority(sign * a.values, sign * b.values, level)
    cautions = (*arm_cautions(a), *arm_cautions(b))
    notes = dict.fromkeys(filter(None, (*a.notes, *b.notes, environments_differ(a, b), *cautions)))
    answered = _churn(a, b, level, matched)
    found = Comparison(
        a=a.name,
        b=b.name,
        metric=a.metric,
        runs=(len(a), len(b)),
        means=(float(a.values.mean()), float(b.values.mean())),
        sds=(a.sd, b.sd),
        difference=Estimate(shift.estimate, shift.error, *(shift.interval(level) or (math.nan, math.nan))),
        inner=shift.interval(2 * level),
        p_value=p_permutation if p_value is None else p_value,
        p_permutation=p_permutation,
        p_holm=1.0,
        p_alike=None if margin is None else _p_alike(shift, margin, (len(a), len(b))),
        method=method,
        pairs=0 if method == "welch" else len(matched),
        correlation=correlation,
        superiority=chance,
        superiority_interval=(low, high),
        sd_ratio=sd_ratio(a.values, b.values, level),
        churn=answered,
        verdict="undecided",
        more_runs=None,
        more_runs_aim="",
        level=level,
        margin=margin,
        comparisons=1,
        notes=(*notes, *_dependence(a, b, answered), *([] if groups is None else [groups_words(groups)])),
        copies=(listed_copies(a.copies, a.near), listed_copies(b.copies, b.near)),
        failed=(a.failed, b.failed),
        test_set=ARRAY not in (next(iter(arm.runs.kind.answers)) for arm in (a, b)),
        conditions=conditions_of_one_study(a, b),
    )
    return _Measured(found, (a, b), shift, parts, groups)


def _dependence(a: Arm, b: Arm, answered: Churn | None) -> list[str]:
    """A caution where the runs of two arms lie nearer to each other than to those of their own."""
    if answered is None or answered.interval is None or answered.interval[1] >= 0:
        return []
    return [
        f"The excess churn is below 0 ({answered.excess:.2f}), which it is of no independent runs: runs of {a.name} "
        f"and of {b.name} have something in common, and neither the interval nor the verdict can be relied on."
    ]


def _p_alike(shift: Shift, margin: float, runs: tuple[int, int]) -> float:
    return shift.p_within(margin) if shift.error or shift.estimate else p_equal(runs)


def _churn(a: Arm, b: Arm, level: float, matched: Sequence[tuple[int, int]]) -> Churn | None:
    if a.predictions is None or b.predictions is None:
        return None
    return churn(a.predictions, b.predictions, level, matched)


def _difference(
    a: Arm, b: Arm, matched: Sequence[tuple[int, int]]
) -> tuple[Method, Shift, float, float | None, _Parts]:
    """How the means are compared, their difference, its permutation p-value, and the correlation of the pairs."""
    unpaired = welch(a.values, b.values)
    first, second = a.values[[i for i, _ in matched]], b.values[[j for _, j in matched]]
    helps, correlation = pairing_helps(first, second, unpaired)
    by_design = a.paired and b.paired and len(matched) > 1 and bool(np.ptp(second - first) > 0)
    if by_design or (helps and ((correlation or 0.0) > 0 or len(matched) == len(a) == len(b))):
        shift = paired(first, second)
        parts = _Parts(shift.estimate, (float(np.var(second - first, ddof=1)),), (len(matched),))
        return "paired", shift, sign_flip_p(second - first), correlation, parts
    shift = widened(a.values, b.values, matched) if helps else unpaired
    wider = (shift.error / unpaired.error) ** 2 if helps else 1.0
    variances = tuple(wider * float(np.var(x.values - x.values[0], ddof=1)) for x in (a, b))
    parts = _Parts(shift.estimate, variances, (len(a), len(b)))
    return "widened" if helps else "welch", shift, permutation_p(a.values, b.values), correlation, parts


def _holding(m: _Measured, level: float) -> float:
    """The p-value that the verdict goes by; see `holding`."""
    return holding(m.shift, m.found.p_permutation, m.parts.exchanges(), min(m.parts.runs), level)


def _verdict(found: Comparison, deciding: float) -> Verdict:
    if found.p_alike is not None and found.p_alike <= found.level:
        return "alike"
    if deciding > found.level or not found.difference.value:
        return "undecided"
    return "better" if found.difference.value * found.metric.better > 0 else "worse"


def _cautions(found: Comparison) -> list[str]:
    """What keeps the interval from holding as often as it says."""
    if found.verdict == "alike" and not found.difference.known:
        return [
            f"No run of {found.a} differs from the others in {found.metric.words}, and none of {found.b}: that the two "
            "are alike is said of the usual run, not of one in many that might do otherwise."
        ]
    if found.verdict != "undecided" or not found.p_value <= found.level / found.comparisons:
        return []
    name = f"The t-test finds a difference between {found.a} and {found.b} (p = {found.p_value:.2g}), and"
    if found.p_permutation > found.level / found.comparisons:
        return [
            f"{name} the permutation test, which holds for few runs and skewed values, does not (p = "
            f"{found.p_permutation:.2g}): the verdict goes by the latter, and the interval is too narrow."
        ]
    return []


def _with_both_verdicts(found: Comparison, measured: _Measured, level: float) -> Comparison:
    """The comparison with the verdicts of all runs and of the sound ones, where any run failed or collapsed."""
    arms = measured.arms
    places = [arm_shape(arm).collapsed for arm in arms]
    if not any(places) and not any(found.failed):
        return found
    named = [tuple(str((arm.run_names or arm.numbers)[i]) for i in own) for arm, own in zip(arms, places, strict=True)]
    every = _verdict_with_failed(arms, level) if any(found.failed) else found.verdict
    sound, said = found.verdict, ""
    if any(places):
        kept = [[i for i in range(len(arm)) if i not in own] for arm, own in zip(arms, places, strict=True)]
        sound = None
        if min(map(len, kept)) > 1:
            few = arms[0].keep(kept[0]), arms[1].keep(kept[1])
            m = _measured(*few, found.margin, level, found.examples, measured.groups)
            one = replace(m.found, level=level, chance=found.chance)
            sound = _by_chance(one, few, level).verdict if found.chance else _verdict(one, _holding(m, level))
            said = f" (difference {m.found.difference.value:+.4g}, of {len(kept[0])} and {len(kept[1])} runs)"
    if found.conditions:
        every, sound = _of_conditions(every), _of_conditions(sound)
    left = " or ".join(["failed"] * any(found.failed) + ["collapsed"] * any(places))
    worst = ", those that failed counted as the worst" if any(found.failed) else ""
    note = f"Some runs {left}. The verdict on {found.b} of all runs{worst}: {every}; of the sound ones alone: "
    note += f"{sound or 'none, too few are left'}{said}."
    collapsed = (named[0], named[1])
    return replace(found, collapsed=collapsed, verdict_all=every, verdict_sound=sound, notes=(*found.notes, note))


def _verdict_with_failed(arms: tuple[Arm, Arm], level: float) -> Verdict:
    """Better or worse by ranks, where a run that failed is worse than every other.

    Source: Lachin 1999, Worst-rank score analysis, Controlled Clinical Trials 20.
    """
    from scipy.stats import rankdata

    counts = [len(arm) + arm.failed for arm in arms]
    values = [np.concatenate([arm.metric.better * arm.values, np.full(arm.failed, -math.inf)]) for arm in arms]
    ranks = rankdata(np.concatenate(values))
    a, b = ranks[: counts[0]], ranks[counts[0] :]
    shift, parts = welch(a, b), _Parts(0.0, (0.0, 0.0), (counts[0], counts[1]))
    if holding(shift, permutation_p(a, b), parts.exchanges(), min(counts), level) > level or not shift.estimate:
        return "undecided"
    return "better" if shift.estimate > 0 else "worse"


def _as_tested(m: _Measured, level: float) -> _Parts:
    """The parts of the error; where the t-test finds what the verdict does not, of one as large as the latter takes it.

    Elsewhere the two tests come to the same with more runs, and the difference of their p-values is the few runs'.
    """
    p_value, decides = m.shift.p_value(), _holding(m, level)
    if p_value is None or not p_value <= level < decides < 1:
        return m.parts
    t, as_tested = (float(special.stdtrit(m.shift.freedom, 1 - p / 2)) for p in (p_value, decides))
    return replace(m.parts, variances=tuple(v * (t / as_tested) ** 2 for v in m.parts.variances))


def _more_runs(found: Comparison, parts: _Parts, level: float) -> tuple[int | None, Literal["difference", "alike", ""]]:
    """Further runs of each arm after which the verdict is expected, were the difference and the SDs those seen."""
    if not any(parts.variances):
        if found.margin is None or parts.estimate:
            return None, ""
        return math.ceil(math.log2(1 / level)) - min(found.runs), "alike"

    def different(more: int) -> float:
        reached = 2 / parts.exchanges(more) <= level  # by the permutation test, which a verdict needs too
        return power_of_difference(parts.estimate, *parts.later(more), level) if reached else 0.0

    def alike(more: int) -> float:
        return power_of_equivalence(parts.estimate, *parts.later(more), level, found.margin or 0.0)

    searches = {"difference": fewest(different, POWER, 1, MOST_RUNS)}
    if found.margin is not None and abs(parts.estimate) < found.margin:
        searches["alike"] = fewest(alike, POWER, 1, MOST_RUNS)
    aim = min(searches, key=lambda name: searches[name] or MOST_RUNS + 1)
    if searches[aim] is None:
        return MOST_RUNS, ""
    return searches[aim], "alike" if aim == "alike" else "difference"


def _range_of_more(found: Comparison, parts: _Parts, level: float) -> tuple[int | None, int | None] | None:
    """`more_runs`, were the difference at either end of its 80 % interval, or 0 where that lies within."""
    error, freedom = parts.later(0)
    if not error:
        return None
    reach = float(special.stdtrit(freedom, 0.9)) * error
    ends = [parts.estimate - reach, parts.estimate, parts.estimate + reach]
    ends += [0.0] if ends[0] < 0 < ends[-1] else []
    more = [_more_runs(found, replace(parts, estimate=end), level) for end in ends]
    least, most = min(number or 0 for number, _ in more), max(number or 0 for number, _ in more)
    every = all(aim for _, aim in more)
    return (least or None, most if every else None)


def _sides(e: Estimate) -> dict[str, float | None]:
    return {"estimate": number(e.value), "low": number(e.low), "high": number(e.high)}


def _interval(interval: tuple[float | None, float | None] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}
