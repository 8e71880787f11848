"""On a CUDA device: the control is zero with deterministic kernels, and `kernels` is a source. Run with -m gpu."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from problems import problem, seeds
from test_stack import same

from nondet.training.train import train_stack

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("model", ["dropout", "resnet"])
@pytest.mark.parametrize("tf32", [False, True])
def test_the_control_is_zero(model: str, tf32: bool) -> None:
    """Equal seeds give equal bits, in other slots and beside other runs, with TF32 as without it."""
    p = replace(problem(model, CUDA), tf32=tf32)
    one = train_stack(p, [seeds(p, n, "init", "shuffle") for n in (1, 2, 3)])
    other = train_stack(p, [seeds(p, n, "init", "shuffle") for n in (9, 1, 2)])
    assert same(one[0], other[1])
    assert same(one[1], other[2])


def test_kernels_are_a_source() -> None:
    """A CUDA task has the source `kernels`, whose runs train as the others do."""
    p = problem("resnet", CUDA)
    assert "kernels" in p.sources
    runs = train_stack(p, [seeds(p, n, "kernels") for n in (2, 3)])
    assert all(run.failed is None for run in runs)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_short_types_train(precision: str) -> None:
    """Both short types train, with a control of zero."""
    p = problem("resnet", CUDA, precision=precision)
    one, other = (train_stack(p, [seeds(p, 1), seeds(p, n)]) for n in (2, 3))
    assert same(one[0], other[0])


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_bit_at_the_onset_is_the_next_float(tmp_path: Path, precision: str) -> None:
    """A trunk on the device is forked, and one weight of it moves to the next float of its type."""
    p = problem("resnet", CUDA, precision=precision)
    trunk = tmp_path / "trunk"
    train_stack(p, [seeds(p, 1)] * 2, trunks={1: trunk})
    same_run, changed = train_stack(p, [seeds(p, n, "bit") for n in (1, 2)], fork=trunk)
    bit = changed.facts["bit"]
    assert abs(int(bit["before"], 16) - int(bit["after"], 16)) == 1
    assert not same_run.facts
