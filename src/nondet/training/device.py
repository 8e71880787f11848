"""Train a stack of classifiers so that the host acts only at the beginning and the end of each epoch.

The orders, draws and learning rates of an epoch are uploaded once. A counter on the device says which step is next, and
from it the step finds its examples, its rate and dropout's numbers. So all steps of one mini-batch size are the same
program, which a CUDA device records once as a graph and replays. A graph must compute the same as its steps one by one,
to the last bit. This is tried before any graph is used; if it fails, the steps run one by one.

On a CUDA device an optimizer reads its rate from a float32 tensor if its class can, with or without a graph. A rate
that is not a float32 is rounded, so a run's last bits differ from those with the rate as a Python number on the host.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.io.streams import WARNING
from nondet.sources import FIXED_SEED, stream
from nondet.training import averages, philox
from nondet.training import examples as classify
from nondet.training.dropout import draw_uniforms
from nondet.training.graphs import Kept, has_hooks, no_waiting
from nondet.training.optimizers import takes_rates
from nondet.training.problem import Problem, first_line
from nondet.training.recipes import lr_factor
from nondet.training.snapshots import same_bits
from nondet.training.stack import Seeds, Stack

WORTH_STEPS = 30
"""Recording and trying a graph takes as long as about this many steps; if fewer are left, they run one by one."""

_broken: list[torch.cuda.CUDAGraph] = []
"""Graphs whose recording failed. They are kept because torch's allocator may still ask which streams they record."""


@contextmanager
def training(
    problem: Problem, stack: Stack, seeds: Sequence[Seeds], say: Callable[[str], None]
) -> Generator[Callable[[], None] | None]:
    """Yield a function that trains the next epoch of a stack on a CUDA device; None if the task cannot use it.

    say: called with one sentence that says why the steps do not run as graphs.
    """
    if problem.device.type != "cuda" or not problem.plain:
        yield None
        return
    with ThreadPoolExecutor(1) as beside:
        yield Epochs(problem, stack, seeds, say=say, beside=beside).train


