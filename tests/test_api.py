"""What the package promises to those who import it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nondet
import nondet as nondet_package
from nondet.records import Record

BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
{statement}
"""


def run(blocked: list[str], statement: str) -> None:
    subprocess.run([sys.executable, "-c", BLOCKED.format(blocked=blocked, statement=statement)], check=True)


def test_import_is_light() -> None:
    """Importing nondet imports no library at all; its measures need neither torch nor any library of the commands."""
    run(["torch", "numpy", "scipy", "rich", "cyclopts", "sklearn", "matplotlib", "pyarrow"], "import nondet")
    run(["torch", "rich", "cyclopts", "sklearn", "matplotlib"], "import nondet; nondet.Recipe; nondet.measure")


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """After the command line is loaded, each public name is still no module, and `dir` lists the public names alone."""
    run(
        [],
        "import types, nondet, nondet.cli.main, nondet.cli.app, nondet.study.record, nondet.running.session\n"
        "assert not [n for n in nondet.__all__ if isinstance(getattr(nondet, n), types.ModuleType)]\n"
        "assert {n for n in dir(nondet) if n[0] != '_'} == {*nondet.__all__}",
    )


def test_public_tables_cannot_be_changed() -> None:
    """A source that somebody adds to the public table would be in every design: the table is read-only."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        nondet.SOURCES["phantom"] = "made up"  # type: ignore[index]


def test_training_needs_no_command_libraries() -> None:
    """Training, measures and the study work on a bare machine: torch, numpy and safetensors, and no more."""
    run(
        ["rich", "cyclopts", "sklearn", "matplotlib", "scipy"],
        "import nondet, nondet.study.record, nondet.training.train, nondet.analysis.results, nondet.tasks.user;"
        "nondet.Crop",
    )


def test_the_public_names_are_there() -> None:
    """Every name of the public list exists, and no other name is made up."""
    assert all(getattr(nondet, name) is not None for name in nondet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Corp'"):
        nondet.Corp  # noqa: B018


RUNS = np.random.default_rng(0).standard_normal((4, 12, 3))
LABELS = np.arange(12) % 3
CLASSES = RUNS.argmax(axis=-1)
ANSWERED = (CLASSES > 0).all(axis=0)
ABOVE = CLASSES[:, ANSWERED] - 1
BINARY = np.concatenate([0 * RUNS[..., :1], RUNS[..., :1]], axis=-1)
NAN = np.where(np.arange(4)[:, None, None] == 2, np.nan, RUNS)


def as_dict(outputs: object, labels: object = LABELS, **options: Any) -> dict[str, Any]:
    return nondet.measure(outputs, labels, **options).to_dict()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_classes_are_measured_whatever_integers_they_are(kind: str) -> None:
    """Predicted classes alone are measured too: the figures that they allow, and null for what needs logits."""
    found = as_dict(CLASSES.astype(kind), LABELS.astype(kind))
    logits = as_dict(RUNS)
    assert (found["accuracy"], found["disagreement"]) == (logits["accuracy"], logits["disagreement"])
    assert found["cross_entropy"]["mean"] is None


@pytest.mark.parametrize("form", ["list", "tensor", "tensor with a gradient", "tensor of bfloat16"])
def test_lists_and_tensors_are_measured(form: str) -> None:
    """Lists and tensors are as good as arrays."""
    if form == "list":
        assert as_dict(CLASSES.tolist(), LABELS.tolist()) == as_dict(CLASSES)
        assert as_dict(RUNS.tolist(), LABELS.tolist()) == as_dict(RUNS)
        return
    logits = torch.from_numpy(RUNS).requires_grad_("gradient" in form)
    logits = logits.bfloat16() if "bfloat16" in form else logits
    assert as_dict(logits, torch.from_numpy(LABELS)) == as_dict(logits.detach().double().numpy())
    assert as_dict(torch.from_numpy(CLASSES), torch.from_numpy(LABELS)) == as_dict(CLASSES)


ADVICE: dict[str, tuple[tuple[object, object], str, tuple[object, object], int | str]] = {
    "no axis of runs": ((RUNS[0], LABELS), "stack one .* for each run", (np.stack([RUNS[0], RUNS[1]]), LABELS), 0),
    "classes as floats": ((CLASSES * 1.0, LABELS), "predicted classes as integers", (CLASSES.astype(int), LABELS), 0),
    "classes as booleans": ((CLASSES > 0, LABELS), "as integers", ((CLASSES > 0).astype(int), LABELS), 0),
    "labels as floats": ((RUNS, LABELS * 1.0), r"labels\.astype\(int\)", (RUNS, (LABELS * 1.0).astype(int)), 0),
    "labels as booleans": ((RUNS, LABELS > 0), r"labels\.astype\(int\)", (RUNS, (LABELS > 0).astype(int)), 0),
    "texts": ((RUNS.astype(str), LABELS), "convert them to float64", (RUNS.astype(str).astype(np.float64), LABELS), 0),
    "one run": ((RUNS[:1], LABELS), "at least two runs", (RUNS[:2], LABELS), 0),
    "one logit": ((RUNS[..., :1], LABELS % 2), "two if it is binary", (BINARY, LABELS % 2), 0),
    "classes from 1": ((RUNS, LABELS + 1), "number the classes from 0", (RUNS, LABELS), 0),
    "another test set": ((RUNS, LABELS[:5]), "labels of the same test set", (RUNS, LABELS), 0),
    "labels of two axes": ((RUNS, LABELS[None]), "one class number each", (RUNS, LABELS), 0),
    "a failed run": ((NAN, LABELS), "failed='count' counts such runs as failed", (NAN, LABELS), "count"),
    "a class below 0": ((CLASSES - 1, LABELS), "leave out examples without a class", (ABOVE, LABELS[ANSWERED]), 0),
    "unequal lists": (([[[1.0, 2.0]], [[1.0]]], [0]), "pad or drop some", ([[[1.0, 2.0]], [[1.0, 0.0]]], [0]), 0),
    "a list of objects": (([object()], LABELS), "three axes", (RUNS, LABELS), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_the_way_out_of_a_refusal_works(name: str) -> None:
    """What a refusal of `measure` advises is taken."""
    bad, advice, good, failed = ADVICE[name]
    with pytest.raises(nondet.BadInput, match=advice):
        as_dict(*bad)
    assert as_dict(*good, failed=failed)["failed"] == (failed == "count")


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_a_record_warns_as_its_command_does(form: str, nondet: Callable[..., Any], tmp_path: Path) -> None:
    """What `nondet measure` says on standard error stands below the record's table, in a terminal and a notebook."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    logits = rng.normal(size=(4, 60, 3)) + 2 * np.eye(3)[labels]
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    outputs = {"logits": logits, "probabilities": chances}[form]
    np.save(tmp_path / "o.npy", outputs)
    np.save(tmp_path / "l.npy", labels)
    said = nondet("measure", tmp_path / "o.npy", "--labels", tmp_path / "l.npy").err.splitlines()
    assert any("look like probabilities" in line for line in said) == (form == "probabilities")
    found = nondet_package.measure(outputs, labels)
    assert said
    for line in said:
        assert line in " ".join(repr(found).split())
        assert escape(line) in found._repr_html_()


def test_every_record_prints_as_its_command_does() -> None:
    """None is a dump of its fields: `print` and a notebook's last line give its table or sentence."""
    for module in pkgutil.walk_packages(nondet.__path__, "nondet."):
        if module.name.startswith(("nondet.analysis", "nondet.measures", "nondet.running")):
            importlib.import_module(module.name)
    waiting, records = [Record], list[type[Record]]()
    while waiting:
        children = waiting.pop().__subclasses__()
        records += children
        waiting += children
    assert {"Audit", "Diverged", "Resumed", "Results"} <= {one.__name__ for one in records}
    assert [one.__name__ for one in records if one.__repr__ is not Record.__repr__] == []
