"""A folder that mirrors a study in a bucket: it is read and written like any study's folder, and the bucket decides.

New runs go to the bucket first. Those of others are fetched when they are needed, or all at once. The folder is a
cache: runs that have not reached the bucket are put there the next time, and the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from platformdirs import user_cache_path

from nondet.errors import BadInput, Damaged
from nondet.io.files import sealed, unsealed, write_file
from nondet.study import claims
from nondet.study.names import MIRROR, run_names
from nondet.study.places import Folder, address_of
from nondet.study.places.objects import SECONDS, ObjectLease, Objects

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 16
"""Requests that are under way at the same time."""

FRESH = 10.0
"""Seconds after which the bucket is asked again what is there, or whether a stack is still leased."""

MISSES, SOON = 3, 2.0
"""After so many leases were refused, all are listed, if the last list is at least so many seconds old."""


class Changed(Exception):
    """Somebody else has changed the study in the bucket since it was read."""


@dataclass
class Mirror:
    """known: keys of the runs in the bucket. before: its `study.json` as last read.

    busy: what others have leased, and when that was seen. ended: leases that have expired, with their tags.
    marks: the leases that were seen and whose work was done.
    misses: leases refused since the leases of others were last listed.
    """

    folder: Path
    address: str
    known: set[str] = field(default_factory=set[str])
    before: bytes | None = None
    listed: float = float("-inf")
    looked: float = float("-inf")
    misses: int = 0
    busy: dict[str, float] = field(default_factory=dict[str, float])
    ended: dict[str, str] = field(default_factory=dict[str, str])
    marks: set[str] = field(default_factory=set[str])

    @cached_property
    def place(self) -> Objects:
        return Objects(self.address)

    def keys(self) -> set[str]:
        """Return the keys of the runs in the bucket, as far as it lists them."""
        if time.monotonic() - self.listed > FRESH:
            names = self.place.list("runs")
            self.known |= {name[5:-5] for name in names if name.endswith(".json")}
            self.listed = time.monotonic()
        return self.known

    def keep(self, key: str, blob: bytes, record: bytes) -> bool:
        """Put a run into the bucket, and copy the one that the bucket then has into the folder.

        Returns:
            Whether the run that counts is this one, or equals it to the last bit.
        """
        place, names, counts = self.place, run_names(key), True
        first = place.create(names[0], blob)
        present = blob if first else place.read(names[0])
        if present != blob and place.read(names[1]) is not None:
            digest = hashlib.sha256(blob).hexdigest()[:16]
            place.create(f"evidence/{key}.{digest}.safetensors", blob)
            place.create(f"evidence/{key}.{digest}.json", record)
            counts = False
        else:
            if present != blob:  # a blob without a record never counted
                place.swap(names[0], present, blob)
            if place.create(names[1], record) and first:  # nothing to fetch
                write_file(self.folder / names[0], blob)
                write_file(self.folder / names[1], record)
        self.fetch(key)
        self.known.add(key)
        return counts

    def fetch(self, key: str) -> None:
        """Fetch a run into the folder, unless it is there already, or not in the bucket."""
        paths = [self.folder / name for name in run_names(key)]
        if not all(path.exists() for path in paths) and (found := whole_run(self.place, key, self.address)):
            for path, content in zip(paths, found, strict=True):
                write_file(path, content)

    def fetch_all(self) -> None:
        """Copy all runs of the bucket into the folder, and the folder's into the bucket; damaged ones stay put."""
        here = {path.stem for path in (self.folder / "runs").glob("*.json")}
        there = self.keys()
        in_parallel(self._fetched, sorted(there - here))
        in_parallel(self._offered, sorted(here - there))

    def set_aside(self, key: str) -> None:
        """Move a run that is damaged in the bucket itself to the bucket's `evidence`."""
        with suppress(Damaged):
            if whole_run(self.place, key, self.address):
                return
        for name in run_names(key):
            if (content := self.place.read(name)) is not None:
                where = name.removeprefix("runs/").replace(".", f".damaged{time.time_ns()}.")
                self.place.create(f"evidence/{where}", content)
                self.place.remove(name)
        self.known.discard(key)
        self.place.remove(*(f"leases/{name}" for name, lease in self.place.leased().items() if lease.done))

    def fetch_study(self) -> None:
        """Fetch the bucket's `study.json` into the folder, if there is one."""
        self.before = self.place.read("study.json")
        if self.before is not None:
            unsealed(self.before, Path("study.json"))
            write_file(self.folder / "study.json", self.before, replace=True)

    def save_study(self, content: bytes) -> None:
        """Put `study.json` into the bucket; raise Changed if the one there is not the one that was read before."""
        if content != self.before and not self.place.swap("study.json", self.before, content):
            raise Changed
        self.before = content

    @contextmanager
    def leasing(self, stack_of: Mapping[str, str]) -> Generator[Callable[[str], bool]]:
        """Lease runs inside the block, with a function that takes a key unless somebody else has it.

        stack_of: the name of the lease that a run shares with others, by its key. A run that is left out has its own.

        The list of missing runs may be out of date. So the bucket is asked for the first run of each lease, and for all
        of them once one is there, or if the lease is taken over. So a stack that somebody has trained, even in part, is
        not trained again.
        """
        leases: dict[str, ObjectLease] = {}
        ended, over = threading.Event(), set[str]()

        def renew() -> None:
            while not ended.wait(SECONDS / 3):
                with suppress(BadInput):  # the store may be out of reach for a while
                    in_parallel(lambda lease: lease.renew(), list(leases.values()))

        def take(key: str) -> bool:
            name = stack_of.get(key, key)
            if key in self.known:
                return False
            first = name not in leases
            if first:
                if name in self.ended and name in self.marks and key in self.keys():
                    return False
                over.update([name] if name in self.ended else [])
                if (lease := self._lease(name)) is None:
                    return name in self.ended and take(key)  # only now it was seen that the lease has expired
                leases[name] = lease
            if (first or name in over) and self.place.read(run_names(key)[1]) is not None:  # stored by an earlier one
                self.known.add(key)
                over.add(name)
            return key not in self.known

        keeper = threading.Thread(target=renew, daemon=True, name="leases")
        keeper.start()
        try:
            yield take
        finally:
            ended.set()
            keeper.join()
            left = {stack_of.get(key, key) for key in (*stack_of, *leases) if key not in self.known}
            with suppress(BadInput):
                in_parallel(lambda one: one[1].release() if one[0] in left else one[1].end(), list(leases.items()))

    def _lease(self, name: str) -> ObjectLease | None:
        """Take a lease; None if somebody else has it, as far as is known here."""
        if time.monotonic() - self.busy.get(name, float("-inf")) < FRESH:
            return None
        lease = self.place.lease(name, self.ended.pop(name, None))
        if lease is None:
            self.busy[name] = time.monotonic()
            self.misses += 1
            self._look()
        return lease

    def _look(self) -> None:
        """See what others have made or are making: after some misses, and now and then to find expired leases."""
        waited = time.monotonic() - self.looked
        if waited < (SOON if self.misses >= MISSES else SECONDS / 4):
            return
        exact = waited >= SECONDS / 4
        self.misses, self.looked = 0, time.monotonic()
        for name, lease in self.place.leased(exact=exact).items():
            if lease.done:
                self.marks.add(name)
            if lease.ended is None:
                self.busy[name] = self.looked
            else:
                self.ended[name] = lease.ended
                self.busy.pop(name, None)

    def _fetched(self, key: str) -> None:
        with suppress(Damaged):
            self.fetch(key)

    def _offered(self, key: str) -> None:
        with suppress(OSError, Damaged):
            if found := whole_run(Folder(self.folder), key, str(self.folder)):
                self.keep(key, *found)


