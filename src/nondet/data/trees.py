"""Image trees: a folder with `train` and `val`; each has one folder for each class, with the images of that class."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from nondet.data import readable
from nondet.data.decode import decoder_version, read_image, reason
from nondet.data.decoders import Decoders, decoder_count
from nondet.data.fetch import cache_folder
from nondet.errors import BadInput, Damaged
from nondet.io.files import sealed, unsealed, write_file
from nondet.io.signals import undisturbed
from nondet.io.streams import note, warn

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
TEST_NAMES = ("val", "valid", "validation", "test")
CHUNK = 32
LINE_SECONDS = 10.0
NAMED = 10
"""How many files or classes a sentence names before it only counts them."""


@dataclass(frozen=True, eq=False)
class Tree:
    """One part of an image tree. The images alternate between classes, so that any first few represent all classes.

    files: n paths inside root, CLASS/NAME. sizes, times: (n,) bytes, and nanoseconds of the last change.
    labels: (n,) indices into classes. ignored: how many entries are hidden or not images.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    sizes: np.ndarray
    times: np.ndarray
    labels: np.ndarray
    ignored: int = 0

    def take(self, where: np.ndarray) -> Tree:
        """Return only these images, in this order."""
        files = tuple(self.files[i] for i in where)
        return replace(self, files=files, sizes=self.sizes[where], times=self.times[where], labels=self.labels[where])

    def digest(self, text: str, numbers: np.ndarray) -> str:
        """Return the SHA-256 of a text, and of each image's path, size and number in numbers (n,)."""
        digest = hashlib.sha256(text.encode())
        for name, size, number in zip(self.files, self.sizes.tolist(), numbers.tolist(), strict=True):
            digest.update(os.fsencode(name) + f"\0{size}\0{number}\0".encode())
        return digest.hexdigest()


@readable()
def read_tree(
    folder: Path, broken: str = "stop", examples: tuple[int | None, int | None] = (None, None)
) -> tuple[Tree, Tree]:
    """Read the training and test parts of an image tree, and check that every image decodes.

    broken: what to do about images that do not decode: "stop" refuses them, "skip" leaves them out.
    examples: how many images to use from each part, None for all. BadInput says what is wrong with the folder.
    """
    if broken not in ("stop", "skip"):
        raise BadInput(f"broken must be stop or skip (got {broken!r}); try <<broken=skip>>")
    test = next((name for name in TEST_NAMES if (folder / name).is_dir()), "val")
    missing = [name for name in ("train", test) if not (folder / name).is_dir()]
    if missing:
        raise BadInput(
            f"an image tree must contain the folders train and val, each with one folder of images for each class "
            f"(got {str(folder)!r}, which has no {' and no '.join(missing)}); give the folder above them"
        )
    parts = [list_part(folder / name) for name in ("train", test)]
    _require_same_classes(*parts)
    names = ("train_examples", "test_examples")
    train, tested = (_whole(*which, broken) for which in zip(parts, examples, names, strict=True))
    ignored = sum(part.ignored for part in parts)
    if ignored:
        warn(f"{ignored:,} files and folders in {str(folder)!r} are ignored: hidden, or not named like images")
    return train, tested


def list_part(root: Path) -> Tree:
    """List one part of a tree by names and sizes, before any image is opened.

    Links to files and to class folders are followed. Folders inside a class folder are not, so no link can loop.
    """
    inside = _entries(root)
    classes = tuple(name for name, info in inside if info and stat.S_ISDIR(info.st_mode) and name[0] != ".")
    if len(classes) < 2:
        raise _no_classes(root, classes, sum(name.lower().endswith(SUFFIXES) for name, _ in inside))
    ignored = len(inside) - len(classes)
    rows: list[tuple[int, int, str, int, int]] = []
    for label, name in enumerate(classes):
        found = _entries(root / name)
        images = [(file, info) for file, info in found if _is_image(file, info)]
        if not images:
            raise BadInput(
                f"each class must have an image directly in its folder (got none in {str(root / name)!r}); "
                f"add images with names that end in {', '.join(SUFFIXES)}, or remove the folder"
            )
        ignored += len(found) - len(images)
        for place, (file, info) in enumerate(images):
            size, changed = (info.st_size, info.st_mtime_ns) if info else (0, 0)
            rows.append((place, label, f"{name}/{file}", size, changed))
    rows.sort()  # the first of each class, the second of each, ...
    _, labels, files, sizes, times = zip(*rows, strict=True)
    return Tree(root, classes, files, np.array(sizes), np.array(times), np.array(labels, dtype=np.int64), ignored)


def find_broken(tree: Tree, decoders: Decoders) -> dict[int, str]:
    """Find the images that do not decode: place in the tree -> reason. Every image is decoded once.

    The result is kept in the cache folder, under the tree's names, sizes and times. A later call with the same tree
    only tries the broken images again, because they may have been fixed in ways that leave no trace.
    """
    kept = cache_folder() / "checked" / f"{tree.digest(decoder_version(), tree.times)}.json"
    known = _read_known(kept, len(tree.files))
    places: Sequence[int] = range(len(tree.files)) if known is None else known
    chunks = [[(p, tree.files[p]) for p in places[i : i + CHUNK]] for i in range(0, len(places), CHUNK)]
    found: dict[int, str] = {}
    last = time.monotonic()
    for number, broken in enumerate(decoders.map(partial(broken_among, tree.root), chunks)):
        found.update(broken)
        if time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            note(f"checking the images of {str(tree.root)!r}: {number * CHUNK:,} of {len(places):,}")
    if known != sorted(found):
        with undisturbed(), suppress(OSError):  # at worst, the next command checks them all again
            write_file(kept, sealed({"version": 1, "broken": sorted(found)}), replace=True)
    return found


