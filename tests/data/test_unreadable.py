"""What the system refuses to read is a fault of the data, said in one sentence like every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nondet.data.cifar import read_cifar10
from nondet.data.idx import read_mnist
from nondet.data.trees import read_tree
from nondet.data.words import read_words
from nondet.errors import BadInput

READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cifar": (read_cifar10, "data_batch_1.bin"),
    "idx": (read_mnist, "train-images-idx3-ubyte"),
    "words": (read_words, "train.txt"),
    "tree": (read_tree, "train"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_refusal_of_the_system_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission, for which the tests' own user may be too powerful: so the system is played."""
    read, inside = READERS[name]
    (tmp_path / inside).touch()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("is_file", "is_dir", "glob", "open", "read_bytes"):
        monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(
        BadInput, match=r"must be readable \(got 'Permission denied' for '.*'\); make it readable, or give"
    ):
        read(tmp_path)
