"""Read and write a study's `study.json`, and refuse what is damaged or of another format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, read_file, sealed, unsealed
from nondet.io.nearest import did_you_mean_file
from nondet.study.design import Condition, Stopping, crossed
from nondet.study.fields import LARGEST, wrong_field
from nondet.study.mirror import shown
from nondet.study.store import Store
from nondet.study.study import Study

FORMAT = 1
FORMAT_CROSSED = 2
"""For studies with a crossed design: a version that does not know these must not read one as if it had none."""

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
                f"{FORMAT_CROSSED}; "
                "use the version that made it, or start a new study with <<folder>>"
            )
        if wrong := wrong_field(fields):
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
        **({"crossed": study.crossed.as_dict()} if study.crossed else {}),
        **({"until": asdict(study.until)} if study.until else {}),
    }
    return sealed(fields)
