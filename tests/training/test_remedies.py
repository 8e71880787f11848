"""What the recipe's remedies do to a run: cycles, EMA and SWA."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import problem, seeds
from test_stack import same

from nondet import Recipe
from nondet.errors import BadInput
from nondet.tasks.named import optimizer_class
from nondet.training.examples import epoch_plan
from nondet.training.problem import build_model
from nondet.training.recipes import lr_factor
from nondet.training.train import train_stack

DOUBLE = {"precision": "float64", "epochs": 4, "lr": 0.05}


def test_every_cycle_has_its_own_warm_up_and_cosine() -> None:
    """In an accelerated ensemble each cycle is the schedule of a short training."""
    cycles = Recipe(epochs=20, batch_size=8, lr=1.0, warmup=1.0, cycles=5)
    short = Recipe(epochs=4, batch_size=8, lr=1.0, warmup=1.0)
    for step in range(20 * 8):
        assert lr_factor(cycles, step / 8) == lr_factor(short, step / 8 % 4)


def test_an_accelerated_ensemble_answers_with_its_members_mean() -> None:
    """The outputs are the mean of the logits at the cycles' ends, and every member's weights are kept."""
    p = problem("resnet", cycles=2, **DOUBLE)
    whole = train_stack(p, [seeds(p, 1), seeds(p, 2)])
    members = []
    for number, outcome in enumerate(whole, start=1):
        for k in (1, 2):
            model = build_model(p.task, p.recipe, number)
            state = {n: outcome.arrays[f"member{k}.weights.{n}"] for n in model.state_dict()}
            model.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()})
            with torch.no_grad():
                members.append(model.eval()(p.test[0]).numpy())
        assert np.allclose(outcome.arrays["outputs"], (members[-2] + members[-1]) / 2, atol=1e-9)
        assert not np.allclose(members[-2], members[-1], atol=1e-3)
        assert outcome.arrays["member2.weights.fc.weight"].tobytes() == outcome.arrays["weights.fc.weight"].tobytes()
        assert not [name for name in outcome.arrays if name.startswith("member") and "outputs" in name]


def test_averages_follow_their_formulas() -> None:
    """EMA and SWA are those of a plain loop: after every step, and over the ends of the last two epochs."""
    p = problem("mlp", ema=0.9, swa=2, **DOUBLE)
    run = seeds(p, 3)
    outcome = train_stack(p, [seeds(p, 1), run])[1]
    model = build_model(p.task, p.recipe, run["init"])
    from nondet.training.perturb import change_bit

    change_bit(dict(model.named_parameters()), run["bit"])
    ema, ends = copy.deepcopy(model.state_dict()), []
    optimizer = optimizer_class("SGD")(model.parameters(), lr=1.0)  # type: ignore[call-arg]
    for epoch in range(4):
        plan = epoch_plan(p, run, epoch)
        for step, start in enumerate(range(0, 50, 16)):
            index = torch.from_numpy(plan.examples[start : start + 16])
            x = p.train[0][index]
            for augmentation, draws in zip(p.task.augment, plan.draws, strict=True):
                x = augmentation.apply(x, torch.from_numpy(draws)[index])
            optimizer.param_groups[0]["lr"] = p.recipe.lr * lr_factor(p.recipe, epoch + step / 4)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), p.train[1][index]).backward()
            optimizer.step()
            ema = {n: 0.9 * ema[n] + 0.1 * w.detach() for n, w in model.state_dict().items()}
        ends.append(copy.deepcopy(model.state_dict()))
    for name in ema:
        assert np.allclose(outcome.arrays[f"ema.weights.{name}"], ema[name], atol=1e-12)
        assert np.allclose(outcome.arrays[f"swa.weights.{name}"], (ends[2][name] + ends[3][name]) / 2, atol=1e-12)
    model.load_state_dict(ema)
    with torch.no_grad():
        assert np.allclose(outcome.arrays["ema.outputs"], model.eval()(p.test[0]).numpy(), atol=1e-10)


def test_averages_change_nothing_of_the_run() -> None:
    """Averages only look on: weights, curves and outputs are the same bits with and without them."""
    plain, looked = problem("resnet", **DOUBLE), problem("resnet", ema=0.5, swa=3, **DOUBLE)
    runs = [seeds(plain, n) for n in (1, 2)]
    for a, b in zip(train_stack(plain, runs), train_stack(looked, runs), strict=True):
        assert all(a.arrays[name].tobytes() == b.arrays[name].tobytes() for name in a.arrays)


def test_swa_refreshes_batch_norm() -> None:
    """The averaged model's running statistics are those of its own activations, not the average of old ones."""
    p = problem("resnet", swa=3, **(DOUBLE | {"lr": 0.5}))
    outcome = train_stack(p, [seeds(p, 1), seeds(p, 2)])[0]
    model = build_model(p.task, p.recipe, 1)
    state = {n: torch.from_numpy(outcome.arrays[f"swa.weights.{n}"]) for n in model.state_dict()}
    model.load_state_dict(state)
    with torch.no_grad():
        assert np.allclose(outcome.arrays["swa.outputs"], model.eval()(p.test[0]).numpy(), atol=1e-9)
        inputs = p.train[0]
        settled = build_model(p.task, p.recipe, 1)
        settled.load_state_dict(state)
        for _ in range(30):
            for start in range(0, 50, 16):
                settled.train()(inputs[start : start + 16])
        drift = float((settled.bn1.running_mean - model.bn1.running_mean).abs().max())  # type: ignore[union-attr]
    assert drift < 0.3


