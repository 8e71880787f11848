"""Many runs of one task trained as one program.

Parameters and buffers of R models are stacked, and `vmap` runs the forward pass over the stack. The loss is the sum
of the runs' mean losses, so plain autograd and any element-wise optimizer train each run as if it were alone.
Nothing couples the runs: no global norm, no reduction over the stack, no batch statistic across runs.
Shapes: R runs, n training examples, B examples in a mini-batch, c classes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch.utils.deterministic
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from nondet.errors import BadInput
from nondet.measures.arrays import LARGEST
from nondet.run import WEIGHTS_LIMIT, Outcome
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.task import Recipe, optimizer_class
from nondet.training import snapshots
from nondet.training.dropout import draw_uniforms, given_dropout
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.schedule import lr_factor

TEST_BATCH = 256
"""Test examples in one forward pass. Another number would be another kernel, and perhaps another last bit."""

Seeds = Mapping[str, int]


@dataclass
class Stack:
    """R models half way through their training; changed in place by every epoch.

    skeleton: one model, whose forward pass serves all. trained, frozen, buffers: name -> (R, ...).
    curves: "loss" and "accuracy", each (R, epochs), NaN where not yet trained.
    failed: for each run the epoch, counted from 1, at which its loss was no longer finite; 0 if it is well.
    """

    skeleton: nn.Module
    trained: dict[str, Tensor]
    frozen: dict[str, Tensor]
    buffers: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    peaks: list[float]
    curves: dict[str, Tensor]
    failed: Tensor
    facts: list[dict[str, Any]]
    epoch: int = 0

    @property
    def state(self) -> dict[str, Any]:
        """All that a snapshot must hold; the rest follows from the task and the seeds."""
        return {
            "trained": self.trained,
            "frozen": self.frozen,
            "buffers": self.buffers,
            "optimizer": snapshots.optimizer_state(self.optimizer),
            "curves": self.curves,
            "failed": self.failed,
            "epoch": self.epoch,
        }


def train_stack(
    problem: Problem,
    seeds: Sequence[Seeds],
    *,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    snapshot: Path | None = None,
    snapshot_seconds: float = snapshots.SECONDS,
) -> list[Outcome]:
    """Train one run for each entry of seeds (source -> seed), all together, and return their outcomes in that order.

    on_epoch is called with the number of finished epochs. With `snapshot`, the state is written to that file every
    `snapshot_seconds`, and training goes on from it if it is there; delete it once the outcomes are safe.
    """
    with deterministic():
        stack = new_stack(problem, seeds)
        if snapshot is not None:
            _resume(stack, snapshot)
            on_epoch(stack.epoch)
        last = time.monotonic()
        while stack.epoch < problem.recipe.epochs and not bool((stack.failed > 0).all()):
            train_epoch(problem, stack, seeds)
            on_epoch(stack.epoch)
            if snapshot is not None and time.monotonic() - last > snapshot_seconds:
                begin = time.monotonic()
                snapshots.save_snapshot(snapshot, stack.state)
                last = time.monotonic()
                snapshot_seconds = max(snapshot_seconds, 50 * (last - begin))  # large states, more seldom
        outcomes = _outcomes(problem, stack)
    return outcomes


@contextmanager
def deterministic() -> Generator[None]:
    """Only deterministic kernels inside the block, and full float32 products on CUDA; the settings come back after.

    Attention takes its plain form: it is deterministic on every device, and stacks under vmap.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # costs time, and hides nothing here
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
    torch.backends.cuda.matmul.allow_tf32 = False
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        memory.fill_uninitialized_memory = fill
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def new_stack(problem: Problem, seeds: Sequence[Seeds]) -> Stack:
    """Every run's model from its own init seed, its bit changed, and one optimizer for all of them."""
    models = [build_model(problem.task, problem.recipe, run["init"]) for run in seeds]
    changes = [
        change_bit(dict(m.named_parameters()), run.get("bit", FIXED_SEED)) for m, run in zip(models, seeds, strict=True)
    ]
    skeleton = copy.deepcopy(models[0]).to(problem.device)
    learns = {name: p.requires_grad for name, p in skeleton.named_parameters()}
    parameters = _stacked([dict(m.named_parameters()) for m in models], problem.device)
    trained = {name: p.requires_grad_() for name, p in parameters.items() if learns[name]}
    optimizer, peaks = make_optimizer(problem.recipe, trained)
    curves = torch.full((len(seeds), problem.recipe.epochs), torch.nan, dtype=torch.float64)
    return Stack(
        skeleton=skeleton,
        trained=trained,
        frozen={name: p for name, p in parameters.items() if not learns[name]},
        buffers=_stacked([dict(m.named_buffers()) for m in models], problem.device),
        optimizer=optimizer,
        peaks=peaks,
        curves={"loss": curves, "accuracy": curves.clone()},
        failed=torch.zeros(len(seeds), dtype=torch.int64),
        facts=[{"bit": asdict(change)} if change else {} for change in changes],
    )


