"""A run's result does not depend on its stack: bit for bit, whatever its neighbours, slot, interruptions or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import MODELS, Explosive, problem, seeds
from torch import nn

from nondet.errors import BadInput
from nondet.sources import stream
from nondet.study.spec import Outcome
from nondet.tasks.named import optimizer_class
from nondet.training.examples import epoch_plan
from nondet.training.new_stack import new_stack
from nondet.training.problem import Problem, build_model
from nondet.training.recipes import lr_factor
from nondet.training.snapshots import Due
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

WIDTH = 4
OPTIMIZERS: dict[str, dict[str, object]] = {
    "SGD": {"momentum": 0.9, "weight_decay": 5e-4},
    "Adam": {},
    "AdamW": {"amsgrad": True},
    "RMSprop": {"momentum": 0.5},
    "NAdam": {},
    "Adagrad": {},
}


def same(a: Outcome, b: Outcome) -> bool:
    """Whether two outcomes are equal to the last bit, the place of every NaN included."""
    return (
        a.failed == b.failed
        and a.facts == b.facts
        and a.arrays.keys() == b.arrays.keys()
        and all(a.arrays[name].tobytes() == b.arrays[name].tobytes() for name in a.arrays)
    )


def train(p: Problem, numbers: Sequence[int]) -> dict[int, Outcome]:
    """Runs by number, trained in one stack; all sources vary."""
    outcomes = train_stack(p, [seeds(p, number) for number in numbers])
    return dict(zip(numbers, outcomes, strict=True))


@pytest.fixture(scope="module", params=list(MODELS))
def trained(request: pytest.FixtureRequest) -> tuple[Problem, Mapping[int, Outcome]]:
    """Runs 1 to 4 of a problem, trained together."""
    p = problem(request.param)
    return p, train(p, [1, 2, 3, 4])


def test_runs_differ(trained: tuple[Problem, Mapping[int, Outcome]]) -> None:
    """Runs with other seeds are other models, so that the equalities below say something."""
    _, runs = trained
    assert len({run.arrays["outputs"].tobytes() for run in runs.values()}) == len(runs)
    assert all(run.failed is None for run in runs.values())


def test_slots_do_not_matter(trained: tuple[Problem, Mapping[int, Outcome]]) -> None:
    """A run gives the same bits in every slot."""
    p, runs = trained
    assert all(same(run, runs[n]) for n, run in train(p, [3, 1, 4, 2]).items())


def test_neighbours_do_not_matter(trained: tuple[Problem, Mapping[int, Outcome]]) -> None:
    """A run gives the same bits beside other runs, and beside copies of itself."""
    p, runs = trained
    assert same(train(p, [9, 8, 1, 7])[1], runs[1])
    assert all(same(copy, runs[2]) for copy in train_stack(p, [seeds(p, 2)] * WIDTH))


def test_the_split_into_stacks_does_not_matter() -> None:
    """Eight runs give the same bits, however they are split into two stacks of four."""
    p = problem("resnet")
    one = train(p, [1, 2, 3, 4]) | train(p, [5, 6, 7, 8])
    other = train(p, [8, 1, 6, 3]) | train(p, [2, 7, 4, 5])
    assert all(same(one[n], other[n]) for n in one)


def test_stacks_of_the_digits_width_and_network() -> None:
    """The digits' own network, batch and stack width: slots and neighbours do not matter there either."""
    from nondet.tasks import load_task
    from nondet.training.prepare import prepare

    task = load_task("digits")
    p = prepare(task, task.recipe.set({"epochs": "1"}), torch.device("cpu"))
    one = train(p, list(range(1, task.stack + 1)))
    other = train(p, [*range(task.stack, 10, -1), *range(101, 111)])
    assert all(same(one[n], other[n]) for n in range(11, task.stack + 1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_keep_runs_apart(optimizer: str) -> None:
    """With every element-wise optimizer, slots and neighbours do not matter."""
    p = problem("mlp", optimizer=optimizer, options=OPTIMIZERS[optimizer], lr=0.01)
    runs = train(p, [1, 2, 3, 4])
    assert same(train(p, [7, 6, 5, 3])[3], runs[3])


def test_optimizers_that_couple_runs_do_not_stack() -> None:
    """An optimizer that looks at more than one element at a time would mix the runs: they are trained one at a time."""
    width, why = fitting_width(problem("mlp", optimizer="Adafactor"), WIDTH)
    assert width == 1
    assert "Adafactor is not element-wise" in why


def test_optimizers_that_cannot_train_the_model_are_refused() -> None:
    """One that takes sparse gradients alone."""
    with pytest.raises(BadInput, match=r"SparseAdam.*choose SGD"):
        problem("mlp", optimizer="SparseAdam")


@pytest.mark.parametrize("amp", ["float16", "bfloat16"])
@pytest.mark.parametrize("model", ["dropout", "resnet"])
def test_mixed_precision_is_autocasts(amp: str, model: str) -> None:
    """Stacks of it are held against torch's autocast; weights are float32, and a run's bits are free of the slot."""
    p = problem(model, amp=amp, options={"momentum": 0.9}, ema=0.9)
    assert fitting_width(p, 2) == (2, "")
    one, other = (train_stack(p, [seeds(p, n) for n in slots]) for slots in ((1, 2), (3, 1)))
    assert same(one[0], other[1])
    assert all(np.isfinite(run.arrays["outputs"]).all() for run in one)
    plain = train_stack(replace(p, recipe=replace(p.recipe, amp="")), [seeds(p, 1)] * 2)[0]
    difference = np.abs(one[0].arrays["outputs"] - plain.arrays["outputs"]).max()
    assert 0 < difference < 0.2
    assert p.recipe.as_dict()["amp"] == amp
    assert "amp" not in problem(model).recipe.as_dict()


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_short_types_do_not_depend_on_the_slot(precision: str, optimizer: str) -> None:
    """Equal runs stay equal in every slot, their averages too: torch's sums in these types round by the place."""
    options = OPTIMIZERS["SGD"] if optimizer == "SGD" else {}
    p = problem("resnet", precision=precision, optimizer=optimizer, options=options, epochs=6, ema=0.9, swa=3)
    first, *others = train_stack(p, [seeds(p, 2)] * 3)
    assert first.failed is None
    assert all(same(first, other) for other in others)


def test_short_types_are_updated_in_float32() -> None:
    """One step by hand: the float16 weight and gradient as float32, the step, and one rounding."""
    p = problem("mlp", precision="float16", options={"weight_decay": 0.01}, lr=0.3)
    stack = new_stack(p, [seeds(p, n) for n in (1, 2)])
    before = {name: w.detach().clone() for name, w in stack.trained.items()}
    losses = torch.stack([sum((w[run].float() ** 2).sum() for w in stack.trained.values()) for run in range(2)])
    stack.learn(losses)
    for name, w in stack.trained.items():
        gradient = (2 * before[name].float()).half().float()
        expected = before[name].float() - 0.3 * (gradient + 0.01 * before[name].float())
        assert w.dtype == torch.float16
        assert torch.allclose(w.float(), expected, rtol=1e-3, atol=0)


def test_a_neighbour_that_diverges_does_not_matter() -> None:
    """A run beside runs that go to NaN gives the same bits as beside sound ones, and theirs are recorded as failed."""
    p = problem(Explosive)
    outcomes = train(p, list(range(1, 13)))
    failed = [n for n, run in outcomes.items() if run.failed is not None]
    sound = [n for n in outcomes if n not in failed]
    assert len(failed) >= 2
    assert len(sound) >= 6
    quiet = [*sound, *sound][:12]
    assert all(same(run, outcomes[n]) for n, run in train(p, quiet).items())
    for n in failed:
        run = outcomes[n]
        assert run.failed == 1
        assert set(run.arrays) == {"curves.loss", "curves.accuracy"}
        assert len(run.arrays["curves.loss"]) == 1
    mixed = train(p, [failed[0]] * 6 + [sound[0]] * 6)
    assert same(mixed[sound[0]], outcomes[sound[0]])
    assert same(mixed[failed[0]], outcomes[failed[0]])


class Interrupted(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["dropout", "resnet"])
def test_kill_and_resume(tmp_path: Path, optimizer: str, model: str) -> None:
    """A stack killed after any epoch and resumed from its snapshot gives the bits of one that was never interrupted."""
    p = problem(model, optimizer=optimizer, options=OPTIMIZERS[optimizer], lr=0.01, epochs=4)
    runs = [seeds(p, n) for n in (1, 2, 3)]
    whole = train_stack(p, runs)
    snapshot = tmp_path / "stack.snapshot"
    resumed_at: list[int] = []

    def interrupt_after(epoch: int) -> None:
        if epoch > resumed_at[-1]:
            raise Interrupted

    for expected in (0, 0, 1, 2):  # the snapshot follows the epoch's report: killed between the two, an epoch is lost
        resumed_at.append(expected + (1 if len(resumed_at) else 0))
        with pytest.raises(Interrupted):
            train_stack(p, runs, on_epoch=interrupt_after, snapshot=snapshot, snapshot_seconds=-1.0)
    seen: list[int] = []
    resumed = train_stack(p, runs, on_epoch=seen.append, snapshot=snapshot, snapshot_seconds=-1.0)
    assert seen[0] > 0, "nothing was resumed"
    assert all(same(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_stop_leaves_the_last_whole_epoch(tmp_path: Path) -> None:
    """Told to stop between two epochs, a stack writes its state at once, however long ago the last one was written."""
    p = problem("mlp", epochs=3)
    runs = [seeds(p, n) for n in (1, 2)]
    whole, snapshot = train_stack(p, runs), tmp_path / "stack.snapshot"

    def stop(epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train_stack(p, runs, on_epoch=stop, snapshot=snapshot)
    seen: list[int] = []
    resumed = train_stack(p, runs, on_epoch=seen.append, snapshot=snapshot)
    assert seen == [2, 3]
    assert all(same(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_stop_in_an_epoch_leaves_no_half_of_it(tmp_path: Path) -> None:
    """One that comes inside an epoch keeps nothing of that epoch."""
    saved: list[int] = []
    due = Due(lambda: saved.append(1), 1000.0, wanted=True)
    with pytest.raises(KeyboardInterrupt, match=r"^$"), due, due.epoch():
        raise KeyboardInterrupt
    assert saved == []


def test_a_damaged_snapshot_is_not_used(tmp_path: Path) -> None:
    """A snapshot with one flipped byte is worth nothing: training begins at the beginning, with the same result."""
    p = problem("mlp", epochs=2)
    runs = [seeds(p, n) for n in (1, 2)]
    snapshot = tmp_path / "stack.snapshot"
    whole = train_stack(p, runs, snapshot=snapshot, snapshot_seconds=-1.0)
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.write_bytes(content)
    seen: list[int] = []
    again = train_stack(p, runs, on_epoch=seen.append, snapshot=snapshot)
    assert seen == [0, 1, 2]
    assert all(same(a, b) for a, b in zip(whole, again, strict=True))


def plain_loop(p: Problem, run: Mapping[str, int]) -> tuple[nn.Module, list[float]]:
    """The same training as a plain PyTorch loop over one model, written without any part of the stack."""
    from nondet.training.perturb import change_bit

    model = build_model(p.task, p.recipe, run["init"])
    change_bit(dict(model.named_parameters()), run["bit"])
    model.train()
    optimizer = optimizer_class(p.recipe.optimizer)(model.parameters(), lr=p.recipe.lr, **p.recipe.options)  # type: ignore[call-arg]
    inputs, labels = p.train
    curve: list[float] = []
    for epoch in range(p.recipe.epochs):
        plan, losses = epoch_plan(p, run, epoch), []
        steps = range(0, len(inputs), p.recipe.batch_size)
        for step, start in enumerate(steps):
            batch = plan.examples[start : start + p.recipe.batch_size].tolist()
            images = [_augmented(inputs[i], *(int(v) for d in plan.draws for v in d[i])) for i in batch]
            for group in optimizer.param_groups:
                group["lr"] = p.recipe.lr * lr_factor(p.recipe, epoch + step / len(steps))
            loss = F.cross_entropy(model(torch.stack(images)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(batch))
        curve.append(sum(losses) / len(inputs))
    return model.eval(), curve


def _augmented(image: torch.Tensor, row: int, column: int, mirrored: int) -> torch.Tensor:
    height, width = image.shape[1:]
    window = F.pad(image, (1, 1, 1, 1))[:, row : row + height, column : column + width]
    return window.flip(-1) if mirrored else window


@pytest.mark.parametrize(
    ("model", "optimizer"),
    # The keys' bias has no effect, so its gradient is rounding noise, which an adaptive optimizer scales up: SGD only.
    [*((m, o) for m in ("mlp", "resnet") for o in OPTIMIZERS), ("attention", "SGD")],
)
def test_a_stacked_run_is_a_plain_run(model: str, optimizer: str) -> None:
    """In float64, after 52 steps, a run of a stack equals a plain PyTorch loop that trains it alone, to 1e-9."""
    options = OPTIMIZERS[optimizer]
    p = problem(model, optimizer=optimizer, options=options, lr=0.01, epochs=13, precision="float64", warmup=1.0)
    runs = train(p, [1, 2, 3])
    for number in (1, 3):
        alone, curve = plain_loop(p, seeds(p, number))
        with torch.no_grad():
            outputs = alone(p.test[0]).numpy()
        run = runs[number]
        assert run.arrays["outputs"].dtype == np.float64
        assert np.abs(run.arrays["outputs"] - outputs).max() < 1e-9
        assert np.abs(run.arrays["curves.loss"] - curve).max() < 1e-9
        for name, value in alone.state_dict().items():
            assert np.abs(run.arrays[f"weights.{name}"] - value.numpy()).max() < 1e-9, name


def test_a_stack_of_one_is_a_plain_run() -> None:
    """Width 1, which does without vmap, trains the same model too, to 1e-9 in float64."""
    p = problem("resnet", epochs=13, precision="float64")
    alone, _ = plain_loop(p, seeds(p, 2))
    assert np.abs(train(p, [2])[2].arrays["outputs"] - alone(p.test[0]).detach().numpy()).max() < 1e-9


def test_dropout_masks_follow_the_examples() -> None:
    """Under the order source alone a run is mathematically the same run, its dropout masks included."""
    p = problem("dropout", epochs=2, precision="float64")
    runs = train_stack(p, [seeds(p, n, "order") for n in (1, 2, 3)])
    first = runs[0].arrays["outputs"]
    assert all(np.abs(run.arrays["outputs"] - first).max() < 1e-12 for run in runs[1:])
    assert len({run.arrays["outputs"].tobytes() for run in runs}) == 3


def test_dropout_is_torchs_dropout() -> None:
    """The masks keep each element with probability 1 - p, scale what they keep, and drop whole channels where asked."""
    from nondet.training.dropout import given_dropout, recorded_dropout

    layers = nn.Sequential(nn.Dropout(0.3), nn.Dropout2d(0.5))
    x = torch.ones(200, 8, 5, 5)
    with recorded_dropout() as shapes:
        assert torch.equal(layers(x), x / 0.7 / 0.5)
    assert shapes == [(200, 8, 5, 5), (200, 8, 1, 1)]
    rng = stream("dropout", 1, 0)
    uniforms = [torch.from_numpy(rng.random(shape, dtype=np.float32)) for shape in shapes]
    with given_dropout(uniforms):
        y = layers(x)
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.7 * 2)} or len(y.unique()) == 2
    kept = (y != 0).float().mean((2, 3))  # of each channel
    assert abs(float((kept == 0).float().mean()) - 0.5) < 0.05
    assert abs(float(kept[kept > 0].mean()) - 0.7) < 0.02
    assert torch.equal(layers.eval()(x), x)


def test_training_leaves_the_process_as_it_was() -> None:
    """Global generators and torch's settings are the same after training as before."""
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    train(problem("dropout", epochs=1), [1, 2])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic) == before[1:]


def test_frozen_parameters_stay() -> None:
    """Parameters that require no gradient keep their initial values, and are kept with the run."""

    def half_frozen() -> nn.Module:
        model = MODELS["mlp"]()
        for parameter in model.a.parameters():
            parameter.requires_grad_(False)
        return model

    p = problem(half_frozen)
    run = train_stack(p, [seeds(p, 1), seeds(p, 2, "init", "shuffle")])[1]
    initial = build_model(p.task, p.recipe, 2).state_dict()
    assert np.array_equal(run.arrays["weights.a.weight"], initial["a.weight"].numpy())
    assert not np.array_equal(run.arrays["weights.b.weight"], initial["b.weight"].numpy())


def test_shared_weights_stay_shared() -> None:
    """A parameter that two layers share is one parameter of the stack too: the plain loop agrees to 1e-9."""

    def tied() -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Linear(12, 3))
        model[3].weight = model[1].weight
        return model

    p = problem(tied, epochs=4, precision="float64")
    alone, _ = plain_loop(p, seeds(p, 2))
    assert np.abs(train(p, [1, 2])[2].arrays["outputs"] - alone(p.test[0]).detach().numpy()).max() < 1e-9


@pytest.mark.gpu
@pytest.mark.parametrize("model", list(MODELS))
def test_on_cuda_slots_and_neighbours_do_not_matter(model: str) -> None:
    """The same promises on a CUDA device, with deterministic kernels."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    p = problem(model, device=torch.device("cuda"))
    runs = train(p, [1, 2, 3, 4])
    assert same(train(p, [9, 8, 1, 7])[1], runs[1])
    assert same(train(p, [3, 1, 4, 2])[3], runs[3])


@pytest.mark.parametrize(("activation", "width"), [("ELU", 11), ("Softplus", 13)])
def test_functions_that_round_by_their_place_stack(activation: str, width: int) -> None:
    """Some round the last elements of a tensor otherwise: they are computed run by run, and every slot is the same."""

    def model() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, width), getattr(nn, activation)(), nn.Linear(width, 3))

    p = problem(model, batch_size=13)
    assert fitting_width(p, 5) == (5, "")
    first, *others = train_stack(p, [seeds(p, 1)] * 5)
    assert all(same(first, other) for other in others)
