"""Set up the machine in a run's process, and see what it is then: threads, instructions, precision, versions."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

from nondet.script.instead import instead_of


def begin(told: Mapping[str, str], after_import: Callable[[dict[str, Callable[[], None]]], None]) -> None:
    """Apply settings once torch is imported: `precision` of float32 products (or float64 for all), and `compile`."""

    def torch() -> None:
        module: Any = sys.modules["torch"]
        if told.get("precision") == "float64":
            module.set_default_dtype(module.float64)
        elif "precision" in told:
            module.set_float32_matmul_precision(told["precision"])
        if "compile" in told:
            _compile(module)

    after_import({"torch": torch})


_COMPILED: list[int] = []


def _compile(torch: Any) -> None:
    """Have torch.compile compile each model that is not called from within another."""
    _COMPILED.append(1)
    module, plain = torch.nn.Module, torch.nn.Module.__call__
    compiling, depth = torch.compiler.is_compiling, [0]

    @instead_of(module, "__call__")
    def call(model: Any, *args: Any, **words: Any) -> Any:
        if compiling() or depth[0]:
            return plain(model, *args, **words)
        if model._compiled_call_impl is None and next(model.parameters(), None) is not None:
            model.compile()
        depth[0] += 1
        try:
            return plain(model, *args, **words)
        finally:
            depth[0] -= 1


def seen() -> dict[str, Any]:
    """Return what this process runs with, by the names used to compare two of them; torch's only if it is loaded."""
    found: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        found["numpy"] = numpy.__version__
    if torch is not None:
        found |= {
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "precision": torch.get_float32_matmul_precision(),
            "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
            "compiled": bool(_COMPILED),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }
        if torch.cuda.is_initialized():
            found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    found["variables"] = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return found


VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
)
"""Environment variables that choose a kernel."""
