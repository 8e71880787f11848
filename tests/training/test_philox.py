"""The kernel's uniform numbers are numpy's, to the last bit; run by Triton's interpreter where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nondet.sources import stream
from nondet.training import philox
from nondet.training.dropout import draw_uniforms

SHAPES = [[(5, 7)], [(4, 3, 2), (4,), ()], [(1,), (4, 9), (3, 5)], [(6, 400)]]
OFFSETS = [0, 1, 5, 8, 13, 1027]

INTERPRETED = """
import sys, test_philox
every = int(sys.argv[1])
pairs = [(shapes, offset) for offset in test_philox.OFFSETS for shapes in test_philox.SHAPES]
for shapes, offset in pairs[::every]:
    test_philox.compare("cpu", shapes, offset)
"""


def compare(device: str, shapes: list[tuple[int, ...]], offset: int) -> None:
    """Three streams, from a word on, against numpy's numbers; the rows are moved to other places."""
    rngs, again = ([stream("dropout", seed, 3) for seed in (1, 2, 2**40)] for _ in range(2))
    rows = shapes[0][0]
    places = np.stack([np.random.default_rng(seed).permutation(rows) for seed in range(3)])
    for rng in rngs:
        rng.random(offset, dtype=np.float32)
    expected = draw_uniforms(rngs, shapes, places, torch.device("cpu"))
    start = torch.tensor([offset], device=device)
    drawn = philox.draw(philox.keys_of(again).to(device), start, shapes, torch.from_numpy(places).to(device))
    assert len(drawn) == len(expected)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_the_interpreter_draws_numpys_numbers(every: int) -> None:
    """In a process of its own: Triton reads the setting when it is imported."""
    pytest.importorskip("triton")
    path = os.pathsep.join(p for p in sys.path if Path(p).is_relative_to(Path(__file__).parents[2]))  # no task's folder
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", INTERPRETED, str(every)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("offset", OFFSETS)
def test_the_device_draws_numpys_numbers(shapes: list[tuple[int, ...]], offset: int) -> None:
    compare("cuda", shapes, offset)
