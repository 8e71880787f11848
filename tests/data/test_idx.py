"""IDX files: MNIST and Fashion-MNIST in every usual spelling, and what is wrong with others."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nondet.data.idx import read_fashion_mnist, read_idx, read_mnist
from nondet.errors import BadInput

REAL = Path(__file__).parents[3] / "shared/data"


def idx(values: np.ndarray, magic: int | None = None, shape: tuple[int, ...] | None = None) -> bytes:
    """The file of an array of bytes; magic and shape are what its header says instead of the truth."""
    shape = values.shape if shape is None else shape
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + values.tobytes()


def parts(seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        ("train", "images"): rng.integers(256, size=(5, 28, 28), dtype=np.uint8),
        ("train", "labels"): rng.integers(10, size=5, dtype=np.uint8),
        ("t10k", "images"): rng.integers(256, size=(3, 28, 28), dtype=np.uint8),
        ("t10k", "labels"): rng.integers(10, size=3, dtype=np.uint8),
    }


def write(folder: Path, zipped: bool = True, dotted: bool = False, seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """A small data set under the official names; `dotted` is the other spelling that is about."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = parts(seed)
    for (part, kind), values in arrays.items():
        name = f"{part}-{kind}{'.' if dotted else '-'}idx{values.ndim}-ubyte{'.gz' if zipped else ''}"
        (folder / name).write_bytes(gzip.compress(idx(values)) if zipped else idx(values))
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("inside", ["", "mnist", "MNIST/raw"])
def test_every_spelling_is_read(tmp_path: Path, zipped: bool, dotted: bool, inside: str) -> None:
    """Gzipped or not, with a dot or a dash, in the folder given or in the usual one inside it."""
    arrays = write(tmp_path / inside, zipped, dotted)
    got = read_mnist(tmp_path)
    for part, images, labels in (
        ("train", got.train_images, got.train_labels),
        ("t10k", got.test_images, got.test_labels),
    ):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, arrays[part, "images"][:, None])
        np.testing.assert_array_equal(labels, arrays[part, "labels"])


def test_each_set_is_found_beside_the_other(tmp_path: Path) -> None:
    """Both in one folder, each in its own: neither is taken for the other."""
    digits, clothes = write(tmp_path / "mnist", seed=1), write(tmp_path / "fashion-mnist", seed=2)
    np.testing.assert_array_equal(read_mnist(tmp_path).train_labels, digits["train", "labels"])
    np.testing.assert_array_equal(read_fashion_mnist(tmp_path).train_labels, clothes["train", "labels"])


def test_a_gzipped_file_may_lack_its_ending(tmp_path: Path) -> None:
    """The content decides, not the name."""
    values = parts()["train", "images"]
    (tmp_path / "file").write_bytes(gzip.compress(idx(values)))
    np.testing.assert_array_equal(read_idx(tmp_path / "file", (28, 28)), values)


def test_the_real_digits() -> None:
    """The complete MNIST: known first labels, numbers of ones and fives, and mean pixel."""
    if not (REAL / "mnist").is_dir():
        pytest.skip("needs shared/data/mnist beside the repository")
    got = read_mnist(REAL)
    assert got.train_images.shape == (60_000, 1, 28, 28)
    assert got.test_images.shape == (10_000, 1, 28, 28)
    assert got.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert got.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(got.train_labels)[[1, 5]].tolist() == [6742, 5421]
    np.testing.assert_allclose(got.train_images.mean() / 255, 0.1307, atol=1e-4)


IMAGES = parts()["train", "images"]
BAD_IMAGES = {
    "empty": (b"", r"begin with an IDX header \(got 0 bytes\)"),
    "half a header": (idx(IMAGES)[:9], r"\(got 9 bytes\)"),
    "labels in place of images": (
        idx(np.zeros(20, dtype=np.uint8)),
        r"magic number 0x00000803 \(got 0x00000801\)",
    ),
    "floats": (idx(IMAGES, magic=0x0D03), r"\(got 0x00000d03\)"),
    "text": (b"<!DOCTYPE html><html>", r"\(got 0x3c21444f\)"),
    "another size": (idx(np.zeros((2, 32, 32), dtype=np.uint8)), r"items of shape \(28, 28\) \(got 2 of \(32, 32\)\)"),
    "none": (idx(IMAGES, shape=(0, 28, 28)), r"\(got 0 of \(28, 28\)\)"),
    "far too many": (idx(IMAGES, shape=(2**32 - 1, 28, 28)), r"\(got 4,294,967,295 of"),
    "one pixel short": (idx(IMAGES)[:-1], r"hold 3,920 bytes after its header, as that says \(got only 3,919\)"),
    "more than it says": (idx(IMAGES) + b"\0", r"\(got more\)"),
    "zipped and cut": (gzip.compress(idx(IMAGES))[:2000], r"a whole gzip file \(got: Compressed file ended"),
    "zipped with another sum": (gzip.compress(idx(IMAGES))[:-8] + bytes(8), r"a whole gzip file \(got: CRC check"),
    "zipped in no known way": (b"\x1f\x8b" + bytes(100), r"a whole gzip file \(got: Unknown compression"),
    "zipped and broken": (gzip.compress(b"")[:10] + b"\xff" * 100, r"a whole gzip file \(got: Error -3"),
}


@pytest.mark.parametrize(("content", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """One sentence: the file's name, what is expected and what was found."""
    write(tmp_path, zipped=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(BadInput, match=rf"train-images-idx3-ubyte' must .*{message}") as caught:
        read_mnist(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("said", [5, 60_000, 2**32 - 1])
def test_a_bomb_is_not_unpacked(tmp_path: Path, said: int) -> None:
    """Of a gigabyte in a megabyte, no more is read than the header asks for, and no header may ask for much."""
    zipped = gzip.compress(bytes(2**24))
    header = gzip.compress(idx(IMAGES, shape=(said, 28, 28)))
    (tmp_path / "bomb").write_bytes(header + zipped * 64)  # gzip files may be joined
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"bomb' must hold"):
        read_idx(tmp_path / "bomb", (28, 28))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 60_000 * 28 * 28


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    """Its value and place."""
    write(tmp_path, zipped=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 10, 2], dtype=np.uint8)))
    with pytest.raises(BadInput, match=r"from 0 to 9 \(got 10 at example 1 of '.*t10k-labels-idx1-ubyte'\)"):
        read_mnist(tmp_path)


def test_a_label_for_each_image(tmp_path: Path) -> None:
    """The training labels beside the test images: both numbers in the sentence."""
    write(tmp_path, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").rename(tmp_path / "t10k-labels-idx1-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(BadInput, match=r"t10k-labels-idx1-ubyte' must have a label for each image \(got 5 of 3\)"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("missing", ["train-images-idx3", "t10k-labels-idx1"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """With its ending or without."""
    write(tmp_path)
    (tmp_path / f"{missing}-ubyte.gz").unlink()
    with pytest.raises(BadInput, match=rf"\(got no {missing}-ubyte or {missing}-ubyte\.gz in "):
        read_mnist(tmp_path)


def test_an_empty_folder_is_told_what_belongs_there(tmp_path: Path) -> None:
    """Names, usual folders, and the option."""
    with pytest.raises(BadInput, match=r"train-images-idx3-ubyte.* fashion-mnist or FashionMNIST/raw .*--data DIR"):
        read_fashion_mnist(tmp_path)
