"""Training and evaluating a stack of classifiers: every run reads its own order of the training set."""

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
"""Test examples in one forward pass. Another number would be another kernel, and perhaps another last bit."""


@dataclass(frozen=True)
class EpochPlan:
    """The random numbers of one run's epoch, all but dropout's.

    shuffled: the examples that are trained on in their new order (n,), cut into mini-batches from the front.
    places: for each position of that order, the place in its mini-batch that the order source takes the example from.
    draws: each augmentation's draws, by example of the whole training set (n, k).
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
    n, batch = problem.an_epoch, problem.recipe.batch_size
    whole = len(problem.train[1])
    shuffled = stream("shuffle", run["shuffle"], epoch).permutation(whole)[:n]
    places = np.concatenate([np.arange(min(batch, n - start)) for start in range(0, n, batch)])
    if run.get("order", FIXED_SEED) != FIXED_SEED:
        rng = stream("order", run["order"], epoch)
        for start in range(0, n, batch):
            places[start : start + batch] = rng.permutation(places[start : start + batch])
    names = [source_of(augmentation).name for augmentation in problem.augment]
    rngs = {name: stream(name, run.get(name, FIXED_SEED), epoch) for name in names}  # one a source: they draw in turn
    draws = [augmentation.draw(rngs[name], whole) for augmentation, name in zip(problem.augment, names, strict=True)]
    return EpochPlan(shuffled, places, draws, batch)


def train_epoch(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> None:
    """One pass of every run over its own order of the training set."""
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
    """The inputs (R, B, ...) and labels (R, B) of an epoch's steps, from each run's order of the examples (R, n)."""
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
    """Inputs and labels (R B, ...) as (R, B, ...), after those augmentations that mix a run's mini-batch.

    draws: of each augmentation, (R B, k). shape: (R, B).
    """
    runs = list(zip(inputs.unflatten(0, shape), labels.unflatten(0, shape), strict=True))
    for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
        mix: Any = getattr(augmentation, "mix", None)
        if mix is not None:
            rows = drawn.reshape(*shape, -1)
            runs = [mix(x, y, row) for (x, y), row in zip(runs, rows, strict=True)]
    return torch.stack([x for x, _ in runs]), torch.stack([y for _, y in runs])


def trial_batches(problem: Problem, run: Seeds, steps: int, limit: int | None) -> list[tuple[Any, Tensor, np.ndarray]]:
    """Mini-batches of a run's first epoch, the last of them too: inputs (B, ...), labels (B,), places (B,).

    limit: the most examples of each; None for whole ones. A training set of one mini-batch gives it several times.
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
    """Training inputs (m, ...) by index (m,), augmented as the draws of each, (m, k) for each augmentation, say."""
    inputs: Any = problem.train[0]
    if not in_memory(inputs):
        return placed(problem, inputs.batch(index, draws[0]))
    place, *drawn = (torch.from_numpy(array).to(problem.device) for array in (index, *draws))
    return changed_inputs(problem, inputs, place, drawn)


def changed_inputs(problem: Problem, inputs: Any, index: Tensor, draws: Sequence[Tensor]) -> Any:
    """What `augmented` gives of inputs that are a tensor, from an index and draws on their device."""
    inputs = inputs_of.each(lambda t: t[index], inputs)
    for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
        inputs = augmentation.apply(inputs, drawn)
    return inputs


def labelled(problem: Problem, index: np.ndarray, draws: Sequence[np.ndarray]) -> Tensor:
    """Training labels (m, ...) by index (m,), changed by those augmentations that change labels."""
    place, *drawn = (torch.from_numpy(array).to(problem.device) for array in (index, *draws))
    return changed_labels(problem, place, drawn)


def changed_labels(problem: Problem, index: Tensor, draws: Sequence[Tensor]) -> Tensor:
    """What `labelled` gives, from an index and draws on the labels' device."""
    labels = problem.train[1][index]
    for augmentation, drawn in zip(problem.task.augment, draws, strict=False):
        change: Any = getattr(augmentation, "label", None)
        labels = labels if change is None else change(labels, drawn)
    return labels


