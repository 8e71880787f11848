"""Objects in a bucket as a place, through the library obstore: S3 and compatible stores, Google's and Azure's.

Every promise rests on what these stores guarantee. A put is complete or not there at all (nothing is uploaded in parts,
which could be left incomplete). A put can require that its name is free, or that it replaces an object with a known
tag. A list may lag, so it proves only that what it names is there. A lease is an object that its holder puts again and
again; the server's clock alone decides whether it has expired.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from nondet.errors import BadInput
from nondet.study.names import is_own

SECONDS = 120.0
"""How long a lease lasts after it was last put. Its holder puts it again after a third of that."""

MARKED = 10
"""A mark that a stack is done lasts so many times as long; after that, others check for themselves."""

_OPTIONS = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=5)}
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_NO_BUCKET = "there is no such bucket; create it first"

T = TypeVar("T")


class Leased(NamedTuple):
    """What a list says about a lease. ended: its tag, if it has expired. done: whether it marks finished work."""

    ended: str | None = None
    done: bool = False


@dataclass(frozen=True)
class Objects:
    """The objects whose names begin with an address. Credentials come from the environment and are stored nowhere.

    An object is complete or not there at all, and the first writer of a name wins.
    """

    address: str
    store: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.store is None:
            object.__setattr__(self, "store", _opened(self.address))

    def create(self, name: str, content: bytes) -> bool:
        """Keep these bytes under a name that is free; False if it is taken, which changes nothing."""
        return self.put(name, content, "create") is not None

    def read(self, name: str) -> bytes | None:
        """Return the bytes under a name; None if there are none."""
        found = self._read(name)
        return None if found is None else found[0]

    def list(self, part: str) -> set[str]:
        """Return nondet's own names in one part of a study, such as `runs`. The newest may be missing."""
        return {entry["path"] for entry in self.entries(part)}

    def entries(self, part: str) -> list[dict[str, Any]]:
        """Return what the store says about each object of a part: path, size, e_tag, last_modified."""

        def listed() -> list[dict[str, Any]]:
            return [entry for some in _obstore().list(self.store, prefix=part) for entry in some]

        named = [(entry, entry["path"].rpartition(f"{part}/")[2]) for entry in self._asked(listed)]
        return [{**entry, "path": f"{part}/{name}"} for entry, name in named if is_own(part, name)]

    def lease(self, key: str, ended: str | None = None) -> ObjectLease | None:
        """Take the right to make a run; None if somebody else has it. It ends with its holder.

        ended: the tag that `leased` returned for it; it is taken over if nobody has renewed or taken it since.
        """
        name = f"leases/{key}"
        tag = self.put(name, _holder(), {"e_tag": ended} if ended else "create")
        return None if tag is None else ObjectLease(self, name, tag)

    def leased(self, *, exact: bool = False) -> dict[str, Leased]:
        """Return what has been leased, as far as a list shows.

        exact: ask what time it is, for the case that all others are silent.
        """
        if exact:
            self.put("leases/clock", _holder(), "overwrite")
        found = {entry["path"].removeprefix("leases/"): entry for entry in self.entries("leases")}
        # The store's clock is at least as late as the newest of them; no machine's own clock is trusted.
        now: Any = max((entry["last_modified"] for entry in found.values()), default=None)
        found.pop("clock", None)
        leases: dict[str, Leased] = {}
        for key, entry in found.items():
            done = not entry["size"]  # a mark keeps others out for longer, but not for good: runs may get lost
            silent = (now - entry["last_modified"]).total_seconds()
            leases[key] = Leased(entry["e_tag"] if silent >= (MARKED * SECONDS if done else SECONDS) else None, done)
        return leases

    def swap(self, name: str, before: bytes | None, content: bytes) -> bool:
        """Put these bytes in place of those read before; False if others are there by now."""
        if before is None:
            return self.create(name, content)
        found = self._read(name)
        return found is not None and found[0] == before and self.put(name, content, {"e_tag": found[1]}) is not None

    def remove(self, *names: str) -> None:
        """Remove names that are there."""
        if names:
            self._asked(lambda: _obstore().delete(self.store, list(names)), None)

    def now(self) -> datetime:
        """Return the server's time, from an object that is put for this; no machine's own clock is trusted."""
        found: dict[str, Any] | None = None
        while found is None:  # a process that finishes the study may remove it between these two lines
            self.put("leases/clock", _holder(), "overwrite")
            found = self._asked(lambda: _obstore().head(self.store, "leases/clock"), None)
        return found["last_modified"]

    def put(self, name: str, content: bytes, mode: Any) -> str | None:
        """Put an object and return its tag; None if the condition did not hold."""
        taken = import_module("obstore.exceptions")
        try:
            put = self._asked(lambda: _obstore().put(self.store, name, content, mode=mode, use_multipart=False))
        except (taken.AlreadyExistsError, taken.PreconditionError, taken.NotFoundError):
            return None
        return str(put["e_tag"])

    def _read(self, name: str) -> tuple[bytes, str] | None:
        def got() -> tuple[bytes, str]:
            found = _obstore().get(self.store, name)
            return bytes(found.bytes()), str(found.meta["e_tag"])

        return self._asked(got, None)

    def _asked(self, call: Callable[[], T], *missing: T) -> T:
        """Return the store's answer. missing: what to return for an object that is not there."""
        wrong = import_module("obstore.exceptions")
        try:
            return call()
        except (wrong.NotFoundError, FileNotFoundError) as error:
            if "bucket" in str(error).lower():
                raise _refusal(self.address, _NO_BUCKET) from None
            if missing:
                return missing[0]
            raise
        except (wrong.AlreadyExistsError, wrong.PreconditionError):
            raise
        except (wrong.UnauthenticatedError, wrong.PermissionDeniedError):
            raise _refusal(self.address, "the store rejects these credentials; give others") from None
        except wrong.BaseError as error:
            again = f"{_in_short(error)}; fix that, and run the same command again"
            raise _refusal(self.address, _NO_BUCKET if "404 Not Found" in str(error) else again) from None


