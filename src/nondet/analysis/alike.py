"""Are the sources' effects the same? A study's conditions, compared metric by metric with those of the same onset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nondet.analysis.arm import Arm
from nondet.analysis.reader import Reader, control_is_zero
from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.measures.figure import Figure
from nondet.measures.shape import Shape, about, few_runs, shape_words
from nondet.records import Record, finding
from nondet.running.advice import go_on
from nondet.stats.equivalence import MIN_RUNS, Metric, Omnibus, Pair, check_margin, omnibus, pairs
from nondet.stats.values import LARGEST_VALUE
from nondet.study.study import Study


@dataclass(frozen=True)
class Group:
    """The tests of the conditions that start to vary at one epoch.

    runs: how many runs of each condition are compared, without the reference run that all share.
    metrics: for each measure, one number per run, in the conditions where it is a number.
    """

    onset: int
    runs: Mapping[str, int]
    metrics: tuple[Metric, ...]
    omnibus: tuple[Omnibus, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, repr=False)
class Alike(Record):
    """What `nondet alike` found: a group for each onset.

    left_out: the conditions that were not compared, each with the reason. figures: of the study's kind, by name.
    control: whether the control is exactly zero; None while that is not known. missing: runs that are still to train.
    copies: for each arm, the runs that were left out, each with the earlier one that it equals or nearly equals.
    notes: what else a reader must know about the arms. study: whose conditions these are; None for arms that no study
    made. sentence: what was shown, and no more; the report words it.
    """

    study: Study | None
    groups: tuple[Group, ...]
    margin: float
    level: float
    left_out: Mapping[str, str]
    figures: Mapping[str, Figure]
    control: bool | None
    missing: int
    copies: Mapping[str, Sequence[Mapping[str, int]]] = field(default_factory=dict[str, Sequence[Mapping[str, int]]])
    notes: tuple[str, ...] = ()
    sentence: str = ""

    @property
    def all_notes(self) -> list[str]:
        """The notes, and a caution if there are few runs."""
        runs = {name: count for group in self.groups for name, count in group.runs.items()}
        return [*self.notes, *filter(None, [few_runs(runs)])]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet alike --json`; `runs_needed` counts the reference run too, as --runs does."""
        return {
            "omnibus": [{**vars(test), "onset": group.onset} for group in self.groups for test in group.omnibus],
            "pairs": [
                {**vars(pair), "runs_needed": self.runs_needed(pair), "onset": group.onset}
                for group in self.groups
                for pair in group.pairs
            ],
            "margin": self.margin,
            "level": self.level,
            "runs": {name: runs for group in self.groups for name, runs in group.runs.items()},
            "left_out": [{"condition": name, "reason": reason} for name, reason in self.left_out.items()],
            "copies": {name: list(copies) for name, copies in self.copies.items()},
            "notes": self.all_notes,
            "sentence": self.sentence,
            **finding(self),
        }

    def runs_needed(self, pair: Pair) -> int | None:
        """Return how many runs each of two conditions needs, counting a study's reference run."""
        shared = self.study is not None
        return None if pair.runs_needed is None else pair.runs_needed + shared

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each pair of conditions and metric."""
        rows: list[dict[str, Any]] = self.to_dict()["pairs"]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def alike(study: Study, margin: float = 1.25, level: float = 0.05) -> Alike:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    A run counts in one condition only. The reference run, which all share, counts in none; any other shared run counts
    in the first of its conditions. A condition whose runs all equal the reference run has no effect to compare.
    """
    check_margin(margin, level)
    reader = Reader(study)
    seen, digest = {study.reference.key}, reader.reference()
    by_onset: dict[int, dict[str, Runs]] = {}
    left_out: dict[str, str] = {}
    for condition in study.conditions:
        runs = _own(reader.runs(condition), seen)
        if len(runs.made) < MIN_RUNS:
            left_out[condition.name] = (
                f"{len(runs.made)} sound runs of its own besides the reference run, but {MIN_RUNS} are needed"
            )
        elif all(made.digest == digest for made in runs.made):
            left_out[condition.name] = "all its runs equal the reference run to the last bit, so it has no effect"
        else:
            by_onset.setdefault(condition.onset, {})[condition.name] = runs
    for onset, named in list(by_onset.items()):
        if len(named) == 1:
            del by_onset[onset]
            left_out[next(iter(named))] = f"no other condition that varies from epoch {onset} on has enough runs"
    if not by_onset:
        got = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise BadInput(
            f"two conditions of the same onset must have at least {MIN_RUNS} sound runs each besides the reference run "
            f"that all share (got {got or 'no conditions'}); add <<runs=20>>, or another <<vary>>, to `{go_on(study)}`"
        )
    groups = [_group(reader.kind, onset, named, margin, level) for onset, named in by_onset.items()]
    figures = {figure.name: figure for figure in reader.kind.figures}
    missing = len(study.planned().keys() - reader.present)
    of_rare = [s for named in by_onset.values() for name, runs in named.items() for s in _rare(_arm(name, runs))]
    notes = tuple(_with_what_they_do(of_rare))
    control = control_is_zero(study)
    return Alike(study, tuple(groups), margin, level, left_out, figures, control, missing, notes=notes)