def placed(problem: Problem, inputs: Any) -> Any:
    """Streamed inputs on the device, in the recipe's precision."""
    moved = inputs_of.each(lambda t: t.to(problem.device), inputs)
    return inputs_of.typed(moved, getattr(torch, problem.recipe.precision))


def train_step(
    objective: Objective, stack: Stack, inputs: Any, labels: Tensor, uniforms: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """One optimizer step of every run; returns each one's mean loss and number of correct answers, both (R,)."""

    def forward(call: Any, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        loss, outputs = objective(call, x, y)
        return loss, objective.kind.right(outputs.detach(), y)

    return stack.step(forward, inputs, labels, uniforms=uniforms)


def evaluation_batches(problem: Problem, first: int | None = None) -> Iterator[Any]:
    """The test inputs (or the first of them), a batch at a time; copies, since a model may change its input."""
    n = len(problem.test[1][:first])
    return (part_of_test(problem, start, n) for start in range(0, n, TEST_BATCH))


def part_of_test(problem: Problem, start: int, n: int) -> Any:
    """The batch of the first n test inputs that begins at `start`; a copy."""
    stop = min(start + TEST_BATCH, n)
    inputs: Any = problem.test[0]
    if in_memory(inputs):
        return inputs_of.each(lambda t: t[start:stop].clone(), inputs)
    return placed(problem, inputs.batch(np.arange(start, stop), None))


@torch.no_grad()
def evaluate(problem: Problem, stack: Stack, first: int | None = None) -> Tensor:
    """Every run's logits on the test set (or on its first examples): (R, n, c), on the CPU.

    The host waits for the device once, at the end; of streamed inputs, which are many, after each batch.
    """
    stack.skeleton.eval()
    at_once = in_memory(problem.test[0])
    parts = (answers(problem, stack, x, y) for x, y in with_truth(problem, first))
    return torch.cat([part if at_once else part.cpu() for part in parts], dim=1).cpu()


def with_truth(problem: Problem, first: int | None = None) -> Iterator[tuple[Any, Tensor]]:
    """The batches of `evaluation_batches`, each with its labels."""
    return zip(evaluation_batches(problem, first), problem.test[1][:first].split(TEST_BATCH), strict=True)


def answers(problem: Problem, stack: Stack, inputs: Any, labels: Tensor) -> Tensor:
    """Every run's outputs for the same inputs (B, ...): (R, B, ...)."""
    return graded(problem, stack, inputs, labels)[1]


def logits(stack: Stack, inputs: Any) -> Tensor:
    """Every run's logits for the same inputs (B, ...), from a model alone: (R, B, c)."""
    return stack.map(
        lambda call, x: logits_of(inputs_of.called(call, x)), shared=[inputs], numbers=stack.answer_numbers
    )


def graded(problem: Problem, stack: Stack, inputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every run's outputs for the same inputs (R, B, ...), and its mean loss (R,), where that is measured."""
    objective = problem.objective

    def forward(call: Any, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        if objective.kind.by_run:
            return objective(call, x, y)
        outputs = objective.outputs(call, x, y)
        return outputs.new_zeros(()), outputs

    return stack.map(forward, shared=[inputs, labels], numbers=stack.answer_numbers)


@torch.no_grad()
def outputs(problem: Problem, stack: Stack) -> tuple[dict[str, Tensor], Tensor]:
    """What a stack leaves of its test set, as its kind has it, and which runs' outputs are all finite numbers (R,).

    Of classifiers "outputs" (R, n, c).
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
        finite &= (part.double().abs() <= LARGEST).flatten(1).all(1)  # false for NaN; larger ones no measure takes
        for name, kept in kind.left(part, y, (sum(counts[:number]), sum(counts))).items():
            found.setdefault(name, []).append(kept.cpu())
    left = {name: torch.cat(parts, dim=1) for name, parts in found.items()}
    if kind.by_run:
        left["losses"], finite = losses.cpu()[:, None], finite & losses.isfinite()
    return left, finite.cpu()


@torch.no_grad()
def refresh_statistics(problem: Problem, stack: Stack) -> None:
    """Bring batch norm's running statistics in line with the weights: one pass over the training set, nothing learnt.

    In the set's own order, without augmentation or dropout. Averaged weights need it (Izmailov et al. 2018,
    section 3.2).
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
