"""Runs that a user's own sweep makes, kept in a study one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd

Nondet = Callable[..., Any]
LABELS = np.random.default_rng(0).integers(0, 3, 50)


def outputs(seed: int) -> np.ndarray:
    return np.eye(3)[LABELS] + np.random.default_rng([seed, 5]).normal(size=(50, 3))


def record(folder: Path, seed: int, left: Any = None, **how: Any) -> None:
    """A run of the sweep, or one that leaves something else."""
    with nd.record_run(folder, **{"seeds": {"seed": seed}, **how}) as run:
        if left is not False:
            run.outputs(outputs(seed) if left is None else left, LABELS)
            run.scores(loss=seed / 10)


def test_a_study_of_a_sweep(nondet: Nondet, tmp_path: Path) -> None:
    """In any order of seeds, each run is kept; the figures are those of the outputs; there is no control."""
    for seed in (42, 7, 1337, 0):
        record(tmp_path / "s", seed)
    study = nd.open(tmp_path / "s")
    assert [seeds["seed"] for seeds in study["all"].seeds] == [42, 7, 1337, 0]
    assert (study["all"].outputs == np.stack([outputs(seed) for seed in (42, 7, 1337, 0)])).all()
    ran = nondet("show", tmp_path / "s", "--json")
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)["conditions"]
    expected = nd.measure(study["all"].outputs, LABELS)
    assert found["disagreement"] == pytest.approx(expected["disagreement"].value)
    assert found["loss"]["mean"] == pytest.approx(np.mean([4.2, 0.7, 133.7, 0.0]))
    assert nondet("show", tmp_path / "s").out.startswith("Control: none. ")
    for command in ("verify", "report", "figures", "examples"):
        assert nondet(command, tmp_path / "s").code == 0
    for seed in range(1, 5):
        record(tmp_path / "t", seed)
    assert nd.compare(tmp_path / "s", tmp_path / "t")[0].runs == (4, 4)


JOB = """
import sys
import numpy as np
import nondet

labels = np.arange(30) % 3
for seed in sys.argv[2:]:
    with nondet.record_run(sys.argv[1], seeds={"seed": int(seed)}) as run:
        run.outputs(np.random.default_rng(int(seed)).normal(size=(30, 3)), labels)
"""


def test_several_processes(tmp_path: Path) -> None:
    """A sweep's jobs record at once, and none is lost."""
    words = [sys.executable, "-c", JOB, str(tmp_path / "s")]
    jobs = [subprocess.Popen([*words, *map(str, range(first, 8, 2))]) for first in (0, 1)]
    assert [job.wait(60) for job in jobs] == [0, 0]
    assert sorted(seeds["seed"] for seeds in nd.open(tmp_path / "s")["all"].seeds) == list(range(8))


def test_the_same_run_again(tmp_path: Path) -> None:
    """Recorded twice it is one run; another one of the same seeds is refused, and the first one stays."""
    record(tmp_path / "s", 1)
    record(tmp_path / "s", 2)
    record(tmp_path / "s", 1)
    assert len(nd.open(tmp_path / "s")["all"]) == 2
    with pytest.raises(nd.BadInput, match=r"has a different run with \{'seed': 2\}"):
        record(tmp_path / "s", 2, outputs(3))
    assert (nd.open(tmp_path / "s")["all"].outputs[1] == outputs(2)).all()


def test_a_run_that_fails(tmp_path: Path) -> None:
    """The error goes on, and the run counts as one that failed."""
    record(tmp_path / "s", 1)
    record(tmp_path / "s", 2)
    with pytest.raises(ZeroDivisionError), nd.record_run(tmp_path / "s", "all", seeds={"seed": 3}):
        _ = 1 / 0
    runs = nd.open(tmp_path / "s")["all"]
    assert (len(runs), runs.failed) == (2, {3: 1})


@pytest.mark.parametrize(
    ("condition", "seeds", "left", "said"),
    [
        ("all", {}, outputs(1), "seeds must map sources to whole numbers"),
        ("all", {"seed": -1}, outputs(1), "seeds must map sources to whole numbers"),
        ("a b", {"seed": 5}, outputs(1), "a condition's name must be letters"),
        ("all", {"init": 5}, outputs(1), "seeds must be for seed in all runs"),
        ("all", {"seed": 5}, outputs(1)[:, :2], r"it left outputs of shape \(50, 2\)"),
        ("all", {"seed": 5}, False, "it left no outputs"),
        ("all", {"seed": 5}, outputs(1) * 1j, "must be arrays of numbers"),
    ],
)
def test_bad_input(tmp_path: Path, condition: str, seeds: dict[str, int], left: Any, said: str) -> None:
    record(tmp_path / "s", 1)
    with pytest.raises(nd.BadInput, match=said):
        record(tmp_path / "s", 5, left, condition=condition, seeds=seeds)
    with pytest.raises(nd.BadInput, match="a run must leave outputs or scores"):
        record(tmp_path / "new", 1, False)


def test_curves(tmp_path: Path) -> None:
    """A score that a run says again and again is a curve; the last value counts."""
    for seed in (1, 2):
        with nd.record_run(tmp_path / "s", seeds={"seed": seed}) as run:
            for epoch in range(3):
                run.scores(loss=seed / (1 + epoch))
    runs = nd.open(tmp_path / "s")["all"]
    assert runs.curves["loss"].tolist() == [[1.0, 1 / 2, 1 / 3], [2.0, 2 / 2, 2 / 3]]
    assert runs.scores()["loss"].tolist() == [1 / 3, 2 / 3]
