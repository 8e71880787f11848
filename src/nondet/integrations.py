"""Callbacks for other libraries' trainers that record a training's metrics and outputs. Outside nondet they do nothing.

Each imports its library only when it is first used: `from nondet.integrations import HFCallback`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nondet.script.left import record


def __getattr__(name: str) -> type:
    makers = {"HFCallback": _hugging_face, "LightningCallback": _lightning}
    if name not in makers:
        raise AttributeError(f"module 'nondet.integrations' has no attribute {name!r}")
    found = globals()[name] = makers[name]()
    found.__qualname__ = name  # the name by which another process finds it
    return found


def _numbers(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the metrics that describe the model, as numbers; timings are left out."""
    timed = ("runtime", "per_second", "epoch")
    named = {name: value for name, value in (metrics or {}).items() if not name.endswith(timed)}
    return {name: float(value) for name, value in named.items() if not isinstance(value, str | list | dict)}


def _hugging_face() -> type:
    import torch

    base: Any = import_module("transformers").TrainerCallback

    class HFCallback(base):
        """Record the metrics of each evaluation of a Hugging Face Trainer, and at its end the logits.

        `Trainer(..., callbacks=[HFCallback()])`. outputs: whether to record logits, which takes one more pass.
        """

        def __init__(self, outputs: bool = True) -> None:
            self.outputs, self.loader = outputs, None

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **words: Any) -> None:
            record(**_numbers(metrics))

        def on_train_end(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            loader, model = words.get("eval_dataloader"), words.get("model")
            if not self.outputs or loader is None or model is None:
                return
            training, logits, labels = model.training, [], []
            model.eval()
            with torch.no_grad():
                for batch in loader:
                    there = {n: v.to(model.device) if isinstance(v, torch.Tensor) else v for n, v in batch.items()}
                    logits.append(model(**there).logits)
                    labels.append(there["labels"])
            model.train(training)
            record(outputs=logits, labels=labels)

    return HFCallback


def _lightning() -> type:
    try:
        base: Any = import_module("lightning.pytorch").Callback
    except ImportError:
        base = import_module("pytorch_lightning").Callback

    class LightningCallback(base):
        """Record the metrics that Lightning's Trainer logged, at the end of each validation and test.

        `Trainer(..., callbacks=[LightningCallback()])`.
        """

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                record(**_numbers(trainer.callback_metrics))

        def on_test_end(self, trainer: Any, pl_module: Any) -> None:
            record(**_numbers(trainer.callback_metrics))

    return LightningCallback
