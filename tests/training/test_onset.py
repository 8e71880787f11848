"""A late onset: one trunk, trained once, from which runs fork; and the bit that is changed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from problems import problem, seeds
from test_stack import same

from nondet.errors import BadInput
from nondet.study.design import condition, conditions
from nondet.study.spec import Outcome
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model
from nondet.training.train import train_stack

EPOCHS = 3
OPTIMIZERS = {"SGD": {"momentum": 0.9}, "Adam": {}, "NAdam": {}}


def trunk_of(p: Problem, folder: Path, slot: int = 0) -> tuple[dict[int, Path], list[Outcome]]:
    """Trunks after every epoch of the reference run, which stands in this slot beside others."""
    runs = [seeds(p, 2), seeds(p, 3), seeds(p, 4)]
    runs[slot] = seeds(p, 1)
    trunks = {epoch: folder / f"{slot}.{epoch}" for epoch in range(1, EPOCHS + 1)}
    return trunks, train_stack(p, runs, trunks=trunks, trunk_slot=slot)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["dropout", "resnet"])
def test_a_fork_without_change_is_the_run_itself(tmp_path: Path, model: str, optimizer: str) -> None:
    """A run forked after any epoch, from a trunk in any slot, with the fixed seeds, is the reference run."""
    p = problem(model, optimizer=optimizer, options=OPTIMIZERS[optimizer], lr=0.01, epochs=EPOCHS, ema=0.9, swa=2)
    for slot in (0, 2):
        trunks, outcomes = trunk_of(p, tmp_path, slot)
        for path in trunks.values():
            again = train_stack(p, [seeds(p, 1), seeds(p, 5), seeds(p, 1)], fork=path)
            assert same(again[0], outcomes[slot])
            assert same(again[2], outcomes[slot])


def test_forks_differ_from_their_onset_on(tmp_path: Path) -> None:
    """Until the onset a fork has the reference run's curve, then its own; after the last epoch all are equal."""
    p = problem("mlp", epochs=EPOCHS)
    trunks, outcomes = trunk_of(p, tmp_path)
    for source in ("shuffle", "augment", "order", "bit"):
        for epoch, path in trunks.items():
            fork = train_stack(p, [seeds(p, n, source) for n in (1, 2, 3)], fork=path)[1]
            curve, reference = fork.arrays["curves.loss"], outcomes[0].arrays["curves.loss"]
            assert np.array_equal(curve[:epoch], reference[:epoch])
            assert same(fork, outcomes[0]) == (epoch == EPOCHS), (source, epoch)


def test_a_late_seed_is_the_seed_of_the_epoch(tmp_path: Path) -> None:
    """A run that shuffles from epoch 1 on takes its seed's own orders of epochs 1 and 2: as if seeds were switched."""
    p = problem("mlp", epochs=EPOCHS, precision="float64")
    trunks, _ = trunk_of(p, tmp_path)
    from nondet.training.examples import train_epoch
    from nondet.training.settings import kernels
    from nondet.training.train import start

    forked = train_stack(p, [seeds(p, n, "shuffle") for n in (1, 2, 3)], fork=trunks[1])
    with kernels():
        stack = start(p, [seeds(p, 1)] * 3)
        train_epoch(p, stack, [seeds(p, 1)] * 3)
        for _ in range(2):
            train_epoch(p, stack, [seeds(p, n, "shuffle") for n in (1, 2, 3)])
    for slot, run in enumerate(forked):
        for name, weight in stack.weights.items():
            assert np.array_equal(run.arrays[f"weights.{name}"], weight[slot].detach().numpy())


def test_a_trunk_that_fails_leaves_failed_forks(tmp_path: Path) -> None:
    """Where the reference run diverges before the onset, its forks fail at the same epoch, and nothing hangs."""
    p = problem("mlp", epochs=EPOCHS, lr=1e30)
    trunks, outcomes = trunk_of(p, tmp_path)
    assert outcomes[0].failed
    fork = train_stack(p, [seeds(p, 2, "shuffle")] * 3, fork=trunks[EPOCHS])
    assert [run.failed for run in fork] == [outcomes[0].failed] * 3


def test_a_damaged_trunk_is_refused(tmp_path: Path) -> None:
    """A trunk with one flipped byte is not used."""
    p = problem("mlp", epochs=EPOCHS)
    trunks, _ = trunk_of(p, tmp_path)
    content = bytearray(trunks[1].read_bytes())
    content[-1] ^= 1
    trunks[1].write_bytes(content)
    with pytest.raises(BadInput, match="is damaged, or not the trunk that these runs fork from; remove it"):
        train_stack(p, [seeds(p, 2)] * 3, fork=trunks[1])


def test_onset_zero_is_no_onset() -> None:
    """The runs of onset 0 are those of no onset, key by key; the reference run belongs to every onset."""
    sources = ("init", "shuffle", "bit")
    plain, zero, late = (condition("shuffle", sources, 4, *onset) for onset in ((), (0,), (2,)))
    keys = [[spec.key for spec in c.specs({}, sources)] for c in (plain, zero, late)]
    assert plain == zero
    assert keys[0] == keys[1]
    assert keys[2][0] == keys[0][0]
    assert not set(keys[2][1:]) & set(keys[0])


