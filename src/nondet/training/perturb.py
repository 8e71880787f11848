"""The smallest possible change of a model: one weight moves to the next number of the type used to compute with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, stream
from nondet.training.snapshots import bits_of


@dataclass(frozen=True)
class BitChange:
    """What was changed: the parameter, the index of the element, and its bits before and after, in hexadecimal."""

    name: str
    index: tuple[int, ...]
    before: str
    after: str


def change_bit(
    parameters: Mapping[str, Tensor],
    seed: int,
    which: str = "first",
    reached: Mapping[str, Tensor] | None = None,
    amp: str = "",
) -> BitChange | None:
    """Move one element of one parameter to the next float up or down, each with probability 1/2, in place.

    With `amp` (a type's name, as in a recipe), a weight with two or more axes moves by the spacing of that type's
    numbers there. It is rounded to that type wherever it is used, so that a smaller change would have no effect.

    which: "first", an element of the first weight tensor (with two or more axes) that has one that may be chosen, as
    a class token of zeros has not; "random", any element of any parameter; or a parameter's name. Zeros are skipped:
    the float next to zero is too small to change a sum.
    reached: for each parameter, a boolean tensor of the elements that may be chosen: those with a gradient. Changing
    an element without one, such as the embedding of a word that no example uses, has no effect.
    The fixed seed changes nothing, so that the run with all seeds fixed is the one that every condition shares.
    Source: Summers & Dinneen 2021, section 4.1. As there, the usual choice is the first layer's weight.
    """
    if seed == FIXED_SEED:
        return None
    chosen = _chosen(parameters, which, reached)
    places = {name: _places(tensor, (reached or {}).get(name)) for name, tensor in chosen.items()}
    count = sum(len(place) for place in places.values())
    if not count:
        names = ", ".join(places)
        if any(bool(tensor.detach().count_nonzero()) for tensor in chosen.values()):
            raise BadInput(
                f"the bit source needs a weight that reaches the loss, but no element of {names} has a gradient in the "
                "first mini-batches; choose another with <<recipe=bit=NAME>>"
            )
        raise BadInput(
            f"the bit source needs a weight that is not zero, but {names} is all zeros; "
            "choose another with <<recipe=bit=NAME>>, or vary bit from a later <<onset>>"
        )
    rng = stream("bit", seed)
    number, names = int(rng.integers(count)), iter(places)
    name = next(names)
    while number >= len(places[name]):
        number -= len(places[name])
        name = next(names)
    flat = parameters[name].detach().view(-1)
    at = int(places[name][number])
    before = flat[at].to("cpu", copy=True)  # on CUDA, some versions of nextafter lack some types
    goal = torch.full_like(before, torch.inf if rng.integers(2) else -torch.inf)
    if amp and parameters[name].dim() >= 2:
        seen = before.to(getattr(torch, amp))
        flat[at] = before + (torch.nextafter(seen, goal.to(seen.dtype)).to(before.dtype) - seen.to(before.dtype))
    else:
        flat[at] = torch.nextafter(before, goal)
    index = torch.unravel_index(torch.tensor(at), parameters[name].shape)
    return BitChange(name, tuple(int(i) for i in index), _bits(before), _bits(flat[at]))


def _places(tensor: Tensor, reached: Tensor | None) -> Tensor:
    """Return the flat indices of a parameter's elements that may be changed."""
    may = tensor.detach().reshape(-1) != 0
    return (may if reached is None else may & reached.to(may.device).reshape(-1)).nonzero().view(-1)


def has_bit(parameters: Mapping[str, Tensor], which: str = "first") -> bool:
    """Whether `change_bit` can find a weight to change; BadInput if a named parameter does not exist.

    A named parameter may be all zeros at the start, as biases are, but not at a later onset.
    """
    if which == "first" and not any(t.dim() >= 2 and t.is_floating_point() for t in parameters.values()):
        return False
    chosen = _chosen(parameters, which)
    return which in chosen or any(bool(tensor.detach().count_nonzero()) for tensor in chosen.values())


def _chosen(
    parameters: Mapping[str, Tensor], which: str, reached: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    real = {name: tensor for name, tensor in parameters.items() if tensor.is_floating_point()}
    if which == "random":
        return real
    if which == "first":
        names = [name for name, tensor in real.items() if tensor.dim() >= 2]
        if not names:
            raise BadInput(
                "the bit source needs a weight with two or more axes, but this model has none; leave bit out"
            )
        held = next((name for name in names if bool(parameters[name].detach().count_nonzero())), names[0])
        first = next((name for name in names if len(_places(parameters[name], (reached or {}).get(name)))), held)
        return {first: parameters[first]}
    if which not in real:
        raise BadInput(
            f"bit must be first, random or the name of a real parameter (got {which!r}); choose from {', '.join(real)}"
        )
    return {which: parameters[which]}


def _bits(value: Tensor) -> str:
    return bytes(reversed(bits_of(value).tolist())).hex()
