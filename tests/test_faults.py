"""Faults: processes killed at any moment, bytes changed on disk, disks full, two processes at once.

Whatever happens, the same command completes the study: no finished run is trained again, none is lost, and the result
is the one of an uninterrupted study, byte for byte.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nondet.study import load

Nondet = Callable[..., Any]
Contents = Callable[[Path], dict[str, tuple[bytes, int]]]
Start = Callable[..., subprocess.Popen[str]]

RUNS = ["--runs", "3"]
EPOCHS = [*RUNS, "--set", "epochs=60"]
LONG = [*EPOCHS, "--vary", "init", "--vary", "shuffle"]
"""A fraction of a second a stack: long enough to be hit in the middle."""

DRIVER = """
import json, os, signal, sys
import nondet.training.snapshots
settings, words = json.loads(sys.argv[1]), sys.argv[2:]
nondet.training.snapshots.SECONDS = settings.get("snapshot_seconds", 30.0)
if "worth_seconds" in settings:
    import nondet.executors.helpers
    nondet.executors.helpers.WORTH_SECONDS = settings["worth_seconds"]
if "file_bytes" in settings:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (settings["file_bytes"],) * 2)
import nondet.cli, nondet.training.train
if "no_python" in settings:
    sys.executable = "/no/such/python"

CALLS = ("fsync", "link", "unlink", "replace", "rename")

def killed_at(number):
    # Count the calls that change a disk, and die without a word just before this one.
    left = [number]
    def dying(call):
        def instead(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)
        return instead
    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))

def forked(folder, number=None):
    child = os.fork()
    if child == 0:
        if number is not None:
            killed_at(number)
        sys.argv = ["nondet", *words, "--study", folder]
        os._exit(nondet.cli.main(sys.argv[1:]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

if "folder" in settings:
    assert nondet.cli.main([*words, "--study", f"{settings['folder']}/warm"]) == 0  # what torch loads, it loads once

if "kill_at" in settings:
    codes = [forked(f"{settings['folder']}/{n}", n) for n in settings["kill_at"]]
    print(json.dumps(codes))
elif "finish" in settings:
    print(json.dumps([forked(f"{settings['folder']}/{n}") for n in settings["finish"]]))
else:
    sys.argv = ["nondet", *words]
    sys.exit(nondet.cli.main(words))
"""
"""A program that runs the command with other settings, or many times in children that die at a chosen disk call."""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("driver") / "driver.py"
    path.write_text(DRIVER)
    return path


@pytest.fixture
def start(driver: Path) -> Iterator[Start]:
    """Start the command in a process of its own, and go on; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object, **settings: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(driver), json.dumps(settings), *map(str, words)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        running.append(child)
        return child

    yield begin
    for child in running:
        child.kill()
        child.communicate()


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, process: Nondet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of LONG, made in one go. Read it only."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    assert process("run", tiny, *LONG, "--study", folder).code == 0
    return folder


def wait_for(condition: Callable[[], object], child: subprocess.Popen[str] | None = None, seconds: float = 60) -> bool:
    """Poll until the condition holds, or the child has ended, or the time is up; whether it held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (child is None or child.poll() is None):
        if condition():
            return True
        time.sleep(0.002)
    return bool(condition())


def records(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*.json"))


def finished_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The files of runs that are done, with their bytes and times."""
    files = [p for r in records(folder) for p in (r, r.with_suffix(".safetensors")) if p.exists()]
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def planned(folder: Path) -> int:
    return len(load(folder).planned())


def blobs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "runs").glob("*.safetensors")}


def assert_same_study(nondet: Nondet, folder: Path, reference: Path) -> None:
    """Two studies hold the same: shown, run for run, and every byte verified; nothing was set aside."""
    assert nondet("show", folder, "--json").out == nondet("show", reference, "--json").out
    assert blobs(folder) == blobs(reference)
    assert len(records(folder)) == len(records(reference))
    assert nondet("verify", folder).code == 0
    assert not (folder / "evidence").exists()
    assert not list((folder / "partial").glob("*.snapshot"))


# --- killed ------------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.slow)])
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


# --- interrupted -------------------------------------------------------------------------------------------------


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


# --- damaged -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("harm", HARMS)
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
    assert "trains it again" in checked.err
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


# --- a disk that cannot be written -------------------------------------------------------------------------------


def assert_one_clear_sentence(code: int, err: str) -> None:
    assert code == 1, err
    assert "Traceback" not in err
    sentences = [line for line in err.splitlines() if "runs to train" not in line]
    assert len(sentences) == 1, err
    assert sentences[0].startswith("nondet: ")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".writing-*"))


CHANGES = ("fsync", "link", "replace")


