"""CIFAR's readers: both official forms, and every way in which a file can be wrong."""

from __future__ import annotations

import io
import lzma
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nondet.data import cifar
from nondet.data.cifar import read_batch, read_cifar10, read_cifar100, read_records
from nondet.errors import BadInput

N = 20
"""Images in each file of the small sets of these tests."""
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10" / "first4000-lossless.bin.xz"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 20 images in place of 10,000 or 50,000."""
    for name in ("CIFAR10", "CIFAR100"):
        monkeypatch.setattr(cifar, name, tuple(replace(version, images=N) for version in getattr(cifar, name)))
    monkeypatch.setattr(cifar, "TEST_IMAGES", N)


def numbers(seed: int, classes: int = 10) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(N, 3072), dtype=np.uint8), rng.integers(classes, size=N).tolist()


def write_binary(path: Path, seed: int, classes: int = 10) -> None:
    pixels, labels = numbers(seed, classes)
    coarse = b"\x13" if classes == 100 else b""
    path.write_bytes(b"".join(coarse + bytes([y]) + x.tobytes() for x, y in zip(pixels, labels, strict=True)))


def python2_pickle(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """The bytes that Python 2 and its numpy write for such a batch, opcode by opcode (protocol 2)."""
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
    array += b"(K\x01" + b"".join(b"J" + struct.pack("<i", s) for s in pixels.shape) + b"\x86"
    array += b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array += b"\x89T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    text = b"U\x0bbatch_labelU\x15training batch 1 of 5"
    return b"\x80\x02}q\x00(" + text + b"U\x04data" + array + b"U" + bytes([len(key)]) + key + listed + b"u."


def expect(seeds: list[int], classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    parts = [numbers(seed, classes) for seed in seeds]
    images = [[x[1024 * c : 1024 * (c + 1)].reshape(32, 32) for c in range(3)] for part in parts for x in part[0]]
    return np.array(images), np.array([label for part in parts for label in part[1]])


def assert_pictures(found: cifar.Pictures, train: list[int], test: int, classes: int = 10) -> None:
    for arrays, seeds in (
        ((found.train_images, found.train_labels), train),
        ((found.test_images, found.test_labels), [test]),
    ):
        images, labels = expect(seeds, classes)
        np.testing.assert_array_equal(arrays[0], images)
        np.testing.assert_array_equal(arrays[1], labels)
        assert arrays[0].dtype == np.uint8
        assert arrays[1].dtype == np.int64
        assert arrays[0].flags.writeable


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10_binary_is_read_from_its_folder_or_the_one_above(tmp_path: Path, inside: str) -> None:
    """Five training batches in their order, and the test batch, wherever the official folder is."""
    place = tmp_path / inside
    place.mkdir(exist_ok=True)
    for i in range(1, 6):
        write_binary(place / f"data_batch_{i}.bin", i)
    write_binary(place / "test_batch.bin", 6)
    assert_pictures(read_cifar10(tmp_path), [1, 2, 3, 4, 5], 6)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_cifar10_python_is_read_from_its_folder_or_the_one_above(tmp_path: Path, inside: str) -> None:
    """The pickled batches hold the same images in the same order."""
    place = tmp_path / inside
    place.mkdir(exist_ok=True)
    for name, seed in [*((f"data_batch_{i}", i) for i in range(1, 6)), ("test_batch", 6)]:
        (place / name).write_bytes(python2_pickle(*numbers(seed)))
    assert_pictures(read_cifar10(tmp_path), [1, 2, 3, 4, 5], 6)


def test_cifar100_takes_the_fine_labels_of_both_forms(tmp_path: Path) -> None:
    """Of the two label bytes of a record, the second; of the two lists of a pickle, `fine_labels`."""
    binary, python = tmp_path / "a" / "cifar-100-binary", tmp_path / "b" / "cifar-100-python"
    for place in (binary, python):
        place.mkdir(parents=True)
    for name, seed in (("train", 1), ("test", 2)):
        write_binary(binary / f"{name}.bin", seed, 100)
        (python / name).write_bytes(python2_pickle(*numbers(seed, 100), key=b"fine_labels"))
    for folder in (binary.parent, python.parent):
        assert_pictures(read_cifar100(folder), [1], 2, 100)


def test_real_records_of_cifar10(tmp_path: Path) -> None:
    """The official layout: known first labels, and every pixel where the format's description puts it."""
    if not REAL.is_file():
        pytest.skip("the real CIFAR-10 records are not beside this checkout")
    content = lzma.decompress(REAL.read_bytes())
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(content)
    images, labels = read_records(path, 4000, 10)
    assert labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    for n, channel, row, column in ((0, 0, 0, 0), (17, 1, 5, 30), (3999, 2, 31, 31), (1234, 0, 16, 9)):
        assert images[n, channel, row, column] == content[3073 * n + 1 + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize("size", [0, 1, 3073 * N - 1, 3073 * N + 1, 3073 * (N - 1), 3073 * 2 * N])
def test_a_binary_file_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    """Also where it holds whole records, but too few or too many of them."""
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(
        BadInput, match=r"data_batch_1\.bin' must contain 20 records of 3,073 bytes, 61,460 .* \(got [\d,]+\)"
    ):
        read_records(path, N, 10)


@pytest.mark.parametrize(("classes", "wrong"), [(10, 10), (10, 255), (100, 100)])
def test_a_label_that_is_no_class_is_refused(tmp_path: Path, classes: int, wrong: int) -> None:
    """The sentence names the label, its place and the file."""
    path = tmp_path / "test.bin"
    write_binary(path, 1, classes)
    content = bytearray(path.read_bytes())
    skip = int(classes == 100)
    content[7 * (3073 + skip) + skip] = wrong
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"from 0 to {classes - 1} \(got {wrong} at example 7 of .*test\.bin"):
        read_records(path, N, classes, skip)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A folder that holds some of the files, but not all."""
    write_binary(tmp_path / "data_batch_1.bin", 1)
    with pytest.raises(BadInput, match=r"must be present \(got no .*data_batch_2\.bin"):
        read_cifar10(tmp_path)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    """The sentence says which files and folders are looked for."""
    with pytest.raises(BadInput, match=r"train\.bin and test\.bin or train and test, .*cifar-100-python.*none of them"):
        read_cifar100(tmp_path)


def as_str(pixels: np.ndarray, labels: list[int]) -> dict[str, Any]:
    return {"data": pixels, "labels": labels}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("key", [str, str.encode])
def test_pickles_of_any_binary_protocol_are_read(tmp_path: Path, protocol: int, key: Callable[[str], Any]) -> None:
    """Batches that Python 3 wrote anew, with keys of text or of bytes."""
    pixels, labels = numbers(3)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({key("data"): pixels, key("labels"): labels}, protocol=protocol))
    images, found = read_batch(path, N, 10, "labels")
    np.testing.assert_array_equal(images.reshape(N, -1), pixels)
    assert found.tolist() == labels


def test_a_batch_with_names_in_bytes_is_read(tmp_path: Path) -> None:
    """Python 3 writes each of them for Python 2 as a call with a pair of texts, so there are as many as images."""
    pixels, labels = numbers(3)
    batch = {b"filenames": [b"\xe9_%d.png" % i for i in range(N)], b"labels": labels, b"data": pixels}
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    assert read_batch(path, N, 10, "labels")[1].tolist() == labels


def test_an_array_by_columns_is_read_in_its_order(tmp_path: Path) -> None:
    """numpy writes such an array column after column, and says so."""
    pixels, labels = numbers(4)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(as_str(np.asfortranarray(pixels), labels), protocol=4))
    np.testing.assert_array_equal(read_batch(path, N, 10, "labels")[0].reshape(N, -1), pixels)


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Referring(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return "elsewhere" if obj == "refer" else None


def referring() -> bytes:
    file = io.BytesIO()
    Referring(file, protocol=4).dump({"data": "refer"})
    return file.getvalue()


def reduced(shape: bytes, content: bytes, kind: bytes = b"u1") -> bytes:
    """A batch whose array claims this shape, type and content."""
    pickled = python2_pickle(np.zeros((1, 1), dtype=np.uint8), [])
    one = b"J\x01\x00\x00\x00" * 2 + b"\x86"
    pickled = pickled.replace(one, shape).replace(b"T\x01\x00\x00\x00\x00", content)
    return pickled.replace(b"U\x02u1", b"U" + bytes([len(kind)]) + kind)


HOSTILE = {
    "a call of eval": (pickle.dumps({"data": Call(eval, "1/0")}, protocol=2), r"asks for __builtin__\.eval"),
    "a call of getattr": (pickle.dumps(Call(getattr, "a", "b"), protocol=4), r"asks for builtins\.getattr"),
    "numpy's own loader": (b"\x80\x02cnumpy\nload\n.", r"asks for numpy\.load"),
    "a reference": (referring(), r"uses BINPERSID"),
    "an instance": (b"\x80\x02(ios\nsystem\n.", r"uses INST"),
    "an extension": (b"\x80\x02\x82\x01.", r"uses EXT1"),
    "a large memo": (b"\x80\x02}r\xff\xff\xff\xff.", r"stores a value under the number 4294967295"),
    "nested keys": (b"\x80\x04})" + b"\x94h\x00\x86" * 60 + b"K\x01s.", r"tuples"),
    "nested pairs of text": (b"\x80\x02}(X\x01\0\0\0aq\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s.", r"tuples"),
    "pairs of remembered pairs": (
        b"\x80\x04}(" + b"\x8c\x01a\x94" + b"h\x00h\x00\x86\x94" + b"h\x01h\x01\x86" * 30 + b"K\x01s.",
        r"tuples",
    ),
    "an array of objects": (pickle.dumps({"data": np.array([None])}, protocol=4), r"type u1"),
    "an array of floats": (pickle.dumps({"data": np.zeros(3)}, protocol=2), r"type u1"),
    "another type": (reduced(b"K\x01K\x01\x86", b"U\x01\x00", b"O8"), r"type u1"),
    "a shape without content": (reduced(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"U\x01\x00"), r"as many bytes"),
    "a negative shape": (
        reduced(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", b"U\x01\x00"),
        "negative|dimension",
    ),
    "a shape of lists": (reduced(b"]]\x86", b"U\x01\x00"), r"as many bytes"),
    "a list as content": (reduced(b"K\x01K\x00\x86", b"]"), r"as many bytes"),
    "a change of a class": (b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.", r"missing 1 required positional argument"),
    "a change of the encoder": (b"\x80\x02c_codecs\nencode\nN}U\x01aK\x01s\x86b.", r"missing 1 required positional"),
    "half a pickle": (python2_pickle(*numbers(1))[:-5000], r"got"),
    "nothing": (b"", r"got"),
    "no pickle": (b"<html>404</html>", r"got"),
    "only a list": (pickle.dumps([1, 2]), r"contains a list, but a dictionary"),
    "an empty dictionary": (pickle.dumps({}), r"got None and 0"),
    "text for data": (pickle.dumps({"data": "abc", "labels": [1]}), r"got None and 1"),
    "another shape": (pickle.dumps(as_str(numbers(1)[0][:, :3000], [0] * N), protocol=4), r"got \(20, 3000\) and 20"),
    "too few labels": (pickle.dumps(as_str(numbers(1)[0], [0] * 19), protocol=4), r"got \(20, 3072\) and 19"),
    "a label of 10": (pickle.dumps(as_str(numbers(1)[0], [0] * 19 + [10]), protocol=4), r"at example 19"),
    "a negative label": (pickle.dumps(as_str(numbers(1)[0], [0] * 19 + [-1]), protocol=4), r"at example 19"),
    "a huge label": (pickle.dumps(as_str(numbers(1)[0], [0] * 19 + [2**200]), protocol=4), r"at example 19"),
    "a label of text": (pickle.dumps({"data": numbers(1)[0], "labels": ["a"] * N}, protocol=4), r"at example 0"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_every_other_pickle_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    """Nothing in it runs, nothing of the size that it claims is allocated, and the file is named."""
    content, reason = HOSTILE[case]
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=reason) as caught:
        read_batch(path, N, 10, "labels")
    assert "data_batch_1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A file of the wrong kind is refused by its size; this one is sparse, and would take a gigabyte."""
    path = tmp_path / "data_batch_1"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(BadInput, match=r"1,073,741,824 bytes, but at most 184,320"):
        read_batch(path, N, 10, "labels")
