"""Read outputs and labels from other people's files, as data: mapped if the format allows, never unpickled."""

import math
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.io import table_places, tables
from nondet.io.files import read_json
from nondet.io.foreign import TRUTHS, Array, reading, refuse_no_file, refuse_traps, scratch
from nondet.io.streams import WARNING

OUTPUTS = ("outputs", "logits", "predictions", "preds", "probs", "probabilities")
RUNS = (".npy", ".npz", ".safetensors", ".pt", ".pth")
"""Endings of the files of runs in a folder of runs."""

BESIDE = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".txt", ".md", ".log", ".png", ".pdf", ".py", ".sh")
"""Endings of files that may lie next to runs, and are left out."""
TABLES = (".csv", ".parquet")

LONGEST_HEADER = 100 * 2**20  # bytes, as in the safetensors library

_SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}


def read_outputs(
    path: Path, columns: Sequence[str] = (), say: Callable[[str], None] = lambda line: None, gaps: bool = False
) -> Array:
    """Read the outputs of runs from a file or a folder: logits `(N, n, c)`, or predicted classes `(N, n)` as integers.

    - `.npy`: mapped, not read into memory.
    - `.npz`, `.safetensors` (mapped), `.pt` (a tensor, or tensors by name): the array named "outputs", "logits",
      "predictions" or "probs", or the only one.
    - a folder with one such file for each run, or one folder with such a file for each, `(n, c)` or `(n,)`: in the
      order of their names, in which numbers count as numbers. Text files next to them are left out.
    - `.csv`, `.parquet`: see `nondet.io.tables`.

    The axes are those of the file; `checked_outputs` decides what can be measured. `columns` and `gaps` (whether cells
    may be empty) are for tables.

    Raises:
        BadInput: the path cannot be read, is incomplete, or is not an array of numbers.
    """
    if path.is_dir():
        return _read_folder(path, say)
    if is_table(path):
        return tables.read_outputs(path, columns, say, gaps)
    return _read_array(path, OUTPUTS)


def is_table(path: Path) -> bool:
    """Whether a path is a table, whose columns have names."""
    return path.suffix.lower() in TABLES and not path.is_dir()


def read_labels(path: Path) -> Array:
    """Read labels `(n,)` from a file in one of the formats of `read_outputs`; it may contain the outputs too.

    In .npz, .safetensors and .pt the array is named "labels", "label_ids" or "targets", or is the only one. In tables
    the column is named `label`. In a folder it is a file with one of these names, or one in each run's folder.

    Raises:
        BadInput: the path cannot be read, is incomplete, or contains no labels.
    """
    if path.is_dir():
        inside = [child for child in _children(path) if child.stem in TRUTHS]
        if not inside:
            return _labels_of_runs(path)
        if len(inside) != 1:
            raise BadInput(
                f"{path} must contain one file labels.npy (got {len(inside)}); give another with <<labels=FILE>>"
            )
        return read_labels(inside[0])
    if is_table(path):
        return table_places.read_labels(path)
    return _read_array(path, TRUTHS)


