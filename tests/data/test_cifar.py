"""CIFAR-10 and CIFAR-100: both versions of the official files, and what is wrong with others."""

from __future__ import annotations

import io
import lzma
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nondet.data import Pictures, cifar
from nondet.data.cifar import PIXELS, read_batch, read_cifar10, read_cifar100, read_records
from nondet.errors import BadInput

REAL = Path(__file__).parents[3] / "shared/data/cifar10/first4000-lossless.bin.xz"
TRAIN, TEST = 3, 2
"""Images in each of the small files."""
PIXELS_AND_LABELS = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official files, but of a few images."""
    for name in ("CIFAR10", "CIFAR100"):
        monkeypatch.setattr(cifar, name, tuple(replace(version, images=TRAIN) for version in getattr(cifar, name)))
    monkeypatch.setattr(cifar, "TEST_IMAGES", TEST)


def pictures(n: int, seed: int, classes: int = 10) -> PIXELS_AND_LABELS:
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(n, PIXELS), dtype=np.uint8), rng.integers(classes, size=n)


def records(pixels: np.ndarray, labels: np.ndarray, coarse: bool) -> bytes:
    """The binary layout: perhaps a coarse label, the label, then the pixels of each image."""
    first = [b"\x13"] if coarse else []
    return b"".join(
        b"".join([*first, bytes([label]), row.tobytes()]) for row, label in zip(pixels, labels, strict=True)
    )


def python2(pixels: np.ndarray, labels: np.ndarray, key: str) -> bytes:
    """The pickle that Python 2 wrote: every string of bytes, an array by `_reconstruct`, written out by its opcodes."""

    def short(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode()

    content = pixels.tobytes()
    shape = b"K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", PIXELS) + b"\x86"
    kind = b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
    array = empty + b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<I", len(content)) + content + b"tb"
    numbers = b"]q\x02(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}q\x01(" + short(key) + numbers + short("data") + array + b"u."


def python3(pixels: np.ndarray, labels: np.ndarray, key: str, protocol: int = 4) -> bytes:
    return pickle.dumps({"data": pixels, key: labels.tolist(), "filenames": ["a.png"] * len(labels)}, protocol)


def write(folder: Path, hundred: bool, binary: bool) -> tuple[list[PIXELS_AND_LABELS], PIXELS_AND_LABELS]:
    """A small data set in its official folder; what the training files and the test file hold."""
    kind = f"{'100' if hundred else '10'}-{binary}"
    names = {
        "10-True": [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"],
        "10-False": [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"],
        "100-True": ["train.bin", "test.bin"],
        "100-False": ["train", "test"],
    }[kind]
    folder.mkdir(parents=True)
    key = "fine_labels" if hundred else "labels"
    parts = [pictures(TEST if n == names[-1] else TRAIN, i, 100 if hundred else 10) for i, n in enumerate(names)]
    for name, part in zip(names, parts, strict=True):
        (folder / name).write_bytes(records(*part, coarse=hundred) if binary else python2(*part, key))
    return parts[:-1], parts[-1]


FOLDERS = {
    (False, True): "cifar-10-batches-bin",
    (False, False): "cifar-10-batches-py",
    (True, True): "cifar-100-binary",
    (True, False): "cifar-100-python",
}


@pytest.mark.parametrize(("hundred", "binary"), FOLDERS)
@pytest.mark.parametrize("inside", [False, True])
def test_both_versions_are_read(tmp_path: Path, hundred: bool, binary: bool, inside: bool) -> None:
    """Pixels and fine labels in the files' order, from the official folder or from the folder above it."""
    folder = tmp_path / FOLDERS[hundred, binary]
    train, test = write(folder, hundred, binary)
    got = (read_cifar100 if hundred else read_cifar10)(folder if inside else tmp_path)
    assert isinstance(got, Pictures)
    wanted = [np.concatenate([part[i] for part in train]) for i in (0, 1)]
    for images, labels, (pixels, classes) in (
        (got.train_images, got.train_labels, wanted),
        (got.test_images, got.test_labels, test),
    ):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert images.shape == (len(classes), 3, 32, 32)
        np.testing.assert_array_equal(images.reshape(len(classes), -1), pixels)
        np.testing.assert_array_equal(labels, classes)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_python_3_are_read(tmp_path: Path, protocol: int, order: Any) -> None:
    """Every binary protocol, arrays by rows and by columns."""
    pixels, labels = pictures(4, 0)
    path = tmp_path / "batch"
    path.write_bytes(python3(np.asarray(pixels, order=order), labels, "labels", protocol))
    images, classes = read_batch(path, 4, 10, "labels")
    np.testing.assert_array_equal(images.reshape(4, -1), pixels)
    np.testing.assert_array_equal(classes, labels)


