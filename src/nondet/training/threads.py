"""Answers of several stacks at once, one in each thread: torch's kernels release Python's lock while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue

import torch
from torch import Tensor, nn

from nondet.io.cores import available_cores
from nondet.measures.arrays import in_threads
from nondet.sources import FIXED_SEED
from nondet.training.examples import TEST_BATCH, logits
from nondet.training.problem import Problem, build_model
from nondet.training.stack import Stack

Asked = tuple[Stack, Callable[[], Tensor]]
"""A stack, and a function that makes the inputs for all its runs."""


@dataclass(frozen=True)
class Threads:
    """skeletons: a model for each thread, whose forward pass serves any stack of the task; threads borrow them.
    examples: how many examples a stack gets at a time. inner: how many threads torch uses inside each of these threads.
    """

    count: int
    inner: int
    skeletons: SimpleQueue[nn.Module]
    examples: int = TEST_BATCH

    def answers(self, asked: Sequence[Asked]) -> Iterator[Tensor]:
        """Yield each stack's logits (R, B, c) for its inputs, in the order of `asked`."""
        return in_threads(self._answer, asked, self.count)

    @torch.no_grad()
    def _answer(self, asked: Asked) -> Tensor:
        stack, inputs = asked
        torch.set_num_threads(self.inner)  # in a new thread, MKL would use all cores
        skeleton = self.skeletons.get()
        try:
            own = replace(stack, skeleton=skeleton)
            return torch.cat([logits(own, part) for part in inputs().split(self.examples)], dim=1)
        finally:
            self.skeletons.put(skeleton)


def threads_of(problem: Problem, skeleton: nn.Module, workers: int | None = None) -> Threads:
    """Make one thread for each worker, by default one for each core.

    Only one on a GPU, or if the model is compiled or keeps a count. skeleton: the first thread's model.
    """
    one = problem.device.type != "cpu" or problem.compiled or bool(problem.state)
    inner = torch.get_num_threads()
    count = 1 if one else max(1, workers or available_cores() // inner)
    skeletons: SimpleQueue[nn.Module] = SimpleQueue()
    skeletons.put(skeleton.eval())
    for _ in range(count - 1):
        skeletons.put(build_model(problem.task, problem.recipe, FIXED_SEED).to(problem.device).eval())
    return Threads(count, inner, skeletons)
