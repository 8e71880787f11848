"""A run's arrays on disk: the file is checked as a whole, then its arrays are read one by one to save memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load

from nondet.errors import Damaged
from nondet.io.files import NotAFile, open_file

SMALL = 2**20
"""Files of up to this many bytes are read in one go, with all their arrays."""


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a .safetensors file by name. Those of a large file are read on request and not kept.

    content: the bytes of a small file. shapes: the shape of each array.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path = path
        self.held: dict[str, np.ndarray] | None = None
        if content is not None:
            self.held = dict(sorted(load(content).items()))  # in the order of `safe_open`; `load` has none
            self.shapes = {name: array.shape for name, array in self.held.items()}
            return
        with safe_open(path, framework="np") as file:
            names: list[str] = list(file.keys())
            self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.some([name])[name]

    def some(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the named arrays, opening the file only once."""
        if lost := [name for name in names if name not in self.shapes]:
            raise KeyError(lost[0])
        if self.held is not None:
            return {name: self.held[name] for name in names}
        try:
            with safe_open(self.path, framework="np") as file:
                return {name: file.get_tensor(name) for name in names}
        except (FileNotFoundError, SafetensorError) as error:
            raise Damaged(f"{self.path} was changed while it was being read; run the same command again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def checked_arrays(path: Path, size: int, sha256: str) -> Arrays:
    """Return the arrays of a file after checking its size and SHA-256.

    Raises:
        Damaged: the file is missing, or is not what was written.
    """
    try:
        with open_file(path) as file:
            there = file.seek(0, 2)
            if there != size:
                raise Damaged(f"{path} is damaged: {there} bytes where {size} were written")
            file.seek(0)
            content = file.read() if size <= SMALL else None
            found = hashlib.file_digest(file, "sha256") if content is None else hashlib.sha256(content)
            if found.hexdigest() != sha256:
                raise Damaged(f"{path} is damaged: its content does not match its SHA-256")
        return Arrays(path, content)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    except (SafetensorError, NotAFile) as error:
        raise Damaged(f"{path} is damaged: {error}") from error
