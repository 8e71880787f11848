"""The official sources of data sets: fetched once, their SHA-256 checked before anything is unpacked."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nondet.errors import BadInput


@dataclass(frozen=True)
class Source:
    """One file to fetch. unpack: the files to take out of it, if it is an archive, all in one folder."""

    url: str
    sha256: str
    unpack: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


# The sums are those of TensorFlow Datasets' url_checksums (cifar10.txt, cifar100.txt, mnist.txt, fashion_mnist.txt).
_CIFAR = "https://www.cs.toronto.edu/~kriz"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
SOURCES: dict[str, tuple[Source, ...]] = {
    "cifar10": (
        Source(
            f"{_CIFAR}/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            tuple(f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")),
        ),
    ),
    "cifar100": (
        Source(
            f"{_CIFAR}/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
        ),
    ),
    "mnist": (
        Source(
            f"{_MNIST}/train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        Source(
            f"{_MNIST}/train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        Source(
            f"{_MNIST}/t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        Source(
            f"{_MNIST}/t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    ),
    "fashion-mnist": (
        Source(
            f"{_FASHION}/train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        Source(
            f"{_FASHION}/train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        Source(
            f"{_FASHION}/t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        Source(
            f"{_FASHION}/t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    ),
}
"""What can be fetched, by task. For any other, the user names the folder."""


def folder(name: str, data: Path | None) -> Path:
    """The folder of a task's official files: DIR of `--data DIR`, or else the cache, filled at the first call.

    The cache is `nondet` in the system's cache folder, or the folder that the environment variable NONDET_CACHE names.
    BadInput if DIR is no folder, if the task has no free official source, or if fetching fails.
    """
    if data is not None:
        if not data.is_dir():
            raise BadInput(f"--data must name a folder (got {str(data)!r}, which is none); unpack the official files there")
        return data
    if name not in SOURCES:
        raise BadInput(f"{name} has no free official source, so its folder must be given (got none); give --data DIR")
    place = _cache() / name
    for source in SOURCES[name]:
        _fetch(source, place)
    return place


def _cache() -> Path:
    named = os.environ.get("NONDET_CACHE")
    return Path(named) if named else _pooch().os_cache("nondet")


def _fetch(source: Source, place: Path) -> None:
    """One file into the folder, or the files of one archive."""
    if source.unpack and all((place / name).is_file() for name in source.unpack):
        return
    archive = _download(source, place)
    if source.unpack:
        unpack(archive, source.unpack, place)
        archive.unlink()


def _download(source: Source, place: Path) -> Path:
    """The file in this folder, fetched unless it is there with its SHA-256; a file with another one is not kept."""
    pooch = _pooch()
    from requests import RequestException  # pooch's own means of download

    way = f"fetch it elsewhere, unpack it and give --data DIR"
    try:
        return Path(pooch.retrieve(source.url, f"sha256:{source.sha256}", source.name, place))
    except RequestException as error:
        raise BadInput(f"{source.name} must be fetched from {source.url} (got {type(error).__name__}: ...); {way}") from error
    except ValueError as error:
        raise BadInput(f"{source.name} from {source.url} must have the SHA-256 {source.sha256} (got another); {way}") from error


def unpack(archive: Path, names: tuple[str, ...], place: Path) -> None:
    """These files of a tar archive, all in one folder of it, into `place`: whole or not at all.

    BadInput if any name in the archive leads out of it, or if one of these is no plain file there.
    """
