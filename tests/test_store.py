"""The store: files that are there whole or not at all, first writer wins, and every changed byte is seen."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.errors import BadInput, Damaged
from nondet.io.files import sealed, unsealed, write_file
from nondet.study.store import Store

KEY = "ab" * 32
ARRAYS = {"outputs": np.arange(6, dtype=np.float32).reshape(2, 3), "curves.loss": np.array([1.5, math.nan])}
OTHER = {"outputs": ARRAYS["outputs"] + 1, "curves.loss": np.array([1.5, 0.5])}
RECORD = {"failed": None, "facts": {}, "bytes_like": [1, 2]}

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
RECORDS = st.dictionaries(st.text().filter(lambda name: name != "sha256"), JSON, max_size=5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def evidence(store: Store) -> list[Path]:
    return sorted((store.folder / "evidence").glob("*"))


@given(record=RECORDS)
def test_a_sealed_record_comes_back(record: dict[str, Any]) -> None:
    """What is sealed is what is unsealed, for any JSON object; and the sealed text is JSON of itself."""
    content = sealed(record)
    assert unsealed(content, Path("x.json")) == record
    assert set(json.loads(content)) == {*record, "sha256"}


@given(record=RECORDS, data=st.data())
def test_any_changed_byte_of_a_sealed_record_is_seen(record: dict[str, Any], data: st.DataObject) -> None:
    """Any one byte replaced by any other makes the record Damaged, and the file is named."""
    content = sealed(record)
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != content[place]))
    with pytest.raises(Damaged, match=r"x\.json is damaged"):
        unsealed(content[:place] + bytes([byte]) + content[place + 1 :], Path("x.json"))


@given(record=RECORDS, data=st.data())
def test_a_cut_or_longer_sealed_record_is_seen(record: dict[str, Any], data: st.DataObject) -> None:
    """Truncation at any length, and any byte added at the end, make the record Damaged."""
    content = sealed(record)
    with pytest.raises(Damaged, match=r"x\.json is damaged"):
        unsealed(content[: data.draw(st.integers(0, len(content) - 1))], Path("x.json"))
    with pytest.raises(Damaged, match=r"x\.json is damaged"):
        unsealed(content + bytes([data.draw(st.integers(0, 255))]), Path("x.json"))


@pytest.mark.parametrize("record", [{"bytes": 12345}, {"seconds": 10.123456}, {"n": -98765}])
def test_every_flip_in_a_number_is_seen(record: dict[str, Any]) -> None:
    """Every value of every byte of a record with numbers: one that makes it infinite (1e345) is damage as well."""
    content = sealed(record)
    for place in range(content.index(b'"sha256"')):
        for byte in range(256):
            if byte != content[place]:
                with pytest.raises(Damaged, match="is damaged"):
                    unsealed(content[:place] + bytes([byte]) + content[place + 1 :], Path("x.json"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"3", b"null", b'"sha256"', b'{"sha256": 3}', b"\xff\xfe\x00"])
def test_what_was_never_sealed_is_damaged(content: bytes) -> None:
    """Other JSON, an empty file and bytes that are no text are not records."""
    with pytest.raises(Damaged, match="is damaged"):
        unsealed(content, Path("x.json"))


def test_a_record_with_nan_is_never_written() -> None:
    """JSON has no NaN, so that a record with one cannot be sealed."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        sealed({"x": math.nan})


def test_write_file_keeps_the_first(tmp_path: Path) -> None:
    """Without `replace` the first content stays; with it the last; no temporary file is left."""
    path = tmp_path / "folder" / "file"
    assert write_file(path, b"one")
    assert not write_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert write_file(path, b"three", replace=True)
    assert path.read_bytes() == b"three"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the last moment (fsync) leaves the old file, and no temporary one."""
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new", replace=True)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_run_comes_back(store: Store) -> None:
    """Arrays come back with their type, shape and bits, NaN included; the record with what it was given."""
    assert store.put(KEY, ARRAYS, RECORD)
    stored = store.get(KEY)
    assert store.keys() == {KEY}
    assert stored.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert stored.arrays[name].dtype == array.dtype
        assert stored.arrays[name].tobytes() == array.tobytes()
    assert {name: stored.record[name] for name in RECORD} == RECORD


def test_an_array_that_is_not_contiguous_comes_back(store: Store) -> None:
    """A transposed view is kept as its values, not as the memory behind it."""
    view = np.arange(12, dtype=np.float64).reshape(3, 4).T
    store.put(KEY, {"outputs": view}, RECORD)
    np.testing.assert_array_equal(store.get(KEY).arrays["outputs"], view)


def test_the_same_result_twice_is_one(store: Store, contents: Callable[[Path], dict[str, tuple[bytes, int]]]) -> None:
    """The same result again changes no byte, and is no evidence of anything."""
    store.put(KEY, ARRAYS, RECORD)
    before = contents(store.folder)
    assert store.put(KEY, ARRAYS, {**RECORD, "host": "another"})
    assert contents(store.folder) == before
    assert evidence(store) == []


def test_the_first_writer_wins(store: Store, contents: Callable[[Path], dict[str, tuple[bytes, int]]]) -> None:
    """A second result that differs changes nothing in the store, and is kept whole as evidence."""
    store.put(KEY, ARRAYS, RECORD)
    before = contents(store.folder)
    assert not store.put(KEY, OTHER, RECORD)
    assert contents(store.folder) == before
    assert sorted(p.suffix for p in evidence(store)) == [".json", ".safetensors"]
    assert all(p.name.startswith(KEY) for p in evidence(store))
    assert not store.put(KEY, OTHER, RECORD)
    assert len(evidence(store)) == 2


def test_a_blob_without_record_does_not_count(store: Store) -> None:
    """A process killed between blob and record left nothing done; the run that comes after it is kept."""
    store.put(KEY, OTHER, RECORD)
    store.record_path(KEY).unlink()
    assert store.keys() == set()
    with pytest.raises(Damaged, match=rf"{KEY}\.json is missing"):
        store.get(KEY)
    assert store.put(KEY, ARRAYS, RECORD)
    np.testing.assert_array_equal(store.get(KEY).arrays["outputs"], ARRAYS["outputs"])


def test_a_half_written_blob_without_record_is_replaced(store: Store) -> None:
    """Whatever lies under a blob's name without a record, the next result takes its place."""
    store.put(KEY, ARRAYS, RECORD)
    store.record_path(KEY).unlink()
    store.blob_path(KEY).write_bytes(store.blob_path(KEY).read_bytes()[:-3])
    assert store.put(KEY, ARRAYS, RECORD)
    np.testing.assert_array_equal(store.get(KEY).arrays["outputs"], ARRAYS["outputs"])


