"""Variance components against theory, against the analysis of variance by hand and plain loops, and by simulation."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from nondet.errors import BadInput
from nondet.measures.diversity import disagreement_of
from nondet.stats.components import disagreement_by_set, subsets, variance_components

Sets = Mapping[tuple[int, ...], float]


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def crossed(levels: tuple[int, ...], truth: Sets, draws: np.random.Generator) -> np.ndarray:
    """Values of a full crossing with these variances of their normal random effects."""
    values = np.zeros(levels)
    for s, variance in truth.items():
        shape = tuple(n if axis in s else 1 for axis, n in enumerate(levels))
        values = values + np.sqrt(variance) * draws.standard_normal(shape)
    return values


def test_two_sources_by_hand() -> None:
    """The textbook's table for two sources: row, column and residual mean squares."""
    y = rng(0).normal(90, 2, size=(4, 6))
    rows, columns, mean = y.mean(axis=1), y.mean(axis=0), y.mean()
    ms_rows = 6 * np.sum((rows - mean) ** 2) / 3
    ms_columns = 4 * np.sum((columns - mean) ** 2) / 5
    ms_rest = np.sum((y - rows[:, None] - columns + mean) ** 2) / 15
    expected = {(0,): (ms_rows - ms_rest) / 6, (1,): (ms_columns - ms_rest) / 4, (0, 1): ms_rest}
    found = variance_components(y)
    assert found.mean == pytest.approx(mean)
    for s, component in found.parts:
        assert component.variance.value == pytest.approx(expected[s])
        assert component.share.value == pytest.approx(expected[s] / sum(expected.values()))
    error = np.sqrt(2 * ms_rows**2 / 5 + 2 * ms_rest**2 / 17) / 6
    assert found.parts[0][1].variance.error == pytest.approx(error)


def test_three_sources_by_hand() -> None:
    """Three sources: seven mean squares from explicit loops over cells, solved as a linear system."""
    levels = (3, 4, 5)
    y = rng(1).normal(size=levels)

    def marginal(s: tuple[int, ...]) -> np.ndarray:
        return y.mean(axis=tuple(a for a in range(3) if a not in s), keepdims=True)

    sets = subsets(3)
    squares, expected = [], np.zeros((7, 7))
    for i, s in enumerate(sets):
        effect = sum((-1) ** (len(s) - size) * marginal(t) for size in range(len(s) + 1) for t in combinations(s, size))
        df = np.prod([levels[a] - 1 for a in s])
        squares.append(np.square(np.broadcast_to(np.asarray(effect), levels)).sum() / df)
        for j, t in enumerate(sets):
            if set(s) <= set(t):
                expected[i, j] = np.prod([levels[a] for a in range(3) if a not in t])
    solved = np.linalg.solve(expected, squares)
    found = variance_components(y)
    assert [s for s, _ in found.parts] == list(sets)
    np.testing.assert_allclose([c.variance.value for _, c in found.parts], solved, rtol=1e-10)
    assert found.total.value == pytest.approx(solved.sum())
    assert found.interactions.variance.value == pytest.approx(solved[3:].sum())
    assert found.alone[1].variance.value == pytest.approx(sum(v for s, v in zip(sets, solved, strict=True) if 1 in s))


@pytest.mark.parametrize("levels", [(2, 2), (3, 5), (2, 3, 4)])
def test_estimates_are_unbiased(levels: tuple[int, ...]) -> None:
    """The mean over many crossings is the truth, and so is the mean square of the standard error."""
    sets = subsets(len(levels))
    truth = {s: 1.0 / (1 + i) for i, s in enumerate(sets)}
    draws = rng(2)
    found = [variance_components(crossed(levels, truth, draws)).parts for _ in range(150)]
    values = np.array([[c.variance.value for _, c in parts] for parts in found], dtype=float)
    errors = np.array([[c.variance.error for _, c in parts] for parts in found], dtype=float)
    spread = values.std(axis=0)
    np.testing.assert_array_less(np.abs(values.mean(axis=0) - list(truth.values())), 4 * spread / np.sqrt(150))
    np.testing.assert_allclose(np.sqrt(np.square(errors).mean(axis=0)), spread, rtol=0.5)


