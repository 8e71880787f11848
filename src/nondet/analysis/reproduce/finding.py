"""One finding about a training: the cause, the line, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nondet.analysis.reproduce.causes import Cause


@dataclass(frozen=True)
class Finding:
    """site: FILE:LINE of the user's code, or empty. seen: what was seen, in words."""

    cause: Cause
    site: str
    seen: str

    def to_dict(self) -> dict[str, Any]:
        return {**place(self.site), "cause": self.cause.name, "seen": self.seen, "likely": self.cause.what} | {
            "mend": self.cause.mend
        }


def place(site: str) -> dict[str, Any]:
    """Split FILE:LINE into the fields `file` and `line`."""
    file, _, line = site.rpartition(":")
    return {"file": file or None, "line": int(line) if line.isdigit() else None}
