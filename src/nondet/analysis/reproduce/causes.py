"""Causes by name, what is said of each, and its mend."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """name: as in the JSON. what: it is, in words. mend: what to do about it."""

    name: str
    what: str
    mend: str


CLOCK = Cause("time", "the clock is read", "take a number of your own in its place")
PROCESS = Cause("process id", "the number of the process is read", "take a number of your own in its place")
RANDOM = Cause("random numbers", "random numbers are drawn from a generator that nothing seeds", "seed that generator")
LISTING = Cause("listdir", "files come in the order of the file system", "put sorted(...) around the listing")
THREADS = Cause(
    "threads", "results come in the order in which threads end", "keep them in the order in which they were asked for"
)
MEMORY = Cause(
    "uninitialised memory",
    "memory is read that nothing was written to",
    "use torch.zeros, or fill it before it is read",
)
SETS = Cause(
    "set order", "the order of a set is that of hashes, which are others in each process", "put sorted(...) around it"
)
HASH = Cause("hash", "hash() of a text is another number in each process", "use hashlib, or zlib.crc32")
ADDRESS = Cause("memory address", "an address in memory is used as a number", "use a number of your own")
REDUCTION = Cause(
    "reduction order",
    "the order in which threads add floating-point numbers differs",
    "use deterministic algorithms: torch.use_deterministic_algorithms(True), or one thread",
)
ALGORITHM = Cause(
    "another algorithm", "the operation was computed in another way", "fix the algorithm, the library and the threads"
)
DATA = Cause("data", "the data differ", "make the data from a seed, or keep them in a file")
FILE = Cause("another process", "a file is read that another process writes meanwhile", "wait for that process to end")
UNKNOWN = Cause(
    "unknown", "the two runs part here, of inputs that are equal", "look at what this line reads from outside"
)

BY_KIND = {
    "clock": CLOCK,
    "process": PROCESS,
    "python": RANDOM,
    "numpy": RANDOM,
    "torch": RANDOM,
    "generator": RANDOM,
    "urandom": RANDOM,
    "listing": LISTING,
    "threads": THREADS,
    "memory": MEMORY,
    "hash": SETS,
}
"""By the kinds of `nondet.script.trace.outside`, and `hash`: Python's seed for hashes."""


def of_statement(kind: str, text: str) -> Cause:
    """The cause of a kind on a line with this text."""
    if kind == "hash" and re.search(r"(?<![\w.])hash\(|__hash__", text):
        return HASH
    return BY_KIND[kind]


def of_unknown(text: str) -> Cause:
    """The cause where nothing that is known explains it, by what the line says."""
    if re.search(r"(?<![\w.])id\(", text):
        return ADDRESS
    if re.search(r"as_completed|\.result\(|imap_unordered|Thread|pool\.|executor\.", text):
        return THREADS
    if re.search(r"open\(|read_|\.load\(|loadtxt|fromfile", text):
        return FILE
    return UNKNOWN