@pytest.mark.parametrize("levels", [(2, 2), (4, 4), (3, 3, 3), (10, 10)])
def test_intervals_hold_the_truth(levels: tuple[int, ...]) -> None:
    """About 95 % of the intervals of variance, share, interactions and total hold it."""
    truth = {s: 1.0 if len(s) == 1 else 0.5 for s in subsets(len(levels))}
    total, draws, hits = sum(truth.values()), rng(3), []
    for _ in range(150):
        found = variance_components(crossed(levels, truth, draws))
        pairs: list[tuple[Any, float]] = [(found.total, total)]
        pairs += [(c.variance, truth[s]) for s, c in found.parts]
        pairs += [(c.share, truth[s] / total) for s, c in found.parts]
        pairs += [(found.interactions.share, sum(v for s, v in truth.items() if len(s) > 1) / total)]
        hits.append([e.low <= value <= e.high for e, value in pairs])
    coverage = np.mean(hits, axis=0)
    assert coverage.min() > 0.89  # 150 crossings: an SD of 1.8 points at 95 %
    assert abs(coverage.mean() - 0.95) < 0.025


def test_additive_sources_have_no_interaction() -> None:
    """Where sources only add up, the interaction is 0 to rounding, and the shares are those of the two spreads."""
    a, b = np.array([0.0, 1, 4, 2]), np.array([0.0, 3, 1])
    found = variance_components(a[:, None] + b)
    (_, first), (_, second), (_, both) = found.parts
    assert first.variance.value == pytest.approx(a.var(ddof=1))
    assert second.variance.value == pytest.approx(b.var(ddof=1))
    assert both.share.value == pytest.approx(0, abs=1e-12)


def test_a_source_without_effect_has_none() -> None:
    """Exactly no effect: a source that changes nothing has no variance of its own and no part in any."""
    found = variance_components(np.repeat(rng(4).normal(size=(5, 1)), 4, axis=1))
    assert found.alone[1].variance.to_dict() == {"value": 0, "error": 0, "low": 0, "high": 0}
    assert found.alone[0].share.value == 1


def test_equal_values_have_no_shares() -> None:
    """Without any variance the components are 0, and nobody has a share of nothing."""
    found = variance_components(np.full((3, 3), 0.1))
    assert found.total.to_dict() == {"value": 0, "error": 0, "low": 0, "high": 0}
    assert all(math.isnan(c.share.value) for _, c in found.parts)


def test_negative_estimates_are_kept() -> None:
    """A component below 0 stays so, and its interval is that of a variance."""
    found = variance_components([[0.0, 1.0], [1.0, 0.0]])  # all interaction
    assert [c.variance.value for _, c in found.parts] == [-0.5, -0.5, 1.0]
    assert all(c.variance.low >= 0 for _, c in found.parts)
    assert all(math.isnan(c.share.value) for _, c in found.parts)  # the total is 0


def test_unit_and_order_are_irrelevant() -> None:
    """Shares do not change with the unit and the zero of the values, nor with the order of levels."""
    y = rng(5).normal(size=(4, 4))
    shares = [c.share.to_dict() for _, c in variance_components(y).parts]
    for other in (1e-3 * y + 7, y[::-1, [2, 0, 3, 1]]):
        for a, b in zip(shares, [c.share.to_dict() for _, c in variance_components(other).parts], strict=True):
            assert b == pytest.approx(a)


@pytest.mark.parametrize(
    "values", [np.zeros(4), np.zeros((1, 4)), np.full((2, 2), np.nan), np.array([["a", "b"], ["c", "d"]])]
)
def test_values_that_are_no_crossing_are_refused(values: np.ndarray) -> None:
    """One axis, one level, NaN and words are no crossing."""
    with pytest.raises(BadInput, match="one number for each run of a full crossing"):
        variance_components(values)


def predictions(levels: tuple[int, ...], examples: int, draws: np.random.Generator) -> np.ndarray:
    """Classes of runs whose logits have a random effect of each source and of all together."""
    logits = draws.normal(size=(*(1,) * len(levels), examples, 3))
    for axis, n in enumerate(levels):
        shape = [n if a == axis else 1 for a in range(len(levels))]
        logits = logits + draws.normal(size=(*shape, examples, 3)) * 0.5
    return (logits + draws.normal(size=(*levels, examples, 3)) * 0.5).argmax(axis=-1)


