"""Random numbers that a model draws itself, in a stack: each run draws the same numbers as if it trained alone.

`vmap` turns each random operation of R models into one operation with the runs as first axis. A dispatch mode below
`vmap` intercepts it and runs it once for each run, on that run's part, from that run's state of torch's generator. So
drop path, the dropout inside attention, noise and gumbel softmax draw as in a plain loop with the same seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from nondet.training.dropout import row_by_row


class DrawnApart(TorchDispatchMode):
    """Around a vmap with one number for each run: each run draws from generators that its number seeds.

    The numbers are used as `seeded_globals` uses one for a single run.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        self.seeds = [int(np.random.default_rng(number).integers(2**63)) for number in numbers]
        self.states: dict[torch.device, list[Tensor]] = {}
        self.turns: dict[Any, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named, runs = dict(kwargs or {}), len(self.seeds)
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **named)
        if named.get("generator") is not None:
            raise RuntimeError(f"it draws from its own generator ({func.overloadpacket.__name__})")
        if func.overloadpacket is torch.ops.aten.randperm:  # vmap calls it for each run in turn
            turn = self.turns[func] = self.turns.get(func, 0) + 1
            return self._drawn((turn - 1) % runs, lambda: func(*args, **named), _device(args, named))
        parts = [
            self._drawn(slot, lambda s=slot: func(*_part(args, s, runs), **_part(named, s, runs)), _device(args, named))
            for slot in range(runs)
        ]
        if func._schema.is_mutable:
            return args[0]
        return tree_map(lambda *of: torch.cat(of), *parts)

    def _drawn(self, slot: int, draw: Callable[[], Any], device: torch.device) -> Any:
        """Call `draw` with the device's generator in this run's state, and store the run's new state."""
        generator = _generator(device)
        if device not in self.states:
            self.states[device] = [torch.Generator(device).manual_seed(seed).get_state() for seed in self.seeds]
        before, states = generator.get_state(), self.states[device]
        generator.set_state(states[slot])
        try:
            return draw()
        finally:
            states[slot] = generator.get_state()
            generator.set_state(before)


def _device(args: tuple[Any, ...], named: dict[str, Any]) -> torch.device:
    found = next((a.device for a in args if isinstance(a, Tensor)), named.get("device"))
    return torch.device(found or "cpu")


def _generator(device: torch.device) -> torch.Generator:
    if device.type == "cpu":
        return torch.default_generator
    module: Any = torch.get_device_module(device)
    index: Any = device.index
    return module.default_generators[module.current_device() if index is None else index]


def _part(given: Any, slot: int, runs: int) -> Any:
    """Return one run's arguments: its part of each tensor, and its share of a shape."""

    def part(value: Any) -> Any:
        if isinstance(value, Tensor):
            _divisible(value.shape[0] if value.dim() else 0, runs)
            return value.chunk(runs)[slot]
        if isinstance(value, list):  # the shape of what is drawn
            shape: list[Any] = value
            _divisible(shape[0] if shape else 0, runs)
            return [shape[0] // runs, *shape[1:]]
        return value

    return tree_map(part, given, is_leaf=lambda value: isinstance(value, list))


def _divisible(length: int, runs: int) -> None:
    if length == 0 or length % runs:
        raise RuntimeError("it draws numbers that all runs would share")


class _New(TorchFunctionMode):
    """Under vmap, give an empty tensor a part for each run, so that each can draw its own numbers into it.

    like: any tensor that already has such parts.
    """

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.like = like

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.empty or func is torch.empty_like:
            return self.like.new_empty(made.shape, dtype=made.dtype, device=made.device)
        return made


@contextmanager
def drawing(like: Tensor) -> Generator[None]:
    """Inside that vmap, around the model. like: any tensor that has a part for each run."""
    with _New(like), row_by_row(stacked=True):
        yield


@contextmanager
def masks_unread() -> Generator[None]:
    """Around a vmap: have the package transformers make its attention masks without reading them, as when traced.

    Otherwise it leaves out a mask that hides nothing. Here each run has its own mask, so there is no single answer.
    """
    masks: Any = sys.modules.get("transformers.masking_utils")
    own = getattr(masks, "is_tracing", None)
    if own is None:
        yield
        return
    masks.is_tracing = lambda *_: True
    try:
        yield
    finally:
        masks.is_tracing = own
