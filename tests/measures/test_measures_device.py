"""The passes of a device agree with those of numpy: torch's code on the CPU here, and on a GPU where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nondet
from nondet.analysis import measuring
from nondet.errors import BadInput
from nondet.measures import device, ensemble
from nondet.measures.answers import Answers
from nondet.measures.device import DeviceAnswers

TIED = ("ties", "equal rows")
KINDS = ("normal", *TIED, "far apart", "one run constant")


def outputs(kind: str, classes: int, runs: int = 7, examples: int = 40) -> tuple[Any, Any]:
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((runs, examples, classes)) + 2 * rng.standard_normal((examples, classes))
    if kind == "ties":
        logits = np.rint(logits)
    if kind == "equal rows":
        logits[3, :20] = logits[1, :20]
    if kind == "far apart":
        logits = logits * 900
    if kind == "one run constant":
        logits[2] = 0.5
    return torch.from_numpy(logits), rng.integers(classes, size=examples)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU take the passes of a device, in many small parts."""
    monkeypatch.setattr(device, "TILE", 300)
    monkeypatch.setattr(measuring, "_answers", DeviceAnswers)


def require_equal(found: Any, expected: Any) -> None:
    assert list(found) == list(expected)
    for name in expected:
        for side in ("value", "error", "low", "high"):
            ours, theirs = getattr(found[name], side), getattr(expected[name], side)
            assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-12, nan_ok=True), (name, side)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.usefixtures("forced")
def test_all_figures_are_those_of_numpy(dtype: torch.dtype, classes: int, kind: str, drawn: bool) -> None:
    """Whatever the type, the classes and the ties."""
    logits, labels = outputs(kind, classes)
    logits = logits.to(dtype)
    plain = logits.float() if dtype == torch.bfloat16 else logits
    found = nondet.measure(logits, labels, examples=drawn)
    with pytest.MonkeyPatch.context() as usual:
        usual.setattr(measuring, "_answers", Answers)
        require_equal(found, nondet.measure(plain.numpy(), labels, examples=drawn))


@pytest.mark.usefixtures("forced")
def test_many_runs_are_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy deals them."""
    monkeypatch.setattr(ensemble, "EXACT_RUNS", 20)
    monkeypatch.setattr(ensemble, "GROUP", 9)
    logits, labels = outputs("normal", 4, runs=50)
    found, expected = DeviceAnswers(logits, labels), Answers(logits, labels)
    for name, rows in expected.gains.items():
        np.testing.assert_allclose(found.gains[name], rows, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("forced")
def test_copies_count_once() -> None:
    """Also where zeros have another sign."""
    logits, labels = outputs("ties", 3)
    copy = torch.where(logits[2] == 0, -logits[2], logits[2])
    found = nondet.measure(torch.cat([logits, copy[None]]), labels)
    assert found.copies == {8: 3}
    require_equal(found, nondet.measure(logits, labels))


@pytest.mark.usefixtures("forced")
def test_what_numpy_refuses_is_refused() -> None:
    """In the same words."""
    logits, labels = outputs("normal", 3)
    logits[2, 5, 1] = torch.nan
    with pytest.raises(BadInput, match=r"finite .*nan in run 2, example 5"):
        nondet.measure(logits, labels)
    with pytest.raises(BadInput, match="labels must be from 0"):
        nondet.measure(outputs("normal", 3)[0], labels + 1)
    with pytest.raises(BadInput, match="at least 2"):
        nondet.measure(logits[:1], labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_on_a_gpu(dtype: torch.dtype, kind: str) -> None:
    """Tensors there are measured there, and those of the CPU as before."""
    logits, labels = outputs(kind, 10)
    logits = logits.to(dtype)
    assert isinstance(measuring._answers(logits.cuda(), labels), DeviceAnswers)
    require_equal(nondet.measure(logits.cuda(), labels), nondet.measure(logits, labels))
