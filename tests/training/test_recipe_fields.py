"""What a recipe says besides optimizer and rate: each against a loop of plain torch, in float64 to 1e-9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nondet as nd
from nondet.sources import seeded_globals, stream
from nondet.training.examples import epoch_plan
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

RNG = np.random.default_rng(5)
X = torch.from_numpy(RNG.standard_normal((80, 6)))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0.3).long() + (X[:, 2] > 1).long()
SCHEDULERS = torch.optim.lr_scheduler


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def prepared(loss: Any = None, **fields: Any) -> Problem:
    recipe = {"epochs": 3, "batch_size": 16, "lr": 0.05, "schedule": "constant", "precision": "float64"} | fields
    task = nd.Task(
        model=model,
        train=(X[:50], Y[:50]),
        test=(X[60:], Y[60:]),
        val=(X[50:60], Y[50:60]),
        recipe=nd.Recipe(**recipe),
        name="small",
        loss=loss,
    )
    return prepare(task, task.recipe, torch.device("cpu"))


def runs_of(problem: Problem, count: int = 3) -> list[dict[str, int]]:
    return [dict.fromkeys(problem.sources, 1) | {"init": seed, "shuffle": seed} for seed in range(1, count + 1)]


def plainly(
    problem: Problem,
    run: dict[str, int],
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    after_backward: Callable[[nn.Module], None] = lambda model: None,
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    by_step: bool = False,
    every: int = 1,
    after_epoch: Callable[[nn.Module], bool] = lambda model: True,
) -> nn.Module:
    """A loop as a tutorial has it."""
    with seeded_globals(stream("init", run["init"])):
        net = model().double()
    optimizer = optimizer_of(net)
    scheduler = schedule(optimizer) if schedule else None
    for epoch in range(problem.recipe.epochs):
        parts = torch.from_numpy(epoch_plan(problem, run, epoch).examples).split(16)
        for step, part in enumerate(parts):
            (loss_of(net(X[part]), Y[part]) / every).backward()
            if (step + 1) % every == 0 or step + 1 == len(parts):
                after_backward(net)
                optimizer.step()
                optimizer.zero_grad()
            if scheduler and by_step:
                scheduler.step()
        if not after_epoch(net):
            break
        if scheduler and not by_step:
            scheduler.step()
    return net


def apart(problem: Problem, net: nn.Module, runs: list[dict[str, int]], which: int = 1) -> float:
    arrays = train_stack(problem, runs)[which].arrays
    return max(float(np.abs(arrays[f"weights.{k}"] - v.numpy()).max()) for k, v in net.state_dict().items())


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05)


def momentum(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


def no_decay(net: nn.Module) -> torch.optim.Optimizer:
    named = dict(net.named_parameters())
    parts = [[p for n, p in named.items() if "bias" not in n], [p for n, p in named.items() if "bias" in n]]
    groups = [{"params": parts[0], "weight_decay": 0.5}, {"params": parts[1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.05)


SMOOTH = nn.CrossEntropyLoss(label_smoothing=0.2)
WEIGHED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double())
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "smoothing": ({"label_smoothing": 0.2}, {"optimizer_of": sgd, "loss_of": SMOOTH}),
    "weights": ({"class_weights": (1, 2, 5)}, {"optimizer_of": sgd, "loss_of": WEIGHED}),
    "a module": ({"loss": nn.CrossEntropyLoss(label_smoothing=0.2)}, {"optimizer_of": sgd, "loss_of": SMOOTH}),
    "no decay": (
        {"optimizer": "AdamW", "options": {"weight_decay": 0.5}, "no_decay": ["bias"]},
        {"optimizer_of": no_decay},
    ),
    "clipping": (
        {"grad_clip": 0.1},
        {"optimizer_of": sgd, "after_backward": lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.1)},
    ),
    "accumulation": ({"accumulate": 3}, {"optimizer_of": sgd, "every": 3}),
    "one cycle": (
        {"schedule": "OneCycleLR", "options": {"momentum": 0.9}},
        {
            "optimizer_of": momentum,
            "schedule": lambda o: SCHEDULERS.OneCycleLR(o, max_lr=0.05, total_steps=13),
            "by_step": True,
        },
    ),
    "steps": (
        {"schedule": SCHEDULERS.StepLR, "schedule_options": {"step_size": 1, "gamma": 0.3}},
        {"optimizer_of": sgd, "schedule": lambda o: SCHEDULERS.StepLR(o, 1, 0.3)},
    ),
    "cosine by step": (
        {"schedule": "CosineAnnealingLR", "schedule_by": "step"},
        {"optimizer_of": sgd, "schedule": lambda o: SCHEDULERS.CosineAnnealingLR(o, 12), "by_step": True},
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_does_what_torch_does(name: str) -> None:
    """A run of a stack ends with the weights of the plain loop, and the stack is one."""
    fields, how = FIELDS[name]
    problem = prepared(**fields)
    runs = runs_of(problem)
    assert not problem.alone
    assert apart(problem, plainly(problem, runs[1], **how), runs) < 1e-9


@pytest.mark.parametrize("schedule", ["constant", "StepLR"])
def test_muon_trains_matrices_and_adamw_the_rest(schedule: str) -> None:
    """One run at a time: each kind of parameter as its optimizer trains it in a plain loop."""
    stepped = {"schedule_options": {"step_size": 1, "gamma": 0.5}} if schedule == "StepLR" else {}
    problem = prepared(optimizer="Muon", schedule=schedule, options={"weight_decay": 0.02}, lr=0.01, **stepped)
    assert "only one model" in fitting_width(problem, 3)[1]
    run = runs_of(problem, 1)[0]
    (outcome,) = train_stack(problem, [run])
    with seeded_globals(stream("init", run["init"])):
        net = model().double()
    matrices, others = ([p for p in net.parameters() if (p.dim() == 2) == two] for two in (True, False))
    optimizers = [
        made(few, lr=0.01, weight_decay=0.02)
        for made, few in ((torch.optim.Muon, matrices), (torch.optim.AdamW, others))
    ]
    for epoch in range(problem.recipe.epochs):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.01 * (0.5**epoch if stepped else 1)
        for part in torch.from_numpy(epoch_plan(problem, run, epoch).examples).split(16):
            net.zero_grad()
            F.cross_entropy(net(X[part]), Y[part]).backward()
            for optimizer in optimizers:
                optimizer.step()
    answers = net(problem.test[0]).detach().numpy()
    assert np.abs(outcome.arrays["outputs"] - answers).max() < 1e-9


def test_lightnings_names_of_a_precision() -> None:
    """A mixed precision is ours with `amp`; a true one is the precision."""
    mixed = nd.Recipe(epochs=1, batch_size=1, lr=0.1, precision="bf16-mixed")
    assert (mixed.precision, mixed.amp) == ("float32", "bfloat16")
    assert nd.Recipe(epochs=1, batch_size=1, lr=0.1, precision="64-true").precision == "float64"


def test_a_plateau_is_each_runs_own() -> None:
    """ReduceLROnPlateau is stepped with the run's own loss, one run at a time."""
    problem = prepared(schedule="ReduceLROnPlateau", schedule_options={"patience": 0, "threshold": 0.2})
    assert "ReduceLROnPlateau" in problem.alone
    run = runs_of(problem)[1]
    with seeded_globals(stream("init", run["init"])):
        net = model().double()
    optimizer = sgd(net)
    scheduler = SCHEDULERS.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)
    for epoch in range(3):
        for part in torch.from_numpy(epoch_plan(problem, run, epoch).examples).split(16):
            optimizer.zero_grad()
            F.cross_entropy(net(X[part]), Y[part]).backward()
            optimizer.step()
        scheduler.step(F.cross_entropy(net(X[50:60]), Y[50:60]).item())
    assert optimizer.param_groups[0]["lr"] < 0.05
    assert apart(problem, net, [run], 0) < 1e-9


