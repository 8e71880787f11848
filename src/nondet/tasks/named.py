"""The parts of torch that a recipe can name: optimizers, schedulers and losses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean

if TYPE_CHECKING:
    import torch

LOSSES = {
    "CrossEntropyLoss": "cross_entropy",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "SmoothL1Loss": "smooth_l1",
    "HuberLoss": "huber",
    "BCEWithLogitsLoss": "bce",
    "cross_entropy": "cross_entropy",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "smooth_l1_loss": "smooth_l1",
    "huber_loss": "huber",
    "binary_cross_entropy_with_logits": "bce",
}
"""A recipe's names of losses, keyed by torch's."""


def scheduler_names() -> list[str]:
    """Return the names of torch's schedulers."""
    import torch

    found: Any = torch.optim.lr_scheduler
    return [name for name in found.__all__ if name != "LRScheduler"]


def scheduler_class(schedule: Any) -> Any:
    """Return the scheduler class of torch that a schedule is or names; None if it is not one."""
    if schedule in ("cosine", "constant") or not (isinstance(schedule, str | type)):
        return None
    import torch

    found: Any = getattr(torch.optim.lr_scheduler, schedule, None) if isinstance(schedule, str) else schedule
    base: Any = torch.optim.lr_scheduler.LRScheduler
    return found if isinstance(found, type) and issubclass(found, base) else None


def optimizer_class(optimizer: Any) -> type[torch.optim.Optimizer]:
    """Return the optimizer class with this name in `torch.optim`; a class is returned as it is."""
    import torch

    base = torch.optim.Optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, base):
        return optimizer
    found = getattr(torch.optim, optimizer, None) if isinstance(optimizer, str) else None
    if not (isinstance(found, type) and issubclass(found, base)):
        known = [name for name, kind in vars(torch.optim).items() if isinstance(kind, type) and kind is not base]
        near = did_you_mean(optimizer, known, "; {}") if isinstance(optimizer, str) else ""
        raise BadInput(
            f"optimizer must be a class in torch.optim, such as SGD or AdamW (got {optimizer!r}{near}); "
            "try <<recipe=optimizer=AdamW>>"
        )
    return found


def optimizer_options(optimizer: Any) -> list[str]:
    """Return the names of an optimizer's arguments other than its parameters and learning rate."""
    return [name for name in inspect.signature(optimizer_class(optimizer)).parameters if name not in ("params", "lr")]
