"""In a stack, compute element-wise functions on each run's part by itself, where rounding depends on the position.

On the CPU torch computes most of a tensor's elements a register at a time. The ones left over at its end are computed
one by one and rounded differently. So in one tensor of all runs an element's rounding would depend on its run's slot,
unless each run's part fills whole registers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

BLOCK = 64
"""A number of elements that is a multiple of what torch computes at once, for every type and processor."""

_functorch: Any = torch._C._functorch  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
_FUNCTIONS: frozenset[Any] = frozenset(
    [
        *(F.silu, F.elu, F.selu, F.celu, F.softplus, F.mish, F.gelu, F.logsigmoid, F.hardswish, F.hardsigmoid),
        *(torch.sigmoid, torch.tanh, torch.exp, torch.expm1, torch.log, torch.log1p, torch.erf, torch.sin, torch.cos),
        *(Tensor.sigmoid, Tensor.tanh, Tensor.exp, Tensor.expm1, Tensor.log, Tensor.log1p, Tensor.erf),
        *(Tensor.sin, Tensor.cos),
    ]
)


class RunByRun(TorchFunctionMode):
    """To be used inside a vmap over runs."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func not in _FUNCTIONS or not args or not _uneven(args[0]):
            return func(*args, **named)
        x, *rest = args
        value, level = _functorch.get_unwrapped(x), _functorch.maybe_get_level(x)
        in_place = bool(named.get("inplace"))
        named = {name: given for name, given in named.items() if name != "inplace"}
        parts = [func(part, *rest, **named) for part in value.unbind(_functorch.maybe_get_bdim(x))]
        made = _functorch._add_batch_dim(torch.stack(parts), 0, level)
        return x.copy_(made) if in_place else made


def _uneven(x: Any) -> bool:
    """Whether this is a tensor on the CPU in which each run's part is not a whole number of blocks."""
    if not isinstance(x, Tensor) or not _functorch.is_batchedtensor(x) or x.device.type != "cpu":
        return False
    value, axis = _functorch.get_unwrapped(x), _functorch.maybe_get_bdim(x)
    return not _functorch.is_batchedtensor(value) and math.prod(value.shape[axis + 1 :]) % BLOCK != 0
