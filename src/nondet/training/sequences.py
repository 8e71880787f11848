"""Train and evaluate a stack of language models: every run reads the same text, with truncated back-propagation.

The model is called as `model(x, state)`, with tokens x (B, T) and the state left by the tokens before them (None at the
start of a text). It returns logits (B, T, V) and the new state: a tensor, or a tuple of tensors, batch first.
Shapes: R runs, n tokens, B columns, T tokens of each column in a window, V words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nondet.errors import BadInput
from nondet.measures.arrays import LARGEST
from nondet.measures.language import sample_tokens
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.recipe import Recipe
from nondet.training import averages
from nondet.training.dropout import SEED, draw_uniforms, recorded_dropout
from nondet.training.objective import is_stateless
from nondet.training.problem import Problem, Seen, first_line, tried
from nondet.training.stack import Seeds, Stack, set_rate

TEST_COLUMNS, TEST_WINDOW = 16, 16
"""How the test text is read. Other numbers would use other kernels, and perhaps change last bits."""


def columns(tokens: Tensor, count: int) -> Tensor:
    """Cut a text (n,) into `count` columns to read side by side: (B, L). The last n % count tokens are dropped."""
    return tokens[: len(tokens) // count * count].view(count, -1)


def windows(length: int, width: int) -> Iterator[slice]:
    """Cut a column into windows; the last one may be shorter."""
    return (slice(start, min(start + width, length)) for start in range(0, length, width))


def train_epoch(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> None:
    """Train every run for one epoch of the training text, window after window; the state starts at zero.

    The order source permutes the columns once for the epoch, so that every state follows its text.
    """
    recipe, batch = problem.recipe, problem.recipe.batch_size
    inputs, labels = (columns(tokens, batch) for tokens in texts(problem.train))  # (B, L)
    orders = np.stack([column_order(run, batch, stack.epoch) for run in seeds])  # (R, B)
    places = torch.from_numpy(orders).to(problem.device)
    masks = [stream("dropout", run.get("dropout", FIXED_SEED), stack.epoch) for run in seeds]
    total = {name: torch.zeros(len(seeds), dtype=torch.float64, device=problem.device) for name in stack.curves}
    parts = list(windows(inputs.shape[1], recipe.bptt))
    state: Any = None
    stack.skeleton.train()
    for step, part in enumerate(parts):
        x, y = inputs[:, part][places], labels[:, part][places]  # (R, B, T)
        uniforms = draw_uniforms(masks, problem.dropout[x.shape[2]], orders, problem.device)
        set_rate(stack, problem, step, len(parts))
        losses, correct, state = train_window(stack, x, y, state, uniforms)
        averages.after_step(recipe, stack)
        total["loss"] += losses.detach() * (x.shape[2] / inputs.shape[1])
        total["accuracy"] += correct * (100 / inputs.numel())
    for name, values in total.items():
        stack.curves[name][:, stack.epoch] = values.cpu()
    stack.epoch += 1
    stack.failed[(stack.failed == 0) & ~total["loss"].isfinite().cpu()] = stack.epoch


def column_order(run: Seeds, count: int, epoch: int) -> np.ndarray:
    """Return the order of the columns in this epoch's mini-batches, as the order source sets it: (B,)."""
    seed = run.get("order", FIXED_SEED)
    return np.arange(count) if seed == FIXED_SEED else stream("order", seed, epoch).permutation(count)


def train_window(
    stack: Stack, inputs: Tensor, labels: Tensor, state: Any, uniforms: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Any]:
    """Take one optimizer step of every run on one window (R, B, T), from the state after the previous window.

    Returns each run's mean loss and number of correct answers, both (R,), and the new state, detached from its history.
    """

    def forward(call: Any, x: Tensor, y: Tensor, before: Any = None) -> tuple[Tensor, Tensor, Any]:
        logits, after = call(x, before)
        logits, y = logits.flatten(0, 1), y.flatten()  # (B T, V)
        return F.cross_entropy(logits, y), (logits.detach().argmax(1) == y).sum(), after

    carried = () if state is None else (state,)
    losses, correct, after = stack.step(forward, inputs, labels, *carried, uniforms=uniforms)
    return losses, correct, tree_map(torch.detach, after)


