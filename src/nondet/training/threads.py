"""Answers of several stacks at once, one in each thread: torch's kernels let go of Python's lock while they run."""

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
"""A stack, and what makes the inputs for all its runs."""


@dataclass(frozen=True)
class Threads:
    """skeletons: a model for each thread, whose forward pass serves any stack of the task; it is taken and put back.
    examples: how many a stack is given at a time. inner: the threads of torch's own in each of these.
    """

    count: int
    inner: int
    skeletons: SimpleQueue[nn.Module]
    examples: int = TEST_BATCH

    def answers(self, asked: Sequence[Asked]) -> Iterator[Tensor]:
        """Each stack's logits (R, B, c) for its inputs, in the order in which they are asked."""
        return in_threads(self._answer, asked, self.count)

    @torch.no_grad()
    def _answer(self, asked: Asked) -> Tensor:
        stack, inputs = asked
        torch.set_num_threads(self.inner)  # of a new thread, MKL takes as many as there are cores
        skeleton = self.skeletons.get()
        try:
            own = replace(stack, skeleton=skeleton)
            return torch.cat([logits(own, part) for part in inputs().split(self.examples)], dim=1)
        finally:
            self.skeletons.put(skeleton)


def threads_of(problem: Problem, skeleton: nn.Module, workers: int | None = None) -> Threads:
    """As many as workers, by default one for each core. On a GPU one, and where a model is compiled or counts itself.

    skeleton: the first thread's.
    """
    one = problem.device.type != "cpu" or problem.compiled or bool(problem.state)
    inner = torch.get_num_threads()
    count = 1 if one else max(1, workers or available_cores() // inner)
    skeletons: SimpleQueue[nn.Module] = SimpleQueue()
    skeletons.put(skeleton.eval())
    for _ in range(count - 1):
        skeletons.put(build_model(problem.task, problem.recipe, FIXED_SEED).to(problem.device).eval())
    return Threads(count, inner, skeletons)
