"""Where two runs part: in what they train, on which line, in which operation."""

from __future__ import annotations

import ast
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nondet.runners.traced import Trace
from nondet.script.trace.places import own_modules

SEEN = ("start", "loaded", "batch", "output", "loss", "weights", "asked", "answer", "order")
"""The records of a training that are compared, each with its step and digest; also `end` if it takes no steps."""

NAMES = {
    "start": "the initial weights",
    "loaded": "a batch of the data",
    "batch": "the model's inputs",
    "output": "the model's outputs",
    "loss": "the loss",
    "weights": "the weights after the step",
    "asked": "what the model is evaluated on",
    "answer": "the model's answers in evaluation",
    "order": "the order of the examples",
    "operation": "the results of an operation",
    "end": "what the script holds at its end",
}


def differ(what: str) -> str:
    """Put the right verb after what differs."""
    plural = any(word in what for word in ("weights", "inputs", "outputs", "answers", "results"))
    return f"{what} {'differ' if plural else 'differs'}"


@dataclass(frozen=True)
class Parting:
    """The first record that differs. place: its position. name: of what the script holds at its end, if that is it."""

    kind: str
    step: int
    site: str
    place: int
    name: str = ""

    @property
    def what(self) -> str:
        return NAMES[self.kind] + (f" ({self.name})" if self.name else "")

    @property
    def where(self) -> dict[str, Any]:
        """The fields of a record that say where two runs part."""
        return {"step": self.step, "what": self.what, "site": self.site}


def seen(trace: Trace) -> list[Sequence[Any]]:
    """Return the records of a run that are compared, in order."""
    found = trace.of(*SEEN)
    return found if trace.steps else [*found, *trace.of("end")]


def parted(a: Trace, b: Trace) -> Parting | None:
    """Find where two trainings part; None if all records are equal."""
    first, second = seen(a), seen(b)
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one[:3] != other[:3] or (one[0] == "end" and one[4] != other[4]):
            return Parting(one[0], one[1], one[3], place, one[4] if one[0] == "end" else "")
    if len(first) != len(second):
        place = min(len(first), len(second))
        kind, step, _, site, *_ = max(first, second, key=len)[place]
        return Parting(kind, step, site, place)
    return None


def everywhere(trace: Trace, *kinds: str) -> list[Sequence[Any]]:
    """Return the records of these kinds in all processes of a run."""
    return [record for records in trace.records.values() for record in records if record[0] in kinds]


@dataclass(frozen=True)
class Line:
    """A line of the user's code where two runs part: equal before it, different after it.

    names: the variables that differ after it. received: whether what differs came from another process.
    """

    site: str
    function: str
    names: tuple[str, ...]
    step: int
    role: str = "main"
    received: bool = False


def first_line(a: Trace, b: Trace) -> Line | None:
    """Find the first line on which two runs part: in a worker that received nothing different, or else in main."""
    found = [
        line
        for role, other in zip(_roles(a), _roles(b), strict=False)
        if (line := _first_line(a.records[role], b.records[other], role))
    ]
    own = [line for line in found if not line.received]
    return min(own or found, key=lambda line: (line.role == "main", line.step), default=None)


def _roles(trace: Trace) -> list[str]:
    return sorted(trace.records, key=lambda role: (role != "main", role))


def _first_line(a: Sequence[Any], b: Sequence[Any], role: str) -> Line | None:
    first, second = ([r for r in records if r[0] in "cl"] for records in (a, b))
    return _line_apart(_without_waiting(first), _without_waiting(second), role) or _line_apart(first, second, role)


LONGEST = 6
"""The most lines that a waiting loop may have."""


def _without_waiting(lines: list[Any]) -> list[Any]:
    """Drop lines that repeat and change nothing: how often a waiting loop turns does not matter."""
    found: list[Any] = []
    for one in lines:
        found.append(one)
        for size in range(1, LONGEST + 1):
            if len(found) >= 2 * size and found[-size:] == found[-2 * size : -size]:
                del found[-size:]
                break
    return found


def _line_apart(first: Sequence[Any], second: Sequence[Any], role: str) -> Line | None:
    before: Any = None
    for one, other in zip(first, second, strict=False):
        if one[:4] != other[:4]:  # the paths part: the line before took another branch
            return _line(before or one, (), role)
        if one[4] != other[4]:
            names = tuple(n for n, value in one[4].items() if other[4].get(n) != value)
            if one[0] == "c":
                return Line(one[6] or f"{one[1]}:{one[2]}", one[3], names, one[5], role, not one[6])
            return _line(one, names, role)
        before = one
    if len(first) != len(second) and before is not None and role == "main":  # another process ends when main does
        return _line(before, (), role)
    return None


def _line(record: Any, names: tuple[str, ...], role: str) -> Line:
    return Line(f"{record[1]}:{record[2]}", record[3], names, record[5], role)