@pytest.mark.parametrize("call", CHANGES)
def test_a_disk_that_is_full_at_any_moment(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk is full at the first, second, ... write: one sentence, no half file counts, and the rest can follow."""
    words = ["run", tiny, "--runs", 2, "--vary", "init", "--study"]
    assert nondet(*words, tmp_path / "whole").code == 0
    real = getattr(os, call)
    for number in range(60):
        left = [number]

        def full(*args: Any, left: list[int] = left, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        folder = tmp_path / str(number)
        with monkeypatch.context() as patched:
            patched.setattr(os, call, full)
            ran = nondet(*words, folder)
        if ran.code == 0:
            break
        assert_one_clear_sentence(ran.code, ran.err)
        assert "No space left" in ran.err
        assert leftovers(folder) == []
        done = finished_files(folder)
        assert nondet(*words, folder).code == 0
        after = finished_files(folder)
        assert {name: after[name] for name in done} == done
        assert_same_study(nondet, folder, tmp_path / "whole")
    assert ran.code == 0
    assert number >= {"fsync": 10, "link": 6, "replace": 2}[call]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1200, 0])
def test_files_that_may_not_grow(start: Start, nondet: Nondet, tiny: Path, tmp_path: Path, size: int) -> None:
    """A limit on the size of files, met in the middle of one, is a full disk as any other."""
    pytest.importorskip("resource", reason="needs RLIMIT_FSIZE")
    folder = tmp_path / "s"
    child = start("run", tiny, *RUNS, "--study", folder, file_bytes=size)
    _, err = child.communicate(timeout=60)
    assert_one_clear_sentence(child.returncode, err)
    assert leftovers(tmp_path) == []
    assert nondet("run", tiny, *RUNS, "--study", folder).code == 0
    assert nondet("verify", folder).code == 0


@contextmanager
def own_mounts() -> Iterator[list[str]]:
    """The command that gives a shell script mounts of its own, which vanish with it; skips where that is forbidden."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here to mount with")
    command = [unshare, "--user", "--map-root-user", "--mount", "sh", "-ec"]
    tried = subprocess.run([*command, "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"mounting is not allowed here: {tried.stderr.strip()}")
    yield command


def test_a_small_disk(nondet: Nondet, tiny: Path, tmp_path: Path, finished: Path) -> None:
    """A disk of 40 KiB that fills up in mid-study: one sentence; elsewhere, the same command completes it."""
    (tmp_path / "disk").mkdir()
    script = """
        mount -t tmpfs -o size=40k tmpfs disk
        status=0; "$@" 2> err || status=$?; echo $status > code
        cp -r disk/study study
    """
    words = ["run", str(tiny), *RUNS, "--study", "disk/study"]
    with own_mounts() as command:
        done = subprocess.run(
            [*command, script, "sh", sys.executable, "-m", "nondet", *words],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert_one_clear_sentence(int((tmp_path / "code").read_text()), (tmp_path / "err").read_text())
    assert "No space left" in (tmp_path / "err").read_text()
    study = tmp_path / "study"
    assert leftovers(study) == []
    assert 0 < len(records(study)) < planned(finished)
    before = finished_files(study)
    assert nondet("run", tiny, *RUNS, "--study", study).code == 0
    after = finished_files(study)
    assert {name: after[name] for name in before} == before
    assert nondet("show", study, "--json").out == nondet("show", finished, "--json").out
    assert nondet("verify", study).code == 0


def test_a_read_only_study(nondet: Nondet, tiny: Path, study: Path, tmp_path: Path) -> None:
    """On a disk that is mounted read-only a study can be shown and verified; adding to it is one sentence."""
    program = """
import contextlib, sys
from nondet.cli import main
for name, words in (("shown", ["show", "study", "--json"]), ("verified", ["verify", "study"])):
    with open(name, "w") as file, contextlib.redirect_stdout(file):
        assert main(words) == 0
sys.exit(main(["run", sys.argv[1], "--runs", "4", "--study", "study"]))
"""
    script = 'mount --bind study study; mount -o remount,ro,bind study; exec "$@"'
    with own_mounts() as command:
        done = subprocess.run(
            [*command, script, "sh", sys.executable, "-c", program, str(tiny)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (tmp_path / "shown").read_text() == nondet("show", study, "--json").out
    assert f"{planned(study)} runs are sound" in (tmp_path / "verified").read_text()
    assert_one_clear_sentence(done.returncode, done.stderr)
    assert "Read-only" in done.stderr


@pytest.mark.parametrize("below", ["file", "file/study", "file/a/b"])
def test_a_study_under_a_file(nondet: Nondet, tiny: Path, tmp_path: Path, below: str) -> None:
    """A --study that is a file, or lies under one, is one sentence that names it; the file stays as it is."""
    (tmp_path / "file").write_text("mine")
    ran = nondet("run", tiny, *RUNS, "--study", tmp_path / below)
    assert ran.code in (1, 2)
    assert len(ran.err.splitlines()) == 1
    assert str(tmp_path / "file") in ran.err
    assert (tmp_path / "file").read_text() == "mine"
    for command in ("show", "verify"):
        ran = nondet(command, tmp_path / below)
        assert ran.code in (1, 2)
        assert len(ran.err.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("form", [[], pytest.param(["--json"], marks=pytest.mark.slow)])
def test_output_that_cannot_be_written(finished: Path, form: list[str]) -> None:
    """A full disk under the output is one sentence as well."""
    command = [sys.executable, "-m", "nondet", "show", str(finished), *form]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)
    assert_one_clear_sentence(done.returncode, done.stderr)


def test_a_reader_that_goes_away(finished: Path) -> None:
    """A pipe that is closed early (`| head`) is no error worth a word."""
    command = [sys.executable, "-m", "nondet", "show", str(finished), "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["latin-1", pytest.param("ascii", marks=pytest.mark.slow)])
def test_a_terminal_without_greek(finished: Path, encoding: str) -> None:
    """An output that cannot hold every character of the table still gets the table."""
    command = [sys.executable, "-m", "nondet", "show", str(finished)]
    env = {**environment(), "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, encoding=encoding, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deterministic (control)" in done.stdout


# --- two processes -----------------------------------------------------------------------------------------------


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


# --- helpers -----------------------------------------------------------------------------------------------------

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