def test_a_record_of_known_bytes(tmp_path: Path) -> None:
    """Red, green and blue planes of rows: the second pixel of the second row of blue is byte 2048 + 33."""
    content = bytearray(1 + PIXELS)
    content[0], content[1 + 2048 + 33] = 7, 200
    (tmp_path / "one.bin").write_bytes(content)
    images, labels = read_records(tmp_path / "one.bin", 1, 10)
    assert labels.tolist() == [7]
    assert np.argwhere(images).tolist() == [[0, 2, 1, 1]]
    assert images[0, 2, 1, 1] == 200


def test_the_real_images(tmp_path: Path) -> None:
    """The first 4,000 training images: a frog, two trucks, a deer, a car; the frog's first pixel is 59, 62, 63."""
    if not REAL.is_file():
        pytest.skip("needs shared/data/cifar10 beside the repository")
    path = tmp_path / "data.bin"
    path.write_bytes(lzma.decompress(REAL.read_bytes()))
    images, labels = read_records(path, 4000, 10)
    assert labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert images[0, :, 0, 0].tolist() == [59, 62, 63]
    np.testing.assert_allclose(images.mean((0, 2, 3)) / 255, (0.4914, 0.4822, 0.4465), atol=0.01)


@pytest.mark.parametrize("change", [b"", b"x"])
def test_binary_files_of_another_size_are_refused(tmp_path: Path, change: bytes) -> None:
    """A truncated file or one with a byte too many: its name, the right size and its own."""
    folder = tmp_path / "cifar-10-batches-bin"
    write(folder, False, True)
    path = folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes() + change if change else path.read_bytes()[:-1])
    size = 9_219 + (1 if change else -1)
    with pytest.raises(BadInput, match=rf"data_batch_3\.bin' must hold 3 records of 3,073 .* 9,219 .*got {size:,}\)"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize("binary", [True, False])
def test_a_missing_file_is_named(tmp_path: Path, binary: bool) -> None:
    """And not taken for a smaller data set."""
    folder = tmp_path / FOLDERS[False, binary]
    write(folder, False, binary)
    (missing,) = folder.glob("test_batch*")
    missing.unlink()
    with pytest.raises(BadInput, match=rf"every official file must be there \(got no '.*{missing.name}'\)"):
        read_cifar10(tmp_path)


def test_a_folder_without_any_of_the_files_is_told_their_names(tmp_path: Path) -> None:
    """Both versions' names and folders, and what to give."""
    (tmp_path / "train").mkdir()  # an image tree's folder is no file of CIFAR-100
    with pytest.raises(BadInput, match=r"train\.bin and test\.bin or train and test.*cifar-100-python.*--data DIR"):
        read_cifar100(tmp_path)


@pytest.mark.parametrize(("hundred", "binary"), FOLDERS)
def test_a_label_that_is_no_class_is_refused(tmp_path: Path, hundred: bool, binary: bool) -> None:
    """File, place and value."""
    folder = tmp_path / FOLDERS[hundred, binary]
    write(folder, hundred, binary)
    (path,) = folder.glob("test*")
    pixels, labels = pictures(TEST, 9)
    labels[1] = 100 if hundred else 10
    key = "fine_labels" if hundred else "labels"
    path.write_bytes(records(pixels, labels, hundred) if binary else python2(pixels, labels, key))
    got = rf"label must be from 0 to {labels[1] - 1} \(got {labels[1]} at example 1 of '.*/test"
    with pytest.raises(BadInput, match=got):
        (read_cifar100 if hundred else read_cifar10)(tmp_path)


PIXELS_OK, LABELS_OK = pictures(3, 0)
WRONG: dict[str, object] = {
    "no data": {"labels": [1, 2, 3]},
    "no labels": {"data": PIXELS_OK},
    "labels of the other set": {"data": PIXELS_OK, "coarse_labels": [1, 2, 3]},
    "one label too few": {"data": PIXELS_OK, "labels": [1, 2]},
    "one image too many": {"data": pictures(4, 0)[0], "labels": [1, 2, 3]},
    "another shape": {"data": PIXELS_OK.reshape(3, 3, 32, 32), "labels": [1, 2, 3]},
    "a list of pixels": {"data": [[1] * 3] * 3, "labels": [1, 2, 3]},
    "labels as an array": {"data": PIXELS_OK, "labels": LABELS_OK.astype(np.uint8)},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_dictionary_of_other_things_is_refused(tmp_path: Path, content: object) -> None:
    """What is expected, and the shape and count that were found."""
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, 4))
    with pytest.raises(BadInput, match=r"'data' of \(3, 3072\) bytes and a list 'labels' of 3 \(got .*\); fetch"):
        read_batch(path, 3, 10, "labels")