@pytest.mark.parametrize("levels", [(3, 4), (2, 3, 3)])
def test_disagreement_is_that_of_a_loop_over_pairs(levels: tuple[int, ...]) -> None:
    """Each set's mean and jackknife are those of a plain loop over pairs of cells."""
    predicted = predictions(levels, 17, rng(6))

    def loop(p: np.ndarray) -> dict[tuple[int, ...], float]:
        found: dict[tuple[int, ...], list[float]] = {}
        for a, b in combinations(np.ndindex(*p.shape[:-1]), 2):
            s = tuple(axis for axis in range(len(a)) if a[axis] != b[axis])
            found.setdefault(s, []).append(100 * float(np.mean(p[a] != p[b])))
        return {s: float(np.mean(v)) for s, v in found.items()}

    expected = loop(predicted)
    assert [s for s, _ in disagreement_by_set(predicted)] == list(subsets(len(levels)))
    for s, found in disagreement_by_set(predicted):
        assert found.value == pytest.approx(expected[s])
        if min(levels[axis] for axis in s) < 3:
            assert not found.known
            continue
        variance = 0.0
        for axis, n in enumerate(levels):
            without = [loop(np.delete(predicted, level, axis))[s] for level in range(n)]
            variance += (n - 1) ** 2 / n * np.var(without, ddof=1)
        assert found.error == pytest.approx(np.sqrt(variance))


def test_disagreement_of_all_pairs_is_the_mean_over_sets() -> None:
    """Weighted by their pairs, the sets' means give the disagreement of all runs."""
    levels = (3, 3, 2)
    predicted = predictions(levels, 40, rng(7))
    pairs = [np.prod([n * (n - 1) if a in s else n for a, n in enumerate(levels)]) / 2 for s in subsets(3)]
    values = [found.value for _, found in disagreement_by_set(predicted)]
    assert np.average(np.array(values, dtype=float), weights=pairs) == pytest.approx(
        disagreement_of(predicted.reshape(18, 40))
    )


def test_disagreement_interval_is_safe() -> None:
    """The intervals of crossings with one law hold the mean over all of them in at least 92 % of the cases."""
    draws = rng(8)
    base, directions = draws.normal(size=(30, 3)), draws.normal(size=(3, 4, 30, 3)) / 2

    def once() -> list[Any]:
        a, b, c = (draws.normal(size=shape) for shape in ((4, 1, 4), (1, 4, 4), (4, 4, 4)))
        logits = base + sum(np.tensordot(e, d, 1) for e, d in zip((a, b, c), directions, strict=True))
        return [found for _, found in disagreement_by_set(logits.argmax(axis=-1))]

    found = [once() for _ in range(200)]
    truth = [np.mean([f[i].value for f in found]) for i in range(3)]
    coverage = np.mean([[e.low <= t <= e.high for e, t in zip(f, truth, strict=True)] for f in found], axis=0)
    assert coverage.min() >= 0.92


def test_equal_runs_disagree_nowhere() -> None:
    """Runs with equal answers: 0, without an error."""
    for _, found in disagreement_by_set(np.tile([3, 1, 700], (3, 3, 1))):
        assert found.to_dict() == {"value": 0, "error": 0, "low": 0, "high": 0}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_any_integers_are_predictions(dtype: str) -> None:
    """Token numbers of any integer type, negative ones included, are compared as they are."""
    predicted = np.array([[[0, 1], [0, 100]], [[1, 1], [0, 1]]], dtype=dtype)
    values = [found.value for _, found in disagreement_by_set(predicted)]
    assert values == [50, 50, 50]
    if dtype != "uint8":
        assert [found.value for _, found in disagreement_by_set(predicted - 50)] == values


@pytest.mark.parametrize(
    "predicted", [np.zeros((2, 2)), np.zeros((2, 2, 3)), np.zeros((2, 2, 0), int), np.zeros((1, 2, 3), int)]
)
def test_predictions_that_are_no_crossing_are_refused(predicted: np.ndarray) -> None:
    """Floats, no examples, one source and one level are refused."""
    with pytest.raises(BadInput, match="predictions must be integers with at least two axes"):
        disagreement_by_set(predicted)
