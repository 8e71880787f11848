"""What a terminal shows: help, completion, progress, warnings, and lines as wide as it is."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nondet.cli.app import COMMANDS, app
from nondet.io import streams
from nondet.running import progress

Nondet = Callable[..., Any]

LOUD = ("run", "work", "stabilize", "diverge", "audit", "resume-check", "pull", "push")
"""Commands that say something on their way."""

NAMES = [name for name in app if not name.startswith("-")]


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_is_that_of_the_option(nondet: Nondet) -> None:
    """`nondet help` is `nondet --help`, and `nondet help COMMAND` is `nondet COMMAND --help`."""
    assert nondet("help").out == nondet("--help").out == nondet().out
    for name in NAMES:
        shown = nondet("help", name)
        assert shown.code == 0
        assert shown.out == nondet(name, "--help").out
        assert shown.out.startswith(f"Usage: nondet {name}")


def test_help_explains_every_option(nondet: Nondet) -> None:
    """No option stands there by its name and type alone."""
    for name in NAMES:
        lines = nondet("help", name).out.splitlines()
        bare = [line for line, after in pairwise(lines) if OPTION.fullmatch(line) and not after.startswith("│  ")]
        assert bare == [], name


OPTION = re.compile(r"│ .*--[\w-]+(?: [A-Z|.]+)? +│")
"""A line of help with an option and no words."""


def test_help_of_no_command_names_the_nearest(nondet: Nondet) -> None:
    ran = nondet("help", "comapre")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no command 'comapre' (did you mean compare?)" in ran.err


def test_exit_statuses_stand_in_the_main_help_alone(nondet: Nondet) -> None:
    assert nondet("--help").out.count("Exit status") == 1
    for name in NAMES:
        shown = " ".join(nondet(name, "--help").out.split())
        assert "exit status" not in shown.lower(), name
        assert "SIGTERM" not in shown
        assert "[default: False]" not in shown
        assert '[default: ""]' not in shown
    assert "[default: auto]" in nondet("run", "--help").out


def test_every_command_is_known_to_help() -> None:
    assert len(NAMES) == len(COMMANDS) + 1  # and help itself


# --- completion ---------------------------------------------------------------------------------------------------

BASH = """
. "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$(($# - 2))
_nondet
printf '%s\\n' "${COMPREPLY[@]}"
complete -p nondet >&2
"""


def script(nondet: Nondet, folder: Path, shell: str) -> Path:
    """The script of completion of a shell, in a file of its own."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    ran = nondet("--install-completion", "--shell", shell, "--output", folder / shell)
    assert (ran.code, ran.out) == (0, f"Completion for {shell} is in {folder / shell}.\n")
    return folder / shell


def words_of(*command: object) -> list[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["com"], {"compare"}),
        (["resume"], {"resume-check"}),
        (["run", "digits", "--ru"], {"--runs"}),
        (["run", "digits", "--ver"], {"--verbose", "--version"}),
        (["gate", "a", "--better", "hi"], {"higher"}),
    ],
)
def test_bash_completes(nondet: Nondet, tmp_path: Path, typed: list[str], offered: set[str]) -> None:
    file = script(nondet, tmp_path, "bash")
    assert set(words_of("bash", "-c", BASH, "bash", file, "nondet", *typed)) == offered


def test_bash_offers_files_where_it_knows_nothing_else(nondet: Nondet, tmp_path: Path) -> None:
    file = script(nondet, tmp_path, "bash")
    done = subprocess.run(
        ["bash", "-c", f'. "{file}"; complete -p nondet'], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["complete", "-o", "default", "-F", "_nondet", "nondet"]


def test_zsh_completes(nondet: Nondet, tmp_path: Path) -> None:
    """The script can be loaded; it knows every command, and offers files for a task."""
    file = script(nondet, tmp_path, "zsh")
    words_of("zsh", "-f", "-n", file)
    text = file.read_text()
    assert text.startswith("#compdef nondet")
    for name in NAMES:
        assert f"        '{name}:" in text
    task = next(line for line in text.splitlines() if "'1:A task by name" in line)
    assert task.endswith(":_files' \\")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("nondet com", {"compare"}), ("nondet gate --bet", {"--better"}), ("nondet gate a --better hi", {"higher"})],
)
def test_fish_completes(nondet: Nondet, tmp_path: Path, typed: str, offered: set[str]) -> None:
    file = script(nondet, tmp_path, "fish")
    code = "source $argv[1]; complete -C $argv[2]"
    found = {line.split("\t")[0] for line in words_of("fish", "--no-config", "-c", code, file, typed)}
    assert found == offered


