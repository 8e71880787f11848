"""Outputs and labels from files: every format gives the array back, and nothing hostile is read."""

import errno
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import csv, parquet
from safetensors.numpy import save_file

from nondet.errors import BadInput
from nondet.io.outputs import read_labels, read_outputs
from nondet.measures import arrays

DTYPES = ["float16", "float32", "float64", "int8", "uint16", "int64"]
LABELS = np.random.default_rng(1).integers(0, 3, 6)


def outputs_of(dtype: str = "float32") -> Any:
    """Outputs of 12 runs: more than nine, so that names in the order of texts would come out wrong."""
    return (np.random.default_rng(0).normal(size=(12, 6, 3)) * 20).astype(dtype)


def write(folder: Path, kind: str, outputs: Any) -> Path:
    """Write outputs (N, n, c) or (N, n) and LABELS as one of the formats."""
    path = folder / f"outputs.{kind}"
    if kind == "npy":
        np.save(path, outputs)
    elif kind == "npz":
        np.savez(path, outputs=outputs, labels=LABELS)
    elif kind == "compressed.npz":
        np.savez_compressed(path, logits=outputs, labels=LABELS)
    elif kind == "safetensors":
        save_file({"labels": LABELS, "outputs": outputs}, path)
    elif kind == "folder":
        path.mkdir()
        np.save(path / "labels.npy", LABELS)
        for number, run in enumerate(outputs, start=1):
            np.save(path / f"run-{number}.npy", run)
    else:
        write_table(path, table(outputs))
    return path


KINDS = ["npy", "npz", "compressed.npz", "safetensors", "folder", "parquet", "csv"]


def table(outputs: Any, order: Any = None) -> Any:
    """A row for each run and example, in a random order; columns of logits, or one of classes, and the label."""
    runs, examples = outputs.shape[:2]
    rows = np.random.default_rng(2).permutation(runs * examples) if order is None else order
    flat = outputs.reshape(runs * examples, -1)[rows]
    names = ["class"] if outputs.ndim == 2 else [f"logit{k}" for k in range(flat.shape[1])]
    columns = dict(zip(names, flat.T, strict=True))
    return pa.table({"run": rows // examples + 1, **columns, "example": rows % examples, "label": LABELS[rows % 6]})


def write_table(path: Path, rows: Any) -> None:
    """As the path's ending has it."""
    if path.suffix == ".parquet":
        parquet.write_table(rows, path, row_group_size=17)
    else:
        csv.write_csv(rows, path)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_come_back_as_they_were_written(tmp_path: Path, kind: str, dtype: str) -> None:
    """Every format keeps every number, the order of runs and examples, and the type; CSV has float64 alone."""
    outputs = outputs_of(dtype)
    if kind == "csv" and dtype == "float16":
        pytest.skip("pyarrow writes no float16 to CSV")
    found = read_outputs(write(tmp_path, kind, outputs))
    assert found.dtype == (np.dtype("float64") if kind == "csv" else outputs.dtype)
    np.testing.assert_array_equal(found.astype(dtype), outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_predicted_classes_come_back_as_they_were_written(tmp_path: Path, kind: str) -> None:
    """Every format holds predicted classes (N, n) too."""
    predicted = outputs_of().argmax(axis=-1)
    found = read_outputs(write(tmp_path, kind, predicted))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, predicted)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "npy"])
def test_labels_are_read_from_beside_the_outputs(tmp_path: Path, kind: str) -> None:
    """All but .npy can hold the labels too."""
    np.testing.assert_array_equal(read_labels(write(tmp_path, kind, outputs_of())), LABELS)


@pytest.mark.parametrize(
    "kind", ["npy", "npz", "safetensors", "csv", "parquet", "by example.csv", "by example.parquet"]
)
def test_labels_are_read_from_their_own_file(tmp_path: Path, kind: str) -> None:
    """A single array or column needs no name, and a column `example` gives the order."""
    path = tmp_path / kind if kind.startswith("by") else tmp_path / f"y.{kind}"
    if kind == "npy":
        np.save(path, LABELS)
    elif kind == "npz":
        np.savez(path, LABELS)
    elif kind == "safetensors":
        save_file({"any name": LABELS}, path)
    elif kind.startswith("by"):
        write_table(path, pa.table({"y": LABELS[::-1], "example": [f"{k}" for k in range(6)][::-1]}))
    else:
        write_table(path, pa.table({"y": LABELS}))
    np.testing.assert_array_equal(read_labels(path), LABELS)


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_mapped_formats_stay_on_disk(tmp_path: Path, kind: str) -> None:
    """A .npy or .safetensors file is mapped, not read."""
    assert isinstance(read_outputs(write(tmp_path, kind, outputs_of())), np.memmap)


