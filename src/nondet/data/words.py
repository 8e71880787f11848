"""Text for language models: the Penn Treebank (Marcus et al. 1993, Mikolov's version), or any three text files."""

from __future__ import annotations

import re
from pathlib import Path

from nondet.data import nothing_found, readable, unfit
from nondet.errors import BadInput
from nondet.io.files import read_file

PARTS = ("train", "valid", "test")
ENDINGS = (".txt", ".tokens", ".raw")
END_OF_LINE = "<eos>"
LARGEST = 2**32
"""The most bytes in a text, because all of its words are kept in memory."""
OFFICIAL = "simple-examples/data"
"""Where the Penn Treebank is in Mikolov's archive."""


@readable()
def read_words(folder: Path) -> dict[str, list[str]]:
    """Read the words of "train", "valid" and "test" in order, each line ended by `<eos>`.

    The files are `ptb.train.txt` and so on, or those whose names contain the word train, valid or test and end in
    .txt, .tokens or .raw. Words are separated by white space. BadInput says what is wrong with the files.
    """
    for place in (folder, folder / OFFICIAL):
        names = sorted(path.name for path in place.glob("*") if path.suffix in ENDINGS and path.is_file())
        if any(_matches(names, part) for part in PARTS):
            return {part: _words(place / _only(place, names, part)) for part in PARTS}
    raise nothing_found(folder, "ptb.train.txt, ptb.valid.txt and ptb.test.txt, or three such text files", [OFFICIAL])


def _matches(names: list[str], part: str) -> list[str]:
    """Return the names for one part: that of the Penn Treebank, which comes with other files, or else all that fit."""
    if f"ptb.{part}.txt" in names:
        return [f"ptb.{part}.txt"]
    return [name for name in names if part in re.split(r"[^a-z]+", name.lower())]


def _only(place: Path, names: list[str], part: str) -> str:
    found = _matches(names, part)
    if len(found) != 1:
        listed = ", ".join(repr(name) for name in (found or names)[:10])
        raise BadInput(
            f"exactly one text file must have {part!r} in its name, such as {part}.txt "
            f"(got {len(found)} in {str(place)!r}, among {listed}); add it, or move the others away"
        )
    return found[0]


def _words(path: Path) -> list[str]:
    try:
        text = read_file(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"the byte {error.object[error.start]:#04x} at {error.start:,}"
        raise unfit(path, "be UTF-8 text", got, "convert it, for example with iconv") from error
    if not text.strip():
        raise unfit(path, "contain words", "none", "give the official file")
    lines = text.removesuffix("\n").split("\n")
    return [word for line in lines for word in (*line.split(), END_OF_LINE)]
