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
ADDRESS = Cause(
    "memory address",
    "a number, or the order of a set, is that of addresses in memory",
    "use a number of your own, and a list or a dict in place of a set",
)
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

CORES = Cause(
    "thread count", "the number of threads is the machine's number of cores", "give a number: torch.set_num_threads(4)"
)
LEFT = Cause(
    "cached data",
    "a file that an earlier run has left is read, so that the first run and the next ones differ",
    "take the file away before each run, or make what is kept from a seed of its own",
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
    "cores": CORES,
    "memory": MEMORY,
    "address": ADDRESS,
    "left": LEFT,
    "hash": SETS,
}
"""By the kinds of `nondet.script.trace.outside`, `hash`: Python's seed for hashes, and `left`: files of another run."""


def of_statement(kind: str, text: str) -> Cause:
    """The cause of a kind on a line with this text."""
    if kind == "hash" and re.search(r"(?<![\w.])hash\(|__hash__", text):
        return HASH
    return BY_KIND[kind]


def of_unknown(text: str, fresh: bool = False) -> Cause:
    """The cause where nothing that is known explains it, by what the line says.

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
