"""Random numbers belong to (source, seed, place), and to nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import problem, seeds

from nondet.sources import OF_THE_MACHINE, SOURCES, seeded_globals, stream
from nondet.training.dropout import draw_uniforms
from nondet.training.examples import epoch_plan
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model

EPOCHS = range(3)


def _initial(p: Problem, run: dict[str, int]) -> bytes:
    return b"".join(t.detach().numpy().tobytes() for t in build_model(p.task, p.recipe, run["init"]).parameters())


def _bit(p: Problem, run: dict[str, int]) -> bytes:
    """Which weight of one and the same model moves, and where to."""
    return repr(change_bit(dict(build_model(p.task, p.recipe, 1).named_parameters()), run["bit"])).encode()


def _dropout(p: Problem, run: dict[str, int]) -> bytes:
    rngs = [stream("dropout", run["dropout"], epoch) for epoch in EPOCHS]
    places = np.broadcast_to(np.arange(16), (len(rngs), 16))
    return b"".join(t.numpy().tobytes() for t in draw_uniforms(rngs, p.dropout[16], places, torch.device("cpu")))


OBSERVED: dict[str, Callable[[Problem, dict[str, int]], bytes]] = {
    "init": _initial,
    "shuffle": lambda p, run: b"".join(epoch_plan(p, run, e).shuffled.tobytes() for e in EPOCHS),
    "augment": lambda p, run: b"".join(d.tobytes() for e in EPOCHS for d in epoch_plan(p, run, e).draws),
    "dropout": _dropout,
    "order": lambda p, run: b"".join(epoch_plan(p, run, e).places.tobytes() for e in EPOCHS),
    "bit": _bit,
}
"""What each source decides, as bytes; `kernels`, which a CPU does not have, decides no number."""


@pytest.fixture(scope="module")
def dropout_problem() -> Problem:
    return problem("dropout")


def test_every_source_is_observed(dropout_problem: Problem) -> None:
    """The task has every source, and the pairs below leave none out."""
    assert (
        [s for s in SOURCES if s not in ("kernels", "other", "selection", *OF_THE_MACHINE)]
        == list(OBSERVED)
        == list(dropout_problem.sources)
    )


@pytest.mark.parametrize(("changed", "observed"), list(product(OBSERVED, OBSERVED)))
def test_a_seed_changes_its_own_source_only(dropout_problem: Problem, changed: str, observed: str) -> None:
    """Changing one source's seed changes what that source decides, and not one byte of what another decides."""
    look = OBSERVED[observed]
    before = look(dropout_problem, seeds(dropout_problem, 1))
    after = look(dropout_problem, seeds(dropout_problem, 2, changed))
    again = look(dropout_problem, seeds(dropout_problem, 3, changed))
    assert (before != after) == (after != again) == (changed == observed)


def test_fixed_seed_of_order_and_bit_changes_nothing(dropout_problem: Problem) -> None:
    """With seed 1 the examples keep their places and no weight moves: the run all conditions share is untouched."""
    run = seeds(dropout_problem, 1)
    assert change_bit(dict(build_model(dropout_problem.task, dropout_problem.recipe, 1).named_parameters()), 1) is None
    plan = epoch_plan(dropout_problem, run, 0)
    assert np.array_equal(plan.examples, plan.shuffled)


def test_order_keeps_every_mini_batch_together(dropout_problem: Problem) -> None:
    """The order source permutes inside mini-batches, the last and smaller one included, and moves nothing across."""
    plain = epoch_plan(dropout_problem, seeds(dropout_problem, 1), 0).examples
    moved = epoch_plan(dropout_problem, seeds(dropout_problem, 5, "order"), 0).examples
    assert not np.array_equal(plain, moved)
    for start in range(0, 50, 16):
        assert sorted(plain[start : start + 16]) == sorted(moved[start : start + 16])


def test_an_epoch_takes_every_example_once(dropout_problem: Problem) -> None:
    """An epoch's order is a permutation of the training set, another one in every epoch."""
    orders = [epoch_plan(dropout_problem, seeds(dropout_problem, 3), e).examples for e in EPOCHS]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])


