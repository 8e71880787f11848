"""A data set of another package, in one file: seen wherever tasks are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Nondet = Callable[..., Any]

MODULE = '''
"""Two noisy moons."""

import numpy as np
import torch
from torch import nn

import nondet as nd

RECIPE = nd.Recipe(epochs=2, batch_size=16, lr=0.1)


def moons(options):
    """Two half circles of 60 points."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, size=60)
    label = rng.integers(2, size=60)
    x = np.stack([np.cos(angle) * (1 - 2 * label) + label, np.sin(angle) * (1 - 2 * label)], axis=1)
    x = torch.from_numpy(x.astype(np.float32))
    y = torch.from_numpy(label)
    return nd.Task(
        model=lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)),
        train=(x[:40], y[:40]),
        test=(x[40:], y[40:]),
        recipe=RECIPE,
        stack=4,
    )
'''


def test_it_is_listed_trained_shown_and_gone_on_with(nondet: Nondet, install: Any, tmp_path: Path) -> None:
    """`nondet tasks` and the list of a wrong name have it; `nondet run` trains it, and goes on with it."""
    install("moonset", MODULE, ("nondet.tasks", "moons", "moons"))
    assert "moons: Two half circles of 60 points.\n" in nondet("tasks").out
    assert "moons" in nondet("run", "no-such-task").err
    for runs in (3, 5):
        ran = nondet("run", "moons", "--runs", runs, "--vary", "init", "--study", tmp_path / "s")
        assert ran.code == 0, ran.err
    found = json.loads(nondet("show", tmp_path / "s", "--json").out)
    assert (found["task"], found["conditions"][0]["runs"]) == ("moons", 5)


def test_one_that_cannot_be_loaded_is_a_sentence(nondet: Nondet, install: Any, tmp_path: Path) -> None:
    """A broken package is said in `nondet tasks`, and refused where it is asked for; the others work."""
    install("broken", "import no_such_module\n", ("nondet.tasks", "moons", "moons"))
    listed = nondet("tasks")
    assert listed.code == 0
    assert "moons: the entry point moons of nondet.tasks must be broken:moons, which cannot be loaded" in listed.out
    assert "digits: " in listed.out
    ran = nondet("run", "moons", "--study", tmp_path / "s")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
