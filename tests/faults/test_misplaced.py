"""Sound files in the wrong place: each whole in itself, and not what its name says."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_tools import RUNS, Nondet, blobs, finished_files, records

from nondet.cli import main as cli
from nondet.io.files import sealed, unsealed
from nondet.study.record import _save, load

ONSETS = ["--runs", "3", "--vary", "shuffle", "--onset", "1", "--onset", "2", "--set", "epochs=3", "--workers", "1"]
MORE = [*ONSETS[2:], "--runs", "4"]


def swapped(first: Path, second: Path) -> None:
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def resealed(path: Path, **changes: Any) -> None:
    """Change fields of a sealed file and seal it again, as a program would that knows the format."""
    path.write_bytes(sealed({**unsealed(path.read_bytes(), path), **changes}))


def trunks(folder: Path) -> list[Path]:
    return sorted((folder / "trunks").iterdir())


@pytest.fixture(scope="module")
def forked(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with two onsets. Read it only."""
    folder = tmp_path_factory.mktemp("forked") / "study"
    assert cli.main(["run", str(tiny), *ONSETS, "--study", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def grown(forked: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with one more run in each condition, from the right trunks. Read it only."""
    folder = Path(shutil.copytree(forked, tmp_path_factory.mktemp("grown") / "study"))
    assert cli.main(["run", str(tiny), *MORE, "--study", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(forked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(forked, tmp_path / "study"))


def test_two_trunks_exchanged(nondet: Nondet, tiny: Path, copy: Path, grown: Path) -> None:
    """Trunks under each other's names are named by `verify`, and not forked from: the study grows as it should."""
    swapped(*trunks(copy))
    checked = nondet("verify", copy)
    assert checked.code == 1
    assert all(f"{path} is another trunk" in checked.err for path in trunks(copy))
    ran = nondet("run", tiny, *MORE, "--study", copy)
    assert ran.code == 0, ran.err
    assert sum("set aside, to be trained again" in line for line in ran.err.splitlines()) == 2
    assert blobs(copy) == blobs(grown)
    assert nondet("verify", copy).code == 0


def test_a_trunk_of_another_study(nondet: Nondet, task_file: Nondet, tiny: Path, copy: Path, grown: Path) -> None:
    """A trunk of another task, and one that does not say what it is, are no trunks of this study."""
    other = task_file(("lr=0.1", "lr=0.2"), name="other")
    assert nondet("run", other, *ONSETS, "--study", copy.parent / "other").code == 0
    for mine, theirs in zip(trunks(copy), trunks(copy.parent / "other"), strict=True):
        mine.write_bytes(theirs.read_bytes())
    assert nondet("verify", copy).code == 1
    assert nondet("run", tiny, *MORE, "--study", copy).code == 0
    assert blobs(copy) == blobs(grown)


def test_a_lost_trunk(nondet: Nondet, tiny: Path, copy: Path, forked: Path) -> None:
    """`verify` names a trunk that runs were forked from and that is gone; the study's command trains it again."""
    lost = trunks(copy)[0]
    lost.unlink()
    checked = nondet("verify", copy)
    assert checked.code == 1
    assert f"{lost} is missing" in checked.err
    before = finished_files(copy)
    assert nondet("run", tiny, *ONSETS, "--study", copy).code == 0
    assert lost.read_bytes() == (forked / "trunks" / lost.name).read_bytes()
    assert finished_files(copy) == before
    assert nondet("verify", copy).code == 0


def interrupted(nondet: Nondet, tiny: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, vary: str) -> Path:
    """A study whose last stack was interrupted after two epochs; the file of its snapshot."""
    from nondet.training import examples as classify
    from nondet.training import snapshots

    original = classify.train_epoch

    def stopping(problem: Any, stack: Any, seeds: Any) -> None:
        if stack.epoch == 2:
            raise KeyboardInterrupt
        original(problem, stack, seeds)

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "SECONDS", -1.0)
        patched.setattr("nondet.training.train.train_stack.__kwdefaults__", kwdefaults(-1.0))
        patched.setattr(classify, "train_epoch", stopping)
        words = ["run", tiny, "--runs", 3, "--vary", vary, "--set", "epochs=3", "--workers", 1, "--study", folder]
        assert nondet(*words).code == 130
    (snapshot,) = (folder / "partial").glob("*.snapshot")
    return snapshot


def kwdefaults(seconds: float) -> dict[str, Any]:
    from nondet.training.train import train_stack

    return {**(train_stack.__kwdefaults__ or {}), "snapshot_seconds": seconds}


@pytest.mark.parametrize("what", ["another stack", "another environment"])
def test_a_snapshot_of_another(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A stack that finds another stack's snapshot, or one of another environment, under its name starts anew."""
    mine = interrupted(nondet, tiny, tmp_path / "s", monkeypatch, "shuffle")
    if what == "another stack":
        mine.write_bytes(interrupted(nondet, tiny, tmp_path / "o", monkeypatch, "init").read_bytes())
    else:
        opened = load(tmp_path / "s")
        _save(replace(opened, environment={**opened.environment, "numpy": "0.9"}))
    checked = nondet("verify", tmp_path / "s")
    assert checked.code == 1
    assert f"{mine} is a snapshot of {'other runs' if what == 'another stack' else what}" in checked.err
    if what == "another stack":
        words = ["run", tiny, "--runs", 3, "--vary", "shuffle", "--set", "epochs=3", "--workers", 1, "--study"]
        assert nondet(*words, tmp_path / "s").code == 0
        assert nondet(*words, tmp_path / "whole").code == 0
        assert blobs(tmp_path / "s") == blobs(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "link to nothing"])
@pytest.mark.parametrize("what", ["runs/*.safetensors", "runs/*.json", "trunks/*"])
def test_no_plain_file(nondet: Nondet, tiny: Path, copy: Path, forked: Path, what: str, kind: str) -> None:
    """A link, a folder or a pipe in the place of a file is named by `verify`, which does not hang, and the study's
    command mends it: the content of a sound link takes its place without any training.
    """
    path = sorted(copy.glob(what))[0]
    elsewhere = copy.parent / "elsewhere"
    path.rename(elsewhere)
    make = {
        "link": lambda: path.symlink_to(elsewhere),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link to nothing": lambda: path.symlink_to(copy / "nothing"),
    }
    make[kind]()
    checked = nondet("verify", copy)
    assert checked.code == 1
    assert str(path) in checked.err
    ran = nondet("run", tiny, *ONSETS, "--study", copy)
    assert ran.code == 0, ran.err
    assert str(path) in ran.err
    assert ("runs to train" in ran.err) == (kind != "link" and what != "trunks/*")
    assert not path.is_symlink()
    assert nondet("verify", copy).code == 0
    assert blobs(copy) == blobs(forked)


def test_a_linked_folder(nondet: Nondet, copy: Path) -> None:
    """A study whose runs are elsewhere is named: a copy of it would have none."""
    (copy / "runs").rename(copy.parent / "elsewhere")
    (copy / "runs").symlink_to(copy.parent / "elsewhere")
    checked = nondet("verify", copy)
    assert checked.code == 1
    assert f"{copy / 'runs'} is a link" in checked.err


def test_a_run_of_another_environment(nondet: Nondet, tiny: Path, study: Path, finished: Path) -> None:
    """One run whose record tells of another environment is not pooled: the field is named, and it is trained again."""
    opened = load(study)
    path = opened.store.record_path(next(iter(opened.specs())))  # of a run that every condition has
    record = unsealed(path.read_bytes(), path)
    resealed(path, environment={**record["environment"], "instructions": "SSE2"})
    commands = (
        ["verify"],
        ["show"],
        ["figures"],
        ["alike"],
        ["examples"],
        ["stabilize", "--run-task"],
        ["compare", f"{study}:init"],
    )
    for command in commands:
        ran = nondet(*command, study)
        assert ran.code == 1, ran.err
        assert f"{path} does not belong to this study" in ran.err
        assert "instructions is different" in ran.err
        assert "run=SSE2" in ran.err
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out


def test_a_run_of_another_name(nondet: Nondet, study: Path) -> None:
    """A record whose run is not the one that its key names is found out, although it is sealed."""
    path = records(study)[2]
    record = unsealed(path.read_bytes(), path)
    resealed(path, run={**record["run"], "repeat": 7})
    checked = nondet("verify", study)
    assert checked.code == 1
    assert str(path) in checked.err


@pytest.mark.parametrize("field", ["task", "environment"])
def test_a_study_file_of_another_study(nondet: Nondet, tiny: Path, study: Path, finished: Path, field: str) -> None:
    """A sound study.json that is not that of the runs beside it is named with what differs, and never gone on with;
    without it, the study's command makes the right one anew.
    """
    path = study / "study.json"
    fields = unsealed(path.read_bytes(), path)
    change = {"data": "0" * 64} if field == "task" else {"instructions": "SSE2"}
    resealed(path, **{field: {**fields[field], **change}})
    before = finished_files(study)
    for command in ("verify", "show"):
        ran = nondet(command, study)
        assert ran.code == 1
        assert f"{path} does not belong to the runs next to it" in ran.err
        assert f"{next(iter(change))} is different" in ran.err
    assert nondet("run", tiny, *RUNS, "--study", study).code == 2
    path.unlink()
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert finished_files(study) == before
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out
