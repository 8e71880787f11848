"""The smallest possible change of a model: one weight moves to the next float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, stream


@dataclass(frozen=True)
class BitChange:
    """What was changed: the parameter, the element's place in it, and its bits before and after, in hexadecimal."""

    name: str
    index: tuple[int, ...]
    before: str
    after: str


def change_bit(parameters: Mapping[str, Tensor], seed: int) -> BitChange | None:
    """Move one element of the first weight tensor to the next float up or down, each with probability 1/2, in place.

    Source: Summers & Dinneen 2021, section 4.1; like there, the element is one of the first layer's weight. Zeros
    are passed over: the float next to zero is too small to change a sum. The fixed seed changes nothing, so that
    the run with all seeds fixed is the one that every condition shares.
    """
    if seed == FIXED_SEED:
        return None
    weights = [(name, tensor) for name, tensor in parameters.items() if tensor.dim() >= 2]
    if not weights:
        raise BadInput("the bit source needs a weight of two axes or more, and this model has none; leave bit out")
    name, tensor = weights[0]
    flat = tensor.detach().view(-1)
    candidates = flat.nonzero().view(-1)
    if not len(candidates):
        raise BadInput(f"the bit source needs a weight that is not zero, and {name} is all zeros; leave bit out")
    rng = stream("bit", seed)
    place = int(candidates[int(rng.integers(len(candidates)))])
    before = flat[place].clone()
    goal = torch.full_like(before, torch.inf if rng.integers(2) else -torch.inf)
    flat[place] = torch.nextafter(before, goal)
    index = torch.unravel_index(torch.tensor(place), tensor.shape)
    return BitChange(name, tuple(int(i) for i in index), _bits(before), _bits(flat[place]))


def _bits(value: Tensor) -> str:
    return value.cpu().numpy().astype(value.cpu().numpy().dtype.newbyteorder(">")).tobytes().hex()
