"""The states of half-trained stacks that a study keeps on disk: trunks, and snapshots of interrupted stacks.

Each is sealed with what names it, so that an intact file in the wrong place is not taken for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import Damaged
from nondet.io.files import checked_payload, read_json, read_plain
from nondet.study.names import own_files

if TYPE_CHECKING:
    from nondet.study.study import Study


@dataclass(frozen=True)
class Seal:
    """What names the states that one stack leaves.

    runs: the keys of its runs, slot by slot. trunk: the key of the run that others fork from. onset: the epoch at which
    they do. environment: where all of them are trained.
    """

    runs: tuple[str, ...] = ()
    trunk: str = ""
    onset: int = 0
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def of_snapshot(self) -> dict[str, Any]:
        """Return what a snapshot of this stack says about itself, besides its epoch."""
        return {"runs": list(self.runs), "environment": dict(self.environment)}

    def of_trunk(self, epoch: int) -> dict[str, Any]:
        """Return what a trunk that this stack leaves after an epoch says about itself."""
        return {"trunk": self.trunk, "epoch": epoch, "environment": dict(self.environment)}

    def of_fork(self) -> dict[str, Any]:
        """Return what the trunk that this stack forks from must say about itself."""
        return self.of_trunk(self.onset) if self.trunk else {}


NAMELESS = Seal()
"""For stacks outside a study."""


def header_in(payload: bytes) -> dict[str, Any]:
    """Return a state's own header, in that of its safetensors file; ValueError, KeyError or TypeError without one."""
    size = int.from_bytes(payload[:8], "little")
    return read_json(read_json(payload[8 : 8 + size])["__metadata__"]["state"].encode())


def seal_in(payload: bytes) -> dict[str, Any]:
    """Return what a state says about itself; empty if it says nothing."""
    try:
        return dict(header_in(payload)["seal"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def agrees(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether a state is the expected one, compared as JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(expected)))
    return all(found.get(name) == value for name, value in plain.items())


def snapshot_name(runs: Sequence[str]) -> str:
    """Return the name of a stack's snapshot, from the keys of its runs in their slots."""
    return hashlib.sha256(" ".join(runs).encode()).hexdigest()


def is_old(study: Study) -> bool:
    """Whether a study, which can only be read, is of a version whose trunks and snapshots do not say what they are."""
    return str(study.environment.get("nondet", "")).startswith("0.1.")


def wrong_states(study: Study) -> dict[Path, str]:
    """Return the trunks and snapshots that are not what they should be, with a sentence on each."""
    paths = [*own_files(study.folder, "trunks"), *own_files(study.folder, "partial")]
    return {path: why for path in paths if (why := _wrong_state(study, path))}


def _wrong_state(study: Study, path: Path) -> str:
    if path.name == "claims":
        return "" if path.is_file() else f"{path} is damaged: it is not a plain file"
    try:
        payload = checked_payload(read_plain(path))
    except FileNotFoundError:
        return f"{path} is damaged: it is a link to nothing" if path.is_symlink() else ""
    except Damaged as error:
        return str(error)
    if payload is None:
        return f"{path} is damaged: its content does not match its SHA-256"
    found = seal_in(payload)
    if is_old(study) and not found:
        return ""
    return (_another_snapshot if path.parent.name == "partial" else _another_trunk)(study, path, found)


def _another_trunk(study: Study, path: Path, found: Mapping[str, Any]) -> str:
    reference, epoch = path.name.split(".")[:2]
    expected = Seal(trunk=next(iter(study.specs())), environment=study.environment).of_trunk(int(epoch))
    if not found:
        return f"{path} does not say which trunk it is"
    if found.get("trunk") != reference or reference != expected["trunk"] or found.get("epoch") != int(epoch):
        return f"{path} is another trunk: that of epoch {found.get('epoch')} of run {found.get('trunk')}"
    return "" if agrees(found, expected) else f"{path} is a trunk of another environment"


def _another_snapshot(study: Study, path: Path, found: Mapping[str, Any]) -> str:
    runs = found.get("runs")
    if not isinstance(runs, list) or snapshot_name([str(key) for key in runs]) != path.stem:
        return f"{path} is a snapshot of other runs"
    expected = Seal(tuple(runs), environment=study.environment).of_snapshot()
    return "" if agrees(found, expected) else f"{path} is a snapshot of another environment"
