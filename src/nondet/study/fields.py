"""What study.json may contain; it must be checked, since anybody can seal a file with anything in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nondet.io.files import Number, misfit
from nondet.study.design import MOST_CROSSED, MOST_RUNS

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
"""The fields of study.json and their types."""


def wrong_field(fields: Mapping[str, Any]) -> str:
    """Return the first field that is not as nondet writes it; empty if there is none."""
    return misfit(fields, _SHAPE) or _beyond(fields)


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
