"""Tell whether a path contains scores (one number for each run) or outputs (an answer for each run and example)."""

from __future__ import annotations

import glob
from pathlib import Path

from nondet.io.columns import is_of_examples
from nondet.io.outputs import RUNS, load_npy
from nondet.io.rows import ENDINGS, text_names
from nondet.io.table_file import column_names


def holds_outputs(folder: Path) -> bool:
    """Whether a folder contains arrays, or folders of runs that do."""
    inside = [folder, *(child for child in folder.iterdir() if child.is_dir() and not (child / "study.json").exists())]
    return any(child.suffix.lower() in RUNS for part in inside for child in part.iterdir() if child.is_file())


def holds_scores(path: Path) -> bool:
    """Whether a path contains scores, judging by its form; a pattern does, and a path that does not exist does not."""
    if not path.exists():
        return glob.has_magic(str(path))
    ending = path.suffix.lower()
    if path.is_dir():
        return not any(child.suffix.lower() in RUNS for child in path.rglob("*"))
    if ending == ".npy":
        shape = load_npy(path).shape
        return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if ending == ".parquet":
        return not is_of_examples(column_names(path))
    if ending == ".csv":
        return not is_of_examples(text_names(path))
    return ending in ENDINGS
