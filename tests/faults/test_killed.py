"""Processes killed or interrupted at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fault_tools import (
    LONG,
    RUNS,
    Nondet,
    Start,
    assert_same_study,
    environment,
    finished_files,
    records,
    wait_for,
)

from nondet.study import claims
from nondet.study.record import load


def killed_and_completed(
    start: Start, nondet: Nondet, words: Sequence[object], folder: Path, reference: Path, kills: int, seed: int
) -> None:
    """Kill the command at seeded random moments, over and over, and then let it finish."""
    rng = random.Random(seed)
    done: dict[str, tuple[bytes, int]] = {}
    for kill in range(kills):
        child = start(*words, "--study", folder, snapshot_seconds=rng.choice([0.0, 30.0]))
        # Half of them a while after the start of training, the others anywhere, imports included.
        training = (folder / "partial").exists if kill % 2 == 0 else (lambda: True)
        wait_for(training, child)
        wait_for(lambda: False, child, seconds=rng.uniform(0, 0.6 if kill % 2 == 0 else 3.0))
        child.kill()
        child.communicate()
        now = finished_files(folder)
        assert {name: now.get(name) for name in done} == done
        done = now
    child = start(*words, "--study", folder)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    after = finished_files(folder)
    assert {name: after.get(name) for name in done} == done
    assert_same_study(nondet, folder, reference)
    assert nondet("show", folder).out == out


@pytest.mark.slow
def test_killed_a_few_times(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """kill -9 at a few random moments: the same command completes the study."""
    killed_and_completed(start, nondet, ["run", tiny, *LONG], tmp_path / "s", uninterrupted, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_many_times(
    start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path, seed: int
) -> None:
    """kill -9 at many random moments, several times over."""
    killed_and_completed(start, nondet, ["run", tiny, *LONG], tmp_path / "s", uninterrupted, kills=15, seed=seed)


def test_killed_with_a_snapshot(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """Killed while snapshots are written, again and again: each next process goes on from one, to the same bits."""
    folder, rng = tmp_path / "s", random.Random(0)
    for _ in range(2):
        child = start("run", tiny, *LONG, "--study", folder, snapshot_seconds=0.0)
        assert wait_for(lambda: list((folder / "partial").glob("*.snapshot")), child)
        wait_for(lambda: False, child, seconds=rng.uniform(0, 0.2))
        child.kill()
        child.communicate()
    child = start("run", tiny, *LONG, "--study", folder, snapshot_seconds=0.0)
    child.communicate(timeout=120)
    assert child.returncode == 0
    assert_same_study(nondet, folder, uninterrupted)


@pytest.mark.slow
def test_a_damaged_snapshot_is_not_used(
    start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """A snapshot with one changed byte, cut off, or empty costs the epochs since, and nothing else."""
    rng = random.Random(1)
    killed = tmp_path / "killed"
    child = start("run", tiny, *LONG, "--study", killed, snapshot_seconds=0.0)
    assert wait_for(lambda: list((killed / "partial").glob("*.snapshot")), child)
    child.kill()
    child.communicate()

    def cut(content: bytes) -> bytes:
        return content[: rng.randrange(len(content))]

    def flip(content: bytes) -> bytes:
        place = rng.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]

    for number, harm in enumerate([flip, cut, lambda _: b""]):
        folder = Path(shutil.copytree(killed, tmp_path / str(number)))
        for path in (folder / "partial").glob("*.snapshot"):
            path.write_bytes(harm(path.read_bytes()))
        assert nondet("run", tiny, *LONG, "--study", folder).code == 0
        assert_same_study(nondet, folder, uninterrupted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_a_change_of_the_disk(
    driver: Path, nondet: Nondet, tiny: Path, tmp_path: Path, step: int
) -> None:
    """A process that dies just before any one of its fsyncs, links, removals and renames leaves what can go on."""
    words = ["run", str(tiny), "--runs", "2", "--vary", "init", "--workers", "1"]

    def drive(**settings: object) -> list[int]:
        command = [sys.executable, str(driver), json.dumps({"folder": str(tmp_path), **settings}), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))

    points = list(range(0, 60, step))
    codes = drive(kill_at=points)
    assert set(codes) == {0, -signal.SIGKILL}
    died = points[: codes.index(0)]
    whole = tmp_path / str(points[len(died)])
    assert len(died) * step > 20, "points at which the process died"
    assert codes[: len(died)] == [-signal.SIGKILL] * len(died)
    before = {n: finished_files(tmp_path / str(n)) for n in died}
    assert {len(files) // 2 for files in before.values()} >= {0, 1, 2}
    assert drive(finish=died) == [0] * len(died)
    for n in died:
        after = finished_files(tmp_path / str(n))
        assert {name: after[name] for name in before[n]} == before[n]
        assert_same_study(nondet, tmp_path / str(n), whole)


@pytest.mark.slow
def test_killed_while_a_damaged_run_is_set_aside(
    driver: Path, nondet: Nondet, tiny: Path, finished: Path, tmp_path: Path
) -> None:
    """A process that dies anywhere between the discovery of damage and its mending leaves what can be mended."""
    points = list(range(0, 12, 2))
    victim = records(finished)[3].name
    for n in points:
        folder = Path(shutil.copytree(finished, tmp_path / str(n)))
        (folder / "runs" / victim).write_bytes(b"{}")
    words = ["run", str(tiny), *RUNS, "--workers", "1"]
    settings = {"folder": str(tmp_path), "kill_at": points}
    command = [sys.executable, str(driver), json.dumps(settings), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert -signal.SIGKILL in json.loads(done.stdout.splitlines()[-1]), done.stderr
    shown = nondet("show", finished, "--json").out
    for n in points:
        assert nondet("run", tiny, *RUNS, "--study", tmp_path / str(n)).code == 0
        assert nondet("show", tmp_path / str(n), "--json").out == shown
        assert nondet("verify", tmp_path / str(n)).code == 0


def test_ctrl_c_in_training(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, uninterrupted: Path) -> None:
    """Ctrl-C ends with 130 and one sentence that tells how many runs are safe and how to go on; that way works."""
    folder = tmp_path / "s"
    child = start("run", tiny, *LONG, "--study", folder)
    assert wait_for(lambda: records(folder), child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    begun, last = err.splitlines()
    assert "runs to train" in begun
    assert last.startswith("Stopped. ")
    safe = len(records(folder))
    assert f"{safe} of {len(load(folder).planned())} runs are safe" in last
    assert f"Go on with: nondet run {tiny}" in last
    done = finished_files(folder)
    assert nondet(*last.partition("Go on with: nondet ")[2].split()).code == 0
    after = finished_files(folder)
    assert {name: after[name] for name in done} == done
    assert_same_study(nondet, folder, uninterrupted)


def test_ctrl_c_before_training(start: Start, task_file: Nondet, tmp_path: Path) -> None:
    """Ctrl-C while the user's file is still loading its data ends with 130 and a word, and no traceback."""
    mark = tmp_path / "loading"
    wait = (
        f"import pathlib, threading\npathlib.Path({str(mark)!r}).touch()\nthreading.Event().wait(60)\nimport nondet\n"
    )
    child = start("run", task_file(("import nondet\n", wait)), "--study", tmp_path / "s")
    assert wait_for(mark.exists, child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "Stopped" in err


def test_snapshots_that_a_killed_process_left_are_cleared(tmp_path: Path) -> None:
    """Killed while it cleared a finished study's folder, with the claims gone already: the next one clears it."""
    left = tmp_path / "partial" / f"{'d' * 64}.snapshot"
    left.parent.mkdir()
    left.write_bytes(b"a stack")
    claims.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
