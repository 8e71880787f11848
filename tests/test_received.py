"""A study that somebody else sent is data: nothing it says is run, read or given as advice until the user agrees."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nondet.errors import Damaged
from nondet.io.files import sealed, unsealed
from nondet.running.advice import go_on
from nondet.study.record import load

HARM = "rm -rf important"


def seal(folder: Path, **changes: Any) -> None:
    """Write a study's file anew, as anyone can, with other fields."""
    path = folder / "study.json"
    path.write_bytes(sealed({**unsealed(path.read_bytes(), path), **changes}))


@pytest.fixture
def hostile(study: Path, tmp_path: Path) -> Path:
    """A study whose task is a file that leaves a trace when it runs, and whose command does harm when it is typed."""
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w').close()\n")
    request = load(study).request
    seal(study, command=shlex.split(HARM), request={**request, "task": str(tmp_path / "theirs.py")})
    return study


@pytest.mark.parametrize("command", [("stabilize",), ("examples", "--pictures", "PICTURES"), ("report",)])
def test_a_studys_own_file_runs_only_with_consent(
    command: tuple[str, ...], nondet: Callable[..., Any], hostile: Path, tmp_path: Path
) -> None:
    """Without --run-task it does not run, and one sentence names the file and the option; with it, it does."""
    words = [str(tmp_path / "pictures") if word == "PICTURES" else word for word in command]
    ran = nondet(words[0], hostile, *words[1:])
    said = " ".join((ran.out + ran.err + _page(hostile)).split())
    assert ran.code == (2 if command == ("stabilize",) else 0)
    assert "theirs.py" in said
    assert "--run-task" in said
    assert not (tmp_path / "it_ran").exists()
    nondet(words[0], hostile, *words[1:], "--run-task")
    assert (tmp_path / "it_ran").exists()


def _page(study: Path) -> str:
    page = study / "report.html"
    return page.read_text() if page.exists() else ""


def test_stabilize_of_a_study_with_consent(nondet: Callable[..., Any], study: Path) -> None:
    """The user's own file, agreed to, makes the models that the study kept."""
    assert nondet("stabilize", study, "--run-task", "--json").code == 0


@pytest.mark.parametrize("lost", ["run", "record"])
def test_advice_is_composed_and_never_read(nondet: Callable[..., Any], hostile: Path, lost: str) -> None:
    """Where a run is missing or damaged, commands say what to type: `nondet run` for this study, whatever it stored."""
    key = sorted((hostile / "runs").glob("*.json"))[0]
    key.with_suffix(".safetensors").write_bytes(b"harmed") if lost == "run" else key.unlink()
    for command in ("show", "verify", "report", "alike", "examples", "stabilize"):
        ran = nondet(command, hostile)
        said = ran.out + ran.err + _page(hostile)
        assert HARM not in said
        assert "important" not in said


def test_the_page_of_a_received_study_composes_its_commands(nondet: Callable[..., Any], hostile: Path) -> None:
    """Neither the study's stored words nor those in the records of its runs are shown as how it was made."""
    for path in (hostile / "runs").glob("*.json"):
        path.write_bytes(sealed({**unsealed(path.read_bytes(), path), "command": HARM}))
    assert nondet("report", hostile).code == 0
    assert HARM not in _page(hostile)
    assert "nondet run" in _page(hostile)


@pytest.mark.parametrize(
    "change",
    [
        {"task": "x; touch owned.py"},
        {"task": "a\x1b[31m\nb.py"},
        {"task": "--study=/tmp/x.py"},
        {"task": "no such task"},
        {"assignments": {"lr": "0.1; touch owned"}},
        {"data": "$(touch owned)"},
        {"device": "cpu `touch owned`"},
        {"unknown": "field"},
    ],
)
def test_what_a_study_names_is_quoted_in_advice(change: dict[str, Any], study: Path, tmp_path: Path) -> None:
    """A shell takes the advice as `nondet run` with words, one printable line, whatever a field holds."""
    seal(study, request={**load(study).request, **change})
    line = go_on(load(study))
    words = shlex.split(line)
    assert line.isprintable()
    assert (words[:2], words[-2:]) == (["nondet", "run"], ["--study", str(study)])
    assert not words[2].startswith("-")
    assert not any(mark in bare for bare in _unquoted(line) for mark in ";`$(")


