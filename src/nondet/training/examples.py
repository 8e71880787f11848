"""Train and evaluate a stack of classifiers, where every run reads the training set in its own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.measures.arrays import LARGEST
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.augment import source_of
from nondet.training import averages
from nondet.training import batches as inputs_of
from nondet.training.batches import in_memory
from nondet.training.dropout import draw_uniforms, recorded_dropout
from nondet.training.objective import Objective, logits_of
from nondet.training.problem import Problem
from nondet.training.stack import Seeds, Stack, set_rate

TEST_BATCH = 256
"""Test examples in one forward pass. Another number would use another kernel, and perhaps change last bits."""


@dataclass(frozen=True)
class EpochPlan:
    """The random numbers of one run's epoch, except dropout's.

    shuffled: the training examples in their new order (n,), cut into mini-batches from the front.
    places: for each position in that order, the position in its mini-batch that the order source moves there.
    draws: each augmentation's draws, indexed by example of the whole training set (n, k).
    """

    shuffled: np.ndarray
    places: np.ndarray
    draws: list[np.ndarray]
    batch: int

    @property
    def examples(self) -> np.ndarray:
        """The examples in the order in which they are trained on: (n,)."""
        return self.shuffled[np.arange(len(self.shuffled)) // self.batch * self.batch + self.places]


def epoch_plan(problem: Problem, run: Seeds, epoch: int) -> EpochPlan:
    """Draw one run's epoch."""
    n, batch = problem.an_epoch, problem.recipe.batch_size
    whole = len(problem.train[1])
    shuffled = stream("shuffle", run["shuffle"], epoch).permutation(whole)[:n]
    places = np.concatenate([np.arange(min(batch, n - start)) for start in range(0, n, batch)])
    if run.get("order", FIXED_SEED) != FIXED_SEED:
        rng = stream("order", run["order"], epoch)
        for start in range(0, n, batch):
            places[start : start + batch] = rng.permutation(places[start : start + batch])
    names = [source_of(augmentation).name for augmentation in problem.augment]
    rngs = {name: stream(name, run.get(name, FIXED_SEED), epoch) for name in names}  # augmentations may share one
    draws = [augmentation.draw(rngs[name], whole) for augmentation, name in zip(problem.augment, names, strict=True)]
    return EpochPlan(shuffled, places, draws, batch)


