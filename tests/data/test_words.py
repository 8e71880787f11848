"""Text folders: which files are taken, and how they become words."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from nondet.data.words import read_words
from nondet.errors import BadInput

REAL = Path(__file__).parents[3] / "shared/data/text"
TEXTS = {"train": " a b \n c\n", "valid": " b \n", "test": " c <unk>\n"}
WORDS = {"train": ["a", "b", "<eos>", "c", "<eos>"], "valid": ["b", "<eos>"], "test": ["c", "<unk>", "<eos>"]}


def write(folder: Path, pattern: str) -> Path:
    """The three texts, each under the pattern with its part's name for the star."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in TEXTS.items():
        (folder / pattern.replace("*", part)).write_text(text)
    return folder


@pytest.mark.parametrize("pattern", ["ptb.*.txt", "*.txt", "wiki.*.tokens", "wiki.*.raw", "My-*_set.txt", "x-2.*.txt"])
def test_three_files_by_their_names(tmp_path: Path, pattern: str) -> None:
    """The Penn Treebank's names, WikiText's, and one's own; other files may lie beside them."""
    write(tmp_path, pattern)
    (tmp_path / "README").write_text("train, valid, test")
    (tmp_path / "latest.txt").write_text("no test")
    assert read_words(tmp_path) == WORDS


def test_the_official_archive(tmp_path: Path) -> None:
    """Its folder of many versions: the word-level files are taken, not the characters beside them."""
    data = write(tmp_path / "simple-examples/data", "ptb.*.txt")
    (data / "ptb.char.train.txt").write_text("a _ b")
    (data / "ptb.char.test.txt").write_text("a _ b")
    assert read_words(tmp_path) == WORDS
    assert read_words(data) == WORDS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb", ["a", "<eos>", "b", "<eos>"]),
        ("a\n\nb\n", ["a", "<eos>", "<eos>", "b", "<eos>"]),
        ("a\r\nb\r\n", ["a", "<eos>", "b", "<eos>"]),
        ("\ufeffa\t b\n", ["a", "b", "<eos>"]),
        ("naïve 東京\n", ["naïve", "東京", "<eos>"]),
    ],
)
def test_words_are_what_white_space_separates(tmp_path: Path, text: str, words: list[str]) -> None:
    """Every line ends in <eos>, the empty and the last, unended one among them; any script, either end of line."""
    write(tmp_path, "*.txt")
    (tmp_path / "valid.txt").write_bytes(text.encode())
    assert read_words(tmp_path)["valid"] == words


def test_the_real_wikitext(tmp_path: Path) -> None:
    """As many tokens as WikiText-2's makers count in its validation and test text, line ends among them."""
    if not REAL.is_dir():
        pytest.skip("needs shared/data/text beside the repository")
    for part, name in (("train", "wikitext-2.valid"), ("valid", "wikitext-2.valid"), ("test", "wikitext-2.test")):
        (tmp_path / f"{part}.txt").write_bytes(lzma.decompress((REAL / f"{name}.txt.xz").read_bytes()))
    words = read_words(tmp_path)
    assert len(words["valid"]) == 217_646
    assert len(words["test"]) == 245_569


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    """With what is there."""
    write(tmp_path, "ptb.*.txt")
    (tmp_path / "ptb.valid.txt").unlink()
    with pytest.raises(
        BadInput, match=r"must have 'valid' in its name.*\(got 0 in '.*', of 'ptb\.test\.txt', 'ptb\.train\.txt'\)"
    ):
        read_words(tmp_path)


def test_two_files_of_one_part_are_refused(tmp_path: Path) -> None:
    """Which is meant cannot be guessed."""
    write(tmp_path, "*.txt")
    (tmp_path / "train.tokens").write_text("x")
    with pytest.raises(BadInput, match=r"exactly one .* 'train' .*got 2 .* of 'train\.tokens', 'train\.txt'\)"):
        read_words(tmp_path)


def test_an_empty_folder_is_told_what_belongs_there(tmp_path: Path) -> None:
    """Names, and the option."""
    with pytest.raises(BadInput, match=r"must hold ptb\.train\.txt.*--data DIR"):
        read_words(tmp_path)


@pytest.mark.parametrize("text", [b"", b" \n\n", b"\xef\xbb\xbf"])
def test_a_file_without_words_is_refused(tmp_path: Path, text: bytes) -> None:
    """Empty, white, or only the mark that says UTF-8."""
    write(tmp_path, "*.txt")
    (tmp_path / "test.txt").write_bytes(text)
    with pytest.raises(BadInput, match=r"test\.txt' must hold words \(got none\)"):
        read_words(tmp_path)


def test_a_byte_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Its value, its place, and the way out."""
    write(tmp_path, "*.txt")
    (tmp_path / "train.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(BadInput, match=r"train\.txt' must be UTF-8 text \(got the byte 0xe9 at 3\); convert it"):
        read_words(tmp_path)


def test_a_file_name_with_a_line_break_is_escaped(tmp_path: Path) -> None:
    """The sentence stays one line."""
    write(tmp_path, "*.txt")
    (tmp_path / "new\nline.train.txt").write_text("x")
    with pytest.raises(BadInput, match="exactly one text file") as caught:
        read_words(tmp_path)
    assert str(caught.value).isprintable()
