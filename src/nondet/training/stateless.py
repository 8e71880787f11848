"""Language models without a state of their own, made callable as those with one are: `model(x, state)`."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from nondet.training.objective import logits_of


def with_state(model: nn.Module) -> nn.Module:
    """The model, called model(x, state) and returning (logits, state), whatever of it the model itself knows.

    One that returns a pair of logits and its new state is as it was. Of any other, such as one of Hugging Face, the
    logits are taken, a state of zeros goes with them, and it is given none.
    """
    if "forward" in vars(model):  # whose owner has replaced it: of compiled code, say
        return model
    parts = inspect.signature(model.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    two = sum(p.kind in positional for p in parts) > 1 or any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parts)
    model.nondet_form = "state?" if two else "stateless"  # type: ignore[assignment]
    model.forward = MethodType(_forward, model)
    return model


def is_stateless(model: nn.Module) -> bool:
    """Whether a model that has been called has no state of its own."""
    return getattr(model, "nondet_form", "") == "stateless"


def _forward(model: Any, x: Tensor, state: Any = None) -> Any:
    own = type(model).forward
    returned = own(model, x) if model.nondet_form == "stateless" else own(model, x, state)
    if type(returned) is tuple and len(returned) == 2 and isinstance(returned[0], Tensor):
        logits, after = returned
        if after is not None and model.nondet_form != "stateless":
            return logits, after
    else:
        logits = logits_of(returned)
    model.nondet_form = "stateless"
    return (logits, x.new_zeros((len(x), 1), dtype=torch.float32)) if isinstance(logits, Tensor) else (logits, None)
