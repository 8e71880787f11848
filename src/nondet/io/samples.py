"""Read one model's scores, by the names of the examples, from logs of evaluation harnesses and from tables.

- lm-evaluation-harness, `--log_samples`: JSON lines (`samples_TASK_DATE.jsonl`), or a folder with one such file.
- inspect: a log as JSON (`.json`), whose samples have scores.
- a table (`.csv`, `.tsv`, `.jsonl`) with a column that names the examples, and none that names runs.
- a text file with one number in each line, whose examples have no names.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import shown
from nondet.io.files import NotAFile, open_file, read_file
from nondet.io.foreign import reading

LARGEST, LARGEST_TEXT = 2**31, 2**26  # bytes
NAMES = ("example", "example_id", "doc_id", "sample_id", "question_id", "item", "item_id")
SEPARATED = {".csv": ",", ".tsv": "\t"}
RUNS = {"run", "seed", "run_id", "arm", "method", "model"}
INSPECT = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""The numbers that inspect gives its letters."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Samples:
    """One model's scores by example.

    metric: what the scores are. scores: by the name of the example. details: what else is known about each example;
    clusters are read from it. marks: what shows that an example of this name is the same one in another log; empty if
    nothing does. note: what was read, if it could have been something else.
    """

    metric: str
    scores: Mapping[str, float]
    details: Mapping[str, Row] = field(default_factory=dict[str, Row])
    marks: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str = ""


def read_samples(path: Path, metric: str | None = None) -> Samples | None:
    """Return the scores in a log or a table; None if the path is neither.

    Raises:
        BadInput: the file cannot be read, has no such metric, or names an example twice.
    """
    if path.is_dir():
        inside = sorted(path.glob("samples_*.jsonl"))
        if not inside:
            return None
        if len(inside) > 1:
            names = shown([file.name for file in inside])
            raise BadInput(f"{path} must contain the samples of one task (got {names}); give one of these files")
        return read_samples(inside[0], metric)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl", ".csv", ".tsv"):
        return None
    with reading(path, "a log of samples, or a table", "give the file as the harness wrote it"):
        if suffix in SEPARATED and not _by_example(path, SEPARATED[suffix]):
            return None
        try:
            text = read_file(path, LARGEST).decode("utf-8-sig")
        except NotAFile as error:
            raise BadInput(f"{path} must be a file ({error}); name one") from error
        if suffix in SEPARATED:
            table = list(csv.DictReader(text.splitlines(), delimiter=SEPARATED[suffix]))
            return _of_table(path, cast(list[Row], table), metric)
        whole: Any = json.loads(text) if suffix == ".json" else [json.loads(x) for x in text.splitlines() if x.strip()]
        if isinstance(whole, dict):
            return _of_inspect(path, cast(dict[str, Any], whole), metric)
        rows = [cast(Row, row) for row in cast(list[Any], whole) if isinstance(row, dict)]
        if not rows or len(rows) < len(whole):
            return None
        read = _of_harness if {"doc_id", "resps"} <= set(rows[0]) else _of_table
        return read(path, rows, metric)


def read_lines(path: Path) -> NDArray[np.float64] | None:
    """Return the numbers of a file that has one in each line, `(N,)`; None for any other file that can be read."""
    with reading(path, "numbers as text", "write one number per line"):
        try:
            lines = read_file(path, LARGEST_TEXT).decode("utf-8-sig").split("\n")
        except NotAFile as error:
            raise BadInput(f"{path} must be a file of numbers as text ({error}); name such a file") from error
    try:
        return np.array([float(line) for line in lines if line.strip()])
    except ValueError:
        return None


def _by_example(path: Path, between: str) -> bool:
    """Whether a table's first line names examples and no runs; others may be large, and are read elsewhere."""
    with open_file(path) as file:
        head = file.readline(2**20).decode("utf-8-sig", "replace")
    names = {name.strip().strip('"').lower() for name in head.split(between)}
    return not names.isdisjoint(NAMES) and names.isdisjoint(RUNS)


