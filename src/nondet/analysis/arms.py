"""Read the arms of a comparison: runs of a study's condition, or outputs from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.analysis.arm import Arm
from nondet.analysis.opened import OpenStudy, chosen_condition
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean_file
from nondet.io.outputs import is_table, read_labels, read_outputs
from nondet.kinds import CLASSIFICATION
from nondet.measures.answers import Answers
from nondet.measures.copies import features
from nondet.measures.figure import Score
from nondet.running.advice import go_on
from nondet.sources import in_all
from nondet.stats.values import LARGEST_VALUE
from nondet.study.design import Condition
from nondet.study.names import own_names
from nondet.study.record import load
from nondet.study.study import Study

Given = str | Path | OpenStudy | Runs | tuple[ArrayLike, ArrayLike] | ArrayLike
"""What names an arm: a study's folder, `STUDY:condition`, a file or folder of outputs; or a study, runs, a pair of
outputs and labels, or outputs whose labels are given separately."""


def read_arms(names: Sequence[Given], how: Options = PLAIN) -> list[Arm]:
    """Read the arms that `names` stand for, at least one; see `Given`.

    Raises:
        BadInput: there is nothing of that name, or the arms cannot be compared: test sets or classes differ, there are
            fewer than two runs, or no such metric.
        Damaged: a run of a study is not what was written.
    """
    if how.columns and not any(isinstance(name, str | Path) and is_table(Path(name)) for name in names):
        raise BadInput(f"<<columns>> is for tables, .csv or .parquet (got {', '.join(map(str, names))}); leave it out")
    labels = read_labels(Path(how.labels)) if isinstance(how.labels, str | Path) else how.labels
    given = None if labels is None else np.asarray(labels)
    arms: list[Arm] = []
    for number, name in enumerate(names, 1):
        arm = _read(name, f"outputs {number}", given, how)
        if arms:
            _check_same_test(arms[0], arm)
        arms.append(arm)
    return arms


def _read(name: Given, nameless: str, labels: NDArray[Any] | None, how: Options) -> Arm:
    metric = how.metric
    if isinstance(name, tuple):
        return _of_outputs(nameless, name[0], np.asarray(name[1]), metric)
    if isinstance(name, Runs):
        if name.study is None:
            return _of_outputs(name.name, name.outputs, name.labels, metric)
        return _with_labels(_of_runs(name.study, name, metric), labels)
    if isinstance(name, OpenStudy):
        return _with_labels(_of_runs(name.study, name[""], metric), labels)
    if not isinstance(name, str | Path):
        if labels is None:
            raise BadInput("labels are needed for outputs (got none); give (outputs, labels), or <<labels>>")
        return _of_outputs(nameless, name, labels, metric)
    if not str(name):
        raise BadInput("an arm must be a study, STUDY:condition, or outputs (got an empty name); name one")
    path, condition = Path(name), None
    if not path.exists() and ":" in str(name):
        folder, _, condition = str(name).rpartition(":")
        path = Path(folder)
    if not path.exists():
        raise BadInput(
            f"{name} must be a study, STUDY:condition, or outputs (nothing is at {path}{did_you_mean_file(path)}); "
            "give a folder or file that exists"
        )
    if condition is None and not (path.is_dir() and ((path / "study.json").exists() or own_names(path, "runs"))):
        outputs = read_outputs(path, how.columns if is_table(path) else (), how.say)
        if labels is None and path.suffix.lower() == ".npy":
            raise BadInput(
                f"labels are needed for outputs (got none, and {name} contains one array); add <<labels=FILE>>"
            )
        return _of_outputs(str(name), outputs, read_labels(path) if labels is None else labels, metric)
    opened = OpenStudy(load(path))
    _check_independent(opened.study, chosen_condition(opened.study, condition or ""))
    return _with_labels(_of_runs(opened.study, opened[condition or ""], metric), labels)


def _with_labels(arm: Arm, labels: NDArray[Any] | None) -> Arm:
    """Check that labels given for a study's arm are its own."""
    if labels is not None and not np.array_equal(labels, arm.runs.labels):
        raise BadInput(
            f"labels must be those of the study's own test set ({arm.name} has {len(arm.runs.labels)} different ones); "
            "leave <<labels>> out, or compare outputs of the same test set"
        )
    return arm


def _of_outputs(name: str, outputs: ArrayLike, labels: NDArray[Any], metric: str | None) -> Arm:
    try:
        answers = Answers(outputs, labels)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    alone = answers.classes_alone
    scores = [score for score in CLASSIFICATION.scores if not (alone and score.logits)]
    score = _score(name, metric, scores, "predicted classes" if alone else f"a {CLASSIFICATION.what}")
    runs = Runs(name, CLASSIFICATION, answers.labels, {"outputs": answers.outputs})
    return Arm(
        name=name,
        runs=runs,
        metric=score,
        values=score.by_run(runs.answers),
        numbers=tuple(range(1, answers.runs + 1)),
        digests=tuple(digest(run) for run in answers.outputs),
        points=features(answers.outputs),
    )


