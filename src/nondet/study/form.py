"""Read and write a study's `study.json`, and refuse what is damaged or of another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, Number, misfit, read_file, sealed, unsealed
from nondet.io.nearest import did_you_mean_file
from nondet.study.design import MOST_CROSSED, MOST_RUNS, Condition, Stopping, crossed
from nondet.study.mirror import shown
from nondet.study.store import Store
from nondet.study.study import Study

FORMAT = 1
FORMAT_CROSSED = 2
"""For studies with a crossed design: a version that does not know these must not read one as if it had none."""

MOST_SOURCES = 100
"""Most sources in a crossed design, so that its size can be computed."""

LARGEST = 2**28
"""Most bytes in a study.json: enough for tens of millions of test labels."""

_CONDITION = {"name": str, "vary": [str], "runs": int, "onset": int, "given?": [{str: int}]}
_SHAPE = {
    "task": {
        "name": str,
        "recipe": {"epochs?": int, "bptt?": int, "cycles?": int, "swa?": int, "ema?": Number},
        "track?": {"epochs": [int], "layers": [str]},
        "kind?": str,
        "scores?": [str],
        "shape?": [int],
    },
    "sources": [str],
    "environment": {"stack": int, "threads?": int},
    "labels": [(int, float, [Number])],
    "command": [str],
    "conditions": [_CONDITION],
    "finished": [str],
    "request?": {
        "task?": str,
        "assignments?": {str: str},
        "device?": str,
        "data?": (str, None),
        "model?": (str, None),
        "broken?": str,
        "track?": [int],
        "layers?": [str],
        "tf32?": bool,
        "given?": None,
    },
    "crossed?": {"vary": [str], "levels": int},
    "until?": {
        "expression": str,
        "begin": int,
        "limit": int,
        "runs": int,
        "held": (bool, None),
        "errors": {str: (int, float, None)},
    },
}
"""The fields of study.json and their types, which must be checked: anybody can seal a file with anything in it."""

MAKE_ANEW = "the `nondet run` command that made the study creates it again and keeps every existing run"


def read_study(folder: Path) -> Study:
    """Return the study that a folder's `study.json` describes."""
    path = folder / "study.json"
    try:
        content = read_file(path, LARGEST)
    except NotAFile as error:
        raise Damaged(f"{path} is damaged: {error}; {MAKE_ANEW}") from error
    except FileNotFoundError:
        if Store(folder).keys():
            raise Damaged(f"{path} is missing; {MAKE_ANEW}") from None
        where = shown(folder)
        raise BadInput(
            f"{where} is not a study: {where}/study.json is missing{did_you_mean_file(folder, ' ({})')}; "
            "give the folder of a `nondet run`"
        ) from None
    except NotADirectoryError:
        raise BadInput(f"{folder} is not a study but a file; give the folder of a `nondet run`") from None
    what = "it"
    try:
        fields = unsealed(content, path)
        if fields["format"] not in (FORMAT, FORMAT_CROSSED):
            raise BadInput(
                f"{folder} has study format {fields['format']}, and this version of nondet reads {FORMAT} and "
                f"{FORMAT_CROSSED}; use the version that made it, or start a new study with <<folder>>"
            )
        if wrong := misfit(fields, _SHAPE) or _beyond(fields):
            what = f"its field {wrong}"
            raise TypeError(wrong)
        return Study(
            folder=folder,
            identity=fields["task"],
            sources=tuple(fields["sources"]),
            environment=fields["environment"],
            labels=_labels(fields["labels"], "kind" in fields["task"]),
            command=tuple(fields["command"]),
            conditions=tuple(
                Condition(
                    c["name"],
                    tuple(c["vary"]),
                    c["runs"],
                    c["onset"],
                    tuple(tuple(sorted(seeds.items())) for seeds in c.get("given", ())),
                )
                for c in fields["conditions"]
            ),
            finished=frozenset(fields["finished"]),
            request=fields.get("request", {}),
            asked=fields.get("asked", {}),
            crossed=crossed(fields["crossed"]["vary"], fields["sources"], fields["crossed"]["levels"])
            if "crossed" in fields
            else None,
            until=Stopping(**fields["until"]) if "until" in fields else None,
        )
    except (Damaged, KeyError, TypeError, OverflowError) as error:
        raise Damaged(f"{path} is damaged: {what} is not what nondet wrote; {MAKE_ANEW}") from error


def _beyond(fields: Mapping[str, Any]) -> str:
    """Return the first field whose value no command could have asked for; empty if there is none."""
    sources, crossing = fields["sources"], fields.get("crossed")
    for number, c in enumerate(fields["conditions"]):
        given = c.get("given", [])
        if not (1 if given else 2) <= c["runs"] <= MOST_RUNS or (given and len(given) != c["runs"]):
            return f"conditions.{number}.runs"
        if not all({*seeds} == {*sources} for seeds in given):
            return f"conditions.{number}.given"
        if c["onset"] < 0:
            return f"conditions.{number}.onset"
        if not c["vary"] or not {*c["vary"]} <= {*sources}:
            return f"conditions.{number}.vary"
    if crossing:
        vary, levels = crossing["vary"], crossing["levels"]
        if not 2 <= len({*vary}) == len(vary) <= MOST_SOURCES or not {*vary} <= {*sources}:
            return "crossed.vary"
        if not 2 <= levels <= MOST_CROSSED or levels ** len(vary) > MOST_CROSSED:
            return "crossed.levels"
    if not fields["environment"]["stack"] >= 1:
        return "environment.stack"
    return "" if fields["conditions"] or crossing else "conditions"


def _labels(listed: Sequence[Any], special: bool) -> np.ndarray:
    """Return the labels from JSON: one class number each, or, for a special kind of task, numbers of any shape."""
    try:
        labels = np.array(listed)
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(str(error)) from error
    if labels.dtype.kind in "iu" or not len(labels):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "if" or (labels.ndim > 1 and labels.dtype.kind == "i" and not special):
        raise TypeError(f"labels of {labels.dtype} with {labels.ndim} axes")
    return labels


def content_of(study: Study) -> bytes:
    fields = {
        "format": FORMAT_CROSSED if study.crossed else FORMAT,
        "task": study.identity,
        "sources": list(study.sources),
        "environment": study.environment,
        "command": list(study.command),
        "request": study.request,
        **({"asked": study.asked} if study.asked else {}),
        "conditions": [c.as_dict() for c in study.conditions],
        "labels": study.labels.tolist(),
        "finished": sorted(study.finished),
        **({"crossed": asdict(study.crossed)} if study.crossed else {}),
        **({"until": asdict(study.until)} if study.until else {}),
    }
    return sealed(fields)
