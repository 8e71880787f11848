"""What one run shows that no second one can: seeds set too late or in a constructor, examples that never change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.finding import Finding
from nondet.runners.traced import Trace

LATE = Cause("seed too late", "random numbers are drawn before this seed is set", "seed first, then build the model")
INSIDE = Cause(
    "dead seed",
    "a fixed seed is set while the model is built, so no other seed reaches it",
    "seed once, at the beginning",
)
EXAMPLE = Cause(
    "fixed augmentation",
    "a seed is set while an example is read, so that each epoch has the same random numbers",
    "make the generator once, from the seed of the run, and of each worker",
)
DROPOUT = Cause("dropout in evaluation", "the model is evaluated in training mode", "call model.eval() before")
NORM = Cause("batch norm in evaluation", "the model is evaluated in training mode", "call model.eval() before")
ORDER = Cause("same order", "each epoch has the same order of examples", "let the sampler draw anew in each epoch")
EPOCH = Cause("set_epoch", "each epoch has the same order of examples", "call sampler.set_epoch(epoch) in each epoch")
SHARED = Cause("shared generator", "two modules draw from one generator", "give each module a generator of its own")
WORKERS = Cause(
    "generator in workers",
    "each worker of the loader has a copy of one generator, so that their numbers repeat",
    "make the generator in worker_init_fn, or draw from torch's",
)
CACHED = Cause(
    "cached data", "examples are augmented once and kept, so that no epoch has new ones", "keep the example before it"
)


def habits(trace: Trace, here: Path) -> Iterator[Finding]:
    """What is found in one run's records."""
    records = [record for one in trace.records.values() for record in one]
    yield from _seeds(trace)
    seen: set[tuple[str, str]] = set()
    for record in records:
        if record[0] == "training-mode" and (record[2], record[3]) not in seen:
            seen.add((record[2], record[3]))
            cause = NORM if "Norm" in record[2] else DROPOUT
            yield Finding(cause, record[3], f"{record[2]} is in training mode where no gradient is kept")
        elif record[0] == "shared":
            yield Finding(SHARED, _made(trace), f"{' and '.join(record[2])} hold one {record[1]}")
    yield from _orders(trace)
    yield from _examples(trace, here)


def _made(trace: Trace) -> str:
    """Where the first generator was made."""
    places = [record[1] for record in trace.of("g")] + [r[2] for r in trace.of("o") if r[1] == "generator"]
    return places[0] if places else ""


def _seeds(trace: Trace) -> Iterator[Finding]:
    late = {record[1]: record[2] for record in trace.of("late") if record[2]}
    for record in trace.of("o", "s"):
        if record[0] == "o" and record[1] in ("python", "numpy") and ".seed()" not in record[4]:
            late.setdefault(f"drawn {record[1]}", record[2])
        elif record[0] == "s" and f"drawn {record[1]}" in late and record[2]:
            late.setdefault(record[1], record[2])
    for kind, site in late.items():
        if not kind.startswith("drawn"):
            yield Finding(LATE, site, f"{kind}'s generator had been drawn from")
    inside: dict[tuple[str, str], list[str]] = {}
    for records in trace.records.values():
        for record in records:
            if record[0] == "seed-in":
                inside.setdefault((record[2], record[3]), []).append(record[4])
    for (site, where), seeds in inside.items():
        if where == "constructor":
            yield Finding(INSIDE, site, "a seed is set in a constructor")
        elif len(set(seeds)) < len(seeds):
            yield Finding(EXAMPLE, site, f"of {len(seeds)} seeds {len(set(seeds))} differ")


def _orders(trace: Trace) -> Iterator[Finding]:
    passes: dict[str, list[Any]] = {}
    for record in trace.of("order"):
        passes.setdefault(record[4].partition(".")[0], []).append(record)
    for records in passes.values():
        sampler, _, count, _ = records[0][5]
        if len(records) > 1 and count > 1 and sampler not in _IN_ORDER and len({r[2] for r in records}) == 1:
            cause = EPOCH if "Distributed" in sampler else ORDER
            yield Finding(cause, records[1][3], f"{sampler} gave one order in {len(records)} epochs")


_IN_ORDER = ("SequentialSampler", "_InfiniteConstantSampler")


def _examples(trace: Trace, here: Path) -> Iterator[Finding]:
    by_site: dict[str, dict[int, list[Any]]] = {}
    in_workers: dict[str, str] = {}
    for role, records in trace.records.items():
        for record in records:
            if record[0] == "example":
                by_site.setdefault(record[3], {}).setdefault(record[1], []).append(record)
                own = [name for name in record[4] if not name.endswith(" ")]
                if own and role != "main":
                    in_workers.setdefault(record[3], own[0])
    for site, name in in_workers.items():
        yield Finding(WORKERS, _made(trace) or site, f"{name} is drawn from in a worker")
    for site, examples in by_site.items():
        again = [one for one in examples.values() if len(one) > 1]
        drew = [one for one in again if one[0][4]]
        if drew and all(not later[4] and later[2] == one[0][2] for one in drew for later in one[1:]):
            yield Finding(CACHED, _kept(here, site), f"{len(drew)} examples drew in the first epoch alone")


def _kept(here: Path, site: str) -> str:
    """The line of a method on which something is kept: an item that is set, or the method itself."""
    file, _, line = site.rpartition(":")
    try:
        tree = ast.parse((here / file).read_bytes())
    except (OSError, SyntaxError):
        return site
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.lineno <= int(line) <= (node.end_lineno or 0):
            for one in ast.walk(node):
                targets = one.targets if isinstance(one, ast.Assign) else []
                if any(isinstance(target, ast.Subscript) for target in targets):
                    return f"{file}:{one.lineno}"  # pyright: ignore[reportAttributeAccessIssue]
    return site
