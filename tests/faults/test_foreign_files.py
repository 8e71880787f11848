"""Files of somebody else in and around a study: never counted, moved, overwritten or deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fault_tools import RUNS, Nondet, blobs

THEIRS = {
    "TensorBoard": ["runs/exp1.json", "partial/data.csv"],
    "runs": ["runs/exp1.json"],
    "partial": ["partial/data.csv"],
    "trunks": ["trunks/oak.snapshot"],
    "evidence": ["evidence/photo.jpg"],
    "a page": ["report.html"],
    "figures": ["figures/mine.pdf"],
    "another program's study": ["study.json"],
    "a file for a folder": ["runs"],
    "hidden": [".git/config"],
}


def put(folder: Path, names: list[str]) -> dict[str, bytes]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'{"theirs": "%s"}' % name.encode())
    return everything(folder)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file and folder below this one; folders end with a stroke."""
    return {
        f"{path.relative_to(folder)}{'/' if path.is_dir() else ''}": b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("kind", THEIRS)
def test_a_folder_of_somebody_else(nondet: Nondet, tiny: Path, tmp_path: Path, kind: str) -> None:
    """A folder with others' files under names that nondet uses as well is refused, before anything is written."""
    folder = tmp_path / "proj"
    before = put(folder, THEIRS[kind])
    ran = nondet("run", tiny, "--study", folder)
    assert ran.code == 2
    assert "contains other files" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert everything(folder) == before


INSIDE = ["runs/exp1.json", "runs/KEY.json", "partial/data.csv", "trunks/a.snapshot", "evidence/b.json", "notes.md"]


def test_files_of_somebody_else_in_a_study(nondet: Nondet, tiny: Path, study: Path, finished: Path) -> None:
    """Others' files in a study stay where they are, and count as nothing."""
    theirs = {name: content for name, content in put(study, INSIDE).items() if name in INSIDE}
    checked = nondet("verify", study)
    assert checked.code == 0, checked.err
    assert checked.out == nondet("verify", finished).out
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out
    ran = nondet("run", tiny, "--runs", 4, "--study", study)
    assert ran.code == 0, ran.err
    assert {name: content for name, content in everything(study).items() if name in INSIDE} == theirs
    assert not (study / "partial" / "claims").exists()


def test_a_study_without_its_file_and_with_others(nondet: Nondet, tiny: Path, study: Path, finished: Path) -> None:
    """Where study.json is lost, runs prove that the folder is a study, whatever else is in it."""
    put(study, INSIDE)
    (study / "study.json").unlink()
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out


OWN = ["study.json", "runs/a.html", "partial/a.html", "trunks/a.html", "evidence/new/a.html", "evidence"]


@pytest.mark.parametrize("place", OWN)
@pytest.mark.parametrize("way", ["itself", "a link to the file", "a link to the folder", "another study"])
def test_pages_are_not_written_over_a_study(
    nondet: Nondet, study: Path, finished: Path, tmp_path: Path, place: str, way: str
) -> None:
    """No --out may name a file of a study, of this one or another, through links or not."""
    before = everything(study)
    path = study / place
    if way == "a link to the file":
        path = tmp_path / "page.html"
        path.symlink_to(study / place)
    elif way == "a link to the folder":
        (tmp_path / "short").symlink_to(study)
        path = tmp_path / "short" / place
    ran = nondet("report", finished if way == "another study" else study, "--out", path)
    assert ran.code == 2
    assert "must not name a file of a study" in ran.err
    assert everything(study) == before


@pytest.mark.parametrize("folder", ["runs", "partial", "trunks", "evidence", "runs/deeper"])
def test_figures_and_pictures_are_not_written_into_a_study(nondet: Nondet, study: Path, folder: str) -> None:
    """Nor may a folder of figures or pictures be one of those that a study is made of."""
    before = everything(study)
    for command in (["figures", study, "--out"], ["examples", study, "--pictures"]):
        ran = nondet(*command, study / folder)
        assert ran.code == 2
        assert "must not name a file of a study" in ran.err
    assert everything(study) == before


def test_a_page_replaces_only_a_page(nondet: Nondet, study: Path, tmp_path: Path) -> None:
    """--out writes a new file, or over a page that nondet made; another file, a pipe or a device is refused."""
    page = tmp_path / "page.html"
    assert nondet("report", study, "--out", page).code == 0
    assert nondet("report", study, "--out", page).code == 0
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<html>mine")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (thesis, pipe):
        ran = nondet("report", study, "--out", path)
        assert ran.code == 2
        assert "a page that nondet made" in ran.err
    assert thesis.read_text() == "<html>mine"
    assert pipe.is_fifo()


@pytest.fixture
def litter(study: Path) -> list[Path]:
    """What writers leave that are killed in the middle."""
    names = [".writing-0a1b2c3d", "runs/.writing-ab_cd1z2", "partial/.writing-00000000", "trunks/.writing-abcdefgh"]
    put(study, names)
    return [study / name for name in names]


def test_litter_is_named_and_swept(nondet: Nondet, tiny: Path, study: Path, finished: Path, litter: list[Path]) -> None:
    """What killed writers left is named by `verify`, counts as nothing, and goes with the next command that adds."""
    checked = nondet("verify", study)
    assert checked.code == 0
    assert all(str(path) in checked.out for path in litter)
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert not [path for path in litter if path.exists()]
    assert blobs(study) == blobs(finished)
    assert ".writing" not in nondet("verify", study).out


def test_a_file_that_is_being_written_is_no_litter(nondet: Nondet, tiny: Path, study: Path) -> None:
    """A writer at work keeps its temporary file, whatever other processes sweep; others' names are left alone too."""
    fcntl = pytest.importorskip("fcntl", reason="needs file locks")
    names = ["runs/.writing-0a1b2c3d", "runs/.writing-my thesis.txt"]
    put(study, names)
    with (study / names[0]).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ".writing" not in nondet("verify", study).out
        assert nondet("run", tiny, *RUNS, "--study", study).code == 0
        assert all((study / name).exists() for name in names)
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert [name for name in names if (study / name).exists()] == names[1:]


def test_a_folder_with_the_runs_of_somebody_else(nondet: Nondet, tmp_path: Path) -> None:
    """A folder with somebody else's `runs` is no study, and is not said to be a damaged one."""
    put(tmp_path / "proj", ["runs/exp1.json"])
    ran = nondet("show", tmp_path / "proj")
    assert ran.code == 2
    assert "is not a study" in ran.err
