"""Measure how many runs of a task should train together to be fastest."""

from __future__ import annotations

import time

import torch

from nondet.sources import FIXED_SEED
from nondet.training import averages, loop, memory
from nondet.training.device import Epochs
from nondet.training.new_stack import new_stack
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.traces import stack_step

SECONDS = 1.0
"""For how many seconds the steps of one width are measured."""

GAIN = 1.05
"""A stack of twice the width must be this many times as fast, or it is not worth its memory."""


def fastest(problem: Problem, width: int, most: int, seconds: float = SECONDS) -> tuple[int, str]:
    """Return the width whose models train fastest, found by doubling from `width`, and a sentence that says so.

    Doubling ends at `most`, at the memory's limit, or when it gains nothing. A width that does not fit is halved.
    """
    found: dict[int, float | None] = {}  # seconds of a step for one model; None if the stack does not fit in memory
    width = min(width, most)
    while True:
        _taken(problem)
        here = found[width] = _seconds(problem, width, seconds)
        room = _room(problem, _taken(problem))
        memory.release()
        fitting = [s for s in found.values() if s is not None]
        if here is None:
            if fitting or width == 1:
                break
            width //= 2
            continue
        no_gain = len(fitting) > 1 and here * GAIN > fitting[-2]
        if no_gain or width >= most or None in found.values():
            break
        width = min(2 * width, most)
        if not room:
            found[width] = None
            break
    return _chosen(found)


def cost_alone(problem: Problem) -> str:
    """Say how long a run takes if it trains by itself, from a few of its steps; empty if they fail."""
    try:
        step = _step_seconds(problem, 1, 0.2)
    except Exception:  # errors of the user's model are reported where it is trained
        return ""
    total = step * problem.recipe.epochs * problem.steps
    return f"In this way a step takes {1000 * step:.2g} ms, and a run about {_duration(total)}."


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.1g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"
    )


def _chosen(found: dict[int, float | None]) -> tuple[int, str]:
    fitting = {width: s for width, s in found.items() if s is not None}
    near = [width for width, s in fitting.items() if s <= min(fitting.values()) * GAIN]
    best = min(near, default=[*found][-1])  # the narrowest of those that are about as fast
    said = {width: f"{1000 * s:.2g}" if s < 0.01 else f"{1000 * s:.0f}" for width, s in fitting.items()}
    others = ", ".join(f"{width}: {said.get(width, 'out of memory')}" for width in found if width != best)
    speed = f"{said[best]} ms a model-step" if best in said else "out of memory"
    return best, f"A stack of {best}: {speed}" + (f" ({others})." if others else ".")


def _seconds(problem: Problem, width: int, seconds: float) -> float | None:
    """Return the seconds of a step for one model; None if memory runs out."""
    try:
        return _step_seconds(problem, width, seconds) / width
    except Exception as error:
        if not memory.ran_out(error):
            raise
    return None


def _step_seconds(problem: Problem, width: int, seconds: float) -> float:
    """Return the seconds of a stack's step, measured for about `seconds`; the first step does not count."""
    runs = [dict.fromkeys(problem.sources, FIXED_SEED)] * width
    with kernels(True, problem.tf32):
        stack = new_stack(problem, runs)
        averages.begin(problem.recipe, stack)
        if problem.plain:
            return Epochs(problem, stack, runs).seconds_a_step(seconds)
        batch = loop.batches(problem, runs[0])[0]
        begin, steps = time.perf_counter(), 0
        while steps < 2 or time.perf_counter() - begin < seconds:
            stack_step(problem, stack, [batch] * width, None)
            if problem.device.type == "cuda":
                torch.cuda.synchronize()
            begin = begin if steps else time.perf_counter()
            steps += 1
        return (time.perf_counter() - begin) / (steps - 1)


def _taken(problem: Problem) -> int:
    """Return the most device memory, in bytes, that this process has held since the last call."""
    if problem.device.type != "cuda":
        return 0
    most = torch.cuda.max_memory_reserved(problem.device)
    torch.cuda.reset_peak_memory_stats(problem.device)
    return most


def _room(problem: Problem, most: int) -> bool:
    """Whether a stack of twice the width seems to fit, given the most that this one used."""
    if problem.device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(problem.device)
    there = free + torch.cuda.memory_reserved(problem.device)
    return 2 * most <= memory.SHARE * there
