"""Where runs are trained: everything besides their key that can change their last bit."""

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

from nondet.errors import BadInput
from nondet.study import choices
from nondet.version import __version__

CUBLAS_WORKSPACE = ":4096:8"
"""cuBLAS is deterministic only with a fixed workspace, and reads this setting once, at its start."""


MKL_BRANCH = "AUTO"
"""MKL's products of stacked matrices round by their place in memory, and so by the slot, unless it is told not to
(conditional numerical reproducibility); it reads this setting once, at its first product. It costs no time."""


def set_up_process() -> None:
    """Settings that libraries read at their start: call it before torch computes anything.

    One thread for each process, unless OMP_NUM_THREADS says otherwise: small kernels gain nothing from a second one
    (it waits at their barriers, for long where the machine is busy), and a result does not depend on how many cores
    a machine has.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    os.environ.setdefault("MKL_CBWR", MKL_BRANCH)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    _keep_freed_memory()
    _spare_the_compiler()


def _spare_the_compiler() -> None:
    """Let optimizers do without torch's compiler, unless something has loaded it.

    They load it to say that a few of their methods are not to be compiled, which takes as long as loading torch.
    """
    import torch

    if "torch._dynamo" not in sys.modules:
        for method in vars(torch.optim.Optimizer).values():
            plain = getattr(method, "__wrapped__", None)
            if plain is not None and not hasattr(plain, _NOT_COMPILED):
                setattr(plain, _NOT_COMPILED, plain)


_NOT_COMPILED = "__dynamo_disable"
"""Where torch keeps what it calls in place of a method that is not to be compiled."""


def _keep_freed_memory() -> None:
    """Have glibc's malloc keep freed blocks up to 1 GiB instead of giving them back to the system.

    A training step frees and asks again for the same large tensors; the page faults of each new one take up to a third
    of the time on a CPU (`python benchmarks/cost.py`). Other C libraries have no such setting, and nothing is done.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting in (trim_threshold, mmap_threshold):
            mallopt(setting, 1 << 30)


def environment(device: str, precision: str, width: int) -> dict[str, Any]:
    """The environment of this process, for stacks of `width` runs on a kind of device, in this precision."""
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
    """What holds for every problem on this machine: versions and the processor."""
    import torch

    return {
        "nondet": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def require_same_version(study: Path, theirs: Mapping[str, Any]) -> None:
    """Refuse to add runs to a study of another version of nondet, whatever else differs: it can still be read."""
    if theirs.get("nondet") != __version__:
        raise BadInput(
            f"a study must keep to one version, and {study} was made by nondet {theirs.get('nondet')}, and this is "
            f"nondet {__version__}, which reads it but adds no run to it; install that version, or start a new study "
            "with <<folder>>"
        )


def require_same(study: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse to add runs to a study of another environment; the sentence names each field that differs.

    How many runs are trained together does not matter where no kernel depends on it.
    """
    if all(environment.get("kernels", {}).get("width_free") for environment in (theirs, ours)):
        theirs, ours = ({k: v for k, v in e.items() if k != "stack"} for e in (theirs, ours))
    fields = differing(theirs, ours)
    if fields:
        raise BadInput(
            f"a study must keep to one environment, and {study} was made in another ({'; '.join(fields)}); "
            "restore it, or start a new study with <<folder>>"
        )


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Each field in which two environments differ, with both values; of a field that has members, each of those."""
    return [f"{name} is different: study={a}, here={b}" for name, (a, b) in differences(theirs, ours).items()]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Both values by name, such as `torch` or `variables.LD_PRELOAD`, where they differ.

    What an older version did not record is "unknown" there, as one field.
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
    """The processor's name: other models of one instruction set may take other kernels."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
