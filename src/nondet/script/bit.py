"""The bit source: one element of a weight, moved to the next float before the first training step, or at an onset."""

from __future__ import annotations

import hashlib
import importlib
import random
import weakref
from typing import Any

from nondet.script.inside import Inside
from nondet.script.streams import FIXED

CANDIDATES = 64
"""How many elements with a gradient are noted for the bit source."""


class Start:
    """Before a training step, counts epochs, and moves a bit if that is due.

    At onset 0 a bit is due before the first step, and otherwise before the first step of that epoch, counted from 0.
    """

    def __init__(self, here: Inside, torch: Any) -> None:
        self.here, self.torch = here, torch
        self.model: Any = lambda: None

    def step(self, model: Any) -> None:
        """Handle the beginning of a training step, which is this module's forward pass."""
        ledger, first = self.here.ledger, not self.here.ledger["steps"]
        begins = self.here.passes.is_new()
        ledger["epochs"] += begins
        if first:
            self.model = weakref.ref(model)
            self._note(model)
        onset = self.here.onset
        if self.here.seeds.get("bit", FIXED) == FIXED:
            if first:
                self._note_gradient(model)
        elif first if not onset else begins and ledger["epochs"] == onset + 1:
            self._move(self.model() or model)

    def _note(self, model: Any) -> None:
        """Note the parameters that training begins with."""
        here, digest = self.here, hashlib.sha256()
        for parameter in model.parameters():
            if parameter.numel():
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        here.ledger["start"] = digest.hexdigest()[:16]
        here.streams.read()
        here.ledger["early"] = here.streams.draws["other"]

    def _move(self, model: Any) -> None:
        """Move one element of the parameter, up or down."""
        chosen = self.here.bit or {}
        named = _trained(model)
        name = chosen.get("parameter", _first(named))
        if name not in named:
            return
        elements = chosen.get("elements") or list(range(named[name].numel()))
        rng = random.Random(self.here.streams.number("bit"))
        at = elements[rng.randrange(len(elements))]
        place = tuple(int(i) for i in self.torch.unravel_index(self.torch.tensor(at), named[name].shape))
        weight = named[name].detach()
        away = self.torch.full_like(weight[place], float("inf") if rng.randrange(2) else float("-inf"))
        weight[place] = self.torch.nextafter(weight[place], away)
        self.here.ledger["bit"] = {"parameter": name, "element": at}

    def _note_gradient(self, model: Any) -> None:
        """Note elements that have a gradient at the first step, from which the bit source of other runs chooses."""
        named = _trained(model)
        name = _first(named)
        if not name:
            return
        parameter = named[name]

        def before_step(optimizer: Any, args: Any, words: Any) -> None:
            handle.remove()
            if parameter.grad is not None:
                moving = parameter.grad.reshape(-1).nonzero().reshape(-1).cpu()
                rng = random.Random(self.here.streams.number("bit", "candidates"))
                places = [int(moving[rng.randrange(len(moving))]) for _ in range(CANDIDATES)] if len(moving) else []
                self.here.ledger["moving"] = {"parameter": name, "elements": sorted({*places})}

        handle = importlib.import_module("torch.optim.optimizer").register_optimizer_step_pre_hook(before_step)


def _trained(model: Any) -> dict[str, Any]:
    """Return a module's trained parameters by name."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad and p.is_floating_point() and p.numel()}


def _first(named: dict[str, Any]) -> str:
    """Return the name of the first matrix among parameters, or else of the first parameter; empty if there is none."""
    return next((n for n, p in named.items() if p.dim() >= 2), next(iter(named), ""))