def own_order(names: Iterable[str], who: str) -> list[str]:
    """Sort names in an order that differs from machine to machine, so that few ask for the same one at a time."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{who} {name}".encode()).digest())


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the result of `work` for each item, `AT_ONCE` at a time; the first error is raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def whole_run(place: Folder | Objects, key: str, where: str) -> tuple[bytes, bytes] | None:
    """Return a run's blob and record; None if it has no record. where: what to call the place.

    Raises:
        Damaged: the record is not what was written, or does not describe this blob.
    """
    names = run_names(key)
    record = place.read(names[1])
    if record is None:
        return None
    told = unsealed(record, Path(f"{where}/{names[1]}")).get("blob", {}).get("sha256")
    blob = place.read(names[0])
    if blob is None or hashlib.sha256(blob).hexdigest() != told:
        raise Damaged(f"{where}/{names[0]} is {'missing' if blob is None else 'damaged'}")
    return blob, record


def folder_of(given: str | Path) -> Path:
    """Return the folder that an argument names: for an address, its mirror with an up-to-date `study.json`."""
    address = address_of(given)
    if address is None:
        return Path(given)
    folder = user_cache_path("nondet") / "places" / hashlib.sha256(address.encode()).hexdigest()[:24]
    write_file(folder / MIRROR, sealed({"address": address}), replace=True)
    _mirror(folder.absolute()).fetch_study()
    return folder


def whole(given: str | Path) -> Path:
    """Like `folder_of`, but fetch every run of the bucket into the folder."""
    folder = folder_of(given)
    if (mirror := mirror_of(folder)) is not None:
        mirror.fetch_all()
    return folder


def mirror_of(folder: Path) -> Mirror | None:
    """Return a folder's mirror; None for an ordinary folder."""
    return _mirror(folder.absolute()) if (folder / MIRROR).exists() else None


@lru_cache
def _mirror(folder: Path) -> Mirror:
    path = folder / MIRROR
    address = address_of(unsealed(path.read_bytes(), path).get("address"))
    if address is None:
        raise Damaged(f"{path} is damaged: it does not name a place in a bucket")
    return Mirror(folder, address)


@contextmanager
def claiming(folder: Path, stack_of: Mapping[str, str]) -> Generator[Callable[[str], bool]]:
    """Claim runs for this process inside the block, on this machine and, for a study in a bucket, on all machines.

    stack_of: see `Mirror.leasing`.
    """
    mirror = mirror_of(folder)
    with claims.claiming(folder) as take:
        if mirror is None:
            yield take
        else:
            with mirror.leasing(stack_of) as lease:
                yield lambda key: take(key) and lease(key)


def shown(folder: Path) -> str:
    """Return what to call a study's folder in a message: the address that it mirrors, or its path."""
    mirror = mirror_of(folder)
    return mirror.address if mirror else str(folder)