@pytest.mark.parametrize("remedy", [{"cycles": 2}, {"ema": 0.9, "swa": 2}])
def test_resume_and_neighbours(tmp_path: Path, remedy: dict[str, object]) -> None:
    """With remedies too, a run's result depends neither on an interruption nor on its neighbours."""
    p = problem("resnet", **(DOUBLE | remedy))
    whole = train_stack(p, [seeds(p, n) for n in (1, 2, 3)])
    assert same(train_stack(p, [seeds(p, n) for n in (7, 3, 8)])[1], whole[2])

    class Interrupted(Exception):
        pass

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise Interrupted

    snapshot = tmp_path / "s"
    with pytest.raises(Interrupted):
        train_stack(p, [seeds(p, n) for n in (1, 2, 3)], snapshot=snapshot, snapshot_seconds=-1.0, on_epoch=stop)
    seen: list[int] = []
    resumed = train_stack(p, [seeds(p, n) for n in (1, 2, 3)], snapshot=snapshot, on_epoch=seen.append)
    assert seen[0] >= 1, "nothing was resumed"
    assert all(same(a, b) for a, b in zip(resumed, whole, strict=True))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cycles": 3}, r"epochs must be a multiple of cycles \(got 4 and 3\); try recipe=\{'epochs': 3\}"),
        ({"cycles": 0}, r"cycles must be a whole number of at least 1"),
        ({"ema": 1.0}, r"ema must be at least 0 and below 1 \(got 1.0\)"),
        ({"swa": 5}, r"swa must be at most epochs \(got 5 with 4 epochs\)"),
        ({"bit": 3}, r"bit must be first, random or the name"),
    ],
)
def test_bad_remedies_are_refused(fields: dict[str, object], words: str) -> None:
    """One sentence with the rule, the value and the way out."""
    with pytest.raises(BadInput, match=words):
        Recipe(**({"epochs": 4, "batch_size": 8, "lr": 0.1} | fields))  # type: ignore[arg-type]


def test_older_keys_hold() -> None:
    """Fields that came later are no part of a run's name while they change nothing."""
    recipe = Recipe(epochs=4, batch_size=8, lr=0.1)
    assert not {"cycles", "ema", "swa", "bit", "bptt"} & recipe.as_dict().keys()
    assert Recipe(epochs=4, batch_size=8, lr=0.1, cycles=2).as_dict()["cycles"] == 2
