"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their official binary or python files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nondet.data import Pictures, checked_labels, file_size, nothing_found, readable, unfit
from nondet.data.pickles import read_pickle

PIXELS = 3 * 32 * 32
"""An image's bytes: red, green and blue planes of 32 rows of 32."""
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Version:
    """One official version of a data set.

    folder: its official name. images: the number of images in each training file. key: the name of the labels in the
    pickles; empty for a binary version. skip: label bytes before the one that is used.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    images: int
    classes: int
    key: str = ""
    skip: int = 0


CIFAR10 = (
    Version("cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", 10_000, 10),
    Version("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", 10_000, 10, "labels"),
)
CIFAR100 = (
    Version("cifar-100-binary", ("train.bin",), "test.bin", 50_000, 100, skip=1),  # the coarse label comes first
    Version("cifar-100-python", ("train",), "test", 50_000, 100, "fine_labels"),
)


def read_cifar10(folder: Path) -> Pictures:
    """Read the 50,000 training and 10,000 test images of CIFAR-10. BadInput says what is wrong with the files."""
    return _read(folder, CIFAR10)


def read_cifar100(folder: Path) -> Pictures:
    """Read CIFAR-100, with the fine labels, in the same form as CIFAR-10."""
    return _read(folder, CIFAR100)


def read_records(path: Path, images: int, classes: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Read a binary file of records of label bytes and pixels: images uint8 (n, 3, 32, 32), labels int64 (n,)."""
    length = skip + 1 + PIXELS
    size = file_size(path)
    if size != images * length:
        rule = f"contain {images:,} records of {length:,} bytes, {images * length:,} bytes in all"
        raise unfit(path, rule, f"{size:,}")
    records = np.fromfile(path, dtype=np.uint8, count=size).reshape(images, length)
    return records[:, skip + 1 :].reshape(-1, 3, 32, 32), checked_labels(path, records[:, skip], classes)


def read_batch(path: Path, images: int, classes: int, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a pickled batch with the labels under `key`: images uint8 (n, 3, 32, 32), labels int64 (n,)."""
    # Besides the pixels there are labels and file names; and in Python 3's pickles, a byte may take two.
    batch = read_pickle(path, at_most=3 * images * PIXELS)
    pixels, labels = (batch.get(name.encode(), batch.get(name)) for name in ("data", key))
    shape = pixels.shape if isinstance(pixels, np.ndarray) else None
    numbers: list[object] = labels if isinstance(labels, list) else []
    if not isinstance(pixels, np.ndarray) or shape != (images, PIXELS) or len(numbers) != images:
        rule = f"contain an array 'data' of ({images}, {PIXELS}) bytes and a list {key!r} of {images} labels"
        raise unfit(path, rule, f"{shape} and {len(numbers)}")
    # Anything that is not a whole number, or is too large for an array, becomes -1, which is refused with its place.
    known = [n if type(n) is int and 0 <= n < 2**31 else -1 for n in numbers]
    return pixels.reshape(-1, 3, 32, 32), checked_labels(path, np.array(known), classes)


@readable()
def _read(folder: Path, versions: tuple[Version, ...]) -> Pictures:
    places = [(folder, version) for version in versions] + [(folder / version.folder, version) for version in versions]
    for place, version in places:
        if any((place / name).is_file() for name in (*version.train, version.test)):
            read = partial(read_batch, key=version.key) if version.key else partial(read_records, skip=version.skip)
            train = [read(place / name, version.images, version.classes) for name in version.train]
            images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
            return Pictures(images, labels, *read(place / version.test, TEST_IMAGES, version.classes))
    files = " or ".join(f"{', '.join(version.train)} and {version.test}" for version in versions)
    raise nothing_found(folder, files, [version.folder for version in versions])
