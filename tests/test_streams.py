"""What a command prints, and where, when a standard stream is closed, full or read by nobody; and names that act."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Nondet = Callable[..., Any]

COMMANDS = (("show", "{study}"), ("show", "{study}", "--json"), ("--help",), ("show", "{study}/none"))
EXPECTED = (0, 0, 0, 2)

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def in_shell(redirections: str, study: Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """A command of its own with its streams redirected by a shell."""
    line = f'"$@" {redirections}'
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "nondet", *(word.format(study=study) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def into_a_pipe_without_a_reader(stream: str, study: Path, words: tuple[str, ...]) -> tuple[int, str]:
    """A command of its own, one of whose streams is a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    streams: dict[str, Any] = {stream: writer, other: subprocess.PIPE}
    command = [sys.executable, "-m", "nondet", *(word.format(study=study) for word in words)]
    done = subprocess.run(command, text=True, timeout=60, **streams)
    os.close(writer)
    return done.returncode, getattr(done, other)


def clean(text: str) -> bool:
    return "Traceback" not in text and "Exception" not in text and "Error" not in text


@pytest.mark.parametrize(
    ("words", "expected", "redirections"),
    [
        pytest.param(words, status, closed, marks=[] if number == place else [pytest.mark.slow])
        for number, (words, status) in enumerate(zip(COMMANDS, EXPECTED, strict=True))
        for place, closed in enumerate([">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
    ],
)
def test_a_closed_stream_is_done_without(
    finished: Path, words: tuple[str, ...], expected: int, redirections: str
) -> None:
    """A closed stream is as good as the null device: the status is what it is, the other stream says what it says."""
    done, usual = in_shell(redirections, finished, words), in_shell("", finished, words)
    assert done.returncode == usual.returncode == expected
    assert done.stdout == ("" if ">&-" in redirections.replace("2>&-", "") else usual.stdout)
    assert done.stderr == ("" if "2>&-" in redirections else usual.stderr)


@needs_full
@pytest.mark.parametrize("words", COMMANDS[:-1])
def test_a_full_disk_behind_standard_output(finished: Path, words: tuple[str, ...]) -> None:
    """What cannot be printed is an error of one sentence, whether it shows at once or at the last flush."""
    done = in_shell(">/dev/full", finished, words)
    assert done.returncode == 1
    assert clean(done.stderr)
    assert "No space left on device" in done.stderr.splitlines()[-1]


@needs_full
def test_a_full_disk_behind_standard_error(finished: Path) -> None:
    """What is said beside the results is not worth failing for."""
    assert in_shell("2>/dev/full", finished, COMMANDS[0]).returncode == 0
    assert in_shell("2>/dev/full", finished, COMMANDS[-1]).returncode == 2


@pytest.mark.parametrize("words", COMMANDS[:-1])
def test_a_reader_who_is_gone(finished: Path, words: tuple[str, ...]) -> None:
    """A broken pipe is 141, as of other tools, and no word."""
    status, err = into_a_pipe_without_a_reader("stdout", finished, words)
    assert status == 141
    assert clean(err)


def test_a_listener_who_is_gone(finished: Path) -> None:
    """Where nobody reads standard error, the status still says what happened, and results are whole."""
    status, out = into_a_pipe_without_a_reader("stderr", finished, COMMANDS[0])
    assert (status, out) == (0, in_shell("", finished, COMMANDS[0]).stdout)
    assert into_a_pipe_without_a_reader("stderr", finished, COMMANDS[-1]) == (2, "")


HOSTILE = "a\x1b[31m\u202eb\u200f\u2066c\x07\r"
ESCAPED = r"a\x1b[31m\u202eb\u200f\u2066c\x07\r"


def acts(text: str) -> list[str]:
    """The characters of a text that do something to a terminal or to the order of what is read."""
    return [c for c in text if not (c.isprintable() or c in "\n\N{NO-BREAK SPACE}")]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, process: Nondet, tiny: Path) -> Path:
    """A study of a task whose name, and whose folder's, hold what acts."""
    folder = tmp_path_factory.mktemp("hostile")
    task = folder / f"{HOSTILE}.py"
    task.write_text(tiny.read_text())
    ran = process("run", task, "--runs", 2, "--vary", "init", "--study", folder / HOSTILE)
    assert ran.code == 0, ran.err
    assert acts(ran.out + ran.err) == []
    return folder / HOSTILE


@pytest.mark.parametrize(
    "words",
    [
        ("show",), ("show", "--markdown"), ("show", "--latex"), ("show", "--json"), ("verify",), ("examples",),
        ("figures",), ("report",), ("alike",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_names_that_act_are_shown_escaped(nondet: Nondet, hostile: Path, words: tuple[str, ...]) -> None:
    """Escape sequences and marks of writing direction in a name are text on both streams."""
    command, *options = words
    ran = nondet(command, hostile, *options)
    assert ran.code == (2 if command == "alike" else 0)
    assert acts(ran.out + ran.err) == []
    if command in ("figures", "report"):
        assert ESCAPED in ran.out + ran.err


def test_names_that_act_are_shown_escaped_on_the_page(nondet: Nondet, hostile: Path, tmp_path: Path) -> None:
    """On the page they are text as well, in its title too."""
    assert nondet("report", hostile, "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert acts(page) == []
    assert f"<title>{ESCAPED}" in page


@pytest.mark.parametrize(
    "words", [("show", HOSTILE), ("measure", f"{HOSTILE}.npy"), ("compare", HOSTILE, "b"), (HOSTILE,)]
)
def test_arguments_that_act_are_shown_escaped(nondet: Nondet, words: tuple[str, ...]) -> None:
    """A refusal is one line, whatever was given."""
    ran = nondet(*words)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert acts(ran.err) == []


def test_columns_that_act_are_shown_escaped(nondet: Nondet, tmp_path: Path) -> None:
    """Names of a table's columns are others' names too."""
    rows = "".join(f"{run},{example},0,0\n" for run in range(2) for example in range(2))
    (tmp_path / "t.csv").write_text(f"run,example,a\x1b[31m,b\u202e\n{rows}", encoding="utf-8")
    ran = nondet("measure", tmp_path / "t.csv")
    assert ran.code == 2
    assert acts(ran.out + ran.err) == []


def test_emoji_codes_and_markup_in_names_stay_as_they_are(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """rich would replace `:warning:` and read `[red]`."""
    file = tmp_path / ":warning:[red].py"
    file.write_text(tiny.read_text())
    assert nondet("run", file, "--runs", 2, "--vary", "init", "--study", tmp_path / "s").code == 0
    ran = nondet("report", tmp_path / "s", "--out", tmp_path / ":smile:.html")
    assert f"Wrote {tmp_path}/:smile:.html." in ran.out


def test_names_that_are_no_text(process: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Bytes that are no characters are shown as what they are, or refused with the way out."""
    name = os.fsdecode(b"a\xff")
    ran = process("show", tmp_path / name)
    assert (ran.code, ran.err.splitlines()[1:]) == (2, [])
    assert r"a\udcff is not a study" in ran.err
    (tmp_path / f"{name}.py").write_text(tiny.read_text())
    ran = process("run", tmp_path / f"{name}.py", "--runs", 2, "--vary", "init", "--study", tmp_path / name)
    assert ran.code in (0, 2)
    assert "Traceback" not in ran.err
