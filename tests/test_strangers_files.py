"""Files of strangers: whatever is in a study's files, and whatever stands where a file should be, is one sentence."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.io.files import read_json, sealed

Nondet = Callable[..., Any]

READERS = (("show",), ("show", "--json"), ("verify",), ("compare",), ("alike",), ("examples",), ("report",))


def one_sentence(ran: Any, code: int) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 2


def give(nondet: Nondet, study: Path, words: tuple[str, ...]) -> Any:
    command, *options = words
    names = (f"{study}:init", f"{study}:shuffle") if command == "compare" else (study,)
    return nondet(command, *names, *options)


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed record as somebody would who seals it anew."""
    fields = json.loads(path.read_bytes())
    del fields["sha256"]
    change(fields)
    path.write_bytes(sealed(fields))


TEXTS = {
    "brackets": b"[" * 200_000,
    "closed brackets": b"[" * 200_000 + b"]" * 200_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep but readable": b"[" * 500 + b"]" * 500,
    "digits": b'{"runs": ' + b"9" * 100_000 + b"}",
    "NaN": b'{"sha256": NaN}',
    "no UTF-8": b'{"sha256": "\xff\xfe"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "field twice": b'{"sha256": "a", "sha256": "b"}',
    "another kind": b"[1, 2]",
    "nothing": b"",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("name", TEXTS)
def test_json_that_is_none(nondet: Nondet, study: Path, name: str) -> None:
    """A study.json, and a record, of whatever bytes is damaged: one sentence and 1."""
    record = next(iter(sorted((study / "runs").glob("*.json"))))
    kept = (study / "study.json").read_bytes()
    (study / "study.json").write_bytes(TEXTS[name])
    one_sentence(nondet("show", study), 1)
    one_sentence(nondet("verify", study), 1)
    (study / "study.json").write_bytes(kept)
    record.write_bytes(TEXTS[name])
    one_sentence(nondet("show", study), 1)
    assert nondet("verify", study).code == 1


@pytest.mark.parametrize("name", [n for n in TEXTS if n not in ("another kind",)])
def test_what_the_reader_of_json_refuses(name: str) -> None:
    """There is one reader, and it answers with one kind of error."""
    with pytest.raises(ValueError, match=r"."):
        read_json(TEXTS[name])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_the_reader_of_json_reads_json(value: object) -> None:
    """What Python writes it reads."""
    assert read_json(json.dumps(value).encode()) == value


FIELDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "task is a list": lambda f: f.update(task=[]),
    "name is a number": lambda f: f["task"].update(name=3),
    "recipe is a text": lambda f: f["task"].update(recipe="fast"),
    "epochs is a text": lambda f: f["task"]["recipe"].update(epochs="2"),
    "sources is a text": lambda f: f.update(sources="init"),
    "labels are texts": lambda f: f.update(labels=["0"] * len(f["labels"])),
    "labels are nested": lambda f: f.update(labels=[[0]] * len(f["labels"])),
    "labels are huge": lambda f: f.update(labels=[10**30] * len(f["labels"])),
    "labels are booleans": lambda f: f.update(labels=[True] * len(f["labels"])),
    "environment is null": lambda f: f.update(environment=None),
    "stack is a text": lambda f: f["environment"].update(stack="4"),
    "stack is 0": lambda f: f["environment"].update(stack=0),
    "command holds numbers": lambda f: f.update(command=[1]),
    "conditions are numbers": lambda f: f.update(conditions=[1]),
    "no condition": lambda f: f.update(conditions=[]),
    "runs is a text": lambda f: f["conditions"][0].update(runs="3"),
    "runs is true": lambda f: f["conditions"][0].update(runs=True),
    "runs is endless": lambda f: f["conditions"][0].update(runs=10**12),
    "onset is below 0": lambda f: f["conditions"][0].update(onset=-1),
    "vary is unknown": lambda f: f["conditions"][0].update(vary=["phase of the moon"]),
    "vary holds lists": lambda f: f["conditions"][0].update(vary=[["init"]]),
    "finished is an object": lambda f: f.update(finished={}),
    "finished holds lists": lambda f: f.update(finished=[[]]),
    "request is a list": lambda f: f.update(request=[]),
    "request holds a task": lambda f: f.update(request={"given": "digits"}),
    "crossed without end": lambda f: f.update(format=2, crossed={"vary": ["init", "shuffle"], "levels": 10**9}),
    "crossed of one": lambda f: f.update(format=2, crossed={"vary": ["init"], "levels": 2}),
    "until has another field": lambda f: f.update(until={"expression": "x"}),
    "track is a number": lambda f: f["task"].update(track=1),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("words", [("show",), ("verify",), ("compare",)], ids=" ".join)
def test_fields_of_another_type(nondet: Nondet, study: Path, words: tuple[str, ...], name: str) -> None:
    """A study.json that is sealed and holds what nondet does not write is damaged, and the sentence names the field."""
    reseal(study / "study.json", FIELDS[name])
    ran = give(nondet, study, words)
    one_sentence(ran, 1)
    assert "study.json is damaged" in ran.err


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "blob is a text": lambda f: f.update(blob="x"),
    "bytes is a text": lambda f: f["blob"].update(bytes="1100"),
    "sha256 is null": lambda f: f["blob"].update(sha256=None),
    "failed is a text": lambda f: f.update(failed="2"),
    "failed is missing": lambda f: f.pop("failed"),
    "run is missing": lambda f: f.pop("run"),
    "seeds are texts": lambda f: f["run"]["seeds"].update(init="1"),
    "another run's": lambda f: f["run"]["seeds"].update(init=99),
    "seconds is a text": lambda f: f.update(seconds="fast"),
    "facts is a list": lambda f: f.update(facts=[]),
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_of_another_type(nondet: Nondet, study: Path, name: str) -> None:
    """So is a record."""
    for path in (study / "runs").glob("*.json"):
        run = json.loads(path.read_bytes())["run"]
        if {*run["seeds"].values()} == {1} and not run["repeat"]:  # the run that all conditions share
            reseal(path, RECORDS[name])
    for words in READERS:
        ran = give(nondet, study, words)
        assert ran.code == 1, (words, ran)
        assert "Traceback" not in ran.err
    (command,) = {*re.findall(r"`nondet (run .+?)`", ran.err)}  # the way out
    assert nondet(*shlex.split(command)).code == 0
    assert nondet("verify", study).code == 0


@pytest.mark.parametrize("shape", [(5, 3), (20,), (20, 3, 1), None], ids=str)
def test_answers_of_another_shape(nondet: Nondet, study: Path, shape: tuple[int, ...] | None) -> None:
    """A blob whose hash is right, and that answers another test set, is damaged."""
    from nondet.study.store import Store

    store = Store(study)
    key = sorted(store.keys())[1]
    stored = store.get(key)
    arrays, record = dict(stored.arrays), {k: v for k, v in stored.record.items() if k not in ("format", "key", "blob")}
    del arrays["outputs"]
    if shape:
        arrays["outputs"] = np.zeros(shape, np.float32)
    store.set_aside(key)
    store.put(key, arrays, record)
    ran = nondet("show", study)
    one_sentence(ran, 1)
    assert "is damaged" in ran.err
    assert nondet("verify", study).code == 1


def put_in_place(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 2**40)


KINDS = ("pipe", "folder", "socket", "device", "a file of 1 TiB")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["study.json", ".json", ".safetensors"])
def test_no_file_where_a_file_belongs(nondet: Nondet, study: Path, suffix: str, kind: str) -> None:
    """A pipe, a folder, a socket, a device or an endless file in a study is not waited for or read, and is damage."""
    path = study / suffix if suffix == "study.json" else next(iter(sorted((study / "runs").glob(f"*{suffix}"))))
    put_in_place(kind, path)
    one_sentence(nondet("show", study), 1)
    assert nondet("verify", study).code == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".csv", ".parquet", ""])
