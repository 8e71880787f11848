"""What one run shows by itself: seeds set too late or in a constructor, fixed examples, ignored settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from nondet.analysis.reproduce.causes import Cause, Finding
from nondet.analysis.reproduce.parting import everywhere, parsed, statement
from nondet.runners.traced import Trace

LATE = Cause("seed too late", "random numbers are drawn before this seed is set", "seed first, then build the model")
INSIDE = Cause(
    "dead seed",
    "a fixed seed is set while the model is built, so no other seed reaches it",
    "seed once, at the start",
)
EXAMPLE = Cause(
    "fixed augmentation",
    "a seed is set while an example is read, so each epoch has the same random numbers",
    "create the generator once, from the seeds of the run and of each worker",
)
EXAMPLE_AGAIN = Cause(
    "fixed augmentation",
    "a generator is created from the same seed again and again during training, so its random numbers repeat",
    "create the generator once, before the training",
)
DROPOUT = Cause("dropout in evaluation", "the model is evaluated in training mode", "call model.eval() first")
NORM = Cause("batch norm in evaluation", "the model is evaluated in training mode", "call model.eval() first")
ORDER = Cause("same order", "each epoch has the same order of examples", "let the sampler draw again in each epoch")
EPOCH = Cause("set_epoch", "each epoch has the same order of examples", "call sampler.set_epoch(epoch) in each epoch")
AGAIN = Cause(
    "same seed again",
    "the same seed is set again during training, so the same random numbers repeat",
    "seed once, before the training",
)
SHARED = Cause("shared generator", "two modules draw from one generator", "give each module its own generator")
WORKERS = Cause(
    "generator in workers",
    "each worker of the loader has a copy of one generator, so their numbers repeat",
    "create the generator in worker_init_fn, or draw from torch's",
)
CACHED = Cause(
    "cached data", "examples are augmented once and kept, so no epoch has new ones", "keep them before augmentation"
)


def passes(trace: Trace) -> list[str]:
    """Return the lines that call a model in training mode without keeping a gradient."""
    return sorted({record[3] for record in everywhere(trace, "training-mode")})


def habits(trace: Trace, trained: Collection[str] = ()) -> Iterator[Finding]:
    """Yield the findings in one run's records.

    trained: lines whose passes without a gradient belong to the training and are not evaluations.
    """
    yield from _seeds(trace)
    seen: list[Sequence[str]] = []
    for record in everywhere(trace, "training-mode", "shared"):
        if record[0] == "shared":
            yield Finding(SHARED, record[3] or _made(trace), f"{' and '.join(record[2])} share one {record[1]}")
        elif record[3] not in trained and record[2:4] not in seen:
            seen.append(record[2:4])
            cause = NORM if "Norm" in record[2] else DROPOUT
            yield Finding(cause, record[3], f"{record[2]} is in training mode where no gradient is kept")
    again = [*_again(trace)]
    yield from again
    if not any(one.cause in (ORDER, AGAIN) for one in again):
        yield from _orders(trace)
    yield from _examples(trace)


def _made(trace: Trace) -> str:
    """Return where the first generator was created."""
    places = [record[1] for record in trace.of("g")] + [r[2] for r in trace.of("o") if r[1] == "generator"]
    return next(iter(places), "")


def _seeds(trace: Trace) -> Iterator[Finding]:
    late = {record[1]: record[2] for record in trace.of("late") if record[2]}
    for record in trace.of("o", "s"):
        if record[0] == "o" and record[1] in ("python", "numpy") and ".seed()" not in record[4]:
            late.setdefault(f"drawn {record[1]}", record[2])
        elif record[0] == "s" and f"drawn {record[1]}" in late and record[2]:
            late.setdefault(record[1], record[2])
    for kind, site in late.items():
        if not kind.startswith("drawn"):
            yield Finding(LATE, site, f"{kind}'s generator had already been drawn from")
    inside: dict[tuple[str, str], list[str]] = {}
    for record in everywhere(trace, "seed-in"):
        inside.setdefault((record[2], record[3]), []).append(record[4])
    for (site, where), seeds in inside.items():
        if where == "constructor":
            yield Finding(INSIDE, site, "a seed is set in a constructor")
        elif len(set(seeds)) < len(seeds):
            yield Finding(EXAMPLE, site, f"of {len(seeds)} seeds, only {len(set(seeds))} are distinct")


def _orders(trace: Trace) -> Iterator[Finding]:
    passes: dict[str, list[Any]] = {}
    for record in trace.of("order"):
        passes.setdefault(record[4].partition(".")[0], []).append(record)
    for records in passes.values():
        sampler, epoch, count, _ = records[0][5]
        if len(records) > 1 and count > 1 and sampler not in _IN_ORDER and len({r[2] for r in records}) == 1:
            cause = EPOCH if "Distributed" in sampler or epoch is not None else ORDER
            yield Finding(cause, records[1][3], f"{sampler} gave the same order in {len(records)} epochs")


def _again(trace: Trace) -> Iterator[Finding]:
    """Find generators that one line creates from one seed again and again while one model trains."""
    steps, kept = 0, dict[tuple[str, str, str], list[int]]()
    found: dict[str, Cause] = {}
    seen = {record[3] for record in trace.of("order") if record[5][0] not in _IN_ORDER}
    inside = {record[2] for record in everywhere(trace, "seed-in")}
    for record in trace.main:
        if record[0] == "weights":  # what is made after the last step is for an evaluation
            steps += 1
            for (kind, site, _), made in kept.items():
                if len(set(made)) > 1:
                    found.setdefault(site, _again_cause(kind, statement(site)))
        elif record[0] == "start":  # another model: what was made for the previous one does not count
            kept = {key: [steps] for key, made in kept.items() if made[-1] == steps}
        elif record[0] in "gs" and record[4]:
            site = record[1] if record[0] == "g" else record[2]
            if site and site not in inside:
                kept.setdefault((record[0], site, record[3]), []).append(steps)
    for site, cause in found.items():
        if cause is not ORDER or site in seen or not seen:
            yield Finding(cause, site, "the same seed at more than one training step")


def _again_cause(kind: str, text: str) -> Cause:
    if kind == "s":
        return AGAIN
    return ORDER if re.search(r"perm|DataLoader|shuffle|[sS]ampl|choice", text) else EXAMPLE_AGAIN


_IN_ORDER = ("SequentialSampler", "_InfiniteConstantSampler")


def _examples(trace: Trace) -> Iterator[Finding]:
    by_site: dict[str, dict[int, list[Any]]] = {}
    in_workers: dict[str, str] = {}
    for role, records in trace.records.items():
        for record in records:
            if record[0] == "example":
                by_site.setdefault(record[3], {}).setdefault(record[1], []).append(record)
                own = [name for name in record[4] if not name.endswith(" ")]
                if own and role != "main":
                    in_workers.setdefault(record[5].get(own[0]) or _made(trace) or record[3], own[0])
    for site, name in in_workers.items():
        yield Finding(WORKERS, site, f"a worker draws from {name}")
    for site, examples in by_site.items():
        again = [one for one in examples.values() if len(one) > 1]
        drew = [one for one in again if one[0][4]]
        same = drew and all(later[2] == one[0][2] for one in drew for later in one[1:])
        alone = same and not any(later[4] for one in drew for later in one[1:])
        place, keeps = _kept(site)
        if alone or (same and keeps):
            yield Finding(CACHED, place, f"{len(drew)} examples drew numbers, yet were the same in the next epoch")


def _kept(site: str) -> tuple[str, bool]:
    """Return the line of a class that keeps an example, and True; or else the line that reads it, and False.

    A line keeps an example if it sets an item, calls `setdefault`, or is a decorator that caches.
    """
    file, _, line = site.rpartition(":")
    around = [
        n
        for n in ast.walk(parsed(file)[1])
        if isinstance(n, ast.ClassDef) and n.lineno <= int(line) <= (n.end_lineno or 0)
    ]
    functions = [n for one in around for n in ast.walk(one) if isinstance(n, ast.FunctionDef) and n.name != "__init__"]
    for function in sorted(functions, key=lambda one: one.lineno != int(line)):
        for decorator in function.decorator_list:
            if "cache" in ast.unparse(decorator):
                return f"{file}:{decorator.lineno}", True
        for one in ast.walk(function):
            targets = one.targets if isinstance(one, ast.Assign) else []
            called = isinstance(one, ast.Call) and ast.unparse(one.func).endswith(".setdefault")
            if called or any(isinstance(target, ast.Subscript) for target in targets):
                return f"{file}:{getattr(one, 'lineno', line)}", True
    return site, False


IGNORED = {
    "late": (
        "{setting} is set after {whom} has read it",
        "set it before {whom} is imported",
        "{setting} was set to a new value",
    ),
    "late python": (
        "{setting} is set in the program, but Python had already read it",
        "set it in the command: {setting}=0 python train.py",
        "{setting} was set to a new value",
    ),
    "warned": (
        "deterministic algorithms are requested, but {whom} has none",
        "call it without warn_only=True, and use another operation where it fails",
        "torch warned about it and went on",
    ),
    "not compiled": (
        "torch.compile is called, but nothing was compiled",
        "check for TORCHDYNAMO_DISABLE",
        "the model ran uncompiled",
    ),
    "no device": (
        "{setting} is set, but there is no CUDA device",
        "leave it: it does nothing here",
        "{setting} is True",
    ),
}
"""How a setting is ignored: the cause in words, how to fix it, and what was seen."""


def ignored(trace: Trace, hashes: bool) -> tuple[list[Finding], list[Finding]]:
    """Return the settings that frameworks ignored in a run: those that matter, and those that change nothing here.

    hashes: whether the script uses sets or hashes; if not, their seed does not matter.
    """
    matters: list[Finding] = []
    harmless: list[Finding] = []
    for _, setting, site, whom, how in trace.of("told"):
        texts = IGNORED["late python" if (how, whom) == ("late", "python") else how]
        what, mend, seen = (text.format(setting=setting, whom=whom) for text in texts)
        idle = how == "no device" or (setting == "PYTHONHASHSEED" and not hashes)
        (harmless if idle else matters).append(Finding(Cause("ignored setting", what, mend), site, seen))
    return matters, harmless