def train_epoch(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> None:
    """Train every run for one epoch, each over the training set in its own order."""
    plans = [epoch_plan(problem, run, stack.epoch) for run in seeds]
    examples = np.stack([plan.examples for plan in plans])  # (R, n)
    places = np.stack([plan.places for plan in plans])  # (R, n)
    draws = [np.stack(d) for d in zip(*(plan.draws for plan in plans), strict=True)]  # (R, n, k) each
    masks = [stream("dropout", run.get("dropout", FIXED_SEED), stack.epoch) for run in seeds]
    n, batch = problem.an_epoch, problem.recipe.batch_size
    total = {name: torch.zeros(len(seeds), dtype=torch.float64, device=problem.device) for name in _sums(problem)}
    stack.skeleton.train()
    batches = mini_batches(problem, examples, draws)
    for step, (start, (inputs, labels)) in enumerate(zip(range(0, n, batch), batches, strict=True)):
        within = places[:, start : start + batch]
        uniforms = draw_uniforms(masks, problem.dropout[within.shape[1]], within, problem.device)
        set_rate(stack, problem, step, -(-n // batch))
        losses, correct = train_step(problem.objective, stack, inputs, labels, uniforms)
        averages.after_step(problem.recipe, stack)
        total["loss"] += losses.detach() * within.shape[1]
        if problem.kind.curve:
            total[problem.kind.curve] += correct
    loss = (total["loss"] / n).cpu()
    stack.curves["loss"][:, stack.epoch] = loss
    for name in total.keys() - {"loss"}:
        stack.curves[name][:, stack.epoch] = (100 * total[name] / n).cpu()
    stack.epoch += 1
    stack.failed[(stack.failed == 0) & ~loss.isfinite()] = stack.epoch


def _sums(problem: Problem) -> list[str]:
    return ["loss", *filter(None, [problem.kind.curve])]


def mini_batches(problem: Problem, examples: np.ndarray, draws: Sequence[np.ndarray]) -> Iterator[tuple[Any, Tensor]]:
    """Yield the inputs (R, B, ...) and labels (R, B) of an epoch's steps, given each run's order of examples (R, n)."""
    batch = problem.recipe.batch_size
    parts = [examples[:, start : start + batch] for start in range(0, examples.shape[1], batch)]  # (R, B) each
    rows = [[d[np.arange(len(part))[:, None], part].reshape(part.size, -1) for d in draws] for part in parts]
    for step, (part, row) in enumerate(zip(parts, rows, strict=True)):
        inputs = augmented(problem, part.reshape(-1), row)
        streamed: Any = problem.train[0]
        if not in_memory(streamed) and step + 1 < len(parts):
            streamed.prefetch(parts[step + 1].reshape(-1), rows[step + 1][0])
        labels = labelled(problem, part.reshape(-1), row)
        if problem.mixes:
            yield mixed_batch(problem, inputs, labels, row, part.shape)
            continue
        yield tuple(inputs_of.each(lambda t, part=part: t.unflatten(0, part.shape), x) for x in (inputs, labels))  # type: ignore[misc]


def mixed_batch(
    problem: Problem, inputs: Tensor, labels: Tensor, draws: Sequence[np.ndarray], shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Reshape inputs and labels (R B, ...) to (R, B, ...), and apply augmentations that mix a run's mini-batch.

    draws: those of each augmentation, (R B, k). shape: (R, B).
    """
    runs = list(zip(inputs.unflatten(0, shape), labels.unflatten(0, shape), strict=True))
    for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
        mix: Any = getattr(augmentation, "mix", None)
        if mix is not None:
            rows = drawn.reshape(*shape, -1)
            runs = [mix(x, y, row) for (x, y), row in zip(runs, rows, strict=True)]
    return torch.stack([x for x, _ in runs]), torch.stack([y for _, y in runs])


def trial_batches(problem: Problem, run: Seeds, steps: int, limit: int | None) -> list[tuple[Any, Tensor, np.ndarray]]:
    """Return mini-batches of a run's first epoch, including its last: inputs (B, ...), labels (B,), places (B,).

    limit: the most examples in each; None for all. If the training set is one mini-batch, it is repeated.
    """
    plan, n, batch = epoch_plan(problem, run, 0), problem.an_epoch, problem.recipe.batch_size
    starts = list(range(0, n, batch))
    found: list[tuple[Any, Tensor, np.ndarray]] = []
    for start in [*(starts * steps)[: steps - 1], starts[-1]]:
        index = plan.examples[start : start + batch][:limit]
        rows = [draw[index] for draw in plan.draws]
        inputs, labels = augmented(problem, index, rows), labelled(problem, index, rows)
        if problem.mixes:
            inputs, labels = (x[0] for x in mixed_batch(problem, inputs, labels, rows, (1, len(index))))
        found.append((inputs, labels, np.arange(len(index))))
    return found


def augmented(problem: Problem, index: np.ndarray, draws: Sequence[np.ndarray]) -> Any:
    """Return the training inputs (m, ...) at index (m,), augmented by the draws, (m, k) for each augmentation."""
    inputs: Any = problem.train[0]
    if not in_memory(inputs):
        return placed(problem, inputs.batch(index, draws[0]))
    place, *drawn = (torch.from_numpy(array).to(problem.device) for array in (index, *draws))
    return changed_inputs(problem, inputs, place, drawn)


def changed_inputs(problem: Problem, inputs: Any, index: Tensor, draws: Sequence[Tensor]) -> Any:
    """Do what `augmented` does for inputs in memory, with the index and the draws on their device."""
    inputs = inputs_of.each(lambda t: t[index], inputs)
    for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
        inputs = augmentation.apply(inputs, drawn)
    return inputs


def labelled(problem: Problem, index: np.ndarray, draws: Sequence[np.ndarray]) -> Tensor:
    """Return the training labels (m, ...) at index (m,), changed by any augmentations that change labels."""
    place, *drawn = (torch.from_numpy(array).to(problem.device) for array in (index, *draws))
    return changed_labels(problem, place, drawn)


def changed_labels(problem: Problem, index: Tensor, draws: Sequence[Tensor]) -> Tensor:
    """Do what `labelled` does, with the index and the draws on the labels' device."""
    labels = problem.train[1][index]
    for augmentation, drawn in zip(problem.task.augment, draws, strict=False):
        change: Any = getattr(augmentation, "label", None)
        labels = labels if change is None else change(labels, drawn)
    return labels


def placed(problem: Problem, inputs: Any) -> Any:
    """Move streamed inputs to the device, in the recipe's precision."""
    moved = inputs_of.each(lambda t: t.to(problem.device), inputs)
    return inputs_of.typed(moved, getattr(torch, problem.recipe.precision))


def train_step(
    objective: Objective, stack: Stack, inputs: Any, labels: Tensor, uniforms: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Take one optimizer step of every run; return each run's mean loss and number of correct answers, both (R,)."""

    def forward(call: Any, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        loss, outputs = objective(call, x, y)
        return loss, objective.kind.right(outputs.detach(), y)

    return stack.step(forward, inputs, labels, uniforms=uniforms)


def evaluation_batches(problem: Problem, first: int | None = None) -> Iterator[Any]:
    """Yield the test inputs (or the first of them) in batches; copies, since a model may change its input."""
    n = len(problem.test[1][:first])
    return (part_of_test(problem, start, n) for start in range(0, n, TEST_BATCH))


def part_of_test(problem: Problem, start: int, n: int) -> Any:
    """Return a copy of the batch, among the first n test inputs, that begins at `start`."""
    stop = min(start + TEST_BATCH, n)
    inputs: Any = problem.test[0]
    if in_memory(inputs):
        return inputs_of.each(lambda t: t[start:stop].clone(), inputs)
    return placed(problem, inputs.batch(np.arange(start, stop), None))


@torch.no_grad()
def evaluate(problem: Problem, stack: Stack, first: int | None = None) -> Tensor:
    """Return every run's logits on the test set (or on its first examples): (R, n, c), on the CPU.

    The host waits for the device once, at the end; with streamed inputs, which are large, after each batch.
    """
    stack.skeleton.eval()
    at_once = in_memory(problem.test[0])
    parts = (answers(problem, stack, x, y) for x, y in with_truth(problem, first))
    return torch.cat([part if at_once else part.cpu() for part in parts], dim=1).cpu()


def with_truth(problem: Problem, first: int | None = None) -> Iterator[tuple[Any, Tensor]]:
    """Yield the batches of `evaluation_batches`, each with its labels."""
    return zip(evaluation_batches(problem, first), problem.test[1][:first].split(TEST_BATCH), strict=True)


def answers(problem: Problem, stack: Stack, inputs: Any, labels: Tensor) -> Tensor:
    """Return every run's outputs for the same inputs (B, ...): (R, B, ...)."""
    return graded(problem, stack, inputs, labels)[1]


def logits(stack: Stack, inputs: Any) -> Tensor:
    """Return every run's logits for the same inputs (B, ...), from the model without the task's loss: (R, B, c)."""
    return stack.map(
        lambda call, x: logits_of(inputs_of.called(call, x)), shared=[inputs], numbers=stack.answer_numbers
    )


def graded(problem: Problem, stack: Stack, inputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return every run's mean loss (R,), where it is measured, and its outputs (R, B, ...) for the same inputs."""
    objective = problem.objective

    def forward(call: Any, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        if objective.kind.by_run:
            return objective(call, x, y)
        outputs = objective.outputs(call, x, y)
        return outputs.new_zeros(()), outputs

    return stack.map(forward, shared=[inputs, labels], numbers=stack.answer_numbers)


@torch.no_grad()
def outputs(problem: Problem, stack: Stack) -> tuple[dict[str, Tensor], Tensor]:
    """Return what a stack saves for the test set, and which runs' outputs are all finite (R,).

    The kind decides what is saved: for classifiers, "outputs" (R, n, c).
    """
    stack.skeleton.eval()
    kind, labels, n = problem.kind, problem.test[1], len(problem.test[1])
    counts = [len(kind.known(part)) for part in labels.split(TEST_BATCH)]
    finite = torch.ones(stack.width, dtype=torch.bool, device=problem.device)
    losses = torch.zeros(stack.width, dtype=torch.float64, device=problem.device)
    found: dict[str, list[Tensor]] = {}
    for number, (x, y) in enumerate(with_truth(problem)):
        loss, part = graded(problem, stack, x, y)
        losses += loss.double() * (len(y) / n)
        finite &= (part.double().abs() <= LARGEST).flatten(1).all(1)  # false for NaN; no measure takes larger ones
        for name, kept in kind.left(part, y, (sum(counts[:number]), sum(counts))).items():
            found.setdefault(name, []).append(kept.cpu())
    left = {name: torch.cat(parts, dim=1) for name, parts in found.items()}
    if kind.by_run:
        left["losses"], finite = losses.cpu()[:, None], finite & losses.isfinite()
    return left, finite.cpu()


@torch.no_grad()
def refresh_statistics(problem: Problem, stack: Stack) -> None:
    """Recompute batch norm's running statistics for the current weights, in one pass over the training set.

    The pass is in the set's own order, without augmentation or dropout, and trains nothing. Averaged weights need it
    (Izmailov et al. 2018, section 3.2).
    """
    stack.skeleton.train()

    def forward(call: Any, x: Any, y: Tensor) -> Tensor:
        with recorded_dropout():
            return problem.objective.outputs(call, x, y)

    n, batch = len(problem.train[1]), problem.recipe.batch_size
    for start in range(0, n, batch):
        index = np.arange(start, min(start + batch, n))
        inputs: Any = problem.train[0]
        if in_memory(inputs):
            x = inputs_of.each(lambda t, index=index: t[index[0] : index[-1] + 1].clone(), inputs)
        else:
            x = placed(problem, inputs.batch(index, None))
        numbers = [FIXED_SEED] * stack.width if problem.seeded else None
        stack.map(forward, shared=[x, problem.train[1][index[0] : index[-1] + 1]], numbers=numbers)
