"""Record a run's network during training: its layers' activations on a probe set, and its parameters, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nondet.errors import BadInput
from nondet.study.spec import WEIGHTS_LIMIT
from nondet.training import snapshots
from nondet.training.batches import copied
from nondet.training.objective import Objective
from nondet.training.problem import Track
from nondet.training.stack import Stack

PROBE = 256
"""How many test examples have their activations kept."""


def choose(model: nn.Module, epochs: Sequence[int], layers: Sequence[str], last: int) -> Track:
    """Choose what to track in this model. Without names: its modules, including each one inside a plain sequence.

    BadInput for an epoch that is not from 0 to `last`, or a name that is not one of the model's modules.
    """
    for epoch in epochs:
        if not 0 <= epoch <= last:
            raise BadInput(f"<<track>> epochs must be from 0 to the recipe's {last} (got {epoch}); choose others")
    names = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in names:
            raise BadInput(
                f"<<layers>> must be names of the model's modules (got {layer!r}); it has {', '.join(names)}"
            )
    return Track(tuple(sorted(set(epochs))), tuple(dict.fromkeys(layers)) or tuple(_usual(model)))


def _usual(model: nn.Module) -> list[str]:
    found: list[str] = []
    for name, child in model.named_children():
        parts = [f"{name}.{inner}" for inner, _ in child.named_children()] if isinstance(child, nn.Sequential) else []
        found += parts or [name]
    return found


def probe(n: int) -> np.ndarray:
    """Return the indices of the probe set: at most PROBE examples, evenly spaced over a test set of n."""
    return np.unique(np.linspace(0, n - 1, min(n, PROBE)).round().astype(np.int64))


@torch.no_grad()
def look(stack: Stack, objective: Objective, track: Track, inputs: Any, labels: Tensor) -> dict[str, Tensor]:
    """Return every run's activations on the probe inputs (m, ...), and its parameters, after the current epoch.

    "track.EPOCH.layer.NAME" (R, m, d), means over space; "track.EPOCH.parameters" (R, p), if one run's take less than
    WEIGHTS_LIMIT bytes. A layer that the forward pass does not reach is left out. On the CPU, at least in float32.
    """
    modules = dict(stack.skeleton.named_modules())
    found: dict[str, Tensor] = {}
    hooks = [modules[name].register_forward_hook(_keeper(found, name)) for name in track.layers]
    stack.skeleton.eval()

    def forward(call: Any, x: Any, y: Tensor) -> dict[str, Tensor]:
        found.clear()
        objective.outputs(call, x, y)
        return dict(found)

    try:
        seen = stack.map(forward, shared=[copied(inputs), labels], numbers=stack.answer_numbers)
    finally:
        for hook in hooks:
            hook.remove()
        found.clear()
    kept = {f"track.{stack.epoch}.layer.{name}": _plain(tensor) for name, tensor in seen.items()}
    held = stack.parameters
    parameters = [_plain(held[name]).flatten(1) for name, _ in stack.skeleton.named_parameters()]
    if sum(p[0].numel() * p.element_size() for p in parameters) < WEIGHTS_LIMIT:
        kept[f"track.{stack.epoch}.parameters"] = torch.cat(parameters, dim=1)
    return kept


def _keeper(found: dict[str, Tensor], name: str) -> Any:
    def keep(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() >= 2:
            found[name] = output.flatten(2).mean(2) if output.dim() > 2 else output

    return keep


def _plain(tensor: Tensor) -> Tensor:
    tensor = snapshots.real(tensor.detach()).cpu()
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.clone()
