"""Recorded steps compute what the stack's own steps compute, to the last bit, or they are not used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import problem, seeds
from torch import Tensor, nn

from nondet.sources import stream
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task
from nondet.training import averages, memory, recorded
from nondet.training import examples as classify
from nondet.training import sequences as text
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.recorded import Recorder, recorder
from nondet.training.settings import kernels
from nondet.training.snapshots import same_bits
from nondet.training.stack import Stack

RECIPES: dict[str, dict[str, Any]] = {
    "momentum": {"options": {"momentum": 0.9}, "warmup": 1.0},
    "accumulated": {"accumulate": 2},
    "clipped": {"grad_clip": 0.1, "ema": 0.9},
    "AdamW": {"optimizer": "AdamW"},
    "mixed": {"amp": "bfloat16"},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record the second step of each shape, however long it takes and however few there are."""
    monkeypatch.setattr(recorded, "STEPS", 2)
    monkeypatch.setattr(recorded, "LONG", 1e9)
    monkeypatch.setattr(recorded, "WORTH", 0)


def both(p: Problem, epochs: int = 3, feed: Any = classify) -> tuple[Stack, Stack, Recorder]:
    """The same runs, trained without and with a recorder."""
    runs = [seeds(p, number) for number in (1, 2, 3)]
    plain, listed = new_stack(p, runs), new_stack(p, runs)
    kept = recorder(p, 3)
    listed.recorder = kept
    assert kept is not None
    for stack in (plain, listed):
        averages.begin(p.recipe, stack)
        with kernels():
            for _ in range(epochs):
                feed.train_epoch(p, stack, runs)
    return plain, listed, kept


def assert_same(one: Stack, other: Stack) -> None:
    a, b = one.state, other.state
    for name in ("weights", "averages", "curves"):
        assert all(same_bits(a[name][k], b[name][k]) for k in a[name])
    for i in a["optimizer"]:
        assert all(same_bits(a["optimizer"][i][k], b["optimizer"][i][k]) for k in a["optimizer"][i])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", ["mlp", "dropout", "resnet", "attention"])
def test_recorded_steps_have_the_same_bits(model: str, recipe: str) -> None:
    """Nine steps of 16 examples and three of 2; a list of each size is used from its fourth step on."""
    p = problem(model, **RECIPES[recipe])
    plain, listed, kept = both(p)
    assert_same(plain, listed)
    assert kept.refused == ""
    assert len(kept.tried) == (1 if recipe == "accumulated" else 2)  # there, the last mini-batch never begins a step


class Shared(nn.Module):
    """Two parameters have one gradient, a third one's is a view of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 3), nn.Parameter(torch.ones(16, 3))
        self.c, self.d = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        h = self.a(x) * (self.c + self.d)
        y = h.tanh()
        z = (y + h) + (h + y)
        return z + y * z + (self.b[: len(x)] * x[:, :3])


@pytest.mark.parametrize("recipe", ["clipped", "accumulated", "momentum"])
def test_each_gradient_has_memory_of_its_own(recipe: str) -> None:
    """Clipping and adding up change gradients where they lie."""
    plain, listed, kept = both(problem(Shared, **RECIPES[recipe]))
    assert_same(plain, listed)
    assert (kept.refused, len(kept.tried)) == ("", 1 if recipe == "accumulated" else 2)


def test_the_model_itself_runs_no_more() -> None:
    """Its code runs in the first two steps of each size, in the recording and in the trial, and then in none."""
    calls: list[int] = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(calls))
            return self.a(x.flatten(1))

    p = problem(Counted, epochs=4)
    runs = [seeds(p, number) for number in (1, 2)]
    stack = new_stack(p, runs)
    stack.recorder = recorder(p, 2)
    with kernels():
        for _ in range(3):
            classify.train_epoch(p, stack, runs)
        done = len(calls)
        classify.train_epoch(p, stack, runs)
    assert len(p.lists) == 2
    assert len(calls) == done


class InAList(nn.Module):
    """It changes after seven calls, and counts them in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 3)
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(1)
        return self.a(x.flatten(1)) * (1 if len(self.calls) < 7 else 2)


_calls = 0


class InAGlobal(InAList):
    """It counts in a number of its module."""

    def forward(self, x: Tensor) -> Tensor:
        global _calls
        _calls += 1
        return self.a(x.flatten(1)) * (1 if _calls < 7 else 2)