def test_an_optimizer_that_evaluates_again() -> None:
    """LBFGS trains one run at a time, as with a closure of the user's own."""
    problem = prepared(optimizer="LBFGS", options={"max_iter": 3}, lr=0.2)
    assert "LBFGS" in problem.alone
    assert fitting_width(problem, 3)[0] == 1
    run = runs_of(problem)[1]
    with seeded_globals(stream("init", run["init"])):
        net = model().double()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.2, max_iter=3)
    for epoch in range(3):
        for part in torch.from_numpy(epoch_plan(problem, run, epoch).examples).split(16):

            def loss(part: Tensor = part) -> Tensor:
                optimizer.zero_grad()
                value = F.cross_entropy(net(X[part]), Y[part])
                value.backward()
                return value

            optimizer.step(loss)  # type: ignore[arg-type]
    assert apart(problem, net, [run], 0) < 1e-9


@pytest.mark.parametrize(("select", "patience"), [("best", 0), ("last", 1), ("best", 2)])
def test_each_run_ends_with_its_own_epoch(select: str, patience: int) -> None:
    """The best epoch by the loss on `val`, and an early stop, are those of a loop over one model."""
    problem = prepared(epochs=8, lr=1.0, select=select, patience=patience)
    assert "selection" in problem.sources
    runs = runs_of(problem, 4)
    outcomes = train_stack(problem, runs)
    chosen: list[int] = []
    for run, outcome in zip(runs, outcomes, strict=True):
        found: list[tuple[float, dict[str, Tensor]]] = []

        def after(net: nn.Module, found: list[tuple[float, dict[str, Tensor]]] = found) -> bool:
            loss = F.cross_entropy(net(X[50:60]), Y[50:60]).item()
            found.append((loss, {k: v.clone() for k, v in net.state_dict().items()}))
            losses = [x for x, _ in found]
            return not patience or len(losses) - 1 - int(np.argmin(losses)) < patience

        plainly(problem, run, lambda net: torch.optim.SGD(net.parameters(), lr=1.0), after_epoch=after)
        best = int(np.argmin([x for x, _ in found])) if select == "best" else len(found) - 1
        chosen.append(best)
        assert outcome.facts["selected"] == best + 1
        for name, weight in found[best][1].items():
            assert np.abs(outcome.arrays[f"weights.{name}"] - weight.numpy()).max() < 1e-9
    assert len(set(chosen)) > 1  # else nothing was tried


