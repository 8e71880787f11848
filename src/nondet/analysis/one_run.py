"""One run of a model on many examples: a score for each, from outputs, from the log of a harness, or from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.analysis.given import AnyGiven
from nondet.analysis.opened import OpenStudy
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.runs import Runs
from nondet.analysis.score_arms import score_of
from nondet.errors import BadInput
from nondet.io.outputs import is_table, read_labels, read_outputs
from nondet.io.samples import read_lines, read_samples
from nondet.io.table_places import count_runs
from nondet.measures.answers import Answers
from nondet.stats.values import Floats, as_array

ARRAYS = (".npy", ".npz", ".safetensors")


@dataclass(frozen=True, eq=False)
class OneRun:
    """One model's scores by example.

    Attributes:
        name: of the model. metric: what the scores are. values: `(n,)`. ids: the examples' names, in the same order.
        unit: of the scores, as a factor: 100 for shares that are shown in percent.
        details: what a log says about each example. marks: what shows that examples of one name are the same.
        better: 1 if more is better, -1 if less is.
    """

    name: str
    metric: str
    values: Floats
    ids: tuple[str, ...]
    unit: float = 1.0
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    marks: Mapping[str, str] = field(default_factory=dict[str, str])
    better: int = 1


def one_run_each(names: Sequence[AnyGiven], how: Options = PLAIN) -> list[OneRun] | None:
    """Read one model's scores from each of these, if each is a single run; None if one of them is something else.

    Args:
        names: logs of harnesses and tables by example (`nondet.io.samples`); outputs of one run, `(1, n, c)`, `(n, c)`,
            `(1, n)` or `(n,)`, with labels; scores of one run by example, `(1, n)`, or `(n,)` if all are 0 or 1.

    Raises:
        BadInput: a file cannot be read, or outputs and labels do not belong together.
    """
    found: list[OneRun] = []
    for place, name in enumerate(names, 1):
        one = _one(name, f"outputs {place}", how)
        if one is None:
            return None
        found.append(one)
    return found


def _one(given: AnyGiven, nameless: str, how: Options) -> OneRun | None:
    labels = how.labels
    if isinstance(given, OpenStudy | Mapping):
        return None
    if isinstance(given, Runs):
        one = len(given) == 1 and given.study is None
        return _of_outputs(given.name, given.outputs, given.labels) if one else None
    if isinstance(given, tuple):
        return _of_outputs(nameless, as_array(given[0], nameless), as_array(given[1], "labels"))
    if not isinstance(given, str | Path):
        return _of_outputs(nameless, as_array(given, nameless), _labels(labels))
    path = Path(given)
    if not str(given) or not path.exists():
        return None
    samples = read_samples(path, how.metric)
    if samples is not None:
        if samples.note:
            how.say(samples.note)
        values, metric = np.array(list(samples.scores.values()), dtype=np.float64), samples.metric
        better = score_of(metric).better
        return OneRun(str(given), metric, values, tuple(samples.scores), 1.0, samples.details, samples.marks, better)
    if path.suffix.lower() in ARRAYS and path.is_file():
        outputs = read_outputs(path)
        inside = path.suffix.lower() != ".npy" and outputs.ndim and outputs.shape[0] == 1
        return _of_outputs(str(given), outputs, _labels(path if labels is None and inside else labels))
    if is_table(path) and count_runs(path) == 1:
        outputs = read_outputs(path, how.columns, how.say)
        return _of_outputs(str(given), outputs, _labels(path if labels is None else labels))
    lines = read_lines(path) if path.suffix.lower() == ".txt" else None
    return None if lines is None else _of_outputs(str(given), lines, None)


def _labels(given: str | Path | ArrayLike | None) -> NDArray[Any] | None:
    if given is None:
        return None
    return read_labels(Path(given)) if isinstance(given, str | Path) else as_array(given, "labels")


def _of_outputs(name: str, outputs: NDArray[Any], labels: NDArray[Any] | None) -> OneRun | None:
    """Return one run's scores from its outputs or scores; None for several runs, and for one number for each run."""
    binary = outputs.size > 1 and bool(np.isin(outputs, (0, 1)).all())
    count = None if labels is None or labels.ndim != 1 else len(labels)
    if (outputs.ndim == 3 and outputs.shape[0] == 1) or (
        outputs.ndim == 2 and outputs.shape[0] == 1 and (outputs.shape[1] == count or count is None)
    ):
        outputs = outputs[0]
    elif not (outputs.ndim in (1, 2) and len(outputs) == count) and not (outputs.ndim == 1 and binary):
        return None
    if (outputs.ndim == 1 and outputs.dtype.kind in "fb") or (labels is None and binary and outputs.ndim == 1):
        values = outputs.astype(np.float64)
        if not np.isfinite(values).all():
            raise BadInput(
                f"{name} must have a finite score for each example (got {values[~np.isfinite(values)][0]}); fix it"
            )
        return OneRun(name, "score", values, tuple(map(str, range(len(values)))))
    if labels is None:
        return None
    try:
        answers = Answers(np.broadcast_to(outputs, (2, *outputs.shape)), labels)  # which need two runs or more
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    correct = answers.predicted[0] == answers.labels
    return OneRun(name, "accuracy", 100.0 * correct, tuple(map(str, range(len(correct)))), 100.0)
