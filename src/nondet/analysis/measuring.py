"""`nondet.measure`: a study's runs, outputs of others, or scores, from files or from a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.analysis.given import is_scores, refuse_choices
from nondet.analysis.groups import groups_of, groups_words, numbered_groups
from nondet.analysis.independence import distinct, exact_digest
from nondet.analysis.runs import Runs
from nondet.analysis.scored import ScoreMeasures, measure_scores
from nondet.analysis.scores import Failed, given_scores, read_scores
from nondet.errors import BadInput, spelled
from nondet.io.outputs import is_table, read_labels, read_outputs
from nondet.io.roles import Asked
from nondet.kinds import CLASSIFICATION
from nondet.measures.answers import Answers
from nondet.measures.copies import features
from nondet.measures.measured import Measures, measured
from nondet.records import picked


@overload
def measure(
    outputs: str | Path | Sequence[str | Path] | Mapping[str, ArrayLike],
    labels: str | Path | ArrayLike | None = None,
    failed: int | Failed = 0,
    examples: bool = False,
    *,
    groups: str | Path | ArrayLike | None = None,
    name: str = "these",
    columns: Sequence[str] = (),
    metric: str | Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    dataset: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Measures | ScoreMeasures: ...


@overload
def measure(
    outputs: Runs | ArrayLike,
    labels: ArrayLike | None = None,
    failed: int | Failed = 0,
    examples: bool = False,
    *,
    groups: str | Path | ArrayLike | None = None,
    name: str = "these",
) -> Measures: ...


def measure(
    outputs: Any,
    labels: Any = None,
    failed: int | Failed = 0,
    examples: bool = False,
    *,
    groups: str | Path | ArrayLike | None = None,
    name: str = "these",
    columns: Sequence[str] = (),
    metric: str | Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    dataset: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Measures | ScoreMeasures:
    """Take every measure of some runs; copies of a run count once.

    Args:
        outputs: a study's runs, such as `nondet.open(folder)["all"]`; or logits `(N, n, c)` of runs, test examples and
            classes; or predicted classes `(N, n)`, integers from 0, which give accuracy, its variance and disagreement.
            Logits that are a tensor on a CUDA device are measured there. Or a path of these, as for `nondet measure`.
            Or scores, one number for each run: `{"base": [...], "aug": [...]}`, or the path of a file, a folder or a
            pattern of files, or several.
        labels: class numbers `(n,)`, or the path of a file of them, with outputs.
        failed: how many further runs failed, with arrays; or what to do with runs whose outputs are not all finite:
            "count" them as failed, or "drop" them. By default such outputs are refused. Scores that are not finite
            count as failed, unless they are dropped.
        examples: whether errors and intervals also allow for other test examples, drawn as these were.
        groups: the same, if groups of examples were drawn and not single ones, such as the questions on one text: a
            name or number for each example of outputs, a file of these, or a column of the table.
        name: of the outputs, in messages. columns: the columns of a table that contain outputs.
        metric, arm, seed, dataset: the columns of a file of scores: the scores, and what tells apart the arms, the runs
            and the data sets; found by their names if left out.
        say: is called with what was read as what, and what was left out.

    Raises:
        BadInput: the arrays are not of these forms, or fewer than two runs differ.
    """

    def tell(line: str) -> None:
        say(spelled(line))

    if isinstance(failed, str) and failed not in ("count", "drop"):
        raise BadInput(f"<<failed>> must be count or drop (got {failed!r}); choose one")
    asked = Asked((metric,) if isinstance(metric, str) and metric else tuple(metric), arm, seed, dataset)
    paths = _paths(outputs)
    if labels is None and not columns and (len(paths) > 1 or is_scores(paths[0] if paths else outputs, asked)):
        if groups is not None:
            raise BadInput("<<groups>> is for outputs with labels (got scores, one number for each run); leave it out")
        arms = read_scores(paths, asked, several=True, say=tell) if paths else given_scores(outputs, *asked.metric[:1])
        return measure_scores(arms, dropped=failed == "drop")
    refuse_choices([*paths, name][:1], picked(asked, "metric arm seed dataset"))
    if not paths:
        return _of_outputs(outputs, labels, failed, examples, groups, name)
    path = Path(paths[0])
    if columns and not is_table(path):
        raise BadInput(f"<<columns>> is for tables, .csv or .parquet (got {path}); leave it out")
    array = read_outputs(path, columns, tell, gaps=isinstance(failed, str))
    if labels is None and path.suffix.lower() == ".npy":
        raise BadInput(
            f"<<labels>> must name the file of the labels (got none, and {path} contains a single array); add it, or "
            "give one score for each run"
        )
    truth = read_labels(Path(labels or path)) if labels is None or isinstance(labels, str | Path) else labels
    return _of_outputs(array, truth, failed, examples, groups_of(groups, path), str(path))


def _paths(given: Any) -> list[str | Path]:
    """Return the paths that are given; none for arrays and runs."""
    if isinstance(given, str | Path):
        return [given]
    if isinstance(given, list | tuple) and given and all(isinstance(one, str | Path) for one in given):
        return list(cast("Sequence[str | Path]", given))
    return []


def _of_outputs(
    outputs: Any,
    labels: ArrayLike | None,
    failed: int | Failed,
    examples: bool,
    groups: str | Path | ArrayLike | None,
    name: str,
) -> Measures:
    """Take every measure of a study's runs, or of outputs with their labels."""
    if isinstance(outputs, Runs):
        for argument, given in (("failed", isinstance(failed, str)), ("groups", groups is not None)):
            if given:
                raise BadInput(f"<<{argument}>> is for outputs of others (got runs of {outputs.name}); leave it out")
        return _of_study(outputs, labels, examples)
    if isinstance(failed, str):
        outputs, left_out = _sound(np.asarray(outputs))
        failed = left_out if failed == "count" else 0
    if labels is None:
        raise BadInput("labels must be given with outputs (got none); give the class number of each test example")
    answers = _answers(outputs, labels)
    if groups is not None:
        answers.groups = numbered_groups(groups, answers.examples)
    logits = getattr(answers, "logits", None)  # if they are on a device
    points = features(answers.outputs if logits is None else logits)
    kept, copies, near = distinct(name, range(1, answers.runs + 1), _digests(answers), points, answers.classes_alone)
    if copies or near:
        answers = answers.only(kept)
    found = measured(CLASSIFICATION.figures, answers, failed, examples or groups is not None, copies)
    notes = found.notes if answers.groups is None else (*found.notes, groups_words(answers.groups))
    return replace(found, near=near, notes=notes)


