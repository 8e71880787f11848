"""`nondet.measure`: a study's runs, outputs of others, or scores, from files or from a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.given import is_scores, refuse_choices
from nondet.analysis.groups import groups_of
from nondet.analysis.measure import measure as measure_outputs
from nondet.analysis.runs import Runs
from nondet.analysis.scored import ScoreMeasures, measure_scores
from nondet.analysis.scores import Failed, given_scores, read_scores
from nondet.errors import BadInput, spelled
from nondet.io.outputs import is_table, read_labels, read_outputs
from nondet.io.roles import Asked
from nondet.measures.measured import Measures
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
        return _measure_arrays(outputs, labels, failed, examples, groups, name)
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
    return _measure_arrays(array, truth, failed, examples, groups_of(groups, path), str(path))


def _paths(given: Any) -> list[str | Path]:
    """Return the paths that are given; none for arrays and runs."""
    if isinstance(given, str | Path):
        return [given]
    if isinstance(given, list | tuple) and given and all(isinstance(one, str | Path) for one in given):
        return list(cast("Sequence[str | Path]", given))
    return []


def _measure_arrays(
    outputs: Any,
    labels: ArrayLike | None,
    failed: int | Literal["count", "drop"],
    examples: bool,
    groups: str | Path | ArrayLike | None,
    name: str,
) -> Measures:
    if isinstance(failed, int):
        return measure_outputs(outputs, labels, failed, examples, groups=groups, name=name)
    if isinstance(outputs, Runs):
        raise BadInput(f"<<failed>> is for outputs of others (got runs of {outputs.name}); leave it out")
    array = np.asarray(outputs)
    exact = array.dtype.kind != "f"
    sound = np.array([exact or np.isfinite(run).all() for run in array], dtype=np.bool_)
    kept = array if sound.all() else array[sound]
    if kept.ndim == 2 and kept.dtype.kind == "f" and np.equal(kept, np.trunc(kept)).all():
        kept = kept.astype(np.int64)  # classes of a table, in which some were missing
    count = int((~sound).sum()) if failed == "count" else 0
    return measure_outputs(kept, labels, count, examples, groups=groups, name=name)
