"""An epoch with everything on the device trains as one that the host feeds, to the last bit; here both on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import pytest
import torch
from problems import problem, seeds

from nondet.training import averages
from nondet.training import examples as classify
from nondet.training.device import Epochs
from nondet.training.graphs import Kept, has_hooks
from nondet.training.new_stack import new_stack
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.snapshots import same_bits
from nondet.training.stack import Stack

RECIPES: dict[str, dict[str, object]] = {
    "momentum": {"options": {"momentum": 0.9, "weight_decay": 5e-4}},
    "nesterov": {"options": {"momentum": 0.9, "nesterov": True}, "bias_lr": 2.0},
    "Adam": {"optimizer": "Adam", "lr": 0.01},
    "AdamW": {"optimizer": "AdamW", "lr": 0.01, "ema": 0.9},
    "bfloat16": {"precision": "bfloat16", "options": {"momentum": 0.9}},
}


def stacks(p: Problem, width: int = 3) -> tuple[Stack, Stack, list[dict[str, int]]]:
    """Two stacks of the same runs, at their start; all sources vary."""
    runs = [seeds(p, number) for number in range(1, width + 1)]
    found = [new_stack(p, runs) for _ in range(2)]
    for stack in found:
        averages.begin(p.recipe, stack)
    return found[0], found[1], runs


def assert_same(one: Stack, other: Stack) -> None:
    """Weights, what the optimizer remembers, averages, curves and rates are equal to the last bit."""
    a, b = one.state, other.state
    assert a["groups"] == b["groups"]
    for name in ("weights", "averages", "curves"):
        assert all(same_bits(a[name][k], b[name][k]) for k in a[name])
    for i in a["optimizer"]:
        assert all(same_bits(a["optimizer"][i][k], b["optimizer"][i][k]) for k in a["optimizer"][i])
    assert torch.equal(one.failed, other.failed)
    assert one.epoch == other.epoch


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_device_path_trains_as_the_host_path(recipe: str, rates: bool) -> None:
    """For each optimizer, whether it reads its rate as a number or as a tensor; a warm-up changes the rate."""
    p = problem("dropout", warmup=1.0, **RECIPES[recipe])
    one, other, runs = stacks(p)
    with ThreadPoolExecutor(1) as beside:
        epochs = Epochs(p, other, runs, beside=beside, rates=rates)
        for _ in range(p.recipe.epochs):
            classify.train_epoch(p, one, runs)
            epochs.train()
            assert_same(one, other)


@pytest.mark.parametrize("model", ["resnet", "attention"])
def test_other_models(model: str) -> None:
    p = problem(model, options={"momentum": 0.9})
    one, other, runs = stacks(p)
    epochs = Epochs(p, other, runs, rates=True)
    with kernels():
        for _ in range(2):
            classify.train_epoch(p, one, runs)
            epochs.train()
    assert_same(one, other)


def test_a_stack_of_one() -> None:
    p = problem("resnet")
    one, other, runs = stacks(p, 1)
    classify.train_epoch(p, one, runs)
    Epochs(p, other, runs).train()
    assert_same(one, other)


@pytest.mark.parametrize("width", [1, 3])
def test_what_a_step_changes_is_put_back(width: int) -> None:
    """Steps after which all is put back leave no trace in the steps that follow."""
    p = problem("resnet", optimizer="Adam", ema=0.9)
    one, other, runs = stacks(p, width)
    for stack in (one, other):
        classify.train_epoch(p, stack, runs)
    kept = Kept(other, [])
    epoch = other.epoch
    curves = {name: curve.clone() for name, curve in other.curves.items()}
    classify.train_epoch(p, other, runs)
    assert not all(torch.equal(a, b) for a, b in zip(kept.tensors, kept.copies, strict=True))
    kept.put_back()
    other.epoch = epoch
    other.curves = curves
    assert_same(one, other)


def test_what_is_replaced_is_seen() -> None:
    """A state that the optimizer makes anew, or a number that it counts, is no state that a graph could change."""
    p = problem("mlp", optimizer="Adam")
    _, stack, runs = stacks(p)
    classify.train_epoch(p, stack, runs)
    kept = Kept(stack, [])
    assert not kept.replaced()
    remembered = next(iter(stack.optimizer.state.values()))
    remembered["exp_avg"] = remembered["exp_avg"].clone()
    assert kept.replaced()
    kept.put_back()
    stack.optimizer.param_groups[0]["steps"] = 1
    assert kept.replaced()


def test_hooks_are_seen() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert not has_hooks(model)
    model[0].register_forward_hook(lambda *_: None)
    assert has_hooks(model)


@dataclass
class Replayed:
    """A graph as far as it is replayed."""

    replay: Callable[[], None]


def test_a_graph_is_held_against_its_step() -> None:
    """One that does the same passes; one that keeps the first rate, or forgets the counter, does not."""
    p = problem("resnet", options={"momentum": 0.9}, ema=0.9)
    _, stack, runs = stacks(p)
    epochs = Epochs(p, stack, runs, rates=True)
    epochs.train()
    with_rates(epochs)
    kept = Kept(stack, [epochs.counter, epochs.table, epochs.rate, epochs.total])

    def at_one_rate() -> None:
        epochs.table.fill_(0.01)
        epochs.step(0)

    def without_counting() -> None:
        epochs.step(0)
        epochs.counter -= 1

    assert not differs(epochs, lambda: epochs.step(0), kept)
    assert "different numbers" in differs(epochs, at_one_rate, kept)
    assert "different numbers" in differs(epochs, without_counting, kept)
    kept.put_back()
    stack.optimizer.register_step_post_hook(replaces)
    assert "replaces" in differs(epochs, lambda: epochs.step(0), kept)


def with_rates(epochs: Epochs) -> None:
    """As within an epoch, the optimizer reads its rates where the steps write them."""
    for group, rate in zip(epochs.stack.optimizer.param_groups, epochs.rate, strict=True):
        group["lr"] = rate


def replaces(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for remembered in optimizer.state.values():
        remembered["momentum_buffer"] = remembered["momentum_buffer"].clone()


def differs(epochs: Epochs, replay: Callable[[], None], kept: Kept) -> str:
    return epochs._differs(0, cast(torch.cuda.CUDAGraph, Replayed(replay)), kept)