def _sound(array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the runs whose outputs are all finite, and how many others there are."""
    exact = array.dtype.kind != "f"
    sound = np.array([exact or np.isfinite(run).all() for run in array], dtype=np.bool_)
    kept = array if sound.all() else array[sound]
    if kept.ndim == 2 and not exact and np.equal(kept, np.trunc(kept)).all():
        kept = kept.astype(np.int64)  # classes of a table, in which some were missing
    return kept, int((~sound).sum())


def _answers(outputs: Any, labels: ArrayLike) -> Answers:
    """Return the answers; logits on a CUDA device are measured there."""
    if getattr(outputs, "is_cuda", False) and outputs.ndim == 3:
        from nondet.measures.device import DeviceAnswers

        return DeviceAnswers(outputs, labels)
    return Answers(outputs, labels)


def _digests(answers: Answers) -> list[str]:
    """Return a text that identifies each run's outputs; only runs with equal marks can be equal, and are read again."""
    if answers.classes_alone:
        return [exact_digest(run) for run in answers.outputs]
    values, times = np.unique(answers.marks, return_counts=True)
    several = set(values[times > 1])
    return [
        exact_digest(answers.run(place)) if mark in several else repr(mark)
        for place, mark in enumerate(answers.marks.tolist())
    ]


def _of_study(runs: Runs, labels: ArrayLike | None, examples: bool) -> Measures:
    if labels is not None:
        raise BadInput("runs of a study have the labels of their study (got others); leave them out")
    if examples and not runs.kind.by_example:
        raise BadInput(f"examples of a {runs.kind.what} are not drawn one by one (got examples=True); leave it out")
    if len(runs) < 2:
        raise BadInput(
            f"runs must be at least 2 to be measured ({runs.name} has {len(runs)} that are finished and did not fail); "
            "go on with the study"
        )
    return runs.measure(examples)
