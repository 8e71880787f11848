"""Scores from elsewhere, one number for each run: which arms there are, and which runs belong to each."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from nondet.errors import BadInput
from nondet.io.exports import PATH, gathered
from nondet.io.names import SEEDS, called, is_summary
from nondet.io.nearest import did_you_mean_file
from nondet.io.roles import Asked, Roles, roles_of, without
from nondet.io.rows import Cell, Rows, is_failure, label_of
from nondet.stats.values import LARGEST_VALUE, Floats

Failed = Literal["count", "drop"]
SHOWN = 5
"""How many rows are named."""

STOPPED = frozenset(("crashed", "failed", "killed", "running", "preempted", "preempting", "canceled", "cancelled"))
"""States of runs that did not finish."""


@dataclass(frozen=True, eq=False)
class ScoredArm:
    """The scores of one arm's runs, by one metric, on one data set.

    values: of the N sound runs. names: of these, for people. seeds: of each, empty if it has none.
    rows: where each comes from, which shows whether two arms have a run in common. failed: how many more runs failed.
    folds: whether runs with equal seeds share their data by design.
    """

    name: str
    metric: str
    values: Floats
    names: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    failed: int = 0
    dataset: str = ""
    folds: bool = False


def read_scores(
    paths: str | Path | Sequence[str | Path],
    asked: Asked = Asked(),  # noqa: B008 - it is frozen
    *,
    several: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[ScoredArm]:
    """Read the arms in files of scores: one for each metric, data set and arm, in the order of the file.

    Args:
        paths: a file, a folder, a pattern with `*`, or several of them, which make one table.
        several: whether several metrics are allowed.
        say: is called with what was read as what, and what was left out.

    Raises:
        BadInput: they cannot be read, or the names do not make clear which column is what.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    rows = gathered([path for one in given for path in matched(one)])
    path, left_out = rows.path, _left_out(rows)
    if left_out:
        rows = without(rows, left_out)
    if not len(rows):
        raise BadInput(f"{path} must have a number for each run (got none); give a file with scores")
    if rows.nameless and asked.metric:  # which is then their name
        rows = replace(rows, columns=dict(zip(asked.metric, rows.columns.values(), strict=False)))
    roles = roles_of(rows, asked, several)
    if roles.said:
        say(f"{path}: {'; '.join(roles.said)}")
    arms: list[ScoredArm] = []
    failures: dict[str, list[str]] = {}
    for name, dataset, runs, columns in _wide(rows, roles) if roles.wide else _narrow(rows, roles):
        for column, metric in columns:
            found, failed = _of_metric(rows, roles, runs, column)
            failures.setdefault(name, []).extend(failed)
            arms.append(_arm(rows, roles, name, metric, found, len(failed), dataset))
    if not roles.wide:  # a run may have failed by several metrics
        failures = {name: list(dict.fromkeys(failed)) for name, failed in failures.items()}
    if left := _left_out_words(left_out, failures):
        say(f"{path}: left out: {left}")
    return arms


def matched(path: str | Path) -> list[Path]:
    """Return the files that a path or a pattern names, in order; BadInput if there is none."""
    if Path(path).exists():
        return [Path(path)]
    pattern = str(path) if glob.has_magic(str(path)) else ""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern that may begin anywhere
    if not found:
        raise BadInput(
            f"{path} must be a file, a folder or a pattern of scores (nothing is there{did_you_mean_file(path)}); "
            "give one that exists"
        )
    return [Path(name) for name in found]


