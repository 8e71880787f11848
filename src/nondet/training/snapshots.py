"""The state of a half-trained stack on disk, so that a killed study goes on where it was.

Random numbers belong to (source, seed, epoch), so a snapshot holds tensors and numbers only, and no random state.
A snapshot can always be deleted: it costs the epochs trained so far, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nondet.files import write_file

SECONDS = 30.0
"""How long a stack trains between two snapshots, at the least."""


def save_snapshot(path: Path, state: Mapping[str, Any]) -> None:
    """Write a nested dictionary of tensors and JSON values, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_split(state, "", tensors), sort_keys=True)
    payload = save(tensors, metadata={"state": header})
    with suppress(FileNotFoundError):  # a process that finishes clears the folder; the next snapshot makes it anew
        write_file(path, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload, replace=True)


def load_snapshot(path: Path) -> dict[str, Any] | None:
    """The state in a snapshot, or None if there is none that can be trusted."""
    try:
        digest, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if digest != hashlib.sha256(payload).hexdigest().encode():
        return None
    try:
        tensors = load(payload)
        size = int.from_bytes(payload[:8], "little")
        header = json.loads(payload[8 : 8 + size])["__metadata__"]["state"]
    except (SafetensorError, ValueError, KeyError):
        return None
    return _joined(json.loads(header), tensors)


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for the value, with its tensors moved out under their paths."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().contiguous()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"items": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    return {"value": value}


def _joined(value: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {key: _joined(item, tensors) for key, item in value["items"]}
    return value["value"]


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What an optimizer remembers of each parameter, by the parameter's number."""
    return optimizer.state_dict()["state"]


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Any]]) -> None:
    """Give an optimizer back what `optimizer_state` returned."""
    optimizer.load_state_dict(
        {"state": {k: dict(v) for k, v in state.items()}, "param_groups": optimizer.state_dict()["param_groups"]}
    )
