"""Outputs and labels of others, read from files as data: mapped where the format allows, never unpickled."""

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
from nondet.io import table_labels, tables
from nondet.io.files import read_json
from nondet.io.foreign import TRUTHS, Array, reading, refuse_no_file, refuse_traps, scratch
from nondet.io.streams import WARNING

OUTPUTS = ("outputs", "logits", "predictions", "preds", "probs", "probabilities")
RUNS = (".npy", ".npz", ".safetensors", ".pt", ".pth")
"""Endings of the files of a run in a folder of runs."""

BESIDE = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".txt", ".md", ".log", ".png", ".pdf", ".py", ".sh")
"""Endings of files that may stand beside runs, and are left out."""
TABLES = (".csv", ".parquet")

LONGEST_HEADER = 100 * 2**20  # bytes, as in the safetensors library

_SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}


def read_outputs(
    path: Path, columns: Sequence[str] = (), say: Callable[[str], None] = lambda line: None, gaps: bool = False
) -> Array:
    """Outputs of runs from a file or a folder: logits `(N, n, c)`, or predicted classes `(N, n)` as integers.

    - `.npy`: mapped, not read into memory.
    - `.npz`, `.safetensors` (mapped), `.pt` (a tensor, or tensors by name): the array named "outputs", "logits",
      "predictions" or "probs", or the only one.
    - a folder of one such file, or of one folder with such a file, a run, `(n, c)` or `(n,)`: in the order of their
      names, numbers in them as numbers. Texts beside them are left out.
    - `.csv`, `.parquet`: see `nondet.io.tables`.

    The axes are those of the file: what is measurable is for `checked_outputs` to say. `columns` and `gaps` (whether
    cells may hold nothing) are for tables.

    Raises:
        BadInput: the path cannot be read, is not whole, or is no array of numbers.
    """
    refuse_no_file(path)
    if path.is_dir():
        return _read_folder(path, say)
    if is_table(path):
        return tables.read_outputs(path, columns, say, gaps)
    return _read_array(path, OUTPUTS, not_these=TRUTHS)


def is_table(path: Path) -> bool:
    """Whether a path is that of a table, whose columns have names."""
    return path.suffix.lower() in TABLES and not path.is_dir()


def read_labels(path: Path) -> Array:
    """Labels `(n,)` from a file: of the formats of `read_outputs`, and so also from beside the outputs in one file.

    In .npz, .safetensors and .pt the array is named "labels", "label_ids" or "targets", or is the only one; in tables
    the column is named `label`; in a folder it is a file of one of these names, or one in each run's folder.

    Raises:
        BadInput: the path cannot be read, is not whole, or holds no labels.
    """
    refuse_no_file(path)
    if path.is_dir():
        inside = [child for child in _children(path) if child.stem in TRUTHS]
        if not inside:
            return _labels_of_runs(path)
        if len(inside) != 1:
            raise BadInput(
                f"{path} must hold one file labels.npy (got {len(inside)}); give another with <<labels=FILE>>"
            )
        return read_labels(inside[0])
    if path.suffix.lower() in TABLES:
        return table_labels.read_labels(path)
    return _read_array(path, TRUTHS, not_these=OUTPUTS)


