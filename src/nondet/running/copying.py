"""Copy a study from one place to another, in either direction. What is there stays, and every run is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nondet.errors import BadInput, Damaged
from nondet.io.files import unsealed
from nondet.records import Record
from nondet.study.mirror import in_parallel, whole_run
from nondet.study.names import PARTS, run_names
from nondet.study.places import address_of, place_of

COPIED = tuple(part for part in PARTS if part not in ("partial", "work", "leases"))
"""The parts of a study that are copied: not what a process is working on, and not a script's own files."""


@dataclass(frozen=True, repr=False)
class Copied(Record):
    """What was copied.

    runs: how many were not there yet. present: how many were there already. others: how many files of evidence, trunks
    and logs. bytes: of everything that was copied.
    """

    source: str
    target: str
    runs: int
    present: int
    others: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def tidy(self) -> dict[str, list[Any]]:
        return {name: [value] for name, value in self.to_dict().items()}


def copy_study(source: str | Path, target: str | Path, say: Callable[[str], None] = lambda sentence: None) -> Copied:
    """Copy a study between folders and buckets; an interrupted copy continues where it stopped.

    The runs come first and `study.json` last, so nobody takes a partial copy for a whole study. A study that is already
    at the target gets the runs that it lacks; it must be of the same task and environment.

    Raises:
        BadInput: there is no study at the source, or another study at the target. Damaged: a run has changed since it
            was written; the others are copied.
    """
    names = [address_of(given) or str(given) for given in (source, target)]
    begin, end = place_of(source), place_of(target)
    told = begin.read("study.json")
    if told is None:
        raise BadInput(f"{names[0]} must be a study, but it has no study.json; give the place of one")
    study = unsealed(told, Path(names[0], "study.json"))
    before = end.read("study.json")
    if before is not None:
        old = unsealed(before, Path(names[1], "study.json"))
        for field in ("task", "environment"):
            if old.get(field) != study.get(field):
                raise BadInput(
                    f"{names[1]} must be a new place or contain the same study, but its {field} differs from that of "
                    f"{names[0]}; copy to another place"
                )
    keys = sorted(name[5:-5] for name in begin.list("runs") if name.endswith(".json"))
    there = end.list("runs")
    missing = [key for key in keys if f"runs/{key}.json" not in there]
    counted, wrong = dict[str, int](), list[str]()

    def run(key: str) -> None:
        try:
            found = whole_run(begin, key, names[0])
        except Damaged as error:
            wrong.append(str(error))
            return
        if found is None:  # somebody has removed it meanwhile
            return
        for name, content in zip(run_names(key), found, strict=True):
            if not end.create(name, content) and name.endswith(".safetensors") and end.read(name) != content:
                raise BadInput(f"{names[1]} has another result of run {key[:12]}; copy to a new place")
        counted[key] = sum(map(len, found))
        say(f"{len(counted)} of {len(missing)} runs copied")

    in_parallel(run, missing)
    others = 0
    for part in COPIED[1:]:
        for name in sorted(begin.list(part) - end.list(part)):
            content = begin.read(name)
            if content is not None and end.create(name, content):
                others += 1
                counted[name] = len(content)
    if wrong:
        raise Damaged(
            f"{wrong[0]} ({len(wrong)} of {len(keys)} runs have changed since they were written; the others are copied)"
        )
    if before is None:
        end.swap("study.json", None, told)
    runs = len(missing)
    return Copied(names[0], names[1], runs, len(keys) - runs, others, sum(counted.values()))
