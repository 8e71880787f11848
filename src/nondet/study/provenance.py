"""The environment of runs: everything besides their key that can change their last bit."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nondet.study import choices
from nondet.version import __version__

CUBLAS_WORKSPACE = ":4096:8"
"""cuBLAS is deterministic only with a fixed workspace; it reads this setting once, at its start."""


MKL_BRANCH = "AUTO"
"""Without this setting (conditional numerical reproducibility), MKL rounds a product of stacked matrices in a way that
depends on its place in memory, and so on the slot. MKL reads it once, at its first product. It costs no time."""


def set_up_process() -> None:
    """Make the settings that libraries read at their start; call this before torch computes anything.

    A process has one thread, unless OMP_NUM_THREADS says otherwise. Small kernels gain nothing from a second one: it
    waits at their barriers, for long if the machine is busy. And so results do not depend on the number of cores.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    os.environ.setdefault("MKL_CBWR", MKL_BRANCH)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    _keep_freed_memory()
    _spare_the_compiler()


def _spare_the_compiler() -> None:
    """Keep optimizers from loading torch's compiler, unless something has loaded it already.

    They load it only to mark a few methods as not to be compiled, and that takes as long as loading torch.
    """
    import torch

    if "torch._dynamo" not in sys.modules:
        for method in vars(torch.optim.Optimizer).values():
            plain = getattr(method, "__wrapped__", None)
            if plain is not None and not hasattr(plain, "__dynamo_disable"):  # what torch calls instead of the method
                setattr(plain, "__dynamo_disable", plain)


def _keep_freed_memory() -> None:
    """Have glibc's malloc keep freed blocks up to 1 GiB instead of giving them back to the system.

    A training step frees the same large tensors and allocates them again; the page faults of each new one take up to a
    third of the time on a CPU (`python benchmarks/cost.py`). Other C libraries have no such setting and are left alone.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting in (trim_threshold, mmap_threshold):
            mallopt(setting, 1 << 30)


def environment(device: str, precision: str, width: int) -> dict[str, Any]:
    """Return the environment of this process, for stacks of `width` runs on a kind of device in this precision."""
    import torch

    return environment_of_machine() | {
        "device": device,
        "precision": precision,
        "mkl": os.environ.get("MKL_CBWR", ""),
        "threads": torch.get_num_threads(),
        "stack": width,
        "variables": choices.variables(device == "cuda"),
        "settings": choices.settings(device == "cuda"),
    }


def environment_of_machine() -> dict[str, Any]:
    """Return what is the same for every task on this machine: versions and the processor."""
    import torch

    return {
        "nondet": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Say for each field in which two environments differ what both values are; members of a field count singly."""
    return [f"{name} is different: study={a}, here={b}" for name, (a, b) in differences(theirs, ours).items()]


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that differ, sorted."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return both values of each field that differs, by name, such as `torch` or `variables.LD_PRELOAD`.

    A field with members that an older version did not record counts as one field, and is "unknown" there.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*one, *other}):
        a, b = one.get(name), other.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= {f"{name}.{member}": pair for member, pair in differences(a, b).items()}
        elif isinstance(a, Mapping) or isinstance(b, Mapping):
            found[name] = ("recorded", "unknown") if isinstance(a, Mapping) else ("unknown", "recorded")
        elif a != b:
            found[name] = (a, b)
    return found


def _processor() -> str:
    """Return the processor's name: models with the same instruction set may still use different kernels."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
