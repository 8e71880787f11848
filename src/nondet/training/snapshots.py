"""The state of a half-trained stack on disk, so that a killed study continues where it stopped.

Random numbers belong to (source, seed, epoch), so a snapshot contains only tensors and numbers, and no random state.
A snapshot can always be deleted: that only costs the epochs trained so far.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nondet.errors import Damaged
from nondet.io import signals as stopping
from nondet.io.files import checked_payload, read_plain, with_digest, write_file
from nondet.study.states import agrees, header_in, seal_in

SECONDS = 30.0
"""How long a stack trains, at least, between two snapshots."""

SHORT = 2.0
"""A stop waits for the end of an epoch shorter than this, in seconds. A process has more time than that to end."""

NO_SEAL: Mapping[str, Any] = MappingProxyType({})
"""The seal of a state that need not identify itself."""


@dataclass
class Due:
    """When to save a stack's state: now and then, and when the process is told to stop.

    save: saves it. every: the seconds between two saves, at least. wanted: whether to save at all.
    took: the seconds of the last epoch. whole: whether the state is that at the end of an epoch.
    """

    save: Callable[[], None]
    every: float
    wanted: bool
    last: float = field(default_factory=time.monotonic)
    took: float = float("inf")
    whole: bool = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.wanted and self.whole and isinstance(error, KeyboardInterrupt):
            with suppress(OSError):  # a full disk must not keep the process from stopping
                self.save()

    @contextmanager
    def epoch(self) -> Generator[None]:
        """Around an epoch; a stop waits for its end if the epoch is short."""
        begin, self.whole = time.monotonic(), False
        with stopping.undisturbed() if self.wanted and self.took < SHORT else nullcontext():
            yield
            self.whole, self.took = True, time.monotonic() - begin

    def now_and_then(self) -> None:
        """Save the state if it is time to."""
        if self.wanted and time.monotonic() - self.last > self.every:
            begin = time.monotonic()
            self.save()
            self.last = time.monotonic()
            self.every = max(self.every, 50 * (self.last - begin))  # large states are saved less often


def save_snapshot(path: Path, state: Mapping[str, Any], seal: Mapping[str, Any] = NO_SEAL) -> bool:
    """Write a nested dictionary of tensors and JSON values, whole or not at all; False if it contains anything else.

    seal: identifies this state, as `Seal` returns it; the state cannot be loaded as another.
    """
    tensors: dict[str, Tensor] = {}
    try:
        header = json.dumps(_split(state, "", tensors) | {"seal": dict(seal)}, sort_keys=True)
    except TypeError:
        return False  # the optimizer has state other than tensors and numbers; doing without snapshots is harmless
    payload = save(tensors, metadata={"state": header})
    with suppress(FileNotFoundError):  # a process that finishes removes the folder; the next snapshot makes it again
        write_file(path, with_digest(payload), replace=True)
    return True


def load_snapshot(path: Path, seal: Mapping[str, Any] = NO_SEAL) -> dict[str, Any] | None:
    """Return the state in a snapshot; None if no intact snapshot exists, or if it is not the one that `seal` names."""
    try:
        payload = checked_payload(read_plain(path))
    except (FileNotFoundError, Damaged):
        return None
    if payload is None or not agrees(seal_in(payload), seal):
        return None
    try:
        tensors, header = load(payload), header_in(payload)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _joined(header, tensors)


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return JSON for the value, with its tensors moved to `tensors` under their paths."""
    if isinstance(value, Tensor):
        tensors[path] = real(value.detach()).contiguous()
        return {"complex" if value.is_complex() else "tensor": path}
    if isinstance(value, Mapping):
        return {"items": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    return {"value": value}


def _joined(value: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "complex" in value:
        return torch.view_as_complex(tensors[value["complex"]])
    if "items" in value:
        return {key: _joined(item, tensors) for key, item in value["items"]}
    return value["value"]


def real(tensor: Tensor) -> Tensor:
    """Return a real tensor unchanged, and a complex one with a last axis for its real and imaginary parts."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def bits_of(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, as one row."""
    return real(tensor.detach()).contiguous().reshape(-1).view(torch.uint8)


def same_bits(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors are equal to the last bit, or both None."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(bits_of(one), bits_of(other))


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a state with every tensor changed, except scalars, which no run axis can be part of."""
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    return change(value) if isinstance(value, Tensor) and value.dim() else value


def slot_of(value: Any, slot: int) -> Any:
    """Return the part of a stack's state that belongs to one run, as the state of a stack of one."""
    return _changed(value, lambda t: t[slot : slot + 1])


def widened(value: Any, width: int) -> Any:
    """Repeat the state of a stack of one for `width` equal runs."""
    return _changed(value, lambda t: t.repeat_interleave(width, dim=0))


def with_run_axis(value: Any) -> Any:
    """Turn a plain optimizer's state into that of a stack of one."""
    return _changed(value, lambda t: t[None])


def without_run_axis(value: Any) -> Any:
    """Undo `with_run_axis`."""
    return _changed(value, lambda t: t[0])


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return an optimizer's state for each parameter, by the parameter's number."""
    return optimizer.state_dict()["state"]


def optimizer_groups(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return an optimizer's settings and counters, group by group."""
    return {i: {k: v for k, v in g.items() if k != "params"} for i, g in enumerate(optimizer.param_groups)}


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    state: Mapping[int, Mapping[str, Any]],
    groups: Mapping[int, Mapping[str, Any]],
) -> None:
    """Restore what `optimizer_state` and `optimizer_groups` returned for an optimizer.

    Its own `load_state_dict` would cast the state to the parameter's type.
    """
    for i, group in groups.items():
        optimizer.param_groups[i].update(group)
    parameters = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    for i, remembered in state.items():
        p, group = parameters[i]
        stays = () if group.get("capturable") or group.get("fused") else ("step",)  # counted on the host
        moved = {k: v.to(p.device) if isinstance(v, Tensor) and k not in stays else v for k, v in remembered.items()}
        optimizer.state[p] = moved
