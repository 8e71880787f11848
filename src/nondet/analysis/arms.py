"""Reading the arms of a comparison: the runs of a study's condition, or outputs of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.arm import METRICS, Arm, Metric, MetricName, answers, digest
from nondet.analysis.copies import exact_digest
from nondet.analysis.runs import control_is_zero, is_text, read_run, retrain
from nondet.errors import BadInput, Damaged
from nondet.io.outputs import is_table, read_labels, read_outputs
from nondet.measures.arrays import checked, checked_classes, look_like_probabilities, predictions
from nondet.measures.language import perplexity, token_cross_entropy
from nondet.measures.variability import accuracy, cross_entropy
from nondet.stats.values import LARGEST_VALUE
from nondet.study import record as studies
from nondet.study.design import NOT_IN_ALL, Condition
from nondet.study.names import own_names
from nondet.study.record import Study
from nondet.study.store import Stored

LOGITS: Sequence[MetricName] = ("accuracy", "cross_entropy")
CLASSES: Sequence[MetricName] = ("accuracy",)
TEXT: Sequence[MetricName] = ("perplexity", "cross_entropy")
"""What each kind of arm can be compared by; the first is the usual."""


def read_arms(
    names: Sequence[str],
    labels: Path | None = None,
    metric: MetricName | None = None,
    columns: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> list[Arm]:
    """The arms that these words name: a study's folder, `STUDY:condition`, or a file or folder of outputs.

    Args:
        names: at least one.
        labels: a file of class numbers; needed where an arm is outputs, and else only checked.
        metric: accuracy if left out, and perplexity of language models.
        columns: of tables, those of the outputs; found by their names if left out.
        say: is told which columns of a table were taken for what.

    Raises:
        BadInput: there is nothing of that name, or the arms cannot be compared: other test sets, other classes, fewer
            than two runs, no such metric.
        Damaged: a run of a study is not what was written.
    """
    if columns and not any(is_table(Path(name)) for name in names):
        raise BadInput(f"--columns is for tables, .csv or .parquet (got {', '.join(names)}); leave it out")
    given = None if labels is None else read_labels(labels)
    arms: list[Arm] = []
    for name in names:
        arm = _read(name, given, metric, columns, say)
        if arms:
            _check_same_test(arms[0], arm)
        arms.append(arm)
    return arms


def _read(
    name: str,
    labels: NDArray[Any] | None,
    metric: MetricName | None,
    columns: Sequence[str],
    say: Callable[[str], None],
) -> Arm:
    if not name:
        raise BadInput("an arm must be a study, STUDY:condition, or outputs (got an empty name); name one")
    path, condition = Path(name), None
    if not path.exists() and ":" in name:
        folder, _, condition = name.rpartition(":")
        path = Path(folder)
    if not path.exists():
        raise BadInput(
            f"{name} must be a study, STUDY:condition, or outputs (nothing is at {path}); give a folder or file that is"
        )
    if condition is None and not (path.is_dir() and ((path / "study.json").exists() or own_names(path, "runs"))):
        outputs = read_outputs(path, columns if is_table(path) else (), say)
        return _of_outputs(name, path, outputs, labels, metric)
    arm = _of_study(path, condition, metric)
    if labels is not None and not np.array_equal(labels, arm.labels):
        raise BadInput(
            f"labels must be those of the study's own test set ({arm.name} has {len(arm.labels)} others); "
            "leave --labels out, or compare outputs of the same test set"
        )
    return arm


def _of_outputs(
    name: str, path: Path, outputs: NDArray[Any], labels: NDArray[Any] | None, metric: MetricName | None
) -> Arm:
    if labels is None and path.suffix.lower() == ".npy":
        raise BadInput(f"labels are needed beside outputs (got none, and {name} holds one array); add --labels FILE")
    truth = read_labels(path) if labels is None else labels
    classes_alone = outputs.ndim == 2 and outputs.dtype.kind in "iu"
    chosen = _metric(name, metric, CLASSES if classes_alone else LOGITS, "predicted classes" if classes_alone else "")
    try:
        if classes_alone:
            return _of_classes(name, outputs, truth, chosen)
        arm = _of_logits(name, outputs, truth, chosen)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    return replace(arm, probabilities=look_like_probabilities(outputs))


def _of_logits(name: str, outputs: NDArray[Any], labels: NDArray[Any], metric: Metric) -> Arm:
    logits, truth = checked(outputs, labels)
    return Arm(
        name=name,
        kind="logits",
        metric=metric,
        values=(accuracy if metric.name == "accuracy" else cross_entropy)(logits, truth),
        predictions=predictions(logits).astype(np.int32),
        labels=truth,
        numbers=tuple(range(1, len(logits) + 1)),
        digests=tuple(digest(run) for run in logits),
        exact=tuple(exact_digest(run) for run in logits) if logits.dtype.itemsize > 4 else (),
        classes=logits.shape[2],
    )


def _of_classes(name: str, classes: NDArray[Any], labels: NDArray[Any], metric: Metric) -> Arm:
    predicted, truth = checked_classes(classes, labels)
    runs, examples = predicted.shape
    return Arm(
        name=name,
        kind="classes",
        metric=metric,
        values=100.0 * np.count_nonzero(predicted == truth, axis=1) / examples,
        predictions=predicted,
        labels=truth,
        numbers=tuple(range(1, runs + 1)),
        digests=answers(predicted),
    )


def _of_study(folder: Path, condition: str | None, metric: MetricName | None) -> Arm:
    study = studies.load(folder)
    chosen = _condition(study, condition)
    name = f"{folder}:{chosen.name}"
    _check_independent(study, chosen, name)
    runs, missing, failed = _sound(study, chosen)
    if len(runs) < 2:
        way_out = f"go on with {study.command_line}" if missing else "ask for more --runs, or train with another recipe"
        raise BadInput(
            f"runs must be at least 2 to be compared ({name} has {len(runs)} that are finished and sound, and {failed} "
            f"that failed); {way_out}"
        )
    read = _of_text if is_text(study) else _of_classifier
    arm = read(name, study, runs, metric)
    notes = [f"{name} is not finished: {missing} runs are still to train."] if missing else []
    fixed = [s for s in study.sources if s not in (*chosen.vary, *NOT_IN_ALL)]
    if fixed:
        notes.append(f"{name} keeps one seed of {', '.join(fixed)}, and what is said of it holds for that seed.")
    if study.until is not None and chosen.name in (study.until.errors or [chosen.name]):
        notes.append(f"Runs of {name} were added until {study.until.expression}, and not by a plan made before.")
    if failed:
        notes.append(f"{name}: {failed} failed runs are left out, so the comparison is of runs that do not fail.")
    return replace(
        arm,
        numbers=tuple(runs),
        seeds=tuple({s: run.record["run"]["seeds"][s] for s in chosen.vary} for run in runs.values()),
        seconds=tuple(float(run.record.get("seconds", 0.0)) for run in runs.values()),
        environment=study.environment,
        control=control_is_zero(study),
        notes=tuple(notes),
    )


def _of_classifier(name: str, study: Study, runs: Mapping[int, Stored], metric: MetricName | None) -> Arm:
    outputs = _stacked(study, runs, "outputs")
    return _of_logits(name, outputs, study.labels, _metric(name, metric, LOGITS))


def _of_text(name: str, study: Study, runs: Mapping[int, Stored], metric: MetricName | None) -> Arm:
    chosen = _metric(name, metric, TEXT, "a language model")
    logprob = _stacked(study, runs, "logprob")
    losses = token_cross_entropy(logprob)
    values = perplexity(losses) if chosen.name == "perplexity" else losses
    if values.max() > LARGEST_VALUE:
        raise BadInput(
            f"perplexity must be at most {LARGEST_VALUE:g} ({name} has a run above it); try --metric cross_entropy"
        )
    return Arm(
        name=name,
        kind="text",
        metric=chosen,
        values=values,
        predictions=_stacked(study, runs, "prediction"),
        labels=study.labels,
        numbers=tuple(runs),
        digests=tuple(digest(run) for run in logprob),
        exact=tuple(exact_digest(run) for run in logprob) if logprob.dtype.itemsize > 4 else (),
    )


def _metric(name: str, asked: MetricName | None, there: Sequence[MetricName], what: str = "") -> Metric:
    if asked is not None and asked not in there:
        raise BadInput(
            f"{name} is {what or 'a classifier'} and has no {asked} (it has {' and '.join(there)}); "
            "choose another --metric"
        )
    return METRICS[asked or there[0]]


def _condition(study: Study, name: str | None) -> Condition:
    named = {c.name: c for c in study.conditions}
    if not named:
        raise BadInput(
            f"{study.folder} has no condition to compare: the runs of a crossed design share seeds, and are not "
            "independent; add a condition with nondet run --vary"
        )
    wanted = next(iter(named)) if name is None and len(named) == 1 else name or "all"
    if wanted not in named:
        rule = f"there is no condition {wanted} in {study.folder}" if name else f"{study.folder} has several conditions"
        raise BadInput(f"{rule}; name one of {', '.join(named)} as {study.folder}:CONDITION")
    return named[wanted]


def _check_independent(study: Study, condition: Condition, name: str) -> None:
    """Refuse runs that share more than their fixed seeds: members of one trunk, and crossed or repeated seeds."""
    if condition.onset:
        raise BadInput(
            f"{name} varies its sources from epoch {condition.onset} on: its runs are members of one trunk, trained "
            "together until then, and not independent; compare conditions without a late onset"
        )
    seeds = [spec.seeds for spec in condition.specs(study.identity, study.sources)]
    for source in condition.vary:
        if len({s[source] for s in seeds}) < len(seeds):
            raise BadInput(
                f"{name} gives several runs the same seed of {source}, which varies: they are not independent; "
                "compare conditions in which each run has seeds of its own"
            )


def _sound(study: Study, condition: Condition) -> tuple[dict[int, Stored], int, int]:
    """A condition's finished runs by number, without their weights; how many are missing, and how many failed."""
    present = study.store.keys() | study.finished
    runs: dict[int, Stored] = {}
    missing = failed = 0
    for number, spec in enumerate(condition.specs(study.identity, study.sources), start=1):
        if spec.key not in present:
            missing += 1
            continue
        run = read_run(study, spec)
        if run.record["failed"] is None:
            kept = {name: run.arrays[name] for name in ("outputs", "logprob", "prediction") if name in run.arrays}
            runs[number] = Stored(run.record, kept)
        else:
            failed += 1
    return runs, missing, failed