def _of_runs(study: Study, runs: Runs, metric: str | None) -> Arm:
    condition, name = runs.condition, runs.name
    if not isinstance(condition, Condition):
        raise BadInput(f"{name} must be a condition (the runs of a crossed design share seeds); choose another")
    _check_independent(study, condition)
    if len(runs) < 2:
        ask = "ask for more <<runs>>, or train with another recipe"
        way_out = f"go on with {go_on(study)}" if runs.missing else ask
        raise BadInput(
            f"runs must be at least 2 to be compared ({name} has {len(runs)} that are finished and sound, and "
            f"{len(runs.failed)} that failed); {way_out}"
        )
    score = _score(name, metric, runs.kind.scores, f"a {runs.kind.what}")
    values = score.by_run(runs.answers)
    if values.max() > LARGEST_VALUE:
        raise BadInput(
            f"{score.words} must be at most {LARGEST_VALUE:g} ({name} has a run above it); try <<metric=cross_entropy>>"
        )
    return Arm(
        name=name,
        runs=runs,
        metric=score,
        values=values,
        numbers=tuple(made.number for made in runs.made),
        digests=tuple(digest(run) for run in runs.outputs),
        seeds=tuple({s: made.seeds[s] for s in condition.vary} for made in runs.made),
        points=features(runs.outputs) if runs.kind.name == CLASSIFICATION.name and runs.outputs.ndim == 3 else None,
        failed=len(runs.failed),
        notes=tuple(_notes(study, condition, runs)),
    )


def _notes(study: Study, condition: Condition, runs: Runs) -> list[str]:
    name, until = runs.name, study.until
    notes = [f"{name} is not finished: {runs.missing} runs are still to train."] if runs.missing else []
    fixed = [s for s in in_all(study.sources) if s not in condition.vary]
    if fixed:
        notes.append(f"{name} keeps one seed of {', '.join(fixed)}, so results apply to that seed only.")
    if until is not None and runs.by_rule:
        notes.append(f"Runs of {name} were added until {until.expression}, and not by a plan made in advance.")
    if runs.failed:
        left = f"{len(runs.failed)} failed runs are left out"
        notes.append(f"{name}: {left}, so only runs that did not fail are compared.")
    return notes


def _score(name: str, asked: str | None, there: Sequence[Score], what: str) -> Score:
    named = {score.name: score for score in there}
    if asked is not None and asked not in named:
        raise BadInput(f"{name} is {what} and has no {asked} (it has {' and '.join(named)}); choose another <<metric>>")
    return named[asked] if asked else there[0]


def _check_independent(study: Study, condition: Condition) -> None:
    """Refuse runs that share more than their fixed seeds: members of one trunk, and repeated seeds."""
    name = f"{study.folder}:{condition.name}"
    if condition.onset:
        raise BadInput(
            f"runs must be independent, and those of {name} share one trunk until epoch {condition.onset}, when "
            "their sources start to vary; compare conditions without a late onset"
        )
    seeds = [spec.seeds for spec in study.specs_of(condition)]
    for source in condition.vary:
        if len({s[source] for s in seeds}) < len(seeds):
            raise BadInput(
                f"runs must be independent, and {name} gives several the same seed of {source}, which varies; "
                "compare conditions in which each run has its own seeds"
            )


def _check_same_test(a: Arm, b: Arm) -> None:
    first, second = a.runs, b.runs
    if first.kind.name != second.kind.name:
        text = next((kind.what for kind in (first.kind, second.kind) if kind.sampled), second.kind.what)
        raise BadInput(f"{a.name} and {b.name} must be of one kind (one is a {text}); compare like with like")
    if len(first.labels) != len(second.labels):
        raise BadInput(
            f"both arms must answer the same test set ({a.name} has {len(first.labels)} examples, {b.name} "
            f"{len(second.labels)}); give outputs for the same examples"
        )
    if not np.array_equal(first.labels, second.labels):
        raise BadInput(
            f"both arms must answer the same test set ({a.name} and {b.name} have different labels at "
            f"{np.count_nonzero(first.labels != second.labels)} of {len(first.labels)} examples); compare studies of "
            "one test set"
        )
    classes = [runs.outputs.shape[2] for runs in (first, second) if runs.outputs.ndim == 3]
    if len(set(classes)) > 1:
        raise BadInput(
            f"both arms must choose among the same classes ({a.name} has {classes[0]} logits for each example, "
            f"{b.name} {classes[1]}); give logits of the same classes, or predicted classes as integers"
        )


def digest(outputs: NDArray[Any]) -> str:
    """Return the SHA-256 of one run's outputs; floats are taken as float32, so a file's precision does not matter."""
    with np.errstate(over="ignore"):
        plain = outputs.astype("<f4" if outputs.dtype.kind == "f" else "<i8", order="C")
    return hashlib.sha256((plain + 0).tobytes()).hexdigest()  # -0 and 0 are equal