class Epochs:
    """The epochs of one stack. No tensor here may move, since graphs contain its address.

    rates: whether the optimizer reads its rates from the device. beside: a thread that draws the next epoch meanwhile.
    held: an epoch's orders "examples" and "places" (R, n), "draws0" and so on (R, n, k), and dropout's "keys" (R, 2).
    counter: (1,), the next step. table: (steps, groups), the rates; rate: (groups,), those of the last step.
    total: (curves, R), the sums of losses and of right answers.
    """

    def __init__(
        self,
        problem: Problem,
        stack: Stack,
        seeds: Sequence[Seeds],
        *,
        say: Callable[[str], None] = lambda sentence: None,
        beside: ThreadPoolExecutor | None = None,
        rates: bool | None = None,
    ) -> None:
        self.problem, self.stack, self.seeds, self.say, self.beside = problem, stack, seeds, say, beside
        device = problem.device
        self.inputs: Any = problem.train[0]
        self.n, self.batch = problem.an_epoch, problem.recipe.batch_size
        self.steps = problem.steps
        self.rates = takes_rates(problem) if rates is None else rates
        self.on_device = device.type == "cuda" and philox.available()
        self.moved = any(run["order"] != FIXED_SEED for run in seeds)
        self.held: dict[str, Tensor] = {}
        self.host: Mapping[str, np.ndarray] = {}
        self.rngs: list[np.random.Generator] = []
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.positions = torch.arange(self.batch, device=device)
        self.slots = torch.arange(len(seeds), device=device)[:, None]
        real_type = torch.float32 if device.type == "cuda" else torch.float64  # a fused optimizer reads float32
        self.table = torch.zeros(self.steps, len(stack.peaks), dtype=real_type, device=device)
        self.rate = torch.zeros(len(stack.peaks), dtype=real_type, device=device)
        self.total = torch.zeros(len(stack.curves), len(seeds), dtype=torch.float64, device=device)
        self.next: Future[dict[str, np.ndarray]] | None = None
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.tried = not self._may_record()

    def train(self) -> None:
        """Train one epoch of every run. The host waits for the device once, for the losses."""
        stack, recipe = self.stack, self.problem.recipe
        factors = [lr_factor(recipe, stack.epoch + step / self.steps) for step in range(self.steps)]
        rates = [[factor * peak for peak in stack.peaks] for factor in factors]
        self._begin(rates)
        stack.skeleton.train()
        for number in range(self.steps):
            if not self.rates:
                self._set_rates(rates[number])
            graph = self.graphs.get(self._size(number))
            if graph is None:
                self.step(number)
            else:
                graph.replay()
            if number == 0:
                self._record()
                if self.beside is not None and stack.epoch + 1 < recipe.epochs:
                    self.next = self.beside.submit(drawn, self.problem, self.seeds, stack.epoch + 1)
        found = self.total.cpu()
        self._set_rates(rates[-1])
        for row, name in enumerate(stack.curves):
            stack.curves[name][:, stack.epoch] = found[row] / self.n if name == "loss" else 100 * found[row] / self.n
        stack.epoch += 1
        loss = stack.curves["loss"][:, stack.epoch - 1]
        stack.failed[(stack.failed == 0) & ~loss.isfinite()] = stack.epoch

    def seconds_a_step(self, seconds: float) -> float:
        """Return the mean time of a step, measured for about `seconds`; at a rate of zero, so that no loss diverges."""
        self._begin([[0.0] * len(self.stack.peaks)] * self.steps)
        self.stack.skeleton.train()
        if not self.rates:
            self._set_rates([0.0] * len(self.stack.peaks))
        self.step(0)
        self._record()
        cuda, full = self.problem.device.type == "cuda", max(self.n // self.batch, 1)
        graph, done = self.graphs.get(self._size(0)), 0
        begin = time.perf_counter()
        while done < 2 or time.perf_counter() - begin < seconds:
            for number in range(min(full, 20 if cuda else 1)):
                if number == 0:
                    self.counter.zero_()
                    self.rngs = dropout_streams(self.seeds, self.stack.epoch)
                self.step(number) if graph is None else graph.replay()
                done += 1
            if cuda:
                torch.cuda.synchronize()
        return (time.perf_counter() - begin) / done

    def step(self, number: int) -> None:
        """Run the step that the counter points to, which is also `number`, for whatever cannot be on the device."""
        problem, stack, size = self.problem, self.stack, self._size(number)
        at = self.counter * self.batch + self.positions[:size]
        index = self.held["examples"].index_select(1, at)  # (R, B)
        rows = [self.held[f"draws{i}"][self.slots, index] for i in range(len(problem.augment))]
        flat, rows = index.reshape(-1), [row.reshape(index.numel(), -1) for row in rows]
        inputs = self._inputs(flat, rows).unflatten(0, index.shape)
        labels = classify.changed_labels(problem, flat, rows).unflatten(0, index.shape)
        uniforms = self._uniforms(number, at)
        if self.rates:
            self.rate.copy_(self.table.index_select(0, self.counter)[0])
        losses, right = classify.train_step(problem.objective, stack, inputs, labels, uniforms)
        averages.after_step(problem.recipe, stack)
        for row, name in enumerate(stack.curves):
            self.total[row] += losses.detach() * size if name == "loss" else right
        self.counter += 1

    def _inputs(self, index: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """Return the augmented training inputs (m, ...), from a stacked kernel if one can compute them."""
        door, augment = self.stack.door, self.problem.task.augment
        if door is not None and not door.refused:
            from nondet.training.kernels import pictures

            if pictures.knows(self.inputs, augment):
                return pictures.taken(self.inputs, index, augment, rows)
        return classify.changed_inputs(self.problem, self.inputs, index, rows)

    def _size(self, number: int) -> int:
        return min(self.batch, self.n - number * self.batch)

    def _begin(self, rates: Sequence[Sequence[float]]) -> None:
        """Upload an epoch to the device."""
        stack = self.stack
        self.host = drawn(self.problem, self.seeds, stack.epoch) if self.next is None else self.next.result()
        self.next = None
        self.rngs = [] if self.on_device else dropout_streams(self.seeds, stack.epoch)
        for name, array in self.host.items():
            tensor = torch.from_numpy(array)
            if name in self.held:
                self.held[name].copy_(tensor)
            else:
                self.held[name] = tensor.to(self.problem.device)
        self.table.copy_(torch.tensor(rates, dtype=self.table.dtype))
        self.counter.zero_()
        self.total.zero_()
        if self.rates:
            for group, rate in zip(stack.optimizer.param_groups, self.rate, strict=True):
                group["lr"] = rate

    def _set_rates(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.stack.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _uniforms(self, number: int, at: Tensor) -> list[Tensor]:
        shapes = self.problem.dropout[len(at)]
        if not shapes:
            return []
        if not self.on_device:
            places = self.host["places"][:, number * self.batch :][:, : len(at)]
            return draw_uniforms(self.rngs, shapes, places, self.problem.device)
        start = self.counter * philox.words(self.problem.dropout[self._size(0)])  # only the last step uses fewer
        places = self.held["places"].index_select(1, at)
        return philox.draw(self.held["keys"], start, shapes, places, self.moved)

    def _may_record(self) -> bool:
        """Whether to try graphs. If the task is the reason not to, say so."""
        problem, stack = self.problem, self.stack
        few = self.steps * (problem.recipe.epochs - stack.epoch) < WORTH_STEPS
        if problem.device.type != "cuda" or few or not torch.are_deterministic_algorithms_enabled():
            return False  # kernels whose bits change each time cannot be compared
        reasons = {
            "the model is compiled": problem.compiled,
            "its backward pass runs parts of it again": stack.again,
            f"the model counts in {problem.state}": bool(problem.state),
            "it has hooks": stack.own and has_hooks(stack.skeleton),
            f"{type(stack.optimizer).__name__} cannot read its learning rate from the device": not self.rates,
            "dropout's numbers need Triton": not self.on_device and any(problem.dropout.values()),
        }
        why = next((reason for reason, true in reasons.items() if true), "")
        if why:
            self._say(why)
        return not why

    def _say(self, why: str) -> None:
        self.say(f"{WARNING}the steps run one by one, not as a CUDA graph: {why}.")

    def _record(self) -> None:
        """Record a graph for each mini-batch size, and try it; afterwards everything is restored.

        This comes after a first ordinary step, in which an optimizer creates its state.
        """
        if self.tried:
            return
        self.tried = True
        tries = {self._size(number): number for number in (0, self.steps - 1)}
        kept, why = None, ""
        try:
            kept = Kept(self.stack, [self.counter, self.table, self.rate, self.total])
            pool, side = torch.cuda.graph_pool_handle(), torch.cuda.Stream(self.problem.device)
            for size, number in tries.items():
                graph = self._graph(number, pool, side)
                why = why or self._differs(number, graph, kept)
                self.graphs[size] = graph
        except Exception as error:  # code that others wrote may raise anything
            why = first_line(error)
        if why:
            self._give_up(why)
        if kept is not None:
            kept.put_back()

    def _due(self, number: int, share: float) -> None:
        """Make this the next step, at this share of the highest rates."""
        self.counter.fill_(number)
        self.table.fill_(share)
        for group, peak in enumerate(self.stack.peaks):
            self.table[:, group] *= peak

    def _graph(self, number: int, pool: Any, side: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """Record a step. It runs twice before that; the second time, waiting for the device is an error."""
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._due(number, 0.1)
            self.step(number)
            self._due(number, 0.1)
            with no_waiting():
                self.step(number)
            self._due(number, 0.1)
        torch.cuda.synchronize()
        gc.collect()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):
            graph.capture_begin(pool=pool)
            try:
                self.step(number)
            except BaseException:
                _broken.append(graph)
                with suppress(RuntimeError):
                    graph.capture_end()
                with suppress(RuntimeError, AttributeError):
                    torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)  # pyright: ignore
                raise
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(side)
        return graph

    def _differs(self, number: int, graph: torch.cuda.CUDAGraph, kept: Kept) -> str:
        """Say how a graph differs from the step, over two steps at different rates; empty if it does not."""
        if kept.replaced():
            return "the optimizer or the model replaces its state at every step"
        found: list[list[Tensor]] = []
        for run in (lambda: self.step(number), graph.replay):
            kept.put_back()
            for share in (0.1, 0.05):
                self._due(number, share)
                run()
            if kept.replaced():
                return "the optimizer or the model replaces its state at every step"
            found.append([t.clone() for t in kept.tensors])
        return "" if all(map(same_bits, *found)) else "a graph and the steps compute different numbers"

    def _give_up(self, why: str) -> None:
        self.graphs.clear()
        with suppress(RuntimeError):
            torch.cuda.synchronize()  # may report again what stopped the recording
        gc.collect()
        torch.cuda.empty_cache()
        self._say(why)


def drawn(problem: Problem, seeds: Sequence[Seeds], epoch: int) -> dict[str, np.ndarray]:
    """Draw an epoch of every run on the host; the result depends only on the seeds and the epoch."""
    plans = [classify.epoch_plan(problem, run, epoch) for run in seeds]
    found = {
        "examples": np.stack([plan.examples for plan in plans]),
        "places": np.stack([plan.places for plan in plans]),
        "keys": philox.keys_of(dropout_streams(seeds, epoch)).numpy(),
    }
    draws = zip(*(plan.draws for plan in plans), strict=True)
    return found | {f"draws{i}": np.stack(rows) for i, rows in enumerate(draws)}


def dropout_streams(seeds: Sequence[Seeds], epoch: int) -> list[np.random.Generator]:
    """Return each run's stream of numbers for dropout in an epoch."""
    return [stream("dropout", run.get("dropout", FIXED_SEED), epoch) for run in seeds]
