"""One comparison of two arms as a record, and several with one A."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nondet.measures.churn import Churn
from nondet.measures.figure import Score
from nondet.measures.shape import few_runs
from nondet.records import Record, finding, picked
from nondet.stats.estimate import Estimate, number

Verdict = Literal["better", "worse", "different", "alike", "undecided"]
Method = Literal["welch", "paired", "widened"]
Aim = Literal["difference", "alike", ""]


def verdict_of(difference: float, better: int, p_value: float, p_alike: float | None, level: float) -> Verdict:
    """Return the verdict on B by the difference of means, whose p-values are adjusted for all comparisons."""
    if p_alike is not None and p_alike <= level:
        return "alike"
    if p_value > level or not difference:
        return "undecided"
    return "better" if difference * better > 0 else "worse"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """B compared with A.

    Attributes:
        a, b: the arms' names. metric: what they are compared by.
        runs: independent runs of A and of B. means: of A and of B. sds: likewise, as in `nondet show`, with their 95 %
            intervals.
        difference: of means, B - A, with its interval at 1 - level; in points of accuracy, nats, or perplexity.
        inner: the difference's interval at 1 - 2 level; if it lies inside the margin, the arms are alike.
        p_value: of the test that the difference is 0: Welch's t-test, or that of the pairs; the permutation test if no
            run of either arm differs from the others.
        p_permutation: of the permutation test; a verdict needs both, see `nondet.stats.means.holding`.
        p_holm: `p_value`, adjusted for several comparisons.
        p_alike: of the test that the difference is outside the margin, adjusted likewise; None without a margin.
        method: "welch": the runs were compared as independent ones. "paired": those with equal seeds as pairs.
            "widened": as independent ones, with the error that negatively correlated pairs among them add.
        pairs: how many pairs with equal seeds the method uses; 0 for "welch".
        correlation: of the values of runs with equal seeds; None if there are none.
        superiority, superiority_interval: chance that one run of B beats one of A, ties counted half.
        sd_ratio: SD of B divided by SD of A.
        churn: of predictions; None for runs that predict no classes.
        verdict: on B, at `level`. more_runs: further runs of each arm expected to decide; None if it is decided, or no
            number follows. more_runs_aim: what they would show, if what was seen is the truth.
        copies: runs of A and of B that were left out, each with the earlier one that it equals or nearly equals.
        collapsed: names of runs of A and of B that answer one class only, or are far worse than the others.
        failed: how many further runs of A and of B failed.
        verdict_all, verdict_sound: if any run collapsed or failed, the verdict from all runs, with failed ones counted
            as the worst; and from those that neither failed nor collapsed, or None if too few are left.
        test_set: whether all runs are known to answer the same test set, which is not known for scores.
        notes: what else a reader must know, a sentence each. sentence: the verdict in words.
        more_runs_range: `more_runs` at the ends of the difference's 80 % interval; None for more than MOST_RUNS.
        conditions: whether these are two conditions of one study: a difference is then "different", since no source is
            better than another. chance: the one that decides the verdict instead of the means. examples: whether errors
            also allow for other test examples. looks: how many are planned; `level` is that of each.
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
    p_holm: float = 1.0
    p_alike: float | None
    method: Method
    pairs: int
    correlation: float | None
    superiority: float
    superiority_interval: tuple[float, float]
    sd_ratio: Estimate
    churn: Churn | None
    verdict: Verdict = "undecided"
    more_runs: int | None = None
    more_runs_aim: Aim = ""
    level: float
    margin: float | None
    comparisons: int = 1
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
        """The notes, and a caution if there are few runs."""
        return [*self.notes, *filter(None, [few_runs(dict(zip((self.a, self.b), self.runs, strict=True)))])]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        sds = dict(zip("ab", self.sds, strict=True))
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric.name,
            "runs": {"a": self.runs[0], "b": self.runs[1]},
            "mean": {"a": self.means[0], "b": self.means[1]},
            "sd": {arm: sd.value for arm, sd in sds.items()},
            "sd_interval": {arm: _interval((number(sd.low), number(sd.high))) for arm, sd in sds.items()},
            "difference": sides(self.difference),
            "mcnemar": None,
            **picked(self, "p_value p_permutation p_alike method pairs correlation superiority"),
            "superiority_interval": _interval(self.superiority_interval),
            "sd_ratio": sides(self.sd_ratio),
            "churn": self.churn
            and {
                **picked(self.churn, "between within_a within_b excess errors"),
                "excess_interval": _interval(self.churn.interval),
            },
            **picked(self, "verdict more_runs"),
            "more_runs_aim": self.more_runs_aim or None,
            "more_runs_range": self.more_runs_range and _interval(self.more_runs_range),
            "compared": "conditions" if self.conditions else "recipes",
            **picked(self, "level looks margin chance examples"),
            "copies": dict(zip("ab", self.copies, strict=True)),
            "collapsed": {arm: list(runs) for arm, runs in zip("ab", self.collapsed, strict=True)},
            "failed": dict(zip("ab", self.failed, strict=True)),
            "verdicts": {"all": self.verdict_all, "sound": self.verdict_sound},
            "notes": self.all_notes,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, repr=False)
class Several(Record):
    """One comparison, or several with one A; `found[0]` is the first.

    broken: whether the control of a study among the arms is not zero.
    """

    comparisons: tuple[Any, ...]
    broken: bool = False

    def __getitem__(self, number: int) -> Any:
        return self.comparisons[number]

    def __len__(self) -> int:
        return len(self.comparisons)

    @property
    def verdict(self) -> Verdict:
        """The verdict of the first comparison."""
        return self.comparisons[0].verdict

    @property
    def difference(self) -> Estimate:
        """The difference of the first comparison."""
        return self.comparisons[0].difference

    @property
    def sentence(self) -> str:
        """All verdicts in words."""
        return " ".join(c.sentence for c in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet compare`: a single comparison, or a list of several with their adjusted p-values."""
        records = [c.to_dict() for c in self.comparisons]
        if len(records) == 1:
            return {**records[0], **finding(self)}
        several = [{**r, "p_holm": c.p_holm} for r, c in zip(records, self.comparisons, strict=True)]
        return {"comparisons": several, **finding(self)}


@dataclass(frozen=True, repr=False)
class Comparisons(Several):
    """Comparisons of arms by their runs.

    probabilities: the arms whose outputs look like probabilities instead of logits.
    """

    comparisons: tuple[Comparison, ...]
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
                **{f"difference_{side}": value for side, value in sides(c.difference).items()},
                "p_value": c.p_value,
                "verdict": c.verdict,
            }
            for c in self.comparisons
        ]
        return {name: [row[name] for row in rows] for name in rows[0]}


def sides(e: Estimate) -> dict[str, float | None]:
    """For JSON: an estimate and the ends of its interval."""
    return {"estimate": number(e.value), "low": number(e.low), "high": number(e.high)}


def _interval(interval: tuple[float | None, float | None] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}
