"""Two processes on one study, and helper processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fault_tools import EPOCHS, LONG, RUNS, Nondet, Start, assert_same_study, blobs, leftovers, records, wait_for


def test_two_processes_on_one_study(
    start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """Two equal commands at once: both end well, each run is there once, and the study is that of one process."""
    folder = tmp_path / "s"
    children = [start("run", tiny, *LONG, "--study", folder) for _ in range(2)]
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert_same_study(nondet, folder, uninterrupted)
    assert outputs[0][0] == outputs[1][0] == nondet("show", folder).out
    assert leftovers(folder) == []


@pytest.mark.slow
def test_two_processes_with_other_conditions(
    start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """Two commands that ask for other conditions of one study: both end well, and every run is the one it always is."""
    folder = tmp_path / "s"
    first = start("run", tiny, *EPOCHS, "--vary", "init", "--study", folder)
    second = start("run", tiny, *EPOCHS, "--vary", "shuffle", "--study", folder)
    outputs = [child.communicate(timeout=120) for child in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    shown = nondet("show", folder, "--json")
    assert shown.code == 0
    expected = {c["name"]: c for c in nondet("show", uninterrupted, "--json").json["conditions"]}
    assert {c["name"]: c for c in shown.json["conditions"]} == expected
    ours, theirs = blobs(folder), blobs(uninterrupted)
    assert all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())
    assert not (folder / "evidence").exists()
    assert nondet("verify", folder).code == 0


@pytest.mark.slow
def test_a_killed_process_leaves_its_share_to_the_other(
    start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """One of two processes is killed: the other takes over what it had claimed, and ends the study."""
    folder = tmp_path / "s"
    first, second = (start("run", tiny, *LONG, "--study", folder) for _ in range(2))
    assert wait_for(lambda: records(folder), first)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert_same_study(nondet, folder, uninterrupted)


HELPED = [*RUNS, "--set", "epochs=600"]


def children(process: int) -> list[int]:
    """The child processes of a process, as Linux lists them."""
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def alive(process: int) -> bool:
    """Whether a process is there, and not only waiting to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="needs Linux's list of child processes")
@pytest.mark.parametrize("end", ["nothing", "a helper is killed", "Ctrl-C", "the main process is killed"])
def test_helpers_leave_the_same_study(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, end: str) -> None:
    """Helper processes end with their main process, however that ends, and the study is the one without helpers."""
    folder = tmp_path / "s"
    child = start("run", tiny, *HELPED, "--workers", 3, "--study", folder, worth_seconds=0.0)
    assert wait_for(lambda: len(children(child.pid)) == 2, child)
    helpers = children(child.pid)
    if end == "a helper is killed":
        os.kill(helpers[0], signal.SIGKILL)
    elif end == "Ctrl-C":
        child.send_signal(signal.SIGINT)
    elif end == "the main process is killed":
        child.kill()
    _, err = child.communicate(timeout=120)
    assert child.returncode == {"Ctrl-C": 130, "the main process is killed": -signal.SIGKILL}.get(end, 0), err
    assert "Traceback" not in err
    assert "Exception" not in err
    assert wait_for(lambda: not any(alive(helper) for helper in helpers), seconds=20)
    assert nondet("run", tiny, *HELPED, "--workers", 1, "--study", folder).code == 0
    assert nondet("run", tiny, *HELPED, "--workers", 1, "--study", tmp_path / "alone").code == 0
    assert_same_study(nondet, folder, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="needs Linux's list of child processes")
def test_helpers_that_cannot_start_are_not_missed(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """The main process trains alone where no helper can be started."""
    child = start("run", tiny, *RUNS, "--workers", 3, "--study", tmp_path / "s", worth_seconds=0.0, no_python=True)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert nondet("run", tiny, *RUNS, "--study", tmp_path / "alone").code == 0
    assert_same_study(nondet, tmp_path / "s", tmp_path / "alone")