@pytest.mark.parametrize("change", [{"task": ["digits"]}, {"assignments": ["lr"]}, {"model": 3}, {"track": ["0"]}])
def test_fields_of_another_type_are_damage(change: dict[str, Any], study: Path) -> None:
    """What nondet does not write is no request at all, and the field is named."""
    seal(study, request={**load(study).request, **change})
    with pytest.raises(Damaged, match=rf"its field request\.{next(iter(change))}"):
        load(study)


def _unquoted(line: str) -> list[str]:
    """The pieces of a shell's line that stand outside single quotes."""
    return line.split("'")[::2]


@pytest.mark.parametrize("field", ["runs", "vary", "onsets", "until"])
def test_what_was_asked_for_is_checked_too(field: str, study: Path) -> None:
    """Where the last command's options are not what nondet writes, those of the conditions stand in their place."""
    before = load(study)
    seal(study, asked={**before.asked, field: [HARM]})
    assert go_on(load(study)) == go_on(before)


def test_a_folder_that_only_a_study_names_is_not_read(nondet: Callable[..., Any], study: Path, tmp_path: Path) -> None:
    """The data of a task that comes with nondet are read from where the user says, or not at all."""
    secret = tmp_path / "secret"
    seal(study, request={**load(study).request, "task": "mnist", "data": str(secret)})
    ran = nondet("stabilize", study)
    assert ran.code == 2
    assert f"--data {secret}" in ran.err
    ran = nondet("examples", study, "--pictures", tmp_path / "pictures")
    assert ran.code == 0
    assert "which was not read" in " ".join(ran.out.split())


def test_names_of_a_received_study_are_escaped_on_the_page(nondet: Callable[..., Any], study: Path) -> None:
    """Its name, environment and recipe are text on the page, never marks."""
    fields = unsealed((study / "study.json").read_bytes(), study)
    script = "<script>alert(1)</script>"
    environment = {**fields["environment"], "processor": script, "variables": {script: script}}
    seal(study, environment=environment, request={**fields["request"], "task": f"{script}.py"})
    for path in (study / "runs").glob("*.json"):
        path.write_bytes(sealed({**unsealed(path.read_bytes(), path), "environment": environment}))
    assert nondet("report", study).code == 0
    assert "<script" not in _page(study)


def test_the_advice_of_a_study_is_the_command_that_was_given(
    nondet: Callable[..., Any], tiny: Path, tmp_path: Path
) -> None:
    """Its own words in its own order; typed, it trains nothing more."""
    words = ["nondet", "run", str(tiny), "--runs=2", "--vary=init+bit", "--vary=shuffle", "--stack=3", "--set=lr=0.2"]
    words += ["--device=cpu", "--study", str(tmp_path / "s")]
    assert nondet(*words[1:]).code == 0
    assert shlex.split(go_on(load(tmp_path / "s"))) == words


def test_a_study_that_has_grown_names_each_command_that_makes_it(
    nondet: Callable[..., Any], tiny: Path, tmp_path: Path
) -> None:
    """Given one after the other for a new folder, they make a study with the same runs."""
    folder = tmp_path / "s"
    assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", folder).code == 0
    assert nondet("run", tiny, "--runs", 3, "--vary", "shuffle", "--study", folder).code == 0
    assert (
        nondet(
            "run", tiny, "--vary", "order", "--vary", "init", "--design=crossed", "--levels=2", "--study", folder
        ).code
        == 0
    )
    from nondet.running.advice import commands

    for line in commands(load(folder)):
        words = shlex.split(line)
        assert nondet(*words[1:-1], tmp_path / "again").code == 0
    assert load(tmp_path / "again").planned().keys() == load(folder).planned().keys()