def alike_arms(arms: Sequence[Arm], margin: float = 1.25, level: float = 0.05) -> Alike:
    """Test whether the runs of several arms vary by the same amount, and which pairs do within a margin."""
    check_margin(margin, level)
    named: dict[str, Runs] = {}
    left_out: dict[str, str] = {}
    for arm in arms:
        runs, name = arm.runs, arm.name
        if len(runs) < MIN_RUNS:
            left_out[name] = f"{len(runs)} sound runs, but {MIN_RUNS} are needed"
        else:
            named[name if name not in named else f"{name} ({len(named) + 1})"] = runs
    if len(named) < 2:
        got = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or ", ".join(named)
        raise BadInput(
            f"two arms must have at least {MIN_RUNS} sound runs each (got {got}); give more arms, or more runs"
        )
    kind = arms[0].runs.kind
    figures = {figure.name: figure for figure in kind.figures}
    group = _group(kind, 0, named, margin, level)
    copies = {arm.name: arm.copies for arm in arms if arm.copies}
    of_rare = [sentence for arm in arms if len(arm.runs) >= MIN_RUNS for sentence in _rare(arm)]
    notes = tuple(dict.fromkeys([*(note for arm in arms for note in arm.notes), *_with_what_they_do(of_rare)]))
    return Alike(None, (group,), margin, level, left_out, figures, None, 0, copies, notes)


def _with_what_they_do(of_rare: Sequence[str]) -> list[str]:
    """Add to the sentences on collapsed and outlying runs what these do to the SDs that are compared."""
    said = (
        "Such runs make up most of an SD, so whether two SDs are alike depends on how often they occur, which a few of "
        "them do not show."
    )
    return [*of_rare, said] if of_rare else []


def _rare(arm: Arm) -> list[str]:
    """Name the runs of an arm that collapsed or are outlying, one sentence each."""
    rare = Shape(arm.shape.one_class, arm.shape.worse, arm.shape.outlying)
    said = shape_words(rare, arm.values, arm.metric.words, arm.named)[:-1]  # without what they do to intervals
    return [about(arm.name, sentence) for sentence in said]


def _arm(name: str, runs: Runs) -> Arm:
    """Return the runs of a condition with their first score."""
    score, numbers = runs.kind.scores[0], tuple(made.number for made in runs.made)
    return Arm(name, runs, score, score.by_run(runs.answers), numbers, ())


def _own(runs: Runs, seen: set[str]) -> Runs:
    """Return the runs that are not in `seen`, and add them to it."""
    places = [place for place, made in enumerate(runs.made) if made.key not in seen]
    seen.update(made.key for made in runs.made)
    return runs.only(places)


def _group(kind: Kind, onset: int, named: Mapping[str, Runs], margin: float, level: float) -> Group:
    metrics = [metric for figure in kind.figures if (metric := _metric(figure, named))]
    found = tuple(pair for metric in metrics for pair in pairs(metric, margin, level))
    runs = {condition: len(own) for condition, own in named.items()}
    return Group(onset, runs, tuple(metrics), tuple(omnibus(metrics)), found)


def _metric(figure: Figure, named: Mapping[str, Runs]) -> Metric | None:
    """Return a measure's numbers by run for each condition in which they are finite; None without two of these."""
    effect = figure.effect
    if effect is None:
        return None
    able = {name: runs.answers for name, runs in named.items() if not (figure.logits and runs.answers.classes_alone)}
    rows = {condition: effect(answers) for condition, answers in able.items()}
    known = {condition: row for condition, row in rows.items() if (np.abs(row) <= LARGEST_VALUE).all()}
    return Metric(figure.name, figure.spread, known) if len(known) > 1 else None


def listed(parts: Sequence[str]) -> str:
    """Join words as a list in a sentence."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