def broken_among(root: Path, images: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the images (place, file) that do not decode, as (place, reason)."""
    found: list[tuple[int, str]] = []
    for place, name in images:
        try:
            read_image(root / name)
        except Exception as error:  # Pillow may raise any error for a broken file
            found.append((place, reason(error)))
    return found


def _whole(tree: Tree, count: int | None, name: str, broken: str) -> Tree:
    """Return the first `count` images that decode, or all of them."""
    wanted = len(tree.files) if count is None else count
    _require_range(name, wanted, len(tree.files))
    decoders = Decoders(decoder_count(wanted))
    good: list[int] = []
    reasons: dict[str, str] = {}
    seen = 0
    while len(good) < wanted and seen < len(tree.files):  # go on if some were left out and more are needed
        places = np.arange(seen, min(len(tree.files), seen + wanted - len(good)))
        found = find_broken(tree.take(places), decoders)
        reasons |= {tree.files[seen + place]: why for place, why in found.items()}
        good += [int(p) for p in places if int(p) - seen not in found]
        seen += len(places)
        if found and broken == "stop":
            break
    decoders.close()
    if reasons:
        _stop_or_say(tree, reasons, seen, broken)
    if count is not None:
        _require_range(name, wanted, len(good))
    kept = tree.take(np.array(good, dtype=np.int64))
    empty = [repr(tree.classes[i]) for i in sorted(set(range(len(tree.classes))) - set(kept.labels.tolist()))]
    if empty and count is None:
        raise BadInput(
            f"each class must have an image that decodes (got none in {_listed(empty)} "
            f"of {str(tree.root)!r}); fix its images, or remove the class from both parts"
        )
    return kept


def _stop_or_say(tree: Tree, reasons: dict[str, str], seen: int, broken: str) -> None:
    named = _listed([f"{name!r} ({why})" for name, why in reasons.items()])
    if broken == "stop":
        raise BadInput(
            f"every image must decode, but {len(reasons):,} of {seen:,} in {str(tree.root)!r} do not: {named}; "
            "replace them, or leave them out with <<broken=skip>>"
        )
    warn(f"{len(reasons):,} of {seen:,} images in {str(tree.root)!r} do not decode and are left out: {named}")


def _require_range(name: str, wanted: int, there: int) -> None:
    if not 1 <= wanted <= there:
        raise BadInput(
            f"{name} must be from 1 to {there}, the number of images (got {wanted}); try <<recipe={name}={there}>>"
        )


def _require_same_classes(train: Tree, test: Tree) -> None:
    odd = [
        f"only {here.root.name} has {_listed([repr(name) for name in alone])}"
        for here, there in ((train, test), (test, train))
        if (alone := sorted(set(here.classes) - set(there.classes)))
    ]
    if odd:
        raise BadInput(
            f"both parts of an image tree must have the same class folders (got {', '.join(odd)} "
            f"in {str(train.root.parent)!r}); add or remove folders until they agree"
        )


def _no_classes(root: Path, classes: tuple[str, ...], images: int) -> BadInput:
    got = f"one folder, {classes[0]!r}" if classes else f"no folder, only {images:,} images" if images else "no folder"
    way = "give the folder above train and val"
    if images and not classes:
        way = (
            "move each image into the folder of its class; for the official ImageNet validation images, the class of "
            "each is its line of ILSVRC2012_validation_ground_truth.txt in the development kit, and the folders are "
            "named as in train"
        )
    return BadInput(f"{str(root)!r} must contain a folder of images for each of at least 2 classes (got {got}); {way}")


def _listed(words: list[str]) -> str:
    return ", ".join(words[:NAMED]) + (f" and {len(words) - NAMED:,} more" if len(words) > NAMED else "")


def _entries(folder: Path) -> list[tuple[str, os.stat_result | None]]:
    """List the names in a folder, sorted, each with the status of its target; None for a link that leads nowhere."""
    found: list[tuple[str, os.stat_result | None]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            info = None
            with suppress(OSError):
                info = entry.stat()
            found.append((entry.name, info))
    return sorted(found, key=lambda pair: pair[0])


def _is_image(name: str, info: os.stat_result | None) -> bool:
    """Decide by name. A link that leads nowhere counts as a missing image; a pipe or a folder is not an image."""
    return name[0] != "." and name.lower().endswith(SUFFIXES) and (info is None or stat.S_ISREG(info.st_mode))


def _read_known(path: Path, n: int) -> list[int] | None:
    """Return the places of broken images from an earlier check, or None if there is no intact record."""
    try:
        places = unsealed(path.read_bytes(), path)["broken"]
    except (OSError, Damaged, KeyError):
        return None
    sound = isinstance(places, list) and all(type(p) is int and 0 <= p < n for p in places)
    return places if sound else None
