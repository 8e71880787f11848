"""Record, before each step, everything that a training must keep in order to resume."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.places import above, caller
from nondet.script.trace.training import Training, tensors_digest
from nondet.script.trace.values import digest


class States:
    """Records weights, optimizer, schedule, scaler and generators before each step, and where files are kept."""

    def __init__(self, write: Callable[[list[Any]], None], training: Training) -> None:
        self.write, self.training = write, training
        self.scaler: Any = None
        self.schedules: dict[type, Any] = {}  # the last one made of each kind

    def take_over(self) -> None:
        torch: Any = sys.modules["torch"]
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        for cls in {torch.amp.GradScaler, torch.cuda.amp.GradScaler}:
            self._scaler(cls)
        self._schedules(torch.optim.lr_scheduler.LRScheduler)
        for name in ("save", "load"):
            self._file(torch, name)

        def before(optimizer: Any, args: Any, words: Any) -> None:
            if self.training.stepping == 1 and not self.training.worker():
                self.write(["states", self.training.step, self._states(torch, optimizer)])

        register_optimizer_step_pre_hook(before)

    def _states(self, torch: Any, optimizer: Any) -> dict[str, str]:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        kept = [value for p in weights for _, value in sorted(optimizer.state.get(p, {}).items())]
        numpy = sys.modules.get("numpy.random")
        names = ("lr", "momentum", "betas", "weight_decay")
        rates = [[digest(group[name]) for name in names if name in group] for group in optimizer.param_groups]
        far = [[getattr(one, name, None) for name in _FAR] for one in self.schedules.values()]
        found = {
            "weights": tensors_digest(torch, weights),
            "optimizer": digest([one for one in kept if one is not None]),
            "schedule": digest([rates, far]),
            "generator": digest([random.getstate(), torch.default_generator])
            + (digest(numpy.mtrand._rand) if numpy is not None else ""),
        }
        averages = self._averages(torch, weights)
        if averages:
            found["averages"] = averages
        if self.scaler is not None:
            found["scaler"] = digest([self.scaler.get_scale(), self.scaler._get_growth_tracker()])
        return found

    def _averages(self, torch: Any, weights: list[Any]) -> str:
        """Return digests of what models hold besides the weights that are trained; empty if there is nothing.

        That is running statistics, and models that are averages of the weights, which no optimizer has.
        """
        trained = {id(one) for one in weights}
        models = [one for one in gc.get_objects() if isinstance(one, torch.nn.Module)]
        inner = {id(child) for one in models for child in one.children()}
        found: list[str] = []
        for model in models:
            held = [*model.parameters(), *model.buffers()]
            rest = [one for one in held if id(one) not in trained]
            if id(model) not in inner and rest:
                found.append(tensors_digest(torch, rest))
        return " ".join(sorted(found))

    def _scaler(self, cls: Any) -> None:
        plain = cls.scale

        @instead_of(cls, "scale")
        def scale(scaler: Any, outputs: Any) -> Any:
            self.scaler = scaler
            return plain(scaler, outputs)

    def _schedules(self, cls: Any) -> None:
        def new(kind: Any, *args: Any, **words: Any) -> Any:
            self.schedules[kind] = made = object.__new__(kind)
            return made

        cls.__new__ = new

    def _file(self, torch: Any, name: str) -> None:
        plain = getattr(torch, name)

        @instead_of(torch, name)
        def file(*args: Any, **words: Any) -> Any:
            self.write(["file", name, caller(above(), far=True)])
            return plain(*args, **words)


_FAR = ("last_epoch", "best", "num_bad_epochs")
"""What says how far a schedule has come."""
