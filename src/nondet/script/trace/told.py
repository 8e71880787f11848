"""Find settings that Python, torch or another library ignores: those made too late, and those without effect."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.places import above, caller

READ_BY = {
    "PYTHONHASHSEED": "python",
    "OMP_NUM_THREADS": "torch",
    "MKL_NUM_THREADS": "torch",
    "MKL_CBWR": "torch",
    "OPENBLAS_NUM_THREADS": "numpy",
    "TF_ENABLE_ONEDNN_OPTS": "tensorflow",
    "XLA_FLAGS": "jax",
    "JAX_ENABLE_X64": "jax",
}
"""Variables that are read only once, when Python starts or a library is imported."""


class Told:
    """Records them. write: takes a record: "told", the setting, the line, who ignores it, and how."""

    def __init__(self, write: Callable[[list[Any]], None]) -> None:
        self.write = write
        self.compiled = ""

    def take_over(self) -> None:
        """Watch environment variables that are set too late, and warnings that an algorithm is not deterministic."""
        putenv, showwarning = os.putenv, warnings.showwarning

        @instead_of(os, "putenv")
        def put(name: Any, value: Any, /) -> None:
            known, text = os.fsdecode(name), os.fsdecode(value)
            reader = READ_BY.get(known, "")
            # a trainer may set the number of threads for a while, without being asked to; a seed was asked for
            site = caller(above(), far=known == "PYTHONHASHSEED") if reader else ""
            if site and os.environ.get(known) != text and (reader == "python" or reader in sys.modules):
                self.write(["told", known, site, reader, "late"])
            putenv(name, value)

        @instead_of(warnings, "showwarning")
        def show(message: Any, *args: Any, **words: Any) -> None:
            operation, found, _ = str(message).partition(" does not have a deterministic implementation")
            if found:
                self.write(["told", "use_deterministic_algorithms", caller(above(), far=True), operation, "warned"])
            showwarning(message, *args, **words)

    def torch(self) -> None:
        """Watch where the script asks for a model to be compiled."""
        torch: Any = sys.modules["torch"]
        plain = torch.compile

        @instead_of(torch, "compile")
        def compiled(*args: Any, **words: Any) -> Any:
            self.compiled = self.compiled or caller(above())
            return plain(*args, **words)

    def settle(self) -> None:
        """At the end, record the settings that did nothing."""
        torch: Any = sys.modules.get("torch")
        dynamo = sys.modules.get("torch._dynamo.utils")
        if self.compiled and (dynamo is None or not dynamo.counters["frames"].get("ok")):
            self.write(["told", "torch.compile", self.compiled, "torch", "not compiled"])
        if torch is None or not hasattr(torch, "cuda") or torch.cuda.is_available():
            return
        cudnn = torch.backends.cudnn
        if cudnn.deterministic or cudnn.benchmark:
            name = "deterministic" if cudnn.deterministic else "benchmark"
            self.write(["told", f"torch.backends.cudnn.{name}", "", "torch", "no device"])