@torch.no_grad()
def outputs(problem: Problem, stack: Stack, first: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """Return what the measures need from every run on the test text (or its first tokens), and which are finite (R,).

    "logprob" (R, n) float32, the log-probability of each target token; "prediction" (R, n) int32, the most probable
    token; "sample.logits" (R, k, V) float32, all logits at the tokens that `sample_tokens(n)` names. All on the CPU.
    All logits of a run would be 3 GB for 10,000 words and 82,000 tokens, so only a sample's are kept.
    The text is read in TEST_COLUMNS columns of equal length (the last ones may run out of text), each from the zero
    state. So the first token of each column (at most 16 tokens in all) is predicted from one word, and the next ones
    from a few.
    """
    inputs, labels = (tokens[:first] for tokens in texts(problem.test))
    n, count = len(labels), min(TEST_COLUMNS, len(labels))
    length = -(-n // count)
    inputs, labels = (columns(F.pad(tokens, (0, count * length - n)), count) for tokens in (inputs, labels))
    column, place = np.divmod(sample_tokens(n), length)
    finite = torch.ones(stack.width, dtype=torch.bool)
    # Allocate everything at once. Small tensors that stay, one after each window's logits, would keep the C library
    # from reusing the logits' memory, which then grew to 12 GB on 250,000 tokens.
    logprob = torch.empty(stack.width, count, length)
    prediction = torch.empty(stack.width, count, length, dtype=torch.int32)
    sample = torch.empty(0)
    state: Any = None
    stack.skeleton.eval()
    # a model without a state reads as many tokens at once as in training, and no more
    for part in windows(length, problem.recipe.bptt if is_stateless(stack.skeleton) else TEST_WINDOW):
        logits, state = _read(stack, inputs[:, part].clone(), state)  # (R, C, T, V)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        tokens = torch.arange(count)[:, None] * length + torch.arange(part.start, part.stop)  # (C, T)
        real = (tokens < n).to(problem.device)  # rather than padding at the end
        large = ~(logits.abs() <= LARGEST).all(-1) & real  # true for NaN; no measure takes larger ones
        finite &= ~large.flatten(1).any(1).cpu()
        chosen = labels[:, part].expand(stack.width, -1, -1)[..., None]
        logprob[:, :, part] = logits.log_softmax(-1).gather(-1, chosen)[..., 0].float().cpu()
        prediction[:, :, part] = logits.argmax(-1).int().cpu()
        if part.start == 0:
            sample = torch.empty(stack.width, len(place), logits.shape[-1])
        here = np.flatnonzero((place >= part.start) & (place < part.stop))
        sample[:, here] = logits[:, column[here], place[here] - part.start].float().cpu()
    logprob, prediction = (whole.flatten(1)[:, :n] for whole in (logprob, prediction))
    left = {"logprob": logprob, "prediction": prediction, "sample.logits": sample}
    return left, finite & logprob.isfinite().all(1) & sample.isfinite().flatten(1).all(1)


def _read(stack: Stack, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return every run's logits (R, C, T, V) for one window (C, T) of one text, and its new state."""

    def forward(call: Any, *rest: Any) -> Any:
        *before, x = rest
        return call(x, *(before or [None]))

    carried = () if state is None else (state,)
    return stack.map(forward, *carried, shared=[inputs])


@torch.no_grad()
def refresh_statistics(problem: Problem, stack: Stack) -> None:
    """Recompute running statistics for averaged weights, in one pass over the training text that trains nothing.

    The pass is in the text's order, from the zero state and without dropout; see
    `nondet.training.examples.refresh_statistics`.
    """
    inputs, _ = (columns(tokens, problem.recipe.batch_size) for tokens in texts(problem.train))
    state: Any = None
    stack.skeleton.train()
    for part in windows(inputs.shape[1], problem.recipe.bptt):
        with recorded_dropout():
            state = _read(stack, inputs[:, part].clone(), state)[1]


def texts(data: tuple[Any, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the tokens and their next tokens, both (n,). BadInput if the data are something else."""
    inputs, labels = data
    if not isinstance(inputs, Tensor) or inputs.dim() != 1 or inputs.dtype != torch.int64:
        found = (
            f"{inputs.dtype} of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        )
        raise BadInput(
            f"a task with bptt needs texts as inputs, int64 word numbers of shape (n,) (got {found}); "
            "write train=(tokens[:-1], tokens[1:]), or leave bptt out"
        )
    return inputs, labels


def trial_batches(
    problem: Problem, run: Seeds, steps: int, limit: int | None
) -> list[tuple[Tensor, Tensor, np.ndarray]]:
    """Return windows of a run's first epoch, including its last: inputs (B, T), labels (B, T), places (B,).

    limit: the most columns in each; None for all.
    """
    batch = problem.recipe.batch_size
    inputs, labels = (columns(tokens, batch) for tokens in texts(problem.train))  # (B, L)
    parts = list(windows(inputs.shape[1], problem.recipe.bptt))
    order = column_order(run, batch, 0)
    places = torch.from_numpy(order).to(problem.device)[:limit]
    chosen = [*(parts * steps)[: steps - 1], parts[-1]]
    return [(inputs[:, part][places], labels[:, part][places], np.arange(len(places))) for part in chosen]


def try_out(
    model: nn.Module, inputs: Tensor, labels: Tensor, recipe: Recipe, seen: Seen
) -> dict[int, list[tuple[int, ...]]]:
    """Return the shapes of dropout's numbers for each window length that occurs, from one model's step on the CPU.

    BadInput says what is wrong with the text, or with the model's answers.
    """
    inputs, labels = texts((inputs, labels))
    batch = recipe.batch_size
    if len(inputs) < batch:
        raise BadInput(
            f"a text must have a token for each of the {batch} columns (got {len(inputs)}); "
            f"give a longer one, or <<recipe=batch_size={len(inputs)}>>"
        )
    low, high = int(min(inputs.min(), labels.min())), int(max(inputs.max(), labels.max()))
    if low < 0:
        raise BadInput(f"word numbers must be at least 0 (got {low}); number the words from 0")
    length = len(inputs) // batch
    tokens = columns(inputs, batch)
    return {
        width: _try_window(model, tokens[:, :width], high, seen)
        for width in {part.stop - part.start for part in windows(length, recipe.bptt)}
    }


def _try_window(model: nn.Module, tokens: Tensor, high: int, seen: Seen) -> list[tuple[int, ...]]:
    """Return the shapes of dropout's numbers for one window (B, T). It runs twice, so that the second has a state."""
    with torch.no_grad(), recorded_dropout() as drawn:
        _, state = _answer(model.eval(), tokens, None, high)
    if drawn == [SEED]:
        raise BadInput("the model draws random numbers in evaluation too; write F.dropout(x, p, self.training)")
    return tried(model, lambda: _answer(model.train(), tokens, state, high)[0].double().logsumexp(-1).mean(), seen)


def _answer(model: nn.Module, tokens: Tensor, state: Any, high: int) -> tuple[Tensor, Any]:
    """Return a model's logits (B, T, V) and new state (tensors, batch first) for one window; BadInput otherwise."""
    try:
        answer = model(tokens.clone(), state)
    except IndexError as error:
        raise BadInput(
            f"the model fails on word numbers up to {high}: {first_line(error)}; give its embedding a row for each word"
        ) from error
    except Exception as error:
        raise BadInput(
            f"the model fails on words of shape {tuple(tokens.shape)} and a state: {first_line(error)}; "
            "a language model is called as model(x, state), where state is None at first"
        ) from error
    logits, after = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != tokens.shape or logits.shape[2] < 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BadInput(
            f"a language model must return logits (batch, time, words) and a state (got {shape} for words of shape "
            f"{tuple(tokens.shape)}); return (logits, state)"
        )
    if logits.shape[2] <= high:
        raise BadInput(
            f"word numbers must be smaller than the model's {logits.shape[2]} outputs (got {high}); "
            "give the model one output for each word"
        )
    states = after if isinstance(after, tuple) else (after,)
    if not all(isinstance(s, Tensor) and s.dim() and len(s) == len(tokens) for s in states):
        raise BadInput(
            "a language model's state must be a tensor, or a tuple of tensors, with the batch as first axis "
            f"(got {type(after).__name__}); return (logits, state)"
        )
    return logits, after
