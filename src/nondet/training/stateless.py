"""Make language models without a state callable like those with one: `model(x, state)`."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from nondet.training.objective import logits_of


def with_state(model: nn.Module) -> nn.Module:
    """Make any language model callable as model(x, state), returning (logits, state).

    A model that returns a pair of logits and its new state works as before. Any other model, such as one of Hugging
    Face, is not passed a state, and a state of zeros is returned with its logits.
    """
    if "forward" in vars(model):  # its owner has replaced it, for example with compiled code
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