def test_completion_goes_where_the_shell_looks(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given again it changes nothing; a shell that is none of the three is refused with a way out that works."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZSH_CUSTOM", raising=False)
    for _ in range(2):
        ran = nondet("--install-completion", "--shell", "bash")
        assert (ran.code, "Start a new bash to use it." in ran.out) == (0, True)
        assert (tmp_path / ".bashrc").read_text().count("# Load nondet completion") == 1
    monkeypatch.setattr("nondet.cli.app.detect_shell", lambda: "powershell")
    ran = nondet("--install-completion")
    assert (ran.code, ran.out) == (2, "")
    assert "the shell must be bash, zsh or fish (got powershell); add --shell bash" in ran.err


# --- quiet and verbose --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOUD)
def test_commands_that_say_something_can_say_less_or_more(nondet: Nondet, name: str) -> None:
    shown = nondet("help", name).out
    assert "--quiet" in shown
    assert "-q" in shown
    assert "--verbose" in shown
    assert "-v" in shown


def test_quiet_leaves_results_and_warnings(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Standard output is the same; on standard error there are warnings alone."""
    asked = ("run", tiny, "--runs", 3, "--vary", "init")
    usual = nondet(*asked, "--study", tmp_path / "usual")
    quiet = nondet(*asked, "--study", tmp_path / "quiet", "-q")
    assert usual.code == quiet.code == 0
    assert usual.out == quiet.out != ""
    assert "runs to train" in usual.err
    assert quiet.err
    assert [line for line in quiet.err.splitlines() if not line.startswith("warning: ")] == []
    assert nondet(*asked, "--study", tmp_path / "quiet").err.count("runs to train") == 0  # nothing is left to say


def test_verbose_says_where_and_each_stack(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Also of other commands; and the next command speaks as usual again."""
    folder = tmp_path / "s"
    ran = nondet("run", tiny, "--runs", 9, "--vary", "init", "--study", folder, "--executor", "local", "--verbose")
    assert f"They go into {folder}, trained with device cpu" in ran.err
    steps = [line for line in ran.err.splitlines() if line.startswith("training: ")]
    assert len(steps) == 3  # 10 runs, 4 at a time
    assert steps[-1] == "training: 100 %, 10 of 10 runs done"
    assert [line for line in steps[:-1] if "100 %" in line] == []
    assert "runs copied" in nondet("push", folder, tmp_path / "copy", "-v").err
    assert nondet("pull", folder, tmp_path / "other").err == ""


def test_quiet_and_verbose_are_one_or_the_other(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    ran = nondet("run", tiny, "--study", tmp_path / "s", "-q", "-v")
    assert (ran.code, ran.out) == (2, "")
    assert "only one of --quiet and --verbose can be given (got both); choose one" in ran.err


# --- warnings -----------------------------------------------------------------------------------------------------


def test_cautions_begin_with_warning(nondet: Nondet, study: Path) -> None:
    ran = nondet("show", study)
    assert ran.code == 0
    assert ran.err.startswith("warning: Intervals of fewer than 20 runs are rough")


def test_no_bell(nondet: Nondet, study: Path) -> None:
    for words in (("show", study), ("help",), ("run", "digist"), ("show", study, "--json")):
        ran = nondet(*words)
        assert "\a" not in ran.out + ran.err


# --- progress -----------------------------------------------------------------------------------------------------


class Counted:
    """A study of 10 runs, of which so many are there."""

    def __init__(self, done: int) -> None:
        self.done = done
        self.width, self.folder, self.environment = 5, Path("s"), {}

    def watch(self, monkeypatch: pytest.MonkeyPatch, epochs: int) -> progress.Watch:
        monkeypatch.setattr(progress, "count_done", lambda study: (self.done, 10))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        return progress.Watch(self, epochs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_progress_moves_within_a_stack_and_never_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is at its end when all runs are there, and not before; a stack that is kept is not lost for a moment."""
    counted = Counted(0)
    watch = counted.watch(monkeypatch, 4)
    seen: list[float] = []

    def look(run_epochs: int) -> str:
        watch.next_look = 0.0
        watch.on_epoch(run_epochs)
        seen.append(watch.bar.tasks[0].completed)
        return str(watch.bar.tasks[0].fields["said"])

    with watch:
        for epoch in range(5):
            look(5 * epoch)
        assert seen == [0, 5, 10, 15, 20]
        look(0)  # kept, and not seen in the store yet
        assert seen[-1] == 20
        counted.done = 5
        said = [look(5 * epoch) for epoch in range(5)][-1]
        assert seen[-1] == 39
        assert said.startswith("97 %, 5 of 10 runs done")
        counted.done = 9
        assert look(0).startswith("97 %, 9 of 10 runs done")
        counted.done = 10
    assert watch.bar.tasks[0].completed == 40
    assert watch.bar.tasks[0].fields["said"] == "100 %, 10 of 10 runs done"
    assert seen == sorted(seen)


@pytest.mark.parametrize("done", [0, 9, 998, 999])
def test_one_run_to_go_is_not_all(monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """With others' work counted twice for a moment, too."""
    watch = Counted(0).watch(monkeypatch, 1)
    watch.planned, watch.total = 1000, 1000
    watch.runs, watch.next_look = done, float("inf")
    watch.others = lambda: 500
    watch.on_epoch(500)
    assert "100 %" not in watch.bar.tasks[0].fields["said"]
    assert watch.bar.tasks[0].completed < 1000


# --- width --------------------------------------------------------------------------------------------------------


def on_terminal(columns: int, *words: object) -> list[str]:
    """The lines that a command writes to a terminal of so many columns."""
    main, other = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "nondet", *map(str, words)], stdin=other, stdout=other, stderr=other, env=env
    )
    os.close(other)
    text = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # as Linux says that nobody has the other side any more
            break
        if not part:
            break
        text += part
    os.close(main)
    process.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).replace("\r\n", "\n").splitlines()


def test_prose_is_as_wide_as_the_terminal(study: Path) -> None:
    """Refusals, warnings, results and help: no line is wider, and no word is broken."""
    for columns in (50, 80):
        for words in (("run", "digist"), ("show", study), ("verify", study), ("help", "verify")):
            lines = on_terminal(columns, *words)
            prose = [line for line in lines if not {*line} & {*"─│┃━═"}]
            assert [line for line in prose if len(line.rstrip()) > columns and " " in line.strip()] == [], words
    refused = " ".join(on_terminal(50, "run", "digist"))
    assert "fashion-mnist, cifar10, cifar100" in refused


def test_where_there_is_no_terminal_a_sentence_is_one_line(nondet: Nondet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    ran = nondet("run", "digist")
    assert len(ran.err.splitlines()) == 1
    assert len(ran.err) > 100


def test_what_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """Notes, details and warnings, at each volume."""
    for level, heard in ((-1, "warning: c\n"), (0, "a\nwarning: c\n"), (1, "a\nb\nwarning: c\n")):
        with streams.heard(level):
            streams.note("a")
            streams.detail("b")
            streams.note("warning: c")
        assert capsys.readouterr().err == heard
    assert not streams.is_quiet()
    assert not streams.is_verbose()
