"""Find the loss and the outputs in whatever form a model returns them. Everything here also runs under vmap."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.training.batches import called

LOGITS = ("logits", "out")
"""The names of the logits in a dictionary or object of outputs: Hugging Face's and torchvision's."""


def logits_of(returned: Any) -> Any:
    """Return the tensor of outputs in what a model returns, at least in float32; without one, return it unchanged.

    Accepted: a tensor; a dictionary or object with `logits` or `out`; a dictionary or tuple of one tensor.
    """
    for name in LOGITS:
        found = returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)
        if isinstance(found, Tensor):
            returned = found
    if not isinstance(returned, Tensor):
        held: Any = returned.values() if isinstance(returned, Mapping) else returned
        parts: list[Any] = list(held) if isinstance(returned, Mapping | tuple | list) else []
        returned = parts[0] if len(parts) == 1 and isinstance(parts[0], Tensor) else returned
    short = isinstance(returned, Tensor) and returned.dtype in (torch.float16, torch.bfloat16)
    return returned.float() if short else returned  # the logits' exponentials are summed


def _form(batch: Any) -> str:
    """Describe a batch by the shapes of its tensors: (tensor[16, 6], tensor[16])."""
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{name!r}: {_form(part)}" for name, part in batch.items()) + "}"
    if isinstance(batch, tuple | list):
        return "(" + ", ".join(map(_form, batch)) + ")"
    return f"tensor{list(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__


@dataclass(frozen=True)
class Objective:
    """A task's loss and answers.

    kind: of its outputs. criterion: the mean loss of a mini-batch from outputs and labels; None for the kind's own.
    own: the user's `loss(model, batch) -> (loss, outputs)`. The batch is (inputs, labels), or only the inputs if the
        labels are inside them.
    inside: whether the labels are inside the inputs, so that the model may return its loss itself.
    by_name: whether the model takes the tensors of a dictionary as named arguments.
    """

    kind: Kind
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    own: Callable[[Any, Any], Any] | None = None
    inside: bool = False
    by_name: bool = True

    def __call__(self, call: Callable[..., Any], inputs: Any, labels: Tensor) -> tuple[Tensor, Any]:
        """Return the mean loss of a mini-batch, and the model's outputs for it (B, ...)."""
        if self.own is not None:
            return self._own(call, inputs if self.inside else (inputs, labels))
        returned = called(call, inputs, self.by_name)
        outputs = logits_of(returned)
        own = getattr(returned, "loss", None) if self.inside else None
        if isinstance(own, Tensor):
            return own, outputs
        return (self.criterion or self.kind.loss)(outputs, labels), outputs

    def _own(self, call: Callable[..., Any], batch: Any) -> tuple[Tensor, Any]:
        """Return what the user's loss returns, after checking it."""
        own: Any = self.own
        try:
            found = own(call, batch)
        except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
            said = " ".join(str(error).split()) or "no message"
            raise BadInput(
                f"the task's loss fails: {type(error).__name__}: {said}; called as loss(model, batch) with the batch "
                f"{_form(batch)}, it must return (loss, outputs); a loss of outputs and labels goes in the recipe: "
                "Recipe(loss=...)"
            ) from error
        if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[0], Tensor):
            raise BadInput(
                f"the task's loss must return (loss, outputs) (got {type(found).__name__}); return the mean loss "
                "and the outputs that are measured"
            )
        loss: Tensor = found[0]
        if loss.dim():
            raise BadInput(
                f"the task's loss must be one number (got shape {tuple(loss.shape)}); return its mean over the batch"
            )
        return loss, logits_of(found[1])

    def outputs(self, call: Callable[..., Any], inputs: Any, labels: Tensor) -> Any:
        """Return the model's outputs for some examples (B, ...)."""
        return self(call, inputs, labels)[1] if self.own is not None else logits_of(called(call, inputs, self.by_name))


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