def _stacked(study: Study, runs: Mapping[int, Stored], name: str) -> NDArray[Any]:
    arrays = [run.arrays[name] for run in runs.values() if name in run.arrays]
    if len(arrays) < len(runs) or len({array.shape for array in arrays}) > 1:
        raise Damaged(f"{study.folder} is damaged: its runs do not all have {name} of one shape; {retrain(study)}")
    return np.stack(arrays)  # (N, n, ...)


def _check_same_test(a: Arm, b: Arm) -> None:
    if (a.kind == "text") != (b.kind == "text"):
        raise BadInput(f"{a.name} and {b.name} must be of one kind (one is a language model); compare like with like")
    if len(a.labels) != len(b.labels):
        raise BadInput(
            f"both arms must answer the same test set ({a.name} has {len(a.labels)} examples, {b.name} "
            f"{len(b.labels)}); give outputs for the same examples"
        )
    if not np.array_equal(a.labels, b.labels):
        raise BadInput(
            f"both arms must answer the same test set ({a.name} and {b.name} have other labels at "
            f"{np.count_nonzero(a.labels != b.labels)} of {len(a.labels)} examples); compare studies of one test set"
        )
    if a.classes and b.classes and a.classes != b.classes:
        raise BadInput(
            f"both arms must choose among the same classes ({a.name} has {a.classes} logits for each example, {b.name} "
            f"{b.classes}); give logits of the same classes, or predicted classes as integers"
        )
