"""The causes by name: what each one is, and how to fix it; and findings: a cause, its line, and what was seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One cause. name: as in the JSON. what: the cause in words. mend: how to fix it."""

    name: str
    what: str
    mend: str


@dataclass(frozen=True)
class Finding:
    """One finding about a training. site: FILE:LINE of the user's code, or empty. seen: what was seen, in words."""

    cause: Cause
    site: str
    seen: str

    def to_dict(self) -> dict[str, Any]:
        cause = self.cause
        return {**place(self.site), "cause": cause.name, "seen": self.seen, "likely": cause.what, "mend": cause.mend}


def place(site: str) -> dict[str, Any]:
    """Split FILE:LINE into the fields `file` and `line`."""
    file, _, line = site.rpartition(":")
    return {"file": file or None, "line": int(line) if line.isdigit() else None}


CLOCK = Cause("time", "the clock is read", "use a fixed number instead")
PROCESS = Cause("process id", "the process id is read", "use a fixed number instead")
RANDOM = Cause("random numbers", "random numbers are drawn from a generator that nothing seeds", "seed that generator")
SYSTEM = Cause(
    "random numbers", "random numbers come from the system, which takes no seed", "use a generator with a seed"
)
LISTING = Cause("listdir", "files are listed in the file system's order", "put sorted(...) around the listing")
THREADS = Cause(
    "threads", "results arrive in the order in which threads finish", "collect them in the order of their submission"
)
MEMORY = Cause(
    "uninitialised memory",
    "memory is read before anything was written to it",
    "use torch.zeros, or fill it before reading it",
)
SETS = Cause(
    "set order", "the order of a set follows hashes, which differ in each process", "put sorted(...) around it"
)
HASH = Cause("hash", "hash() of a string differs in each process", "use hashlib, or zlib.crc32")
ADDRESS = Cause(
    "memory address",
    "a number, or the order of a set, depends on addresses in memory",
    "use a fixed number, and a list or a dict instead of a set",
)
REDUCTION = Cause(
    "reduction order",
    "the order in which threads add floating-point numbers differs",
    "use deterministic algorithms: torch.use_deterministic_algorithms(True), or one thread",
)
ALGORITHM = Cause(
    "another algorithm", "the operation was computed differently", "fix the algorithm, the library and the threads"
)
DATA = Cause("data", "the data differ", "generate the data from a seed, or keep them in a file")
FILE = Cause("another process", "a file is read while another process writes it", "wait for that process to end")
UNKNOWN = Cause(
    "unknown", "the two runs part here although their inputs are equal", "check what this line reads from outside"
)

CORES = Cause(
    "thread count", "the number of threads is the machine's number of cores", "set a number: torch.set_num_threads(4)"
)
LEFT = Cause(
    "cached data",
    "a file left by an earlier run is read, so the first run differs from the next ones",
    "delete the file before each run, or generate its content from its own seed",
)

BY_KIND = {
    "clock": CLOCK,
    "process": PROCESS,
    "python": RANDOM,
    "numpy": RANDOM,
    "torch": RANDOM,
    "generator": RANDOM,
    "urandom": SYSTEM,
    "listing": LISTING,
    "threads": THREADS,
    "cores": CORES,
    "memory": MEMORY,
    "address": ADDRESS,
    "left": LEFT,
    "hash": SETS,
}
"""By the kinds of `nondet.script.trace.outside`, `hash` (Python's hash seed), and `left` (files of another run).

In this order they are tested for reaching the training.
"""


def of_statement(kind: str, text: str) -> Cause:
    """Return the cause for this kind on a line with this text."""
    if kind == "hash" and re.search(r"(?<![\w.])hash\(|__hash__", text):
        return HASH
    return BY_KIND[kind]


def of_unknown(text: str, fresh: bool = False) -> Cause:
    """Guess the cause from the text of the line when no known kind explains it.

    fresh: whether processes part only if none was forked from another.
    """
    if re.search(r"(?<![\w.])id\(", text):
        return ADDRESS
    if re.search(r"as_completed|\.result\(|imap_unordered|Thread|pool\.|executor\.", text):
        return THREADS
    if re.search(
        r"open\(|(?<![a-z])read|\.load\(|loadtxt|genfromtxt|fromfile|memmap|exists\(|is_file\(|getsize|stat\(", text
    ):
        return FILE
    return ADDRESS if fresh else UNKNOWN
