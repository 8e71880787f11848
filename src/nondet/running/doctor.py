"""Test whether a place supports what a study relies on, and say what it means where it does not."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.records import Record
from nondet.study.places import address_of
from nondet.study.places.objects import Objects

LAG = 60.0
"""Seconds by which two clocks may differ before it is reported."""


@dataclass(frozen=True)
class Probe:
    """One thing that was tried. needed: whether a study cannot be kept without it."""

    name: str
    works: bool
    needed: bool
    means: str
    seen: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis(Record):
    """What a place supports. sound: whether everything that is needed works."""

    place: str
    probes: tuple[Probe, ...]

    @property
    def sound(self) -> bool:
        return all(probe.works for probe in self.probes if probe.needed)

    def to_dict(self) -> dict[str, Any]:
        return {"place": self.place, "sound": self.sound, "probes": [asdict(probe) for probe in self.probes]}

    def tidy(self) -> dict[str, list[Any]]:
        return {
            "probe": [p.name for p in self.probes],
            "works": ["yes" if p.works else "NO" if p.needed else "no" for p in self.probes],
            "without it": ["" if p.works else f"{p.means} ({p.seen})" for p in self.probes],
        }


def diagnose(given: str | Path) -> Diagnosis:
    """Try at a place what a study relies on, and remove what was written for that.

    Raises:
        BadInput: it is neither a folder nor an address, or it cannot be read and written at all.
    """
    address = address_of(given)
    if address is not None:
        return Diagnosis(address, tuple(_of_objects(address)))
    folder = Path(given)
    if not folder.is_dir():
        raise BadInput(f"a place must be an existing folder, or an address such as s3://bucket/path (got {given})")
    return Diagnosis(str(folder), tuple(_of_folder(folder)))


def _tried(name: str, attempt: Callable[[], bool | str], means: str, needed: bool = True) -> Probe:
    """Try one thing. attempt: returns True, or what was seen instead."""
    try:
        found = attempt()
    except (OSError, BadInput) as error:
        found = str(getattr(error, "strerror", None) or error)
    return Probe(name, found is True, needed, means, found if isinstance(found, str) else "")


def _agrees(theirs: float) -> bool | str:
    """Whether a place's clock, which was just read, agrees with this machine's."""
    apart = time.time() - theirs
    return abs(apart) < LAG or f"its clock and this machine's are {apart:.0f} seconds apart"


def _of_folder(folder: Path) -> list[Probe]:
    base = folder / f".writing-doctor{secrets.token_hex(4)}"
    base.mkdir()
    try:
        one, two = base / "one", base / "two"

        def written() -> bool | str:
            with one.open("wb") as handle:
                handle.write(b"first")
                handle.flush()
                os.fsync(handle.fileno())
            return one.read_bytes() == b"first" or "a small file is not what was written"

        def linked() -> bool | str:
            two.hardlink_to(one)
            try:
                two.hardlink_to(one)
            except FileExistsError:
                return one.samefile(two) or "two names of one file look like two files"
            return "a name that was taken was given again"

        def renamed() -> bool | str:
            other = base / "three"
            other.write_bytes(b"last")
            other.replace(one)
            return (one.read_bytes(), other.exists()) == (b"last", False) or "the old file is still there"

        def synced() -> bool:
            handle = os.open(base, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            return True

        def clock() -> bool | str:
            (base / "clock").touch()
            return _agrees((base / "clock").stat().st_mtime)

        return [
            _tried("a file is written, flushed and read", written, "no study can be kept here"),
            _tried("a file is replaced in one step", renamed, "study.json cannot be changed here"),
            _tried("a name is given once (hard links)", linked, "without them a lock decides who was first", False),
            _tried("a folder is flushed", synced, "after a power loss the last runs may be missing", False),
            _tried(
                "locks on bytes hold between processes", lambda: _locks(base / "locked", "lockf"),
                "several processes may train the same stack: twice the work, and the same runs", False,
            ),
            _tried(
                "locks on files hold between processes", lambda: _locks(base / "locked", "flock"),
                "if two commands add conditions at the same moment, one of them may be lost", False,
            ),
            _tried("its clock is this machine's", clock, "dates in records differ; nothing depends on them", False),
        ]  # fmt: skip
    finally:
        for path in base.iterdir():
            path.unlink()
        base.rmdir()


HELD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
try:
    getattr(fcntl, sys.argv[2])(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(7)
"""


def _locks(path: Path, kind: str) -> bool | str:
    """Whether another process is kept out while this one holds a lock."""
    try:
        import fcntl
    except ImportError:
        return "this system has no such locks"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        getattr(fcntl, kind)(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = subprocess.run([sys.executable, "-c", HELD, str(path), kind], check=False).returncode
    finally:
        os.close(handle)
    return status == 7 or "another process got a lock that was held"


def _of_objects(address: str) -> list[Probe]:
    place = Objects(address)
    key = secrets.token_hex(32)
    name = f"evidence/{key}.{'0' * 16}.json"

    def written() -> bool | str:
        place.create(name, b"first")
        return place.read(name) == b"first" or "an object is not what was put"

    def once() -> bool | str:
        return (not place.create(name, b"other") and place.read(name) == b"first") or "a name was given twice"

    def swapped() -> bool | str:
        wrong = place.swap(name, b"other", b"last")
        return (not wrong and place.swap(name, b"first", b"last")) or "an object with another tag was replaced"

    def leased() -> bool | str:
        lease = place.lease(key)
        second = place.lease(key)
        kept = lease is not None and second is None and lease.renew()
        if lease is not None:
            lease.release()
        return kept or "two processes got the same lease"

    def listed() -> bool | str:
        return name in place.list("evidence") or "an object that was just put is not in the list"

    try:
        return [
            _tried("an object is put and read", written, "no study can be kept here"),
            _tried("a name is given once (put if absent)", once, "the first writer would not win"),
            _tried("an object is replaced by its tag", swapped, "study.json and leases cannot be changed safely"),
            _tried("a lease keeps others out", leased, "several processes would train the same stack"),
            _tried("lists are up to date", listed, "others' work is seen late, and may be done twice", False),
            _tried(
                "its clock is this machine's",
                lambda: _agrees(place.now().timestamp()),
                "leases go by the store's own clock; nothing to do",
                False,
            ),
        ]
    finally:
        working = place.list("leases") - {"leases/clock"}  # on a study that is there
        for left in (name, f"leases/{key}", *([] if working else ["leases/clock"])):
            place.remove(left)