def test_no_file_where_outputs_belong(nondet: Nondet, tmp_path: Path, suffix: str, kind: str) -> None:
    """`measure`, `compare` and `plan` say what is wrong with it, and with labels, and how to do without."""
    path, sound, labels = tmp_path / f"x{suffix}", tmp_path / "o.npy", tmp_path / "labels.npy"
    np.save(sound, np.random.default_rng(0).standard_normal((4, 6, 3)))
    np.save(labels, np.arange(6) % 3)
    put_in_place(kind, path)
    for words in (
        ("measure", path, "--labels", labels),
        ("measure", sound, "--labels", path),
        ("compare", path, sound, "--labels", labels),
        ("plan", "--effect", 1, "--study", path, "--labels", labels),
    ):
        one_sentence(nondet(*words), 2)


def test_a_pipe_of_a_shell_is_refused_with_the_way_out(nondet: Nondet, tmp_path: Path) -> None:
    """`<(command)` and /dev/stdin are pipes, which can be read only once: the sentence says to save the content."""
    reader, writer = os.pipe()
    try:
        for path in (f"/dev/fd/{reader}", f"/proc/self/fd/{reader}"):
            ran = nondet("measure", path)
            one_sentence(ran, 2)
            assert "save its content to a file" in ran.err
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_where_a_task_belongs(nondet: Nondet, tmp_path: Path, kind: str) -> None:
    """A task's file is a file, too."""
    put_in_place(kind, tmp_path / "task.py")
    one_sentence(nondet("run", tmp_path / "task.py", "--study", tmp_path / "s"), 2)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("task", "file", "others"),
    [
        (
            "mnist",
            "train-images-idx3-ubyte",
            ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ),
        ("cifar10", "data_batch_1.bin", ("test_batch.bin",)),
        ("cifar10", "data_batch_1", ("test_batch",)),
        ("text", "train.txt", ("valid.txt", "test.txt")),
    ],
)
def test_no_file_where_data_belong(
    nondet: Nondet, tmp_path: Path, task: str, file: str, others: tuple[str, ...], kind: str
) -> None:
    """So are the files of a data set."""
    (tmp_path / "data").mkdir()
    for other in others:
        (tmp_path / "data" / other).write_text("a word\n")
    put_in_place(kind, tmp_path / "data" / file)
    ran = nondet("run", task, "--data", tmp_path / "data", "--study", tmp_path / "s")
    one_sentence(ran, 2)


@pytest.mark.slow
def test_showing_a_study_holds_no_weights(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """Commands read the arrays that they need: their memory does not grow with the weights that runs keep."""
    wide = ("nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)", "nn.Linear(6, 20000), nn.ReLU(), nn.Linear(20000, 3)")
    study = tmp_path / "s"
    assert nondet("run", task_file(wide), "--runs", 6, "--study", study).code == 0
    kept = max(path.stat().st_size for path in (study / "runs").glob("*.safetensors"))
    assert kept > 2**19
    for words in READERS:
        give(nondet, study, words)  # what is imported is imported now
        tracemalloc.start()
        ran = give(nondet, study, words)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert ran.code == 0, ran.err
        if words != ("report",):  # which draws
            assert peak < 8 * kept, words  # of 26 runs