@given(st.sampled_from(list(SOURCES)), st.integers(0, 2**40), st.integers(0, 2**31))
def test_a_stream_is_a_function_of_its_name(source: str, seed: int, place: int) -> None:
    """The same (source, seed, place) gives the same numbers; another place, seed or source gives others."""
    numbers = stream(source, seed, place).integers(2**62, size=4)
    assert np.array_equal(numbers, stream(source, seed, place).integers(2**62, size=4))
    others = [stream(source, seed, place + 1), stream(source, seed + 1, place), stream(source + "x", seed, place)]
    assert all(not np.array_equal(numbers, other.integers(2**62, size=4)) for other in others)


def test_streams_stay_what_they_are() -> None:
    """These numbers are part of every run's meaning: if they change, old studies cannot be continued."""
    assert [stream(s, 1, 0).integers(1000, size=3).tolist() for s in OBSERVED] == FIRST_NUMBERS


def test_crops_take_every_offset_equally_often() -> None:
    """A crop's two offsets are uniform over 0..2p and independent (chi-squared, 24 degrees of freedom)."""
    from nondet import Crop

    draws = Crop(2).draw(stream("augment", 1, 0), 50_000)
    counts = np.bincount(draws[:, 0] * 5 + draws[:, 1], minlength=25)
    assert len(counts) == 25
    assert ((counts - 2000) ** 2 / 2000).sum() < 51.2  # the 99.9 % quantile


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    """Every cropped image equals the slice of its zero-padded image at its offsets."""
    from nondet import Crop

    x = torch.arange(2 * 2 * 3 * 4, dtype=torch.float32).reshape(2, 2, 3, 4) + 1
    draws = torch.tensor([[0, 2], [1, 1]])
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.stack([padded[i, :, r : r + 3, c : c + 4] for i, (r, c) in enumerate(draws.tolist())])
    assert torch.equal(Crop(1).apply(x, draws), expected)
    assert torch.equal(expected[1], x[1])


def test_a_flip_mirrors_the_chosen_images() -> None:
    """Images drawn 1 are mirrored left to right, the others stay."""
    from nondet import Flip

    x = torch.arange(12.0).reshape(2, 1, 2, 3)
    flipped = Flip().apply(x, torch.tensor([[1], [0]]))
    assert torch.equal(flipped, torch.stack([x[0].flip(-1), x[1]]))


def test_constructors_draw_from_seeded_globals() -> None:
    """torch's, numpy's and Python's global generators are seeded inside the block, and restored after it."""

    def draw() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.random()), random.random()  # noqa: NPY002 -- the subject

    torch_before, numpy_before, python_before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    with seeded_globals(stream("init", 3)):
        first = draw()
    with seeded_globals(stream("init", 3)):
        assert draw() == first
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert random.getstate() == python_before


def test_bit_change_moves_one_weight_by_one_float(dropout_problem: Problem) -> None:
    """Exactly one element differs, by the next float up or down, and the note says which and how."""
    directions = set()
    for seed in range(2, 40):
        before = dict(build_model(dropout_problem.task, dropout_problem.recipe, 1).named_parameters())
        after = {name: p.detach().clone() for name, p in before.items()}
        change = change_bit(after, seed)
        assert change is not None
        differing = [(n, i) for n in before for i in (before[n] != after[n]).nonzero().tolist()]
        assert differing == [(change.name, list(change.index))]
        old, new = before[change.name].detach()[change.index].numpy(), after[change.name][change.index].numpy()
        assert new in (np.nextafter(old, np.float32(np.inf)), np.nextafter(old, np.float32(-np.inf)))
        assert (change.before, change.after) == (old.astype(">f4").tobytes().hex(), new.astype(">f4").tobytes().hex())
        directions.add(bool(new > old))
    assert directions == {True, False}


FIRST_NUMBERS = [[475, 916, 203], [106, 153, 735], [813, 281, 656], [470, 307, 437], [154, 379, 286], [43, 56, 599]]
