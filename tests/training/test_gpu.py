"""On a CUDA device: the control is zero with deterministic kernels, and `kernels` is a source. Run with -m gpu."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import problem, seeds
from test_stack import same

from nondet.training.train import train_stack

pytestmark = pytest.mark.gpu
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
