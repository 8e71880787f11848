"""File systems that can do less than a local disk, and folders that a group shares."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from fault_tools import Nondet, blobs, leftovers, records

from nondet.cli import main as cli

WORDS = ["--runs", "2", "--vary", "init", "--workers", "1"]

CANNOT = {
    "link": ["EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EXDEV", "EMLINK"],
    "fsync of a folder": ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EBADF", "ENOSYS"],
    "fsync": ["EINVAL", "ENOTSUP", "ENOSYS"],
    "fchmod": ["EPERM", "ENOSYS"],
    "chmod": ["EPERM", "ENOSYS"],
}


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, made on this machine's own disk. Read it only."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    assert cli.main(["run", str(tiny), *WORDS, "--study", str(folder)]) == 0
    return folder


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: str) -> None:
    """Let the system refuse a call, as a file system does that does not know it."""
    name = call.split(maxsplit=1)[0]
    real = getattr(os, name)

    def refusing(*args: Any, **kwargs: Any) -> Any:
        if call.endswith("folder") and not stat.S_ISDIR(os.fstat(args[0]).st_mode):
            return real(*args, **kwargs)
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refusing)


@pytest.mark.parametrize(("call", "code"), [(call, code) for call, codes in CANNOT.items() for code in codes])
def test_what_a_file_system_cannot_do_is_done_without(
    nondet: Nondet, tiny: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: str
) -> None:
    """Without hard links, flushed folders or modes, the study is the same, and nothing is left lying around."""
    with monkeypatch.context() as patched:
        refuse(patched, call, code)
        ran = nondet("run", tiny, *WORDS, "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    assert blobs(tmp_path / "s") == blobs(whole)
    assert leftovers(tmp_path) == []
    assert nondet("verify", tmp_path / "s").code == 0


@pytest.mark.parametrize("call", ["open", "fsync", "link", "replace"])
@pytest.mark.parametrize(
    "code",
    ["EIO", *(pytest.param(c, marks=pytest.mark.slow) for c in ("EDQUOT", "ENOSPC", "EROFS", "EFBIG", "ETIMEDOUT"))],
)
def test_a_folder_that_cannot_hold_runs(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: str
) -> None:
    """A folder on which a small file fails is refused before anything is trained, in one sentence with a way out."""
    from nondet.training import examples as classify

    real = os.open

    def refusing(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_CREAT):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return real(path, flags, *args, **kwargs)

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it was trained")

    with monkeypatch.context() as patched:
        patched.setattr(classify, "train_epoch", never)
        if call == "open":
            patched.setattr(os, "open", refusing)
        else:
            refuse(patched, call, code)
        ran = nondet("run", tiny, *WORDS, "--study", tmp_path / "s")
    assert ran.code in (1, 2)
    assert os.strerror(getattr(errno, code)) in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "; " in ran.err
    assert leftovers(tmp_path) == []
    assert nondet("run", tiny, *WORDS, "--study", tmp_path / "s").code == 0


def test_a_file_system_that_forgets(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that does not give back what was written is refused before anything is trained."""
    real = os.write

    def forgetting(handle: int, content: Any) -> int:
        return real(handle, b"\0" * len(content))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", forgetting)
        ran = nondet("run", tiny, *WORDS, "--study", tmp_path / "s")
    assert ran.code == 2
    assert "a small file read back is not what was written" in ran.err
    assert records(tmp_path / "s") == []


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_modes_follow_the_umask(nondet: Nondet, tiny: Path, tmp_path: Path, mask: int) -> None:
    """Every file and folder has the mode that the umask gives, so that a group can go on with each other's study."""
    before = os.umask(mask)
    try:
        words = ["--runs", 2, "--vary", "shuffle", "--onset", 1, "--workers", 1, "--study", tmp_path / "s"]
        assert nondet("run", tiny, *words).code == 0
        assert nondet("report", tmp_path / "s").code == 0
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "s", *(tmp_path / "s").rglob("*"))}
    assert modes == {path: (0o777 if path.is_dir() else 0o666) & ~mask for path in modes}


def test_a_second_user_of_a_group_goes_on(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one trains, the claims are open to the group: a second user's process can claim runs as well."""
    from nondet.training import examples as classify

    modes: list[int] = []
    original = classify.train_epoch

    def looking(*args: Any) -> None:
        modes.append(stat.S_IMODE((tmp_path / "s" / "partial" / "claims").stat().st_mode))
        original(*args)

    monkeypatch.setattr(classify, "train_epoch", looking)
    before = os.umask(0o002)
    try:
        assert nondet("run", tiny, *WORDS, "--study", tmp_path / "s").code == 0
    finally:
        os.umask(before)
    assert set(modes) == {0o664}