@dataclass(frozen=True)
class Operation:
    """A torch operation that gives different results for the same inputs.

    backward: its node in the backward pass. ulps: the largest difference in units in the last place of float32.
    difference: the same as an absolute value. Both are None if outputs were not kept. unwritten: whether its memory
    is read before anything is written to it. near: whether the two results are equal up to rounding.
    """

    name: str
    module: str
    site: str
    step: int
    backward: str = ""
    shapes: Sequence[Sequence[int]] = ()
    ulps: float | None = None
    difference: float | None = None
    unwritten: bool = False
    near: bool = False


def first_operation(a: Trace, b: Trace) -> Operation | None:
    """Find the first operation with equal inputs and different outputs, matched by module, name and call."""
    made = {record[10]: record for record in a.of("op")}
    for one, other in _matched(a.of("op"), b.of("op"), (1, 2, 3, 5)):
        if one[6] != other[6]:
            for number in one[9]:
                origin = made[number]
                return Operation(origin[3], origin[2], origin[4], origin[1], "", origin[8], unwritten=True)
        elif one[7] != other[7]:
            ulps, difference, near = _distance(a, one[11], b, other[11])
            return Operation(one[3], one[2], one[4], one[1], one[5], one[8], ulps, difference, near=near)
    return None


def repeated_operation(trace: Trace) -> Operation | None:
    """Return the first operation whose result differed when one process repeated it on the same inputs."""
    for _, step, module, name, site, backward, shapes, first, second in trace.of("again"):
        ulps, difference, near = _distance(trace, first, trace, second)
        return Operation(name, module, site, step, backward, shapes, ulps, difference, near=near)
    return None


def first_module(a: Trace, b: Trace, step: int) -> Operation | None:
    """Find the first module of a step with equal inputs and different outputs, inner modules before outer ones."""
    first, second = ([record for record in trace.of("module") if record[1] == step] for trace in (a, b))
    for one, other in _matched(first, second, (2,)):
        if one[5] == other[5] and one[6] != other[6]:
            return Operation("", one[2], one[4], step)
    return None


def _matched(first: Sequence[Any], second: Sequence[Any], fields: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Yield the records of two runs that are equal in these fields, the first with the first, and so on."""

    def numbered(records: Sequence[Any]) -> dict[tuple[Any, ...], Any]:
        counts: Counter[tuple[Any, ...]] = Counter()
        found: dict[tuple[Any, ...], Any] = {}
        for record in records:
            name = tuple(record[field] for field in fields)
            counts[name] += 1
            found[(*name, counts[name])] = record
        return found

    known = numbered(second)
    yield from ((one, known[key]) for key, one in numbered(first).items() if key in known)


def _distance(a: Trace, first: str, b: Trace, second: str) -> tuple[float | None, float | None, bool]:
    """Return the largest difference of two outputs in ulps of float32 and as it is, and whether it is rounding."""
    if not first or not second:
        return None, None, False
    x, y = (np.load(t.folder / name, allow_pickle=False) for t, name in ((a, first), (b, second)))
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None, None, False
    apart = np.abs(x - y)
    unit = np.spacing(np.maximum(np.abs(x), np.abs(y)).astype(np.float32)).astype(np.float64)
    scale = float(np.abs(x).max()) or 1.0
    return float((apart / unit).max()), float(apart.max()), bool(apart.max() <= 1e-3 * scale)


def parsed(file: str | Path) -> tuple[list[str], ast.AST]:
    """Return the lines and the tree of a Python file; both are empty if it cannot be read as such."""
    try:
        with tokenize.open(file) as opened:
            text = opened.read()
        return text.splitlines(), ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return [], ast.Module([], [])


def statement(site: str) -> str:
    """Return the text of the statement on a line; of a compound statement only its head."""
    file, _, number = site.rpartition(":")
    lines, tree = parsed(file)
    line = int(number) if lines else 0
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not around:
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""
    node = min(around, key=lambda one: (one.end_lineno or 0) - one.lineno)
    last = getattr(node, "body", None)
    end = last[0].lineno - 1 if isinstance(last, list) and last else node.end_lineno or node.lineno
    return "\n".join(lines[node.lineno - 1 : max(end, node.lineno)]).strip()


def uses_hashes(words: Sequence[str]) -> bool:
    """Whether the script, or one of the user's own modules, uses sets or `hash`."""
    nodes = (node for path in own_modules(words) for node in ast.walk(parsed(path)[1]))
    return any(
        isinstance(node, ast.Set | ast.SetComp)
        or (isinstance(node, ast.Name) and node.id in ("set", "frozenset", "hash"))
        for node in nodes
    )


def sites_of(trace: Trace, kind: str) -> dict[str, str]:
    """Return the user's lines that ask for one kind of outside input, with what they call."""
    found: dict[str, str] = {}
    for record in everywhere(trace, "o"):
        if record[1] == kind:
            found.setdefault(record[2], record[4])
    return found


def kinds_of(*traces: Trace) -> set[str]:
    """Return the kinds of outside input that these runs asked for."""
    return {record[1] for trace in traces for record in everywhere(trace, "o")}
