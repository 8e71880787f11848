"""Disks that are full or cannot be written, and output that cannot be read."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_tools import (
    RUNS,
    Nondet,
    Start,
    assert_one_clear_sentence,
    assert_same_study,
    environment,
    finished_files,
    leftovers,
    planned,
    records,
)

CHANGES = ("fsync", "link", "replace")


@pytest.mark.parametrize("call", [pytest.param(c, marks=[] if c == "link" else [pytest.mark.slow]) for c in CHANGES])
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


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_on_the_disk_before_it_has_its_name(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Power may fail at any moment: every file is flushed whole, then named, and then its folder is flushed."""
    fsync, link, replace = os.fsync, os.link, os.replace
    whole: dict[tuple[int, int], int] = {}  # the file's number -> its bytes at the last flush
    named: list[str] = []
    not_durable: set[tuple[int, int]] = set()  # folders that have a new name

    def flush(handle: int) -> None:
        fsync(handle)
        found = os.fstat(handle)
        whole[found.st_dev, found.st_ino] = found.st_size
        not_durable.discard((found.st_dev, found.st_ino))

    def name(call: Any, source: Any, target: Any, **words: Any) -> None:
        if tmp_path in Path(target).parents:
            found, folder = Path(source).stat(), Path(target).parent.stat()
            flushed = whole.pop((found.st_dev, found.st_ino), None)  # a number is free again when its file is gone
            assert flushed == found.st_size, f"{target} was named with {flushed} of {found.st_size} bytes on the disk"
        call(source, target, **words)
        if tmp_path in Path(target).parents:
            named.append(Path(target).name)
            not_durable.add((folder.st_dev, folder.st_ino))

    def no_link(*args: Any, **words: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", flush)
        patched.setattr(os, "link", partial(name, link) if links else no_link)
        patched.setattr(os, "replace", partial(name, replace))
        assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s").code == 0
    assert len(named) >= 8
    assert not_durable == set()


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
from nondet.cli.main import main
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
    *cautions, last = done.stderr.splitlines(keepends=True)
    assert any(
        text.startswith("warning: Intervals of fewer than 20 runs are rough") for text in cautions
    )  # `show --json`
    assert_one_clear_sentence(done.returncode, last)
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
