"""What is kept of a run on the way: activations of its layers on the probe set, and its parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from problems import problem, seeds
from torch import nn

from nondet import Recipe, Task
from nondet.errors import BadInput
from nondet.training.prepare import prepare
from nondet.training.problem import Problem, build_model
from nondet.training.track import PROBE, probe
from nondet.training.train import train_stack


def tracked(model: str, *epochs: int, layers: tuple[str, ...] = ()) -> Problem:
    p = problem(model, precision="float64")
    return prepare(p.task, p.recipe, p.device, track=epochs, layers=layers)


def test_activations_are_those_of_a_plain_model() -> None:
    """After the last epoch the kept activations are those of a plain model with the kept weights, means over space."""
    p = tracked("resnet", 0, 3)
    assert p.track is not None
    for number, outcome in enumerate(train_stack(p, [seeds(p, n) for n in (1, 2)]), start=1):
        model = build_model(p.task, p.recipe, number)
        seen: dict[str, torch.Tensor] = {}
        for name in p.track.layers:
            model.get_submodule(name).register_forward_hook(
                lambda module, given, output, name=name, seen=seen: seen.update({name: output.clone()})
            )
        state = {n: torch.from_numpy(outcome.arrays[f"weights.{n}"]) for n in model.state_dict()}
        model.load_state_dict(state)
        with torch.no_grad():
            model.eval()(p.test[0])
        assert list(seen) == ["conv1", "bn1", "blocks.0", "blocks.1", "fc"]
        for name, output in seen.items():
            plain = output.mean((2, 3)) if output.dim() == 4 else output
            assert np.allclose(outcome.arrays[f"track.3.layer.{name}"], plain.numpy(), atol=1e-10)
        flat = torch.cat([w.flatten() for w in model.parameters()]).detach().numpy()
        assert np.array_equal(outcome.arrays["track.3.parameters"], flat)


def test_the_start_is_epoch_zero() -> None:
    """Epoch 0 shows the initial parameters, before any step."""
    p = tracked("mlp", 0)
    outcome = train_stack(p, [seeds(p, 1), seeds(p, 4)])[1]
    flat = torch.cat([w.detach().flatten() for w in build_model(p.task, p.recipe, 4).parameters()]).numpy()
    differing = np.flatnonzero(outcome.arrays["track.0.parameters"] != flat)
    assert len(differing) == 1, "the bit, and nothing else"


def test_looking_changes_nothing() -> None:
    """A run that is looked at is the same run, bit for bit, in all that both keep."""
    p = problem("resnet", precision="float64")
    looked = tracked("resnet", 0, 1, 2, 3)
    runs = [seeds(p, n) for n in (1, 2)]
    for a, b in zip(train_stack(p, runs), train_stack(looked, runs), strict=True):
        assert all(a.arrays[name].tobytes() == b.arrays[name].tobytes() for name in a.arrays)


def test_tracking_is_part_of_the_name() -> None:
    """A blob holds only what its run determines, so runs that are looked at are other runs."""
    assert problem("resnet", precision="float64").identity != tracked("resnet", 1).identity
    assert tracked("resnet", 1).identity["track"] == {
        "epochs": [1],
        "layers": ["conv1", "bn1", "blocks.0", "blocks.1", "fc"],
    }


def test_chosen_layers() -> None:
    """Layers by name, of any depth."""
    p = tracked("resnet", 1, layers=("blocks.1.conv2",))
    arrays = train_stack(p, [seeds(p, 1), seeds(p, 2)])[0].arrays
    assert [name for name in arrays if ".layer." in name] == ["track.1.layer.blocks.1.conv2"]


def test_bad_tracking_is_refused() -> None:
    """Unknown layers and epochs that do not come are refused in a sentence."""
    with pytest.raises(BadInput, match=r"names of the model's modules \(got 'conv9'\); it has conv1"):
        tracked("resnet", 1, layers=("conv9",))
    with pytest.raises(BadInput, match=r"track epochs must be from 0 to the recipe's 3 \(got 4\)"):
        tracked("resnet", 4)


@pytest.mark.parametrize("n", [1, 5, PROBE, PROBE + 1, 10_000])
def test_the_probe_set(n: int) -> None:
    """Distinct examples, evenly spaced, at most PROBE."""
    index = probe(n)
    assert len(index) == len(set(index.tolist())) == min(n, PROBE)
    assert index[0] == 0
    assert index[-1] == n - 1
    assert np.ptp(np.diff(index)) <= 1 if n > 2 else True


def test_problem_without_tracking_has_none() -> None:
    """Nobody pays for what was not asked for."""
    p = problem("mlp")
    assert p.track is None
    assert dataclasses.replace(p).identity.get("track") is None


class PartlyFrozen(nn.Module):
    """Its first layer does not learn, and stands before one that does."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed, self.learnt = nn.Linear(6, 5), nn.Linear(5, 3)
        self.fixed.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.learnt(torch.tanh(self.fixed(x)))


def test_parameters_stand_in_the_models_order() -> None:
    """In a stack as alone, also where some of them do not learn."""
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 6, generator=draws, dtype=torch.float64), torch.arange(60) % 3
    made = Recipe(epochs=2, batch_size=16, lr=0.1, precision="float64")
    task = Task(name="frozen", model=PartlyFrozen, train=(x[:40], y[:40]), test=(x[40:], y[40:]), recipe=made)
    p = prepare(task, made, torch.device("cpu"), track=(0, 2))
    together = train_stack(p, [seeds(p, n) for n in (1, 2)])
    for number, outcome in enumerate(together, start=1):
        (alone,) = train_stack(p, [seeds(p, number)])
        for epoch in (0, 2):
            name = f"track.{epoch}.parameters"
            assert np.allclose(outcome.arrays[name], alone.arrays[name], rtol=0, atol=1e-12)
    flat = torch.cat([w.detach().flatten() for w in build_model(task, made, 1).parameters()]).numpy()
    assert np.array_equal(together[0].arrays["track.0.parameters"][:30], flat[:30])
