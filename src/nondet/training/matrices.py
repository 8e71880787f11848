"""An optimizer for matrices, such as Muon, together with AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nondet.tasks.recipe import Recipe


class Beside(torch.optim.Optimizer):
    """Two optimizers of one model as one, with the groups and the state of both."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> Any:
        for part in self.parts:
            part.step(closure)


def matrices_apart(
    chosen: Any, recipe: Recipe, groups: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Beside | None:
    """Return `chosen` for parameters with two axes and AdamW for the others; None if `chosen` refuses even those."""
    parts: list[list[dict[str, Any]]] = [
        [{**group, "params": few} for group in groups if (few := [p for p in group["params"] if (p.dim() == 2) == two])]
        for two in (True, False)
    ]
    decay = {name: value for name, value in options.items() if name == "weight_decay"}
    try:
        matrices = chosen(parts[0], lr=recipe.lr, **options)
    except ValueError:
        return None
    return Beside([matrices, torch.optim.AdamW(parts[1], lr=recipe.lr, **decay)])
