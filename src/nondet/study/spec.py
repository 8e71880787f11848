"""A run: everything that names it, and everything it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nondet.sources import FIXED_SEED

WEIGHTS_LIMIT = 16 * 2**20
"""Weights of this many bytes or more are not kept with a run."""


@dataclass(frozen=True)
class RunSpec:
    """What names a run: the task's identity, a seed for each source, the onset epoch, and the repeat.

    identity: the task's name, code, data, model and recipe, and the results of its trial steps.
    repeat: which repeat of the same training it is; 0 except in the control.
    """

    identity: Mapping[str, Any]
    seeds: Mapping[str, int]
    onset: int = 0
    repeat: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "task": dict(self.identity),
            "seeds": dict(self.seeds),
            "onset": self.onset,
            "repeat": self.repeat,
        }

    @property
    def family(self) -> tuple[int, bool]:
        """What all runs of one stack have in common: the onset, and whether kernels are the deterministic ones."""
        return self.onset, self.seeds.get("kernels", FIXED_SEED) == FIXED_SEED

    @cached_property
    def key(self) -> str:
        """The SHA-256 that names the run's files."""
        head = json.dumps({"onset": self.onset, "repeat": self.repeat, "seeds": dict(self.seeds)}, sort_keys=True)
        # the same as sha256_of_json(self.as_dict()), but faster: the identity, one object in all runs, is dumped once
        return hashlib.sha256(f'{head[:-1]}, "task": {_dumped(self.identity)}}}'.encode()).hexdigest()


_last: tuple[object, str] = None, ""


def _dumped(identity: Mapping[str, Any]) -> str:
    """Return the canonical JSON of an identity; that of the last one is cached."""
    global _last
    if _last[0] is not identity:
        _last = identity, json.dumps(dict(identity), sort_keys=True, allow_nan=False)
    return _last[1]


def same_task(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two identities name the same training; the trial steps' numbers may differ by rounding."""
    rest = [{name: value for name, value in identity.items() if name != "trial"} for identity in (one, other)]
    return rest[0] == rest[1] and same_trial(one.get("trial"), other.get("trial"))


def same_trial(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether trial steps gave the same losses and gradients, except for another processor's rounding.

    Unknown steps, of an older study or of a model that does not repeat its own steps, count as the same as any others.
    """
    if one is None or other is None:
        return True
    bound = 1e-6 if one["precision"] == "float64" else 1e-2
    numbers = [np.array([*trial["loss"], *trial["gradient"]], dtype=np.float64) for trial in (one, other)]  # None: NaN
    return one["precision"] == other["precision"] and np.allclose(*numbers, rtol=bound, atol=0, equal_nan=True)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves, and only what the run itself determines.

    arrays: "outputs" (n, c) logits on the test set, "curves.loss" and "curves.accuracy" (epochs,) on the training
        set (nats, percent), and "weights.NAME" for each parameter and buffer, where they are kept. A language model has
        "logprob", "prediction" and "sample.logits" instead of "outputs". In an accelerated ensemble, "outputs" is the
        mean of the members, and "memberK.weights.NAME" the weights of each. "ema.…" and "swa.…": outputs and weights of
        averages. "track.EPOCH.layer.NAME" (m, d) and "track.EPOCH.parameters" (p,): what was recorded on the way.
    failed: the epoch, counted from 1, at which the loss or an output was no longer a finite number; else None.
    facts: small things worth knowing, such as which bit was changed.
    """

    arrays: Mapping[str, np.ndarray]
    failed: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