@pytest.mark.parametrize("label", [True, "7", None, 10**30, -2])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, label: object) -> None:
    """Whatever stands in the list, it is no traceback."""
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": PIXELS_OK, "labels": [1, label, 3]}, 4))
    with pytest.raises(BadInput, match=r"a label must be from 0 to 9 \(got -1 at example 1 of"):
        read_batch(path, 3, 10, "labels")


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def external() -> bytes:
    """A pickle that refers to something outside itself."""

    class Refers(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return "there" if obj == 1 else None

    file = io.BytesIO()
    Refers(file, 2).dump({"data": 1})
    return file.getvalue()


def nested(depth: int) -> bytes:
    """Tuples that hold each other twice: small, but as long to hash as 2**depth of them."""
    return b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * depth + b"K\x01s."


HOSTILE = {
    "a command": (pickle.dumps({"data": Calls(eval, "1/0")}, 2), "eval"),
    "a command, in the newest protocol": (pickle.dumps({"data": Calls(eval, "1/0")}, 5), "eval"),
    "an import": (b"\x80\x02}(U\x01ac__main__\nsecret\nu.", "__main__.secret"),
    "numpy's loader": (b"\x80\x02cnumpy\nload\nU\x01a\x85R.", "numpy.load"),
    "an attribute of an attribute": (b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.os.sys\x93.", "numpy.f2py.os.sys"),
    "a registered extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "an instance": (b"\x80\x02(cos\nsystem\nU\x01ao.", "OBJ"),
    "something outside itself": (external(), "BINPERSID"),
    "an array of objects": (pickle.dumps({"data": np.array([{}], dtype=object)}, 2), "type u1"),
    "an array of floats": (pickle.dumps({"data": np.zeros(3)}, 4), "type u1"),
    "a state for a class": (b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.", "__setstate__"),
    "a state for a function": (b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.", "__setstate__"),
    "a place far away in its memory": (b"\x80\x02}r\xff\xff\xff\x7f.", "2147483647"),
    "tuples in tuples": (nested(40), "40 tuples"),
    "a list as a key": (b"\x80\x02}]K\x01s.", "unhashable"),
    "a list": (pickle.dumps([1], 4), "a list, and a dictionary"),
    "a class": (b"\x80\x02cnumpy\nndarray\n.", "a type, and a dictionary"),
    "nothing": (b"", "exhausted"),
    "text": (b"hello", "it uses"),
    "zeros": (bytes(1000), "opcode"),
    "half of a file": (python2(PIXELS_OK, LABELS_OK, "labels")[:5000], "bytes in a string"),
    "no end": (python2(PIXELS_OK, LABELS_OK, "labels")[:-1], "STOP"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_pickle_can_do_nothing(tmp_path: Path, content: bytes, reason: str) -> None:
    """Whatever it asks for is refused in one sentence with the file's name, and nothing of it runs."""
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"data_batch_1' must be an official pickle") as caught:
        read_batch(path, 3, 10, "labels")
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


SHAPES = {
    "one byte more": b"K\x03M\x01\x0c\x86",
    "a list": b"]K\x03a",
    "a string to be repeated": b"U\x01xJ\xff\xff\xff\x7f\x86",
    "negative": b"J\xff\xff\xff\xffM\x00\xdc\x86",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_array_must_have_as_many_bytes_as_its_shape(tmp_path: Path, shape: bytes) -> None:
    """Whatever else stands for its shape is refused before anything is allocated."""
    content = python2(PIXELS_OK, LABELS_OK, "labels").replace(b"K\x03M\x00\x0c\x86", shape)
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="as many bytes as its shape says"):
        read_batch(path, 3, 10, "labels")


def test_a_pickle_larger_than_expected_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs nothing."""
    path = tmp_path / "data_batch_1"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BadInput, match=r"it has 1,099,511,627,776 bytes, and at most 27,648 are expected"):
        read_batch(path, 3, 10, "labels")


def test_every_cut_and_many_changes_of_a_pickle_are_read_or_refused(tmp_path: Path) -> None:
    """No other error leaves the reader: 300 cuts and 300 changed bytes outside the pixels."""
    path = tmp_path / "data_batch_1"
    whole = python2(np.zeros((3, PIXELS), dtype=np.uint8), LABELS_OK, "labels")
    rng = np.random.default_rng(0)
    outside = [i for i, byte in enumerate(whole) if byte][:300]
    changes = [whole[:cut] for cut in rng.integers(len(whole), size=300)]
    changes += [whole[:i] + bytes([rng.integers(256)]) + whole[i + 1 :] for i in outside]
    refused = 0
    for content in changes:
        path.write_bytes(content)
        try:
            images, labels = read_batch(path, 3, 10, "labels")
        except BadInput:
            refused += 1
        else:
            assert images.shape == (3, 3, 32, 32)
            assert len(labels) == 3
    assert refused >= 300
