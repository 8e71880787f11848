"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) from their official IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from nondet.data import Pictures, checked_labels, nothing_found, readable, unfit
from nondet.errors import BadInput
from nondet.io.files import open_file

SIDE = 28
AT_MOST = MappingProxyType({"train": 60_000, "t10k": 10_000})
"""Images in the official files of both data sets; a file with more is not one of them."""
CLASSES = 10


def read_idx(path: Path, item: tuple[int, ...], most: int) -> np.ndarray:
    """Read an IDX file of bytes with n items of this shape, n at most `most`: uint8 (n, *item).

    The header gives n. No more than n items and one byte are read, however much a gzipped file would unpack to.
    """
    width = 4 * (2 + len(item))  # the magic number, n and the item's shape
    try:
        with open_file(path) as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as file:
                header = file.read(width)
                n = _checked_header(path, header, item, most)
                content = file.read(n * math.prod(item) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(
            f"{str(path)!r} must be a complete gzip file (got: {error}); fetch the official file again"
        ) from error
    if len(content) != n * math.prod(item):
        got = f"only {len(content):,}" if len(content) < n * math.prod(item) else "more"
        raise unfit(path, f"contain {n * math.prod(item):,} bytes after its header, as the header says", got)
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(n, *item)  # a bytearray: it is writable


def _checked_header(path: Path, header: bytes, item: tuple[int, ...], most: int) -> int:
    """Check the header and return the number of items."""
    magic = 0x0800 + 1 + len(item)  # bytes, and the number of axes
    if len(header) < 4 * (2 + len(item)):
        raise unfit(path, "begin with an IDX header", f"{len(header)} bytes", "fetch it again")
    found, n, *shape = struct.unpack(f">{2 + len(item)}I", header)
    if found != magic:
        raise unfit(path, f"begin with the IDX magic number {magic:#010x}", f"{found:#010x}")
    if not 1 <= n <= most or tuple(shape) != item:
        raise unfit(path, f"contain 1 to {most:,} items of shape {item}", f"{n:,} of {tuple(shape)}")
    return n


@readable()
def _read(folder: Path, inside: tuple[str, ...]) -> Pictures:
    """Read 60,000 training and 10,000 test images (n, 1, 28, 28). BadInput says what is wrong.

    inside: where the files may be in the folder: next to other data sets, and where torchvision puts them.
    """
    for place in (folder, *(folder / name for name in inside)):
        if any(_find(place, part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")):
            return Pictures(*_read_part(place, "train"), *_read_part(place, "t10k"))
    raise nothing_found(folder, "train-images-idx3-ubyte, train-labels-idx1-ubyte and both of t10k (or .gz)", inside)


def _read_part(place: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    paths = [_find(place, part, kind) for kind in ("images-idx3", "labels-idx1")]
    if paths[0] is None or paths[1] is None:
        missing = f"{part}-{'images-idx3' if paths[0] is None else 'labels-idx1'}-ubyte"
        raise BadInput(
            f"every official file must be present (got no {missing} or {missing}.gz in {str(place)!r}); fetch it too"
        )
    images = read_idx(paths[0], (SIDE, SIDE), AT_MOST[part])
    labels = read_idx(paths[1], (), AT_MOST[part])
    if len(images) != len(labels):
        got = f"{len(labels):,} of {len(images):,}"
        raise unfit(paths[1], "have a label for each image", got, "fetch both official files again")
    return images[:, None], checked_labels(paths[1], labels, CLASSES)


def _find(place: Path, part: str, kind: str) -> Path | None:
    """Find the file of this part and kind under one of its usual names."""
    names = [
        f"{part}-{stem}{end}" for stem in (f"{kind}-ubyte", kind.replace("-", ".") + "-ubyte") for end in ("", ".gz")
    ]
    return next((place / name for name in names if (place / name).is_file()), None)


read_mnist = partial(_read, inside=("mnist", "MNIST/raw"))
read_fashion_mnist = partial(_read, inside=("fashion-mnist", "FashionMNIST/raw"))
