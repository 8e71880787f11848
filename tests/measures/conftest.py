"""Inputs that the tests of the measures share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Sample = tuple[NDArray[Any], NDArray[np.int64]]


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Make seeded outputs `(N, n, c)` and labels `(n,)`: a signal the runs share, plus noise of their own."""

    def make(runs: int = 5, examples: int = 60, classes: int = 4, dtype: str = "float64", seed: int = 0) -> Sample:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, examples)
        shared = rng.normal(size=(examples, classes)) + 2.0 * np.eye(classes)[labels]
        outputs = shared + rng.normal(size=(runs, examples, classes))
        if np.dtype(dtype).kind in "iu":
            outputs = np.clip(np.round(outputs), 0, 100)  # small whole numbers: most examples tie somewhere
        return outputs.astype(dtype), labels

    return make