@pytest.mark.parametrize("kind", ["compressed.npz", "folder", "parquet"])
def test_large_arrays_go_to_a_file_that_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What cannot be mapped and is large is kept in a temporary file without a name."""
    path = write(tmp_path, kind, outputs_of())
    monkeypatch.setattr("nondet.io.foreign.IN_MEMORY", 10)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    found = read_outputs(path)
    np.testing.assert_array_equal(found, outputs_of())
    assert isinstance(found, np.memmap) or isinstance(found.base, np.memmap)
    assert list(scratch.iterdir()) == []


def test_fortran_order_is_kept_apart(tmp_path: Path) -> None:
    """A packed array in Fortran order has the same numbers."""
    np.savez(tmp_path / "o.npz", np.asfortranarray(outputs_of()))
    np.testing.assert_array_equal(read_outputs(tmp_path / "o.npz"), outputs_of())


def test_a_folder_may_mix_its_formats(tmp_path: Path) -> None:
    """Runs of equal shape and type may lie in different formats; hidden files do not count."""
    outputs = outputs_of()
    np.save(tmp_path / "1.npy", outputs[0])
    np.savez(tmp_path / "2.npz", outputs[1])
    save_file({"logits": outputs[2]}, tmp_path / "10.safetensors")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    np.testing.assert_array_equal(read_outputs(tmp_path), outputs[:3])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outputs=hnp.arrays("float64", hnp.array_shapes(min_dims=3, max_dims=3), elements=st.floats(-1e90, 1e90)),
    seed=st.integers(0, 99),
)
def test_tables_come_back_whatever_their_numbers_and_order(tmp_path: Path, outputs: Any, seed: int) -> None:
    """Any finite numbers in any order of rows survive both kinds of table to the last bit."""
    if outputs.shape[2] < 2:
        return
    runs, examples, classes = outputs.shape
    rows = np.random.default_rng(seed).permutation(runs * examples)
    flat = outputs.reshape(-1, classes)[rows]
    columns = {f"c{k}": flat[:, k] for k in range(classes)}
    for kind in ("csv", "parquet"):
        write_table(tmp_path / f"o.{kind}", pa.table({"run": rows // examples, "example": rows % examples, **columns}))
        np.testing.assert_array_equal(read_outputs(tmp_path / f"o.{kind}"), outputs)


def test_runs_and_examples_may_be_named(tmp_path: Path) -> None:
    """Names in texts are put in the order of the texts, numbers in texts in that of the numbers."""
    rows = {"run": ["b", "a", "b", "a"], "example": ["10", "9", "9", "10"], "class": [0, 1, 2, 3]}
    write_table(tmp_path / "o.csv", pa.table(rows))
    rows["run"] = pa.array(rows["run"]).dictionary_encode()  # as a categorical column of pandas
    write_table(tmp_path / "o.parquet", pa.table(rows))
    for kind in ("csv", "parquet"):
        assert read_outputs(tmp_path / f"o.{kind}").tolist() == [[1, 3], [2, 0]]


def test_runs_and_examples_may_be_numbers_of_any_kind(tmp_path: Path) -> None:
    """Ten comes after two also where pandas has made the numbers floats."""
    rows = {"run": [10.0, 10.0, 2.0, 2.0], "example": ["1e1", "-1", "10.0", "-1"][:2] * 2, "class": [0, 1, 2, 3]}
    for kind in ("csv", "parquet"):
        write_table(tmp_path / f"o.{kind}", pa.table(rows))
        assert read_outputs(tmp_path / f"o.{kind}").tolist() == [[3, 2], [1, 0]]


def test_tables_are_read_in_several_parts(tmp_path: Path) -> None:
    """A table of many parts, some megabytes, comes back as it was."""
    outputs = np.random.default_rng(3).normal(size=(170, 600, 2))
    rows = np.random.default_rng(4).permutation(170 * 600)
    flat = outputs.reshape(-1, 2)[rows]
    columns = {"run": rows // 600, "example": rows % 600, "a": flat[:, 0], "b": flat[:, 1]}
    for kind in ("csv", "parquet"):
        write_table(tmp_path / f"o.{kind}", pa.table(columns))
        np.testing.assert_array_equal(read_outputs(tmp_path / f"o.{kind}"), outputs)


def test_a_full_temporary_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a large array has no room, one sentence says how much it needs, before it is written."""
    path = write(tmp_path, "npz", outputs_of())
    monkeypatch.setattr("nondet.io.foreign.IN_MEMORY", 10)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(BadInput, match=r"space for 864 bytes \(got: No space left on device\); .* TMPDIR"):
        read_outputs(path)


