"""Bytes changed on disk."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_tools import RUNS, Nondet, blobs, finished_files, planned, records


def flipped(path: Path, place: int, bit: int = 0) -> None:
    content = path.read_bytes()
    place %= len(content)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])


def truncated(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


_places = random.Random(7)
HARMS: dict[str, Callable[[Path], None]] = {
    "first byte": lambda path: flipped(path, 0),
    "early byte": lambda path: flipped(path, 12, 3),
    "middle byte": lambda path: flipped(path, path.stat().st_size // 2, 5),
    "last byte": lambda path: flipped(path, -1, 2),
    **{
        f"byte at {share:.2f}, bit {bit}": lambda path, share=share, bit=bit: flipped(
            path, int(share * path.stat().st_size), bit
        )
        for share, bit in [(_places.random(), _places.randrange(8)) for _ in range(5)]
    },
    "half of it": lambda path: truncated(path, 0.5),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}
"""What can happen to a file, in words."""


@pytest.mark.parametrize("harm", [pytest.param(h, marks=pytest.mark.slow if "bit" in h else []) for h in HARMS])
@pytest.mark.parametrize("kind", ["blob", "record"])
def test_a_harmed_run(nondet: Nondet, tiny: Path, finished: Path, study: Path, kind: str, harm: str) -> None:
    """`verify` names the file and exits with 1; `show` uses nothing of it and says how to train that run again; the
    same command sets it aside, trains that run alone, and the study is what it was.
    """
    rng = random.Random(f"{kind} {harm}")
    path = rng.choice(sorted((study / "runs").glob("*.safetensors" if kind == "blob" else "*.json")))
    HARMS[harm](path)
    checked = nondet("verify", study)
    assert checked.code == 1
    assert str(path) in checked.err
    assert "trains them again" in checked.err
    for form in ([], ["--json"], ["--markdown"], ["--latex"]):
        shown = nondet("show", study, *form)
        assert shown.code == 1
        assert shown.out == ""
        assert str(path) in shown.err
        assert "with seeds init=" in shown.err
        assert "trains it again" in shown.err
        assert len(shown.err.splitlines()) == 1
    others = {name: file for name, file in finished_files(study).items() if Path(name).stem != path.stem}
    again = nondet("run", tiny, *RUNS, "--study", study)
    assert again.code == 0
    assert f"1 of {planned(study)} runs to train" in again.err
    after = finished_files(study)
    assert {name: after[name] for name in others} == others
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out
    assert blobs(study) == blobs(finished)
    assert nondet("verify", study).code == 0


def test_many_harmed_runs(nondet: Nondet, tiny: Path, finished: Path, study: Path) -> None:
    """`verify` names every damaged file, and one command mends all."""
    harmed = [records(study)[0], records(study)[5], *sorted((study / "runs").glob("*.safetensors"))[2:4]]
    for path in harmed:
        flipped(path, 40)
    checked = nondet("verify", study)
    assert checked.code == 1
    assert all(str(path) in checked.err for path in harmed)
    assert f"{len({p.stem for p in harmed})} of {planned(study)} runs" in checked.err
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out


def test_all_runs_are_lost(nondet: Nondet, tiny: Path, finished: Path, study: Path) -> None:
    """A study whose folder of runs is gone says so, and the same command makes it again."""
    shutil.rmtree(study / "runs")
    assert nondet("verify", study).code == 1
    assert nondet("show", study).code == 1
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out


def test_a_run_of_another_study_is_damage(nondet: Nondet, study: Path) -> None:
    """Two runs whose files were exchanged are found out, each sound in itself."""
    first, second = records(study)[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    checked = nondet("verify", study)
    assert checked.code == 1
    assert str(first) in checked.err
    assert str(second) in checked.err


def test_two_blobs_exchanged_are_damage(nondet: Nondet, study: Path) -> None:
    """Blobs under each other's names do not match their records."""
    first, second = sorted((study / "runs").glob("*.safetensors"))[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert nondet("verify", study).code == 1
    assert nondet("show", study).code == 1


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_study_file(nondet: Nondet, tiny: Path, study: Path, harm: str) -> None:
    """A study.json that is not what was written is named by every command, each in one line with a way out; no run is
    touched.
    """
    before = finished_files(study)
    HARMS[harm](study / "study.json")
    for command in (["verify"], ["show"], ["show", "--json"]):
        ran = nondet(*command, study)
        assert ran.code == 1
        assert ran.out == ""
        assert str(study / "study.json") in ran.err
        assert ";" in ran.err, "a way out"
        assert len(ran.err.splitlines()) == 1
    nondet("run", tiny, *RUNS, "--study", study)
    assert finished_files(study) == before


@pytest.mark.parametrize("harm", ["middle byte", "half of it", "missing"])
def test_a_harmed_study_file_is_made_anew(nondet: Nondet, tiny: Path, finished: Path, study: Path, harm: str) -> None:
    """The same command makes a lost study.json anew, and keeps every run."""
    before = finished_files(study)
    HARMS[harm](study / "study.json")
    again = nondet("run", tiny, *RUNS, "--study", study)
    assert again.code == 0, again.err
    assert finished_files(study) == before
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out


def test_the_way_out_names_the_study_where_it_is(nondet: Nondet, study: Path, finished: Path) -> None:
    """A study that was copied from elsewhere names itself in the command that mends it, not the original."""
    flipped(records(study)[0], 40)
    for command in ("show", "verify"):
        err = nondet(command, study).err
        assert f"--study {study}" in err
        assert str(finished) not in err