def test_init_is_past_at_a_late_onset() -> None:
    """From a later epoch on, `init` varies nothing: alone it is refused, and `all` goes without it."""
    sources = ("init", "shuffle", "bit")
    with pytest.raises(BadInput, match=r"something must vary in a condition, and init does not from epoch 1 on"):
        condition("init", sources, 4, 1)
    late = condition("init+shuffle", sources, 4, 1).specs({}, sources)
    assert [spec.seeds["init"] for spec in late] == [1, 1, 1, 1]
    assert [c.name for c in conditions([], sources, 4, [0, 2], 5)] == [
        *("init", "shuffle", "bit", "all"),
        *("shuffle@2", "bit@2", "all@2"),
    ]


@pytest.mark.parametrize("onset", [-1, 6])
def test_onsets_outside_the_training_are_refused(onset: int) -> None:
    """An onset is one of the epochs from 0 to the last."""
    with pytest.raises(BadInput, match=rf"from 0 to the recipe's 5 \(got {onset}\)"):
        conditions([], ("init", "shuffle"), 4, [onset], 5)


@pytest.mark.parametrize("precision", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("which", ["first", "random", "b.weight", "norm.weight"])
def test_the_bit_is_the_next_float(precision: str, which: str) -> None:
    """Exactly one element changes, of the parameter asked for, to the next number of its type; the bits are told."""
    p = problem("mlp", precision=precision, bit=which)
    before = dict(build_model(p.task, p.recipe, 1).named_parameters())
    names = set()
    for seed in range(2, 12):
        after = dict(build_model(p.task, p.recipe, 1).named_parameters())
        change = change_bit(after, seed, which)
        assert change is not None
        differing = {
            n: (before[n] != after[n]).nonzero().tolist() for n in before if not torch.equal(before[n], after[n])
        }
        assert differing == {change.name: [list(change.index)]}
        bits = [int(text, 16) for text in (change.before, change.after)]
        assert abs(bits[0] - bits[1]) == 1
        assert len(change.before) == 2 * before[change.name].element_size()
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[before[change.name].element_size()]
        stored = int(after[change.name].detach()[change.index].view(whole)) % 2 ** (4 * len(change.after))
        assert stored == bits[1]
        names.add(change.name)
    assert names <= {which} if "." in which else names <= set(before)
    assert (len(names) > 1) == (which == "random")


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_the_bit_is_of_the_type_that_is_computed_in(amp: str) -> None:
    """Rounded to the short type the weight becomes its next number, and what was rounded off stays; it is not dead."""
    p = problem("mlp", amp=amp)
    short = getattr(torch, amp)
    for seed in range(2, 12):
        before, after = (dict(build_model(p.task, p.recipe, 1).named_parameters()) for _ in range(2))
        change = change_bit(after, seed, amp=amp)
        assert change is not None
        one, other = (weights[change.name].detach()[change.index] for weights in (before, after))
        bits = [int(value.to(short).view(torch.int16)) for value in (one, other)]
        assert abs(bits[0] - bits[1]) == 1
        assert other - one == (other.to(short).float() - one.to(short).float())
    runs = train_stack(p, [seeds(p, number, "bit") for number in (1, 2, 3)])
    logits = [run.arrays["outputs"] for run in runs]
    assert not np.array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_a_random_bit_takes_every_element_alike() -> None:
    """`random` chooses elements, not parameters: the shares are the sizes (chi-squared, 3 degrees of freedom)."""
    sizes = {"a": 40, "b": 10, "c": 30, "d": 20}
    counts = dict.fromkeys(sizes, 0)
    for seed in range(2, 1002):
        change = change_bit({name: torch.ones(size) for name, size in sizes.items()}, seed, "random")
        assert change is not None
        counts[change.name] += 1
    assert sum((counts[n] - 10 * sizes[n]) ** 2 / (10 * sizes[n]) for n in sizes) < 16.27  # p = 0.001


def test_an_unknown_weight_is_refused() -> None:
    """The name of a weight must be one of the model's; the sentence lists them."""
    with pytest.raises(BadInput, match=r"got 'conv9\.weight'\); choose from a\.weight, a\.bias"):
        problem("mlp", bit="conv9.weight")


def test_the_bit_at_the_onset(tmp_path: Path) -> None:
    """A late bit changes the trunk's weight, whose bits are in the outcome's facts."""
    p = problem("mlp", epochs=EPOCHS, bit="b.weight")
    trunks, _ = trunk_of(p, tmp_path)
    from nondet.training import snapshots

    state = snapshots.load_snapshot(trunks[1])
    assert state is not None
    bit = train_stack(p, [seeds(p, 7, "bit")] * 3, fork=trunks[1])[0].facts["bit"]
    weight = state["weights"]["b.weight"][0][tuple(bit["index"])]
    assert bit["name"] == "b.weight"
    assert bit["before"] == f"{int(weight.view(torch.int32)) % 2**32:08x}"
