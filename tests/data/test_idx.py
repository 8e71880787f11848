"""The IDX readers of MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from nondet.data.idx import read_fashion_mnist, read_idx, read_mnist
from nondet.errors import BadInput

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_set(place: Path, middle: str = "-", ending: str = "") -> dict[str, np.ndarray]:
    """The four files of a set of 30 training and 12 test images, and what is in them."""
    rng = np.random.default_rng(1)
    place.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    for part, n in (("train", 30), ("t10k", 12)):
        arrays[f"{part}-images{middle}idx3-ubyte"] = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels{middle}idx1-ubyte"] = rng.integers(10, size=n, dtype=np.uint8)
    for name, array in arrays.items():
        (place / (name + ending)).write_bytes(gzip.compress(idx(array)) if ending else idx(array))
    return arrays


@pytest.mark.parametrize("middle", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "mnist", "MNIST/raw"])
def test_mnist_is_read_in_every_usual_place_and_spelling(tmp_path: Path, middle: str, ending: str, inside: str) -> None:
    """Gzipped or not, with a hyphen or a dot, in DIR itself or where other libraries put it."""
    written = list(write_set(tmp_path / inside, middle, ending).values())
    found = read_mnist(tmp_path)
    for array, expected in zip((found.train_images, found.test_images), written[::2], strict=True):
        np.testing.assert_array_equal(array[:, 0], expected)
        assert array.dtype == np.uint8
        assert array.flags.writeable
    for array, expected in zip((found.train_labels, found.test_labels), written[1::2], strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.int64


@pytest.mark.parametrize("inside", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist_has_folders_of_its_own(tmp_path: Path, inside: str) -> None:
    """A folder of MNIST beside it is not taken for it."""
    if inside:
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"not this one")
    written = write_set(tmp_path / inside)
    found = read_fashion_mnist(tmp_path)
    np.testing.assert_array_equal(found.train_images[:, 0], written["train-images-idx3-ubyte"])


def test_real_mnist() -> None:
    """Known facts of the data set: its size, first labels, classes, and the mean and SD that the task's recipe uses."""
    if not (REAL / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("the real MNIST files are not beside this checkout")
    found = read_mnist(REAL.parent)
    assert found.train_images.shape == (60000, 1, 28, 28)
    assert found.test_images.shape == (10000, 1, 28, 28)
    assert found.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(found.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    counts = np.bincount(found.train_images.ravel(), minlength=256)
    mean = (counts * np.arange(256)).sum() / counts.sum()
    assert round(mean / 255, 4) == 0.1307
    assert round(np.sqrt((counts * (np.arange(256) - mean) ** 2).sum() / counts.sum()) / 255, 4) == 0.3081


IMAGES = idx(np.zeros((5, 28, 28), dtype=np.uint8))
WRONG = {
    "nothing": (b"", r"begin with an IDX header \(got 0 bytes\)"),
    "half a header": (IMAGES[:9], r"begin with an IDX header \(got 9 bytes\)"),
    "labels": (idx(np.zeros(50, dtype=np.uint8)), r"magic number 0x00000803 \(got 0x00000801\)"),
    "little-endian": (struct.pack("<4I", 0x803, 5, 28, 28), r"magic number 0x00000803 \(got 0x03080000\)"),
    "a page of text": (b"<html>404 not found</html>", r"magic number"),
    "cut short": (IMAGES[:-1], r"must contain 3,920 bytes after its header, as the header says \(got only 3,919\)"),
    "one byte more": (IMAGES + b"\0", r"must contain 3,920 bytes after its header, as the header says \(got more\)"),
    "another size": (idx(np.zeros((5, 32, 32), dtype=np.uint8)), r"shape \(28, 28\) \(got 5 of \(32, 32\)\)"),
    "no images": (idx(np.zeros((0, 28, 28), dtype=np.uint8)), r"1 to 60,000 items .* \(got 0 of"),
    "a huge claim": (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), r"1 to 60,000 items .* \(got 4,294,967,295 of"),
    "a huge shape": (struct.pack(">4I", 0x803, 5, 2**32 - 1, 2**32 - 1), r"shape \(28, 28\) \(got 5 of"),
    "half a gzip file": (gzip.compress(IMAGES)[:-12], r"complete gzip file"),
    "a damaged gzip file": (gzip.compress(IMAGES)[:20] + bytes(40), r"complete gzip file"),
    "a gzip file of another sum": (
        gzip.compress(IMAGES)[:-8] + bytes(8),
        r"complete gzip file \(got: CRC check failed",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    """The file is named, with the rule and what was found."""
    content, reason = WRONG[case]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=reason) as caught:
        read_idx(path, (28, 28), 60_000)
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_a_gzip_bomb_is_read_no_further_than_the_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 MB of zeros, gzipped, behind a header that says 5 images."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(IMAGES + bytes(40_000_000)))
    asked: list[int] = []
    plain = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: (asked.append(size), plain(self, size))[1])
    with pytest.raises(BadInput, match=r"must contain 3,920 bytes .* \(got more\)"):
        read_idx(path, (28, 28), 60_000)
    assert asked == [16, 3921]


def test_swapped_parts_are_refused(tmp_path: Path) -> None:
    """The official training files under the test files' names: more images than those have."""
    write_set(tmp_path)
    for name, array in (("images-idx3", np.zeros((60_000, 28, 28))), ("labels-idx1", np.zeros(60_000))):
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(idx(array.astype(np.uint8)))
    with pytest.raises(BadInput, match=r"t10k-images-idx3-ubyte' must contain 1 to 10,000 items .* \(got 60,000 of"):
        read_mnist(tmp_path)


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    """The sentence names the label, its place and the file."""
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([0] * 11 + [10], dtype=np.uint8)))
    with pytest.raises(BadInput, match=r"from 0 to 9 \(got 10 at example 11 of .*t10k-labels"):
        read_mnist(tmp_path)


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    """Files of different sets do not go together."""
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(11, dtype=np.uint8)))
    with pytest.raises(BadInput, match=r"a label for each image \(got 11 of 12\)"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Three of the four files are not enough."""
    write_set(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadInput, match=rf"got no {name} or {name}\.gz in"):
        read_mnist(tmp_path)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    """The sentence says which files and folders are looked for."""
    with pytest.raises(BadInput, match=r"train-images-idx3-ubyte.* mnist or MNIST/raw .*none of them"):
        read_mnist(tmp_path)