def _of_harness(path: Path, rows: Sequence[Row], metric: str | None) -> Samples:
    """Read a log of lm-evaluation-harness, with a line for each document and filter.

    `--metric exact_match,strict-match` names both the metric and the filter.
    """
    wanted, _, chosen = (metric or "").partition(",")
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    if chosen and chosen not in filters:
        raise BadInput(f"{path} has no filter {chosen!a} (it has {shown(filters)}); choose another <<metric>>")
    kept = [row for row in rows if str(row.get("filter", "none")) == (chosen or filters[0])]
    named = kept[0].get("metrics")
    known = [str(name) for name in cast(list[Any], named)] if isinstance(named, list) else []
    there = [name for name in known or kept[0] if _score(kept[0].get(name)) is not None and name != "doc_id"]
    name = _chosen(path, there, wanted)
    note = "" if len(filters) < 2 else f"{path}: answers are read from the filter {chosen or filters[0]}"
    return Samples(
        name,
        _by_name(path, ((str(row["doc_id"]), row.get(name)) for row in kept)),
        {str(row["doc_id"]): row["doc"] for row in kept if isinstance(row.get("doc"), dict)},
        {str(row["doc_id"]): str(row["doc_hash"]) for row in kept if row.get("doc_hash")},
        note or _said(path, name, there, metric),
    )


def _of_inspect(path: Path, log: Row, metric: str | None) -> Samples | None:
    """Read a log of inspect, whose samples have a score by each scorer; several epochs of a sample are averaged."""
    samples = log.get("samples")
    if not isinstance(samples, list) or not samples:
        if "eval" in log and "results" in log:
            raise BadInput(f"{path} must contain its samples (got a log without them); write it with its samples")
        return None
    rows = [cast(Row, row) for row in cast(list[Any], samples) if isinstance(row, dict)]
    scored = [row for row in rows if isinstance(row.get("scores"), dict)]
    there = list(dict.fromkeys(str(name) for row in scored for name in row["scores"]))
    name = _chosen(path, there, metric or "")
    epochs: dict[str, list[float]] = {}
    for row in scored:
        given = row["scores"].get(name)
        value = _score(given.get("value") if isinstance(given, dict) else given, INSPECT)
        if value is None:
            raise BadInput(
                f"{path} must have a number for each sample (got {given!a} for {row.get('id')!a}); leave it out"
            )
        epochs.setdefault(str(row.get("id")), []).append(value)
    left = len(rows) - len(scored)
    note = f"{path}: {left} samples without a score are left out" if left else _said(path, name, there, metric)
    details = {str(row.get("id")): cast(Row, row.get("metadata") or {}) for row in scored}
    marks = {str(row.get("id")): json.dumps(row.get("target")) for row in scored if row.get("target") is not None}
    return Samples(name, {key: sum(v) / len(v) for key, v in epochs.items()}, details, marks, note)


def _of_table(path: Path, rows: Sequence[Row], metric: str | None) -> Samples | None:
    """Read a table with a column of examples and none of runs."""
    heads = {str(name).strip().lower(): name for name in rows[0]} if rows else {}
    key = next((heads[name] for name in NAMES if name in heads), None)
    if key is None or RUNS & set(heads):
        return None
    there = [str(name) for name in rows[0] if name != key and all(_score(row.get(name)) is not None for row in rows)]
    name = _chosen(path, there, metric or "")
    scores = _by_name(path, ((str(row[key]), row.get(name)) for row in rows))
    return Samples(name, scores, {str(row[key]): row for row in rows}, note=_said(path, name, there, metric))


def _chosen(path: Path, there: Sequence[str], wanted: str) -> str:
    if wanted and wanted not in there:
        raise BadInput(f"{path} has no score {wanted!a} (it has {shown(there)}); choose another <<metric>>")
    if not there:
        raise BadInput(f"{path} must have a score for each example (got none that is a number); name the right file")
    return wanted or there[0]


def _said(path: Path, name: str, there: Sequence[str], metric: str | None) -> str:
    """Say which score was read, if none was named and another could have been meant."""
    return "" if metric or len(there) < 2 else f"{path}: scores are read from {name}, one of {shown(there)}"


def _by_name(path: Path, given: Iterator[tuple[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in given:
        number = _score(value)
        if number is None:
            raise BadInput(f"{path} must have a number for each example (got {value!a} for {name!a}); leave it out")
        if name in found:
            raise BadInput(f"{path} must have one score for each example (got two for {name!a}); give one run's alone")
        found[name] = number
    return found


def _score(value: Any, words: Mapping[str, float] | None = None) -> float | None:
    """Return a score as a number; None for anything else."""
    if isinstance(value, str) and words and value in words:
        return words[value]
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        number = {"true": 1.0, "false": 0.0}.get(str(value).strip().lower(), math.nan)
    return number if math.isfinite(number) else None
