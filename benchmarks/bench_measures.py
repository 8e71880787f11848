"""Time and peak memory of the measures at the size of the main experiment: 100 runs, 10,000 examples, 10 classes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_measure import LABELLED, UNLABELLED

import nondet
from nondet.stats.values import sd_error

RUNS, EXAMPLES, CLASSES = 100, 10_000, 10
ONE_MEASURE = str(Path(__file__).with_name("one_measure.py"))


def study(runs: int, examples: int, classes: int) -> tuple[Any, Any]:
    """Make float32 outputs of runs that share a signal, and labels that it predicts in most examples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, examples)
    shared = 2 * rng.standard_normal((examples, classes), np.float32)
    shared[np.arange(examples), labels] += 6
    outputs = np.empty((runs, examples, classes), np.float32)
    for run in outputs:
        np.add(shared, rng.standard_normal(shared.shape, np.float32), out=run)
    return outputs, labels


@pytest.fixture(scope="module")
def main_experiment() -> tuple[Any, Any]:
    """Outputs and labels of the main experiment's size: 40 MB."""
    return study(RUNS, EXAMPLES, CLASSES)


@pytest.fixture(scope="module")
def peak_mb(main_experiment: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the peak memory in MiB of a fresh process that calls one measure, including Python and the outputs."""
    folder = tmp_path_factory.mktemp("study")
    files = [str(folder / "outputs.npy"), str(folder / "labels.npy")]
    for file, array in zip(files, main_experiment, strict=True):
        np.save(file, array)

    def peak(name: str) -> float:
        done = subprocess.run([sys.executable, ONE_MEASURE, name, *files], capture_output=True, text=True, check=True)
        return round(float(done.stdout), 1)

    return peak


def test_measure_100x10000x10(benchmark: Any, main_experiment: tuple[Any, Any], peak_mb: Any) -> None:
    """All measures at once: the cost of a condition's row in the table."""
    record = benchmark.pedantic(nondet.measure, args=main_experiment, rounds=3)
    benchmark.extra_info["peak_mb"] = peak_mb("measure")
    assert record.runs == RUNS


@pytest.mark.parametrize("name", list(LABELLED)[1:])
def test_labelled_measure(benchmark: Any, main_experiment: tuple[Any, Any], peak_mb: Any, name: str) -> None:
    """One measure of outputs and labels."""
    benchmark.pedantic(LABELLED[name], args=main_experiment, rounds=3)
    benchmark.extra_info["peak_mb"] = peak_mb(name)


@pytest.mark.parametrize("name", list(UNLABELLED))
def test_unlabelled_measure(benchmark: Any, main_experiment: tuple[Any, Any], peak_mb: Any, name: str) -> None:
    """One measure of outputs alone."""
    benchmark.pedantic(UNLABELLED[name], args=main_experiment[:1], rounds=3)
    benchmark.extra_info["peak_mb"] = peak_mb(name)


def test_sd_error(benchmark: Any) -> None:
    """The bootstrap of one column: 10,000 resamples of 100 runs."""
    benchmark.pedantic(sd_error, args=(np.random.default_rng(0).normal(size=RUNS),), rounds=3)