def given_scores(values: Mapping[str, ArrayLike] | ArrayLike, metric: str = "score") -> list[ScoredArm]:
    """Make arms from a program's numbers, one for each run: by name, or a single arm."""
    named = values if isinstance(values, Mapping) else {"scores": values}
    arms: list[ScoredArm] = []
    for name, given in named.items():
        try:
            numbers = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"scores must be one number for each run (got {type(given).__name__} for {name}); give a list of "
                "numbers"
            ) from error
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = numbers[:, 0]
        if numbers.ndim != 1:
            raise BadInput(
                f"scores must be one number for each run, (N,) (got shape {numbers.shape} for {name}); give one score "
                "for each run, or outputs with their labels"
            )
        sound = np.isfinite(numbers)
        places = tuple(f"{id(given)} {name} {place}" for place in np.flatnonzero(sound))
        arms.append(ScoredArm(str(name), metric, numbers[sound], rows=places, failed=int((~sound).sum())))
    return arms


def _left_out(rows: Rows) -> dict[int, str]:
    """Return the places of rows that are not runs, with the name of a summary, or an empty text for a blank row."""
    texts = [name for name, cells in rows.columns.items() if _share_of_numbers(cells) < 1]
    found: dict[int, str] = {}
    for place in range(len(rows)):
        if all(cells[place] is None for cells in rows.columns.values()):
            found[place] = ""
        for name in texts:
            cell = rows.columns[name][place]
            if isinstance(cell, str) and is_summary(cell) and _alone(rows, name, place):
                found[place] = cell
                break
    return found


def _alone(rows: Rows, column: str, place: int) -> bool:
    """Whether a word such as "mean" marks a summary: there is no seed in its row, and most rows say something else."""
    seeds = [name for name in called(list(rows.columns), SEEDS) if name != column]
    if any(isinstance(rows.columns[name][place], float) for name in seeds):
        return False
    others = [value for value in rows.columns[column] if value is not None]
    return sum(isinstance(value, str) and is_summary(value) for value in others) * 2 < len(others)


def _share_of_numbers(cells: Sequence[Cell]) -> float:
    there = [cell for cell in cells if cell is not None]
    return sum(isinstance(cell, float) for cell in there) / len(there) if there else 1.0


Part = tuple[str, str, list[list[int]], list[tuple[str, str]]]
"""An arm's name and data set, the rows of each of its runs, and its columns, each with its metric."""


def _wide(rows: Rows, roles: Roles) -> Iterator[Part]:
    """Yield arms that have a column each; a column may be shorter than others."""
    for name in roles.arms:
        runs = [[place] for place, cell in enumerate(rows.columns[name]) if cell is not None]
        yield name, "", runs, [(name, roles.metrics[0])]


def _arm(
    rows: Rows, roles: Roles, name: str, metric: str, found: Sequence[tuple[int, float]], failed: int, dataset: str = ""
) -> ScoredArm:
    values = np.array([value for _, value in found], dtype=np.float64)
    if len(values) and np.abs(values).max() > LARGEST_VALUE:
        raise BadInput(
            f"{metric} must be at most {LARGEST_VALUE:g} in size ({name} has a run above it); leave that run out, or "
            "give it as NaN, which counts as failed"
        )
    where = name if roles.wide else ""
    files = rows.columns.get(PATH, [rows.path] * len(rows))
    return ScoredArm(
        name,
        metric,
        values,
        names=tuple(roles.names[place] if roles.names else str(place + 1) for place, _ in found),
        seeds=tuple(roles.seeds[place] for place, _ in found) if roles.seeds else (),
        rows=tuple(f"{Path(label_of(files[place])).absolute()} {where} {metric} {place}" for place, _ in found),
        failed=failed,
        dataset=dataset,
        folds=roles.folds,
    )


def _narrow(rows: Rows, roles: Roles) -> Iterator[Part]:
    """Yield arms whose runs have a row each, or a row for each step, the last of which counts."""
    arm_of, dataset_of = roles.arms or [""] * len(rows), roles.datasets or [""] * len(rows)
    for dataset in dict.fromkeys(dataset_of):
        for arm in dict.fromkeys(arm_of):
            places = [p for p in range(len(rows)) if arm_of[p] == arm and dataset_of[p] == dataset]
            name = arm or Path(rows.path).stem
            if places:
                yield name, dataset, _runs(rows, roles, places, name), [(metric, metric) for metric in roles.metrics]