def test_the_index_of_pandas_is_no_logit(tmp_path: Path) -> None:
    """The columns that pandas writes for its index do not become logits."""
    (tmp_path / "o.csv").write_text(",run,example,a,b\n0,0,0,1,2\n1,1,0,3,4\n")
    assert read_outputs(tmp_path / "o.csv").tolist() == [[[1, 2]], [[3, 4]]]
    columns = {"run": [0, 1], "example": [0, 0], "a": [1.0, 3.0], "b": [2.0, 4.0], "__index_level_0__": [7, 8]}
    write_table(tmp_path / "o.parquet", pa.table(columns))
    assert read_outputs(tmp_path / "o.parquet").tolist() == [[[1, 2]], [[3, 4]]]


def npz(**members: bytes) -> bytes:
    """A packed .npz of raw members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: Any, claim: tuple[int, ...] | None = None) -> bytes:
    """A .npy file, whose header may claim another shape."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | ({"shape": claim} if claim else {})
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def tensors(header: Any, data: bytes = bytes(96)) -> bytes:
    """A .safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(shape: Any = (4, 3, 2), dtype: str = "F32", offsets: Any = (0, 96)) -> Any:
    """A header of one tensor."""
    return {"outputs": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


OBJECTS = np.array([[None]], dtype=object)
KEYS = "run,example,a,b\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.npy", b"", r"o\.npy must be a whole \.npy file"),
        ("o.npy", npy(OUT := np.zeros((2, 3))) * 2, r"it continues for 176 bytes after the array of shape \(2, 3\)"),
        ("o.npz", b"", r"o\.npz must be a whole \.npz file of numbers \(File is not a zip file\); write it with"),
        ("o.npz", npz(a=b"1"), r"must be a whole \.npz file"),
        ("o.npz", npz(), r"must contain one array named outputs \(got no array\)"),
        ("o.npz", npz(a=npy(OUT), b=npy(OUT)), r"one array named outputs \(got 'a', 'b'\)"),
        ("o.npz", npz(labels=npy(OUT)), r"must contain one array named outputs \(got 'labels'\)"),
        ("o.npz", npz(a=npy(OUT, claim=(200, 3))), r"its header says \(200, 3\), which does not match its size"),
        ("o.npz", npz(a=npy(OUT, claim=(2**40, 2**40))), r"its header says .* which does not match its size"),
        ("o.npz", npz(a=npy(OUT, claim=(-2, -3))), r"its header says \(-2, -3\)"),
        ("o.npz", npz(a=npy(OUT))[:-30], r"must be a whole \.npz file"),
        ("o.safetensors", b"", r"must be a whole \.safetensors file"),
        ("o.safetensors", b"\xff" * 40, r"its header is too long"),
        ("o.safetensors", tensors(b"[" * 100_000), r"must be a whole \.safetensors file"),
        ("o.safetensors", tensors([1]), r"must be a whole \.safetensors file"),
        ("o.safetensors", tensors({}), r"must contain one array named outputs \(got no array\)"),
        ("o.safetensors", tensors(tensor(offsets=(0, 97))), r"its header points outside the file"),
        ("o.safetensors", tensors(tensor(offsets=(-96, 0))), r"its header points outside the file"),
        (
            "o.safetensors",
            tensors(tensor(offsets=(0, 92))),
            r"its header says \(4, 3, 2\), which does not match its size",
        ),
        ("o.safetensors", tensors(tensor(shape=(2**62, 2**62, 2))), r"which does not match its size"),
        ("o.safetensors", tensors(tensor(shape=(-4, -3, 2))), r"points outside the file|header says|whole"),
        ("o.safetensors", tensors(tensor(dtype="BF16")), r"float16, float32, float64 or integers \(got 'BF16'\)"),
        ("o.safetensors", tensors(tensor(shape=(4.5, 3, 2))), r"sizes that are not whole numbers"),
        ("o.safetensors", tensors({"outputs": 3}), r"must be a whole \.safetensors file"),
        ("o.csv", b"", r"o\.csv must be a table that can be read \(Empty CSV file"),
        ("o.csv", b"run;example;a;b\n0;0;1;2\n", r"columns run, example .* \(got 'run;example;a;b'\)"),
        ("o.csv", b"run,example\n0,0\n", r"one of classes or several of logits \(got 'run', 'example'\)"),
        ("o.csv", b"run,example,label\n0,0,1\n", r"one of classes or several of logits"),
        ("o.csv", b"run,example,a,a\n0,0,1,2\n", r"columns of different names"),
        ("o.csv", b"run,example,a,b\n0,0,1,\xff\xfe\n", r"o\.csv must be a table that can be read \(.*conversion"),
        ("o.csv", b"run,example,a,b\n\xff,0,1,2\n", r"o\.csv must be a table that can be read \(.*UTF8"),
        ("o.csv", b"run,example,\xff,b\n0,0,1,2\n", r"o\.csv must be a table that can be read"),
        ("o.csv", f"{KEYS}0,0,1,x\n".encode(), r"conversion error to double: invalid value 'x'"),
        ("o.csv", f"{KEYS}0,0,1\n".encode(), r"Expected 4 columns, got 3"),
        ("o.csv", f"{KEYS}0,0,1,nan\n".encode(), r"got nothing or NaN in column 'b', row 1\); failed='count'"),
        ("o.csv", f"{KEYS}0,0,1,2\n0,1,1,2\n1,0,1,\n1,1,0,0\n".encode(), r"nothing or NaN in column 'b', row 3"),
        ("o.csv", f"{KEYS}0,0,1,2\n0,1,1,2\n1,0,1,2\n".encode(), r"got no row for run '1', example '1'"),
        ("o.csv", f"{KEYS}0,0,1,2\n0,1,1,2\n1,1,1,2\n".encode(), r"got no row for run '1', example '0'"),
        ("o.csv", f"{KEYS}0,0,1,2\n0,0,1,2\n".encode(), r"got two rows for run '0', example '0'"),
        ("o.csv", f"{KEYS}0,0,1,2\n1,1,1,2\n0,0,1,2\n1,0,0,0\n".encode(), r"got two rows for run '0', example '0'"),
        ("o.csv", b"run,example,class\n0,0,0.5\n", r"classes as integers in one \(got double in 'class'\)"),
        ("o.parquet", b"", r"o\.parquet must be a table that can be read|cannot read"),
        ("o.parquet", b"PAR1" + bytes(50) + b"PAR1", r"o\.parquet must be a table that can be read|cannot read"),
        ("o.h5", b"x", r"o\.h5 must end in \.npy, \.npz, \.safetensors, .*\.csv, \.parquet, .* \(got \.h5\)"),
        ("o.pt", b"x", r"o\.pt must be a \.pt file of tensors only \(it is damaged, or contains more than tensors\)"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """What is no whole file of numbers is refused in one sentence, before anything of its claimed size is made."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        read_outputs(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_an_archive_without_arrays_holds_none(tmp_path: Path) -> None:
    """What is in a .npz and is no .npy file is no array, whatever its name."""
    with zipfile.ZipFile(tmp_path / "o.npz", "w") as archive:
        archive.writestr("outputs.txt", b"x")
    with pytest.raises(BadInput, match=r"must contain one array named outputs \(got no array\)"):
        read_outputs(tmp_path / "o.npz")


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "csv", "parquet"])
def test_pipes_are_not_waited_for(tmp_path: Path, kind: str) -> None:
    """A pipe is refused before it is opened, which would wait for another program."""
    os.mkfifo(tmp_path / f"o.{kind}")
    with pytest.raises(BadInput, match=r"must be a file or a folder \(got a device or a pipe\)"):
        read_outputs(tmp_path / f"o.{kind}")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_pickles_are_never_loaded(tmp_path: Path, kind: str) -> None:
    """An array of Python objects is refused without unpickling it."""

    class Trap:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "sprung", "x")

    objects = np.array([[Trap()]], dtype=object)
    path = tmp_path / f"o.{kind}"
    with path.open("wb") as file:
        (np.save if kind == "npy" else np.savez)(file, objects, allow_pickle=True)
    with pytest.raises(BadInput, match=r"must be a whole \.np. file"):
        read_outputs(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadInput, match=r"must be a whole \.np. file"):
        read_outputs(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_small_files_that_hold_far_more_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A file of a few bytes that would fill the memory is refused by its own account."""
    monkeypatch.setattr("nondet.io.foreign.GROWN", 1000)
    path = tmp_path / f"o.{kind}"
    if kind == "npz":
        np.savez_compressed(path, np.zeros(10**7))
    else:
        write = {"run": np.zeros(10**6, int), "example": np.zeros(10**6, int), "class": np.zeros(10**6, int)}
        parquet.write_table(pa.table(write), path)
    with pytest.raises(BadInput, match=r"must not contain over 200 times its size \(got \d+ bytes in a file of \d+\)"):
        read_outputs(path)


def test_a_changed_byte_in_a_packed_array_is_found(tmp_path: Path) -> None:
    """The archive's own sum is checked."""
    path = tmp_path / "o.npz"
    np.savez(path, outputs_of())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="Bad CRC-32"):
        read_outputs(path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"must contain one file for each run \(got an empty folder\)"),
        ({"labels.npy": LABELS}, r"must contain one file for each run"),
        ({"1.npy": np.zeros((2, 3)), "2.npy": np.zeros((2, 4))}, r"shape \(2, 4\) in 2\.npy, and .*\(2, 3\) in 1\.npy"),
        ({"1.npy": np.zeros((2, 3)), "2.npy": np.zeros((2, 3), "f4")}, r"got float32 .* in 2\.npy, and float64"),
        ({"1.npy": np.zeros((1, 2, 3))}, r"must be one run's numbers.*\(got float64 of shape \(1, 2, 3\) in 1\.npy\)"),
        ({"1.npy": np.zeros((2, 3), bool)}, r"got bool of shape"),
        ({"1.npy": np.zeros((2, 3)), "more.h5": None}, r"must contain only .* \(got 'more\.h5'\)"),
        ({"1.npy": np.zeros((2, 3)), "2.npy": None}, r"2\.npy must be a whole \.npy file"),
    ],
)
def test_folders_that_are_no_runs(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    """Empty folders, and files of mixed shapes, types and kinds, are named."""
    for name, array in files.items():
        if array is None:
            (tmp_path / name).write_bytes(b"x")
        else:
            np.save(tmp_path / name, array)
    with pytest.raises(BadInput, match=message):
        read_outputs(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,example,class\n0,0,1\n", r"must have one column label, .* \(got 'run', 'example', 'class'\)"),
        ("example,a,b\n0,1,2\n", r"must have one column label"),
        ("run,label\n0,1\n", r"must have one column label, and example besides run"),
        ("label\n0.5\n", r"conversion error to int64"),
        ("label\n\n1\n,\n", r"must be a table|got nothing"),
        ("example,label\n0,1\n0,2\n", r"one label in all its rows \(got \d and \d for example '0'\)"),
    ],
)
def test_tables_without_labels(tmp_path: Path, text: str, message: str) -> None:
    """A table that does not give every example one whole number is refused."""
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        read_labels(tmp_path / "l.csv")