def test_the_selection_source_draws_the_validation_examples() -> None:
    """Other seeds look at a bootstrap sample, and may choose another epoch of the same training."""
    problem = prepared(epochs=8, lr=1.0, select="best")
    same = dict.fromkeys(problem.sources, 1)
    outcomes = train_stack(problem, [same | {"selection": seed} for seed in range(1, 9)])
    assert len({outcome.facts["selected"] for outcome in outcomes}) > 1
    assert all(np.array_equal(o.arrays["curves.loss"], outcomes[0].arrays["curves.loss"]) for o in outcomes)


def test_a_field_that_does_not_exist() -> None:
    """The sentence lists those that do, and the nearest."""
    with pytest.raises(nd.BadInput, match=r"no field 'grad_clp' .*did you mean grad_clip.*it has epochs.*accumulate"):
        nd.Recipe(epochs=1, batch_size=1, lr=0.1, grad_clp=1.0)  # type: ignore[call-arg]
    with pytest.raises(nd.BadInput, match=r"no field 'validation'.*val"):
        nd.Task(model=model, train=(X, Y), test=(X, Y), recipe=prepared().recipe, validation=(X, Y))  # type: ignore[call-arg]


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimisation, as its public code has it: from gradients that are there, then with a closure."""

    def __init__(self, params: Any, lr: float = 0.1, rho: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is None:
            raise RuntimeError("SAM requires a closure")
        ps = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in ps]).norm()
        moves = [p.grad * (self.param_groups[0]["rho"] / norm) for p in ps]
        for p, move in zip(ps, moves, strict=True):
            p.add_(move)
        closure()
        for p, move in zip(ps, moves, strict=True):
            p.sub_(move)
            p.sub_(self.param_groups[0]["lr"] * p.grad)


@pytest.mark.parametrize("graphs", [True, False], ids=["on the device", "on the host"])
def test_the_last_mini_batch_is_left_out(graphs: bool) -> None:
    """As a loader with drop_last has it: 48 of 50 examples an epoch, others each time, and a schedule of 3 steps."""
    fields = {"schedule": "OneCycleLR", "options": {"momentum": 0.9}} | ({} if graphs else {"grad_clip": 1e6})
    problem = prepared(drop_last=True, **fields)
    runs = runs_of(problem)
    left = [set(range(50)) - set(epoch_plan(problem, runs[1], epoch).examples.tolist()) for epoch in range(3)]
    assert [len(some) for some in left] == [2, 2, 2]
    assert left[0] != left[1]
    one_cycle = {"schedule": lambda o: SCHEDULERS.OneCycleLR(o, max_lr=0.05, total_steps=10), "by_step": True}
    net = plainly(problem, runs[1], momentum, **one_cycle)
    assert apart(problem, net, runs) < 1e-9


def test_a_loader_says_so_itself() -> None:
    """The loader's drop_last is the recipe's, and a recipe can take it back."""
    loader = DataLoader(TensorDataset(X[:50], Y[:50]), batch_size=16, drop_last=True)
    task = nd.Task(model=model, train=loader, test=(X[60:], Y[60:]), recipe=nd.Recipe(epochs=1, batch_size=16, lr=0.1))
    assert task.recipe.drop_last
    assert prepare(task, task.recipe, torch.device("cpu")).steps == 3
    assert prepare(task, task.recipe.set({"drop_last": "false"}), torch.device("cpu")).steps == 4


def test_an_optimizer_that_wants_gradients_and_a_closure() -> None:
    """SAM trains one run at a time, as its own loop does."""
    problem = prepared(optimizer=Sam)
    assert "Sam" in problem.alone
    assert fitting_width(problem, 3)[0] == 1
    run = runs_of(problem)[1]
    with seeded_globals(stream("init", run["init"])):
        net = model().double()
    optimizer = Sam(net.parameters(), lr=0.05)
    for epoch in range(3):
        for part in torch.from_numpy(epoch_plan(problem, run, epoch).examples).split(16):

            def loss(part: Tensor = part) -> Tensor:
                with torch.enable_grad():
                    optimizer.zero_grad()
                    value = F.cross_entropy(net(X[part]), Y[part])
                    value.backward()
                return value

            loss()
            optimizer.step(loss)
    assert apart(problem, net, [run], 0) < 1e-9
