"""The store: one immutable blob and one small record for each run, in one folder.

A run is done when its record is there, and the record is written last. Names come only from hashes. The first
writer wins; a second result that differs goes to the folder `evidence`, and so does whatever is damaged.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, Number, misfit, read_file, read_plain, sealed, sync_folder, unsealed, write_file
from nondet.study.blob import Arrays, checked_arrays
from nondet.study.mirror import in_parallel, mirror_of
from nondet.study.names import own_names, run_names
from nondet.study.spec import Outcome

RECORD_FORMAT = 1

RECORD = {
    "run?": {},
    "failed?": (int, None),
    "facts?": {},
    "environment?": {},
    "seconds?": Number,
    "command?": str,
    "blob": {"sha256": str, "bytes": int},
}
"""The fields of a record that are read, and their types."""

LARGEST_RECORD = 16 * 2**20
"""Most bytes in a record: thousands of times the usual size."""


@dataclass(frozen=True)
class Stored:
    """A stored run: its record, and its arrays, which are read from its blob on request."""

    record: Mapping[str, Any]
    arrays: Arrays


@dataclass(frozen=True)
class Store:
    """The runs in a folder; `runs/KEY.safetensors` and `runs/KEY.json` for each."""

    folder: Path

    def blob_path(self, key: str) -> Path:
        return self.folder / run_names(key)[0]

    def record_path(self, key: str) -> Path:
        return self.folder / run_names(key)[1]

    def keys(self) -> set[str]:
        """Return the keys of all runs that are done."""
        here = {name.removesuffix(".json") for name in own_names(self.folder, "runs") if name.endswith(".json")}
        mirror = mirror_of(self.folder)
        return here | mirror.keys() if mirror else here

    def has(self, key: str) -> bool:
        """Whether a run is done, as far as this process can know without asking a bucket."""
        mirror = mirror_of(self.folder)
        return self.record_path(key).exists() or (mirror is not None and key in mirror.known)

    def put(self, key: str, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> bool:
        """Store a run unless it is there already; False if another result was there, so this one went to `evidence`."""
        return self.put_all({key: (arrays, record)})

    def put_all(self, runs: Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> bool:
        """Store runs as `put` does, given the arrays and the record of each by key.

        All blobs are on the disk before any record. So the folder is flushed once for the blobs and once for the
        records, however many there are.
        """
        kept: dict[str, dict[str, Any]] = {}
        if (mirror := mirror_of(self.folder)) is not None:  # the bucket decides; the folder is a copy

            def keep(key: str) -> bool:
                content, full = _whole(key, *runs[key])
                return mirror.keep(key, content, sealed(full))

            return all(in_parallel(keep, runs))
        for key, (arrays, record) in runs.items():
            content, full = _whole(key, arrays, record)
            if write_file(self.blob_path(key), content, flush_folder=False) or self._settled(key, content, full):
                kept[key] = full
        sync_folder(self.folder / "runs")
        for key, full in kept.items():
            write_file(self.record_path(key), sealed(full), flush_folder=False)
        sync_folder(self.folder / "runs")
        return len(kept) == len(runs)

    def equals(self, key: str, outcome: Outcome) -> bool:
        """Whether a stored run has this outcome, to the last bit."""
        record = self.record(key)
        digest = hashlib.sha256(blob_content(outcome.arrays)).hexdigest()
        return (record["failed"], record["blob"]["sha256"]) == (outcome.failed, digest)

    def _settled(self, key: str, content: bytes, full: Mapping[str, Any]) -> bool:
        """Whether a run counts whose blob was there before; if that is another result, this one goes to `evidence`."""
        present = None
        with suppress(Damaged, FileNotFoundError):  # something else may be in its place
            present = read_plain(self.blob_path(key))
        if present != content and self.record_path(key).exists():
            digest = full["blob"]["sha256"]
            write_file(self.folder / "evidence" / f"{key}.{digest[:16]}.safetensors", content)
            write_file(self.folder / "evidence" / f"{key}.{digest[:16]}.json", sealed(full))
            return False
        if present != content:  # a blob without a record never counted
            self.set_aside(key)
            write_file(self.blob_path(key), content)
        return True

    def record(self, key: str) -> dict[str, Any]:
        """Return a run's record after checking its seal, format and key."""
        path = self.record_path(key)
        if (mirror := mirror_of(self.folder)) is not None and not path.exists():
            mirror.fetch(key)
        try:
            record = unsealed(read_file(path, LARGEST_RECORD), path)
        except FileNotFoundError:
            raise Damaged(f"{path} is missing") from None
        except NotAFile as error:
            raise Damaged(f"{path} is damaged: {error}") from error
        if record.get("format", RECORD_FORMAT) != RECORD_FORMAT:
            raise BadInput(
                f"{path} has record format {record['format']}, and this version of nondet reads {RECORD_FORMAT}; "
                "use the version that made it"
            )
        if record.get("key") != key:
            raise Damaged(f"{path} is damaged: it is the record of another run, or of none")
        if wrong := misfit(record, RECORD):
            raise Damaged(f"{path} is damaged: its field {wrong} is not what nondet writes there")
        return record

    def get(self, key: str) -> Stored:
        """Return a run after checking every byte against its hashes; Damaged names the file that does not match.

        The arrays are read from the file later, each on request, so that memory contains no more than is used.
        """
        record = self.record(key)
        return Stored(record, self.arrays(key, record))

    def arrays(self, key: str, record: Mapping[str, Any]) -> Arrays:
        """Return a run's arrays after checking that they are the ones its record describes."""
        return checked_arrays(self.blob_path(key), record["blob"]["bytes"], record["blob"]["sha256"])

    def set_aside(self, key: str) -> None:
        """Move a run's files to `evidence`, so that it no longer counts as done and can be trained again."""
        for path in (self.record_path(key), self.blob_path(key)):  # the record first: without it the run is not done
            set_aside(path, self.folder)
        if (mirror := mirror_of(self.folder)) is not None:
            mirror.set_aside(key)


def _whole(key: str, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return a run's blob, and its record with the size and hash of the blob."""
    content = blob_content(arrays)
    digest = hashlib.sha256(content).hexdigest()
    return content, {"format": RECORD_FORMAT, "key": key, **record, "blob": {"sha256": digest, "bytes": len(content)}}


def blob_content(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a blob; equal arrays have equal bytes."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def set_aside(path: Path, study: Path) -> None:
    """Move whatever is at a path, if anything is, to the folder `evidence` of the study."""
    evidence = study / "evidence"
    evidence.mkdir(exist_ok=True)
    if os.path.lexists(path):
        path.rename(evidence / f"{path.stem}.damaged{time.time_ns()}{path.suffix}")
        sync_folder(evidence)
        sync_folder(path.parent)