def load_npy(path: Path) -> Array:
    """Map a .npy file read-only; BadInput if it is not a complete .npy file, or contains Python objects."""
    with reading(path, "a whole .npy file of numbers", "write it with numpy.save"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old headers, which numpy reads all the same
        array = np.lib.format.open_memmap(path, mode="r")
        beyond = path.stat().st_size - array.offset - array.nbytes
        if beyond:  # further arrays saved to the same file would go unnoticed
            raise ValueError(f"it continues for {beyond} bytes after the array of shape {array.shape}")
        return array


def _read_array(path: Path, names: Sequence[str]) -> Array:
    refuse_no_file(path)
    readers = {".npz": _read_npz, ".safetensors": _map_safetensors, ".pt": _read_torch, ".pth": _read_torch}
    suffix = path.suffix.lower()
    if suffix not in RUNS:
        raise BadInput(
            f"{path} must end in {', '.join((*RUNS, *TABLES))}, or be a folder of arrays "
            f"(got {path.suffix or 'no ending'}); write it with numpy.save"
        )
    return load_npy(path) if suffix == ".npy" else readers[suffix](path, names)


def _chosen(path: Path, held: Sequence[str], names: Sequence[str]) -> str:
    """Return the name of the array that is meant: one of `names`, or the only one that is not of the other kind."""
    others = OUTPUTS if names == TRUTHS else TRUTHS
    found = [name for name in names if name in held] or [name for name in held if name not in others]
    if len(found) != 1:
        shown = ", ".join(map(ascii, held[:5])) or "no array"
        elsewhere = ", or give another file with <<labels>>" if names == TRUTHS else ""
        raise BadInput(f"{path} must contain one array named {names[0]} (got {shown}); give it that name{elsewhere}")
    return found[0]


def _read_npz(path: Path, names: Sequence[str]) -> Array:
    """Unpack one array of an .npz file into memory, or into a temporary file if it is large."""
    with reading(path, "a whole .npz file of numbers", "write it with numpy.savez"), zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        _refuse_twice(path, members)
        held = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
        member = archive.getinfo(_chosen(path, held, names) + ".npy")
        refuse_traps(path, member.file_size)
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(file)
            if dtype.hasobject:
                raise ValueError("it contains Python objects")
            if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"its header says {shape}, which does not match its size")
            array = scratch(shape[::-1] if fortran else shape, dtype)
            room, filled = array.reshape(-1).view(np.uint8), 0
            while chunk := file.read(2**20):  # to the end, where the archive checks its checksum
                room[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
                filled += len(chunk)
            if filled != len(room):
                raise ValueError("it ends too early")
        return array.transpose() if fortran else array


def _map_safetensors(path: Path, names: Sequence[str]) -> Array:
    """Map one array of a .safetensors file."""
    with reading(path, "a whole .safetensors file", "write it with the safetensors library"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > min(size, LONGEST_HEADER):
            raise ValueError("its header is too long")
        entries: dict[str, Any] = read_json(file.read(start - 8), lambda names: _refuse_twice(path, names))
        entries.pop("__metadata__", None)
        entry = entries[_chosen(path, list(entries), names)]
        if entry["dtype"] not in _SAFETENSORS:
            raise BadInput(
                f"{path} must contain float16, float32, float64 or integers (got {entry['dtype']!a}); "
                "convert to float32"
            )
        dtype, shape = np.dtype(_SAFETENSORS[entry["dtype"]]), tuple(entry["shape"])
        first, last = entry["data_offsets"]
        if not all(type(number) is int for number in (first, last, *shape)):
            raise ValueError("its header has sizes that are not whole numbers")
        if min(shape, default=0) < 0 or not 0 <= first <= last <= size - start:
            raise ValueError("its header points outside the file")
        if last - first != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"its header says {shape}, which does not match its size")
        return np.memmap(file, dtype, "r", start + first, shape) if last > first else np.empty(shape, dtype)


def _read_torch(path: Path, names: Sequence[str]) -> Array:
    """Read a tensor that torch.save wrote, or one of several by name, as weights only: no code in the file is run."""
    with reading(path, "a .pt file of tensors only", "write the tensors with torch.save, or as .npy"):
        import torch

        try:
            held: Any = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:  # its own message advises running code from the file
            raise ValueError("it is damaged, or contains more than tensors") from error
        if isinstance(held, dict):
            tensors = {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
            held = tensors[_chosen(path, list(tensors), names)]
        if isinstance(held, list | tuple) and held and all(isinstance(one, torch.Tensor) for one in held):
            held = torch.stack(list(held))
        if not isinstance(held, torch.Tensor):
            raise ValueError(f"it contains {type(held).__name__}")
        return held.detach().float().numpy() if held.dtype == torch.bfloat16 else held.detach().numpy()


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Refuse a file that contains a name twice: readers differ in which one they take."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(f"{path} must contain each name once (got {name[:80]!a} twice); write the file again")
        seen.add(name)


def _children(folder: Path) -> list[Path]:
    """Return the content of a folder without hidden files, sorted by name, in which numbers count as numbers."""

    def key(child: Path) -> list[tuple[int, str]]:
        return [(int(part) if place % 2 else 0, part) for place, part in enumerate(re.split("([0-9]+)", child.name))]

    with reading(folder, "a folder that can be read", "give another"):
        return sorted((child for child in folder.iterdir() if not child.name.startswith(".")), key=key)


def _labels_of_runs(folder: Path) -> Array:
    """Return the labels in the folders or files of the runs, which must all be the same."""
    runs, _ = _runs(folder)
    given = [path for path in runs if path.suffix.lower() != ".npy"]
    beside = [child for path in runs for child in _children(path.parent) if child.stem in TRUTHS]
    paths = list(dict.fromkeys(beside if all(path.parent != folder for path in beside) and beside else given))
    if not paths:
        raise BadInput(f"{folder} must contain one file labels.npy (got 0); give another with <<labels=FILE>>")
    found = [_read_array(path, TRUTHS) for path in paths]
    for path, labels in zip(paths, found, strict=True):
        if not np.array_equal(labels, found[0]):
            raise BadInput(
                f"all runs of {folder} must have the same test set (got other labels in "
                f"{path.parent.name}/{path.name} than in {paths[0].parent.name}/{paths[0].name}); give outputs of one "
                "test set"
            )
    return found[0]


def _runs(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the file of each run, in the folder itself or in a folder for each run, and the names left out."""
    children = [child for child in _children(folder) if child.stem not in TRUTHS]
    left_out = [child.name for child in children if not child.is_dir() and child.suffix.lower() in BESIDE]
    children = [child for child in children if child.name not in left_out]
    if not children or not all(child.is_dir() for child in children):
        return children, left_out
    runs: list[Path] = []
    for child in children:
        inside = [path for path in _children(child) if path.suffix.lower() in RUNS and path.stem not in TRUTHS]
        named = [path for path in inside if path.stem in OUTPUTS]
        if len(named or inside) != 1:
            shown = ", ".join(path.name for path in inside[:3]) or "none"
            raise BadInput(
                f"each folder of a run must contain one file of outputs (got {shown} in {child.name!a}); call it "
                "logits.npy"
            )
        runs += named or inside
    return runs, left_out


def _read_folder(folder: Path, say: Callable[[str], None] = lambda line: None) -> Array:
    """Stack one array for each run `(n, c)` or `(n,)`."""
    paths, left_out = _runs(folder)
    if left_out:
        say(f"{WARNING}{folder}: left out: {', '.join(map(ascii, left_out[:5]))}{', ...' if len(left_out) > 5 else ''}")
    if not paths:
        raise BadInput(f"{folder} must contain one file for each run (got an empty folder); give the files' folder")
    if paths[0].parent == folder:
        _refuse_two_formats(folder, paths)
    first = _read_run(paths[0])
    stack = scratch((len(paths), *first.shape), first.dtype)
    for row, path in zip(stack, paths, strict=True):
        run = _read_run(path)
        if (run.shape, run.dtype) != (first.shape, first.dtype):
            raise BadInput(
                f"the files of a folder must have one type and shape (got {run.dtype} of shape {run.shape} in "
                f"{path.name}, and {first.dtype} of shape {first.shape} in {paths[0].name}); "
                "give each run's outputs on the same test set, in one type"
            )
        row[...] = run
    return stack


def _refuse_two_formats(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse two files with the same name and different endings: they may be one run in two formats, or two runs."""
    stems: dict[str, Path] = {}
    for path in paths:
        if (first := stems.setdefault(path.stem, path)) != path:
            raise BadInput(
                f"{folder} must contain one file for each run (got {first.name!a} and {path.name!a}); remove or rename "
                "one"
            )


def _read_run(path: Path) -> Array:
    if path.is_dir() or path.suffix.lower() not in RUNS:
        raise BadInput(
            "a folder of runs must contain only .npy, .npz, .safetensors or .pt files, and labels (got "
            f"{path.name!a}); move what is not a run elsewhere"
        )
    run = _read_array(path, OUTPUTS)
    if run.ndim not in (1, 2) or run.dtype.kind not in "fiu":
        raise BadInput(
            f"each file of a folder must be one run's numbers, (examples, classes) or (examples,) "
            f"(got {run.dtype} of shape {run.shape} in {path.name}); give a file of several runs by itself"
        )
    return run
