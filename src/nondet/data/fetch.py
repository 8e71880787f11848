"""Download data sets once from their official sources; the SHA-256 is checked before anything is unpacked."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from platformdirs import user_cache_path

from nondet.data import readable, unfit
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean_file
from nondet.io.signals import unwinding
from nondet.io.streams import note


@dataclass(frozen=True)
class Source:
    """One file to download. unpack: the files to extract from it, if it is an archive."""

    url: str
    sha256: str
    unpack: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


_CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_CIFAR100 = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_BATCHES = tuple(
    f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
)

# The checksums are from TensorFlow Datasets' url_checksums: cifar10.txt, cifar100.txt, mnist.txt, fashion_mnist.txt.
SOURCES: Mapping[str, tuple[Source, ...]] = MappingProxyType(
    {
        "cifar10": (Source(_CIFAR10, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", _BATCHES),),
        "cifar100": (
            Source(
                _CIFAR100,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
            ),
        ),
        "mnist": tuple(
            Source(f"{_MNIST}/{name}-ubyte.gz", sha256)
            for name, sha256 in (
                ("train-images-idx3", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                ("train-labels-idx1", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                ("t10k-images-idx3", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                ("t10k-labels-idx1", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            )
        ),
        "fashion-mnist": tuple(
            Source(f"{_FASHION}/{name}-ubyte.gz", sha256)
            for name, sha256 in (
                ("train-images-idx3", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                ("train-labels-idx1", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                ("t10k-images-idx3", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                ("t10k-labels-idx1", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            )
        ),
    }
)
"""The files that can be downloaded, by task. For any other task, the user names the folder."""


LARGE = 1_000_000
"""Downloads of at least this many bytes are announced, because they may take a while."""


def cache_folder() -> Path:
    """Return the folder for files that nondet can make or download again: NONDET_CACHE, or `nondet` in the system's."""
    return Path(os.environ.get("NONDET_CACHE") or user_cache_path("nondet"))


def folder(name: str, data: Path | None) -> Path:
    """Return the folder of a task's official files: DIR of `--data DIR`, or one in the cache, filled at the first call.

    BadInput if DIR is not a folder, if the task has no free official source, or if the download fails.
    """
    if data is not None:
        with readable():
            there = data.is_dir()
        if not there:
            raise BadInput(
                f"<<data>> must name a folder (got {str(data)!r}, which is not one{did_you_mean_file(data)}); "
                "put the official files in one"
            )
        return data
    if name not in SOURCES:
        raise BadInput(
            f"{name} has no free official source, so its folder must be given (got none); give <<data=DIR>>, "
            "where DIR contains three text files with train, valid and test in their names"
        )
    place = cache_folder() / name
    with unwinding():  # a stop removes whatever is only partly downloaded or unpacked
        for source in SOURCES[name]:
            if not source.unpack:
                _download(source, place)
            elif not all((place / file).is_file() for file in source.unpack):
                unpack(_download(source, place), source.unpack, place)
    return place


def is_cached(name: str) -> bool:
    """Return whether `folder` would find a task's official files in the cache, without a download."""
    place = cache_folder() / name
    return all((place / file).is_file() for source in SOURCES[name] for file in source.unpack or (source.name,))


def unpack(archive: Path, names: tuple[str, ...], place: Path) -> None:
    """Extract these files, and no others, from a tar archive; none is in `place` before all are extracted.

    BadInput if a name in the archive leads outside it, if it has links or devices, or if one of these files is missing.
    """
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=place) as temporary:
        try:
            with tarfile.open(archive) as tar:
                members = {member.name: member for member in tar.getmembers() if _is_sound(archive, member)}
                for name in names:
                    if name not in members or not members[name].isfile():
                        raise unfit(archive, f"contain the file {name}", "none", "remove it and try again")
                    tar.extract(members[name], temporary, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise BadInput(
                f"{str(archive)!r} must be a complete tar archive (got: {error}); remove it and try again"
            ) from error
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / name).replace(place / name)


def _is_sound(archive: Path, member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise unfit(archive, "contain only files and folders inside itself", repr(member.name), "do not use it")
    return True


def _download(source: Source, place: Path) -> Path:
    """Return the file, downloaded unless it is already there; a file with another SHA-256 is not kept."""
    pooch = _pooch()
    from requests import RequestException  # pooch downloads with it

    target = place / source.name
    way = f"download it elsewhere and put it at {str(target)!r}, or give <<data=DIR>> with its unpacked files"
    try:
        downloader = pooch.HTTPDownloader(hooks={"response": _announce})
        pooch.retrieve(source.url, f"sha256:{source.sha256}", source.name, place, downloader=downloader)
    except RequestException as error:
        got = type(error).__name__ if error.response is None else f"status {error.response.status_code}"
        raise BadInput(
            f"{source.name} must be downloaded from {source.url}, which failed (got {got}); {way}"
        ) from error
    except ValueError as error:  # pooch found another checksum, and has deleted the file
        raise BadInput(f"{source.url} must have the SHA-256 {source.sha256} (got another); {way}") from error
    return target


def _announce(response: Any, *_: Any, **__: Any) -> None:
    """Announce a large download once it has begun, so that a failure is reported alone."""
    size = response.headers.get("Content-Length", "")
    if response.ok and size.isdigit() and int(size) >= LARGE:
        note(f"downloading {int(size) / 1e6:.0f} MB from {response.url}")


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise BadInput(
            "pooch must be installed to download data (got no such module); install it, or give <<data=DIR>>"
        ) from error
    pooch.get_logger().setLevel("ERROR")  # it logs each attempt, and would add its own lines to an error
    return pooch
