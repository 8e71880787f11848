"""What a model draws by itself, in a stack: every run from generators of its own, with the numbers that it draws alone.

`vmap` turns each random operation of R models into one of all of them, whose first axis is that of the runs. A dispatch
mode below it meets that operation and runs it once for each run, on its part, from its state of torch's generator. So
drop path, the dropout inside attention, noise and gumbel softmax draw as they do in a plain loop that is seeded alike.
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


class _Apart(TorchDispatchMode):
    """numbers: what seeds each run's generators, as `seeded_globals` would for it alone."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        self.seeds = [int(np.random.default_rng(number).integers(2**63)) for number in numbers]
        self.states: dict[torch.device, list[Tensor]] = {}
        self.turns: dict[Any, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **named)
        if named.get("generator") is not None:
            raise RuntimeError(f"it draws from a generator of its own ({func.overloadpacket.__name__})")
        if func.overloadpacket is torch.ops.aten.randperm:  # which vmap calls for each run in turn
            turn = self.turns[func] = self.turns.get(func, 0) + 1
            return self._drawn((turn - 1) % len(self.seeds), lambda: func(*args, **named), _device(args, named))
        runs = len(self.seeds)
        parts = [
            self._drawn(slot, lambda s=slot: func(*_part(args, s, runs), **_part(named, s, runs)), _device(args, named))
            for slot in range(runs)
        ]
        if func._schema.is_mutable:
            return args[0]
        return tree_map(lambda *of: torch.cat(of), *parts)

    def _drawn(self, slot: int, draw: Callable[[], Any], device: torch.device) -> Any:
        """What `draw` returns from a run's state of the device's generator, which it moves on."""
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
    """The arguments of one run: its part of each tensor, and its share of a shape."""
    if isinstance(given, Tensor):
        _divisible(given.shape[0] if given.dim() else 0, runs)
        return given.chunk(runs)[slot] if given.dim() else given
    if isinstance(given, dict):
        pairs: Any = given
        return {name: _part(value, slot, runs) for name, value in pairs.items()}
    values: Any = given
    if isinstance(given, tuple):
        return tuple(_part(value, slot, runs) for value in values)
    if isinstance(given, list):  # the shape of what is drawn
        first: Any = values[0] if len(values) else 0
        _divisible(first, runs)
        return [first // runs, *values[1:]]
    return given


def _divisible(length: int, runs: int) -> None:
    if length == 0 or length % runs:
        raise RuntimeError("it draws numbers that the runs would share")


class _New(TorchFunctionMode):
    """Under vmap: an empty tensor has a part for each run, so that each can draw its own numbers into it.

    like: any tensor that has one.
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
def drawn_apart(numbers: Sequence[int]) -> Generator[None]:
    """Around a vmap of as many runs as there are numbers: each draws from generators that its number seeds."""
    with _Apart(numbers):
        yield


@contextmanager
def drawing(like: Tensor) -> Generator[None]:
    """Inside that vmap, around the model. like: any tensor that has a part for each run."""
    with _New(like), row_by_row(stacked=True):
        yield


@contextmanager
def masks_unread() -> Generator[None]:
    """Around a vmap: the package transformers makes its attention masks without reading them, as where it is traced.

    It would leave a mask out that hides nothing. Each run has a mask of its own, so that there is no one answer.
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