def load_npy(path: Path) -> Array:
    """Map a .npy file read-only.

    Raises:
        BadInput: the file cannot be read, is no whole .npy file, or holds Python objects.
    """
    with reading(path, "a whole .npy file of numbers", "write it with numpy.save"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old headers, which numpy reads all the same
        array = np.lib.format.open_memmap(path, mode="r")
        beyond = path.stat().st_size - array.offset - array.nbytes
        if beyond:  # several arrays saved to one file, of which this is the first, would go unnoticed
            raise ValueError(f"it goes on for {beyond} bytes after the array of shape {array.shape}")
        return array


def _read_array(path: Path, names: Sequence[str], not_these: Sequence[str]) -> Array:
    readers: dict[str, Callable[[], Array]] = {
        ".npy": lambda: load_npy(path),
        ".npz": lambda: _read_npz(path, names, not_these),
        ".safetensors": lambda: _map_safetensors(path, names, not_these),
        ".pt": lambda: _read_torch(path, names, not_these),
        ".pth": lambda: _read_torch(path, names, not_these),
    }
    if path.suffix.lower() not in readers:
        raise BadInput(
            f"{path} must end in {', '.join((*readers, *TABLES))}, or be a folder of arrays "
            f"(got {path.suffix or 'no ending'}); write it with numpy.save"
        )
    return readers[path.suffix.lower()]()


def _chosen(path: Path, held: Sequence[str], names: Sequence[str], not_these: Sequence[str]) -> str:
    """The name of the array that is meant: one of `names`, or the only one unless it is one of the others."""
    found = [name for name in names if name in held] or [name for name in held if name not in not_these]
    if len(found) != 1:
        shown = ", ".join(map(ascii, held[:5])) or "no array"
        elsewhere = ", or give another file with <<labels>>" if names == TRUTHS else ""
        raise BadInput(f"{path} must hold one array named {names[0]} (got {shown}); give it that name{elsewhere}")
    return found[0]


def _read_npz(path: Path, names: Sequence[str], not_these: Sequence[str]) -> Array:
    """Unpack one array of an .npz file into memory, or into a temporary file if it is large."""
    with reading(path, "a whole .npz file of numbers", "write it with numpy.savez"), zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        _refuse_twice(path, members)
        held = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
        member = archive.getinfo(_chosen(path, held, names, not_these) + ".npy")
        refuse_traps(path, member.file_size)
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects")
            if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"its header says {shape}, which is not its size")
            array = scratch(shape[::-1] if fortran else shape, dtype)
            room, filled = array.reshape(-1).view(np.uint8), 0
            while chunk := file.read(2**20):  # to its end, where the archive checks its sum
                room[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
                filled += len(chunk)
            if filled != len(room):
                raise ValueError("it ends too early")
        return array.transpose() if fortran else array


def _map_safetensors(path: Path, names: Sequence[str], not_these: Sequence[str]) -> Array:
    """Map one array of a .safetensors file."""
    with reading(path, "a whole .safetensors file", "write it with the safetensors library"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > min(size, LONGEST_HEADER):
            raise ValueError("its header does not fit into it")
        entries: dict[str, Any] = read_json(file.read(start - 8), lambda names: _refuse_twice(path, names))
        entries.pop("__metadata__", None)
        entry = entries[_chosen(path, list(entries), names, not_these)]
        if entry["dtype"] not in _SAFETENSORS:
            raise BadInput(
                f"{path} must hold float16, float32, float64 or integers (got {entry['dtype']!a}); convert to float32"
            )
        dtype, shape = np.dtype(_SAFETENSORS[entry["dtype"]]), tuple(entry["shape"])
        first, last = entry["data_offsets"]
        if not all(type(number) is int for number in (first, last, *shape)):
            raise ValueError("its header has sizes that are no whole numbers")
        if min(shape, default=0) < 0 or not 0 <= first <= last <= size - start:
            raise ValueError("its header points outside it")
        if last - first != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"its header says {shape}, which is not its size")
        return np.memmap(file, dtype, "r", start + first, shape) if last > first else np.empty(shape, dtype)


def _read_torch(path: Path, names: Sequence[str], not_these: Sequence[str]) -> Array:
    """A tensor that torch.save wrote, or one of several by name, read as weights alone: nothing in it is run."""
    with reading(path, "a .pt file of tensors alone", "write the tensors with torch.save, or as .npy"):
        import torch

        try:
            held: Any = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:  # whose own words advise to run what the file holds
            raise ValueError("it is damaged, or holds more than tensors") from error
        if isinstance(held, dict):
            tensors = {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
            held = tensors[_chosen(path, list(tensors), names, not_these)]
        if isinstance(held, list | tuple) and held and all(isinstance(one, torch.Tensor) for one in held):
            held = torch.stack(list(held))
        if not isinstance(held, torch.Tensor):
            raise ValueError(f"it holds {type(held).__name__}")
        return held.detach().float().numpy() if held.dtype == torch.bfloat16 else held.detach().numpy()


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Refuse a file that holds two things of one name: which is meant depends on who reads it."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(f"{path} must hold each name once (got {name[:80]!a} twice); write the file anew")
        seen.add(name)


def _children(folder: Path) -> list[Path]:
    """What a folder holds, but for hidden files, in the order of names, numbers in them as numbers."""

    def key(child: Path) -> list[tuple[int, str]]:
        return [(int(part) if place % 2 else 0, part) for place, part in enumerate(re.split("([0-9]+)", child.name))]

    with reading(folder, "a folder that can be read", "give another"):
        return sorted((child for child in folder.iterdir() if not child.name.startswith(".")), key=key)


def _labels_of_runs(folder: Path) -> Array:
    """The labels that stand in each run's folder or file, which must be the same."""
    given = [path for path in _runs(folder)[0] if path.suffix.lower() != ".npy"]
    beside = [child for path in _runs(folder)[0] for child in _children(path.parent) if child.stem in TRUTHS]
    paths = list(dict.fromkeys(beside if all(path.parent != folder for path in beside) and beside else given))
    if not paths:
        raise BadInput(f"{folder} must hold one file labels.npy (got 0); give another with <<labels=FILE>>")
    found = [_read_array(path, TRUTHS, not_these=OUTPUTS) for path in paths]
    for path, labels in zip(paths, found, strict=True):
        if not np.array_equal(labels, found[0]):
            raise BadInput(
                f"all runs of {folder} must answer the same test set (got other labels in "
                f"{path.parent.name}/{path.name} than in {paths[0].parent.name}/{paths[0].name}); give outputs of one "
                "test set"
            )
    return found[0]


def _runs(folder: Path) -> tuple[list[Path], list[str]]:
    """The file of each run, from the folder itself or from a folder for each run; and the names of what is left out."""
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
                f"each folder of a run must hold one file of outputs (got {shown} in {child.name!a}); call it "
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
        raise BadInput(f"{folder} must hold one file for each run (got an empty folder); give the folder of the files")
    if paths[0].parent == folder:
        _refuse_two_formats(folder, paths)
    first = _read_run(paths[0])
    stack = scratch((len(paths), *first.shape), first.dtype)
    for row, path in zip(stack, paths, strict=True):
        run = _read_run(path)
        if (run.shape, run.dtype) != (first.shape, first.dtype):
            raise BadInput(
                f"the files of a folder must be alike (got {run.dtype} of shape {run.shape} in {path.name}, and "
                f"{first.dtype} of shape {first.shape} in {paths[0].name}); "
                "give each run's outputs of the same test set, in one type"
            )
        row[...] = run
    return stack


def _refuse_two_formats(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse two files of one name and different endings: are they one run in two formats, or two runs?"""
    stems: dict[str, Path] = {}
    for path in paths:
        if (first := stems.setdefault(path.stem, path)) != path:
            raise BadInput(
                f"{folder} must hold one file for each run (got {first.name!a} and {path.name!a}); remove or rename one"
            )


def _read_run(path: Path) -> Array:
    if path.is_dir() or path.suffix.lower() not in RUNS:
        raise BadInput(
            f"a folder of runs must hold .npy, .npz, .safetensors or .pt files, and labels, alone (got {path.name!a}); "
            "put what is not a run elsewhere"
        )
    run = _read_array(path, OUTPUTS, not_these=TRUTHS)
    if run.ndim not in (1, 2) or run.dtype.kind not in "fiu":
        raise BadInput(
            f"each file of a folder must be one run's numbers, (examples, classes) or (examples,) "
            f"(got {run.dtype} of shape {run.shape} in {path.name}); give a file of several runs by itself"
        )
    return run