def test_temporary_files_do_not_count(store: Store) -> None:
    """What a killed writer left behind is no run."""
    store.put(KEY, ARRAYS, RECORD)
    (store.folder / "runs" / ".writing-ab_c12").write_bytes(store.record_path(KEY).read_bytes())
    assert store.keys() == {KEY}


def test_every_byte_of_a_small_blob_counts(store: Store) -> None:
    """A flip at each place of a blob is seen."""
    store.put(KEY, ARRAYS, RECORD)
    content = store.blob_path(KEY).read_bytes()
    for place in range(len(content)):
        store.blob_path(KEY).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Damaged, match=rf"{KEY}\.safetensors is damaged"):
            store.get(KEY)


def test_a_record_under_another_name_is_damage(store: Store) -> None:
    """A sound record that lies under another run's name is not that run's."""
    store.put(KEY, ARRAYS, RECORD)
    other = "cd" * 32
    store.blob_path(KEY).rename(store.blob_path(other))
    store.record_path(KEY).rename(store.record_path(other))
    with pytest.raises(Damaged, match=rf"{other}\.json is damaged: it is the record of another run"):
        store.get(other)


@pytest.mark.parametrize("other", [{}, {"format": 1}, {"format": 1, "key": KEY}, {"format": 1, "key": KEY, "blob": 3}])
def test_a_sealed_file_that_is_no_record_is_damage(store: Store, other: dict[str, Any]) -> None:
    """A sound sealed file of another kind, such as a copy of study.json, is not taken for a record."""
    store.put(KEY, ARRAYS, RECORD)
    store.record_path(KEY).write_bytes(sealed(other))
    with pytest.raises(Damaged, match=rf"{KEY}\.json"):
        store.get(KEY)


def test_a_missing_blob_is_damage(store: Store) -> None:
    """A record without its blob names the blob."""
    store.put(KEY, ARRAYS, RECORD)
    store.blob_path(KEY).unlink()
    with pytest.raises(Damaged, match=rf"{KEY}\.safetensors is missing"):
        store.get(KEY)


def test_a_record_of_a_later_format_is_refused(store: Store) -> None:
    """A record that a later version wrote is not read as if it were of this one."""
    store.put(KEY, ARRAYS, RECORD)
    record = unsealed(store.record_path(KEY).read_bytes(), store.record_path(KEY))
    store.record_path(KEY).write_bytes(sealed({**record, "format": 99}))
    with pytest.raises(BadInput, match=r"format 99.*use the version that made it"):
        store.get(KEY)


def test_set_aside_moves_all_and_overwrites_nothing(store: Store) -> None:
    """Set aside twice, a run leaves both its results in evidence, and can be kept again each time."""
    for arrays in (ARRAYS, OTHER):
        assert store.put(KEY, arrays, RECORD)
        store.set_aside(KEY)
        assert store.keys() == set()
    assert len(evidence(store)) == 4
    blobs = {p.read_bytes() for p in evidence(store) if p.suffix == ".safetensors"}
    assert len(blobs) == 2
    assert store.put(KEY, ARRAYS, RECORD)


def test_a_second_result_after_one_set_aside_keeps_all_evidence(store: Store) -> None:
    """Evidence of a differing result and of a damaged file do not overwrite each other."""
    store.put(KEY, ARRAYS, RECORD)
    store.put(KEY, OTHER, RECORD)
    store.set_aside(KEY)
    store.put(KEY, OTHER, RECORD)
    store.set_aside(KEY)
    assert len(evidence(store)) == 6


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Where there are no hard links a file is renamed into place, and the first writer still wins."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "file"
    assert write_file(path, b"first")
    assert not write_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_arrays_stand_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Whatever the size of the file: what is drawn from them must not stand in another order in the next process."""
    names = [f"curves.{letter}" for letter in "qwertyuiopasdfgh"]
    for size in (1, 2**16):  # held in memory, and read one by one
        store = Store(tmp_path / str(size))
        store.put(KEY, {name: np.zeros(size, np.float32) for name in names}, RECORD)
        assert list(store.get(KEY).arrays) == sorted(names)