@dataclass
class ObjectLease:
    """The right to make something, as long as it is renewed: an object's name, and the tag of its last put."""

    place: Objects
    name: str
    tag: str | None

    def renew(self) -> bool:
        """Keep it; False if somebody else has it by now."""
        if self.tag is not None:
            self.tag = self.place.put(self.name, _holder(), {"e_tag": self.tag})
        return self.tag is not None

    def release(self) -> None:
        """Give it back."""
        if self.tag is not None:
            self.place.remove(self.name)

    def end(self) -> None:
        """Leave it as a mark that the work is done, for those who do not know yet: an empty object."""
        if self.tag is not None:
            self.place.put(self.name, b"", {"e_tag": self.tag})


def _opened(address: str) -> Any:
    try:
        store = import_module("obstore.store")
    except ImportError:
        raise BadInput(
            f"a study in a bucket needs the package obstore (got {address}); install it: pip install 'nondet[objects]'"
        ) from None
    options: dict[str, Any] = dict(_OPTIONS)
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):  # a server on this machine or nearby
        options["allow_http"] = True
    region = {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"}
    try:
        more = region if address.startswith("s3:") else {}
        return store.from_url(address, client_options=options, retry_config=_RETRIES, **more)
    except (import_module("obstore.exceptions").BaseError, ValueError) as error:
        raise _refusal(address, _in_short(error)) from None


def _obstore() -> Any:
    return import_module("obstore")


def _holder() -> bytes:
    """Say who holds a lease, for people to read. The bytes are never the same twice, so each put has its own tag."""
    return json.dumps({"host": platform.node(), "process": os.getpid(), "nonce": os.urandom(8).hex()}).encode()


def _refusal(address: str, why: str) -> BadInput:
    return BadInput(f"{address} must be a place in a bucket that can be read and written ({why})")


def _in_short(error: Exception) -> str:
    """Return an error's first line, without what follows a question mark or precedes an @ in an address."""
    text = re.sub(r"\?\S*|(?<=//)[^/\s]*@", "", str(error))
    if "error sending request" in text:
        return "no server answers at its address"
    lines = text.strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".;")