class InATensor(InAList):
    """It changes a tensor that is not a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return self.a(x.flatten(1)) * self.seen


def counting_loss() -> Callable[[Tensor, Tensor], Tensor]:
    calls: list[int] = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        return F.cross_entropy(outputs, labels, label_smoothing=0.0 if len(calls) < 7 else 0.1)

    return loss


@pytest.mark.parametrize("model", [InAList, InAGlobal])
def test_a_model_that_counts_its_calls_is_not_recorded(model: Callable[[], nn.Module]) -> None:
    p = problem(model)
    _, _, kept = both(p)
    assert kept.tried == {}
    assert kept.refused == "the model or its loss keeps something that changes from step to step"


def test_a_model_with_a_count_that_trials_see_has_no_recorder() -> None:
    assert recorder(problem(InATensor), 3) is None


def test_a_loss_that_counts_its_calls_is_not_recorded() -> None:
    p = problem("mlp")
    p = replace(p, objective=replace(p.objective, criterion=counting_loss()))
    assert both(p)[2].refused == "the model or its loss keeps something that changes from step to step"


def test_another_list_than_the_steps_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a list would compute something else, the step's own results count."""
    made = recorded.make_fx

    def other(function: Any) -> Any:
        def make(*inputs: Tensor) -> Any:
            graph = made(function)(*inputs)
            for node in graph.graph.nodes:
                if node.target is torch.ops.aten.relu.default:
                    node.target = torch.ops.aten.sigmoid.default
            graph.recompile()
            return graph

        return make

    monkeypatch.setattr(recorded, "make_fx", other)
    plain, listed, kept = both(problem("mlp"))
    assert kept.refused == "the list and the steps compute different numbers"
    assert kept.tried == kept.problem.lists == {}
    assert_same(plain, listed)


def test_the_next_stack_has_the_lists_of_the_one_before() -> None:
    """They are tried again in its first step of each size, and its code then runs no more."""
    p = problem("dropout")
    kept = both(p)[2]
    made = dict(p.lists)
    plain, listed, again = both(p)
    assert made == kept.tried == again.tried == p.lists
    assert list(again.seen.values()) == [1, 1]
    assert_same(plain, listed)


def test_long_steps_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "LONG", 0.0)
    plain, listed, kept = both(problem("mlp"))
    assert kept.refused == "a step takes long by itself"
    assert_same(plain, listed)


def test_a_stack_of_one_is_not_recorded() -> None:
    assert recorder(problem("mlp"), 1) is None


def test_a_short_training_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs of four steps are 12."""
    for worth, made in ((12, True), (13, False)):
        monkeypatch.setattr(recorded, "WORTH", worth)
        assert (recorder(problem("mlp"), 3) is not None) == made


def test_inputs_may_lie_anywhere_in_memory() -> None:
    """A list does not remember where in memory its first inputs were."""
    p = problem("mlp")
    runs = [seeds(p, number) for number in (1, 2)]
    plain, listed = new_stack(p, runs), new_stack(p, runs)
    listed.recorder = recorder(p, 2)
    rng = stream("shuffle", 1)
    whole = torch.from_numpy(rng.standard_normal((12, 2, 16, 1, 3, 4), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(3, size=(12, 2, 16)))
    with kernels():
        for stack in (plain, listed):
            for number in range(12):
                classify.train_step(p.objective, stack, whole[number], labels[number], [])
    assert len(p.lists) == 1
    assert_same(plain, listed)


def test_memory_is_kept_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc's options are set once for nested blocks, and set back at the end."""
    called: list[tuple[int, int]] = []

    class Libc:
        gnu_get_libc_version = malloc_trim = staticmethod(lambda *_: 0)
        mallopt = staticmethod(lambda option, value: called.append((option, value)))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Libc)
    with kernels(), kernels():
        assert called == [(-4, 0), (-1, -1), (-2, 2**26)]
    assert called[3:] == [(-4, 65_536), (-1, 2**17), (-2, 2**17)]


def test_a_text_is_recorded() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.a, self.b = nn.Embedding(11, 6), nn.Linear(12, 6), nn.Linear(6, 11)

        def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
            h = torch.zeros(len(x), 6) if state is None else state
            found = []
            for t in range(x.shape[1]):
                h = torch.tanh(self.a(torch.cat([self.e(x[:, t]), h], 1)))
                found.append(self.b(h))
            return torch.stack(found, 1), h

    tokens = torch.from_numpy(stream("shuffle", 1).integers(11, size=401))
    recipe = Recipe(epochs=3, batch_size=4, lr=0.1, optimizer="SGD", bptt=8)
    p = prepare(
        Task(name="words", model=Words, train=(tokens[:300], tokens[1:301]), test=(tokens[300:400], tokens[301:]),
             recipe=recipe),
        recipe, torch.device("cpu"),
    )  # fmt: skip
    plain, listed, kept = both(p, feed=text)
    assert kept.refused == ""
    assert kept.tried
    assert_same(plain, listed)