def _stacked(models: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    """Tensors of equal names stacked along a new first axis: (R, ...)."""
    for model in models[1:]:
        if {k: v.shape for k, v in model.items()} != {k: v.shape for k, v in models[0].items()}:
            raise BadInput("model must return the same shapes at every call; take what is random out of its structure")
    return {name: torch.stack([model[name].detach() for model in models]).to(device) for name in models[0]}


def make_optimizer(recipe: Recipe, trained: Mapping[str, Tensor]) -> tuple[torch.optim.Optimizer, list[float]]:
    """The recipe's optimizer over stacked parameters (R, ...), and the highest rate of each of its groups."""
    weights = [p for p in trained.values() if p.dim() > 2]
    vectors = [p for p in trained.values() if p.dim() <= 2]  # biases and scales: one axis, and the stack's
    groups = [(weights, recipe.lr), (vectors, recipe.lr * recipe.bias_lr)]
    chosen: Any = optimizer_class(recipe.optimizer)
    try:
        optimizer = chosen([{"params": p, "lr": lr} for p, lr in groups if p], lr=recipe.lr, **recipe.options)
    except OSError:
        raise
    except Exception as error:  # whatever a class that others wrote makes of these options
        raise BadInput(
            f"{chosen.__name__} refuses to train a stack with these options: {first_line(error)}; "
            "change them with --set, or choose SGD, Adam or AdamW"
        ) from error
    return optimizer, [lr for p, lr in groups if p]


@dataclass(frozen=True)
class EpochPlan:
    """The random numbers of one run's epoch, all but dropout's.

    shuffled: the examples in their new order (n,), cut into mini-batches from the front.
    places: for each position of that order, the place in its mini-batch that the order source takes the example from.
    draws: each augmentation's draws, by example (n, k).
    """

    shuffled: np.ndarray
    places: np.ndarray
    draws: list[np.ndarray]
    batch: int

    @property
    def examples(self) -> np.ndarray:
        """The examples as they are trained on: (n,)."""
        return self.shuffled[np.arange(len(self.shuffled)) // self.batch * self.batch + self.places]


def epoch_plan(problem: Problem, run: Seeds, epoch: int) -> EpochPlan:
    """Draw one run's epoch."""
    n, batch = len(problem.train[0]), problem.recipe.batch_size
    shuffled = stream("shuffle", run["shuffle"], epoch).permutation(n)
    places = np.concatenate([np.arange(min(batch, n - start)) for start in range(0, n, batch)])
    if run["order"] != FIXED_SEED:
        rng = stream("order", run["order"], epoch)
        for start in range(0, n, batch):
            places[start : start + batch] = rng.permutation(places[start : start + batch])
    rng = stream("augment", run.get("augment", FIXED_SEED), epoch)
    return EpochPlan(shuffled, places, [augmentation.draw(rng, n) for augmentation in problem.task.augment], batch)


def train_epoch(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> None:
    """One pass of every run over its own order of the training set."""
    plans = [epoch_plan(problem, run, stack.epoch) for run in seeds]
    examples = torch.from_numpy(np.stack([plan.examples for plan in plans])).to(problem.device)  # (R, n)
    places = np.stack([plan.places for plan in plans])  # (R, n)
    draws = [torch.from_numpy(np.stack(d)).to(problem.device) for d in zip(*(p.draws for p in plans), strict=True)]
    masks = [stream("dropout", run.get("dropout", FIXED_SEED), stack.epoch) for run in seeds]
    n, batch = len(problem.train[0]), problem.recipe.batch_size
    total = {name: torch.zeros(len(seeds), dtype=torch.float64, device=problem.device) for name in stack.curves}
    stack.skeleton.train()
    for step, start in enumerate(range(0, n, batch)):
        index = examples[:, start : start + batch]  # (R, B)
        inputs = augmented(problem, index, draws)  # (R, B, ...)
        labels = problem.train[1][index]  # (R, B)
        within = places[:, start : start + batch]
        uniforms = draw_uniforms(masks, problem.dropout[within.shape[1]], within, problem.device)
        set_rate(stack, problem.recipe, stack.epoch + step / -(-n // batch))
        losses, correct = train_step(stack, inputs, labels, uniforms)
        total["loss"] += losses.detach() * index.shape[1]
        total["accuracy"] += correct
    loss = (total["loss"] / n).cpu()
    stack.curves["loss"][:, stack.epoch] = loss
    stack.curves["accuracy"][:, stack.epoch] = (100 * total["accuracy"] / n).cpu()
    stack.epoch += 1
    stack.failed[(stack.failed == 0) & ~loss.isfinite()] = stack.epoch


def augmented(problem: Problem, index: Tensor, draws: Sequence[Tensor]) -> Tensor:
    """The inputs of one mini-batch of every run: (R, B, ...)."""
    inputs = problem.train[0][index.flatten()]  # (R * B, ...)
    slots = torch.arange(len(index), device=problem.device)[:, None]
    for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
        inputs = augmentation.apply(inputs, drawn[slots, index].flatten(0, 1))
    return inputs.unflatten(0, tuple(index.shape))


def set_rate(stack: Stack, recipe: Recipe, epoch: float) -> None:
    """Set every group's learning rate for a step at this fractional epoch."""
    factor = lr_factor(recipe, epoch)
    for group, peak in zip(stack.optimizer.param_groups, stack.peaks, strict=True):
        group["lr"] = factor * peak


def train_step(stack: Stack, inputs: Tensor, labels: Tensor, uniforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One optimizer step of every run; returns each one's mean loss and number of correct answers, both (R,)."""

    def forward(trained: Any, frozen: Any, buffers: Any, x: Tensor, y: Tensor, *u: Tensor) -> tuple[Tensor, Tensor]:
        with given_dropout(u):
            outputs = functional_call(stack.skeleton, {**trained, **frozen, **buffers}, (x,))  # (B, c)
        return F.cross_entropy(outputs, y), (outputs.detach().argmax(1) == y).sum()

    losses, correct = _over_stack(forward, stack.trained, stack.frozen, stack.buffers, inputs, labels, *uniforms)
    stack.optimizer.zero_grad()
    losses.sum().backward()
    stack.optimizer.step()
    return losses, correct


def _over_stack(function: Callable[..., Any], *stacked: Any, shared: Sequence[Tensor] = ()) -> Any:
    """The function for every run: by vmap, or by a plain call where the stack holds one run."""
    if len(next(iter(stacked[0].values()))) > 1:
        return vmap(function, in_dims=(0,) * len(stacked) + (None,) * len(shared))(*stacked, *shared)
    alone = [{k: t[0] for k, t in part.items()} if isinstance(part, dict) else part[0] for part in stacked]
    result = function(*alone, *shared)
    return result[None] if isinstance(result, Tensor) else tuple(part[None] for part in result)


@torch.no_grad()
def evaluate(problem: Problem, stack: Stack, first: int | None = None) -> Tensor:
    """Every run's logits on the test set (or on its first examples): (R, n, c), on the CPU."""
    stack.skeleton.eval()

    def forward(trained: Any, frozen: Any, buffers: Any, x: Tensor) -> Tensor:
        return functional_call(stack.skeleton, {**trained, **frozen, **buffers}, (x,))

    parts = problem.test[0][:first].split(TEST_BATCH)
    # Copies: a model may change its input in place.
    outputs = [_over_stack(forward, stack.trained, stack.frozen, stack.buffers, shared=[x.clone()]) for x in parts]
    return torch.cat([part.cpu() for part in outputs], dim=1)


def _resume(stack: Stack, snapshot: Path) -> None:
    """Bring a new stack to the state of a snapshot, if there is one."""
    state = snapshots.load_snapshot(snapshot)
    if state is None:
        return
    with torch.no_grad():
        for name in ("trained", "frozen", "buffers"):
            for key, tensor in getattr(stack, name).items():
                tensor.copy_(state[name][key])
    snapshots.restore_optimizer(stack.optimizer, state["optimizer"])
    stack.curves, stack.failed, stack.epoch = state["curves"], state["failed"], state["epoch"]


def _outcomes(problem: Problem, stack: Stack) -> list[Outcome]:
    outputs = evaluate(problem, stack)
    finite = (outputs.abs() <= LARGEST).flatten(1).all(1)  # false for NaN; larger ones no measure takes
    stack.failed[(stack.failed == 0) & ~finite] = stack.epoch
    weights = {**stack.trained, **stack.frozen, **stack.buffers}
    size = sum(w[0].numel() * w.element_size() for w in weights.values())
    kept = {name: w.detach().cpu().numpy() for name, w in weights.items()} if size < WEIGHTS_LIMIT else {}
    outcomes: list[Outcome] = []
    for run, failed in enumerate(stack.failed.tolist()):
        # A failed run's curves stop where it failed, whatever its neighbours made the stack do after that.
        arrays = {f"curves.{name}": c[run, : failed or None].numpy() for name, c in stack.curves.items()}
        if not failed:
            arrays["outputs"] = outputs[run].numpy()
            arrays |= {f"weights.{name}": array[run] for name, array in kept.items()}
        outcomes.append(Outcome(arrays, failed or None, stack.facts[run]))
    return outcomes