def test_float_labels_in_parquet_are_refused(tmp_path: Path) -> None:
    """Labels are whole numbers."""
    write_table(tmp_path / "l.parquet", pa.table({"label": [0.0, 1.0]}))
    with pytest.raises(BadInput, match=r"must have integers as labels \(got float64 in column 'label'\)"):
        read_labels(tmp_path / "l.parquet")


@pytest.mark.parametrize("column", [pa.array(["x", "y"]), pa.array([[1.0], [2.0]]), pa.array([True, False])])
def test_columns_that_are_no_numbers_are_refused(tmp_path: Path, column: Any) -> None:
    """Texts, lists and truth values are no logits."""
    write_table(tmp_path / "o.parquet", pa.table({"run": [0, 1], "example": [0, 0], "a": [1, 2], "b": column}))
    with pytest.raises(BadInput, match=r"must have logits as numbers .* in 'b'"):
        read_outputs(tmp_path / "o.parquet")


def test_one_column_of_floats_is_no_class(tmp_path: Path) -> None:
    """A single column beside run and example must be whole class numbers."""
    write_table(tmp_path / "o.parquet", pa.table({"run": [0, 1], "example": [0, 0], "a": [1.0, 2.0]}))
    with pytest.raises(BadInput, match=r"or classes as integers in one \(got double in 'a'\)"):
        read_outputs(tmp_path / "o.parquet")


def test_probabilities_are_told_from_logits(sample: Callable[..., Any]) -> None:
    """Softmax outputs in any precision look like probabilities; logits and one class too many do not."""
    outputs = sample()[0]
    weights = np.exp(outputs)
    chances = weights / weights.sum(axis=-1, keepdims=True)
    for dtype in ("float16", "float32", "float64"):
        assert arrays.look_like_probabilities(chances.astype(dtype))
    assert not arrays.look_like_probabilities(outputs)
    assert not arrays.look_like_probabilities(chances[..., :-1])
    assert not arrays.look_like_probabilities(np.zeros((2, 3, 4)))
