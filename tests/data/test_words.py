"""The reader of text in three parts."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from nondet.data.words import read_words
from nondet.errors import BadInput

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "text"
TEXT = {"train": " the <unk> sat \n on N mats \n", "valid": "a b\n\n c\n", "test": "x y"}
WORDS = {
    "train": ["the", "<unk>", "sat", "<eos>", "on", "N", "mats", "<eos>"],
    "valid": ["a", "b", "<eos>", "<eos>", "c", "<eos>"],
    "test": ["x", "y", "<eos>"],
}


def write(folder: Path, pattern: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in TEXT.items():
        (folder / pattern.format(part)).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "pattern", ["ptb.{}.txt", "{}.txt", "wiki.{}.tokens", "wiki.{}.raw", "my-{}_1.txt", "{}.TXT.txt"]
)
def test_the_three_parts_are_found_by_their_names(tmp_path: Path, pattern: str) -> None:
    """In the Penn Treebank's spelling, WikiText's, or a user's own; each line ends with <eos>."""
    write(tmp_path, pattern)
    (tmp_path / "readme.txt").write_text("about the training")
    assert read_words(tmp_path) == WORDS


def test_the_penn_treebank_is_found_in_its_archive_among_the_other_files(tmp_path: Path) -> None:
    """Mikolov's folder has the same text by characters, and it is not taken."""
    place = tmp_path / "simple-examples" / "data"
    write(place, "ptb.{}.txt")
    write(place, "ptb.char.{}.txt")
    assert read_words(tmp_path) == WORDS


def test_windows_lines_and_byte_order_marks_are_no_words(tmp_path: Path) -> None:
    """What an editor adds does not end up in the vocabulary."""
    write(tmp_path, "{}.txt")
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa b\r\nc\r\n")
    assert read_words(tmp_path)["train"] == ["a", "b", "<eos>", "c", "<eos>"]


def test_unusual_separators_do_not_end_a_line(tmp_path: Path) -> None:
    """Only a line feed does: U+2028 and U+0085 are white space between words."""
    write(tmp_path, "{}.txt")
    (tmp_path / "train.txt").write_text("a\u2028b\u0085c\n", encoding="utf-8")
    assert read_words(tmp_path)["train"] == ["a", "b", "c", "<eos>"]


def test_real_text_has_the_known_number_of_words(tmp_path: Path) -> None:
    """WikiText-2's published counts, <eos> among them: 217,646 words of validation text and 245,569 of test text."""
    if not (REAL / "wikitext-2.valid.txt.xz").is_file():
        pytest.skip("the real WikiText-2 files are not beside this checkout")
    for part, source in (("train", "valid"), ("valid", "valid"), ("test", "test")):
        content = lzma.decompress((REAL / f"wikitext-2.{source}.txt.xz").read_bytes())
        (tmp_path / f"wiki.{part}.txt").write_bytes(content)
    assert {part: len(words) for part, words in read_words(tmp_path).items()} == {
        "train": 217_646,
        "valid": 217_646,
        "test": 245_569,
    }


def test_two_files_for_one_part_are_refused_by_name(tmp_path: Path) -> None:
    """The choice is the user's."""
    write(tmp_path, "{}.txt")
    write(tmp_path, "other.{}.txt")
    with pytest.raises(BadInput, match=r"exactly one .*'train'.*\(got 2 in .*'other\.train\.txt', 'train\.txt'\)"):
        read_words(tmp_path)


def test_a_missing_part_is_named_with_what_was_found(tmp_path: Path) -> None:
    """Two of the three files are not enough."""
    write(tmp_path, "{}.txt")
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(BadInput, match=r"'valid'.* \(got 0 in .*, among 'test\.txt', 'train\.txt'\)"):
        read_words(tmp_path)


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    """The sentence says which files are looked for."""
    (tmp_path / "train.bin").write_bytes(b"no text")
    with pytest.raises(BadInput, match=r"must contain ptb\.train\.txt.*none of them"):
        read_words(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"good words\n\xff\xfe", r"train\.txt' must be UTF-8 text \(got the byte 0xff at 11\)"),
        (b"", r"train\.txt' must contain words"),
        (b" \n\n", r"train\.txt' must contain words"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """The file is named, and where it goes wrong."""
    write(tmp_path, "{}.txt")
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(BadInput, match=reason):
        read_words(tmp_path)