def _runs(rows: Rows, roles: Roles, places: Sequence[int], name: str) -> list[list[int]]:
    """Return the rows of each run of an arm, in the order of its steps."""
    steps = rows.columns.get(roles.step, ()) if roles.step else ()
    if not roles.seeds:
        taken = [steps[place] for place in places] if steps else []
        if len(places) > 2 and len(set(taken)) == len(places):  # a curve: each step once
            return [_by_step(places, steps)]
        return [[place] for place in places]
    runs: dict[str, list[int]] = {}
    for place in places:
        runs.setdefault(roles.seeds[place] or f" {place}", []).append(place)
    if all(len(found) == 1 for found in runs.values()):
        return list(runs.values())
    if steps and all(len({steps[place] for place in found}) == len(found) for found in runs.values()):
        return [_by_step(found, steps) for found in runs.values()]
    seed, found = next((seed, found) for seed, found in runs.items() if len(found) > 1)
    known = {*roles.metrics, roles.step, roles.state}
    vary = [
        column
        for column, cells in rows.columns.items()
        if column not in known and len({cells[place] for place in found}) > 1 and not _all_numbers(cells)
    ]
    if vary:
        raise BadInput(
            f"{rows.path} must have one row for each run (got {len(found)} of {name} with seed {seed}, which differ in "
            f"{vary[0]!a}); say what that column is with <<dataset={vary[0]}>>, or add it to the columns of <<arm>>"
        )
    raise BadInput(
        f"{rows.path} must have one row for each run (got {len(found)} of {name} with seed {seed}); leave copies out, "
        "or name the column that tells runs apart with <<seed>>"
    )


def _all_numbers(cells: Sequence[Cell]) -> bool:
    return _share_of_numbers(cells) == 1 and any(isinstance(c, float) and not c.is_integer() for c in cells)


def _by_step(places: Sequence[int], steps: Sequence[Cell]) -> list[int]:
    def key(place: int) -> float:
        step = steps[place]
        return step if isinstance(step, float) else -math.inf

    return sorted(places, key=key)


def _of_metric(
    rows: Rows, roles: Roles, runs: Sequence[Sequence[int]], metric: str
) -> tuple[list[tuple[int, float]], list[str]]:
    """Return the last value of each sound run with its row, and the names of the runs that failed."""
    cells, states = rows.columns[metric], rows.columns.get(roles.state, ())
    found: list[tuple[int, float]] = []
    failed: list[str] = []
    for places in runs:
        held = [place for place in places if cells[place] is not None]
        last = held[-1] if held else places[-1]
        cell = cells[last]
        stopped = bool(states) and str(states[places[-1]] or "").lower() in STOPPED
        if isinstance(cell, float) and math.isfinite(cell) and not stopped:
            found.append((last, cell))
            continue
        if not stopped:
            _check_failure(rows, metric, last, cell)
        failed.append(roles.names[last] if roles.names and roles.names[last] else f"row {last + 1}")
    return found, failed


def _check_failure(rows: Rows, column: str, place: int, cell: Cell) -> None:
    if not is_failure(cell):
        raise BadInput(
            f"{rows.path} must have a number in each row of {column!a} (got {label_of(cell)[:40]!a} in row {place + 1})"
            "; give one number for each run, and leave its cell empty where the run failed"
        )


def _left_out_words(left_out: Mapping[int, str], failures: Mapping[str, Sequence[str]]) -> str:
    """Say what was left out; empty if nothing was."""
    summaries = [name for name in left_out.values() if name]
    blank = len(left_out) - len(summaries)
    parts = [f"{_many(names, 'failed run')} of {arm} ({_listed(names)})" for arm, names in failures.items() if names]
    parts += [f"{_many(summaries, 'summary row')} ({_listed(summaries)})"] if summaries else []
    parts += [_many(range(blank), "blank row")] if blank else []
    return "; ".join(parts)


def _many(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'s' * (len(things) != 1)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
