"""What chooses a kernel besides versions and the machine: environment variables, and settings made in code.

A study keeps to one set of them: under another, runs with the same seeds differ in their last bits, or by more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

CPU = ("ONEDNN_", "DNNL_", "MKLDNN_", "MKL_", "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "BLIS_", "NVPL_", "VECLIB_", "NPY_")
ANY = ("ATEN_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "PYTORCH_", "AT_")
CUDA = ("CUBLAS_", "CUBLASLT_", "CUDNN_", "TRITON_", "NVFUSER_", "HIPBLASLT_", "MIOPEN_", "ROCBLAS_")
"""Prefixes of the variables that numerical libraries read."""

ALONE = ("GLIBC_TUNABLES", "LD_PRELOAD", "LD_AUDIT")
ALONE_CUDA = (
    "NVIDIA_TF32_OVERRIDE",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_LAUNCH_BLOCKING",
    "NCCL_ALGO",
    "NCCL_PROTO",
)
"""Single variables that count, although others with the same prefix do not."""

_NO_CHOICE = re.compile(
    r"_NUM_THREADS|_DOMAIN_NUM_THREADS|_THREAD_LIMIT|^MKL_CBWR$"  # recorded as `threads` and `mkl`
    r"|VERBOSE|_LOG|LOGS|LOGLEVEL|_WARN|_DUMP|_TRACE|PROFILE|STACKTRACES|_DISPLAY|_VERSION|_BUILD|_SETTINGS$"
    r"|CACHE|_HOME|_DIR$|_DIRS$|_PATH$|_ROOT|_FILE$|_URL|_HUB|_ARCH_LIST|_NVCC|_ALLOC_CONF|_ALLOCATOR"
    r"|AFFINITY|PROC_BIND|_PLACES|BLOCKTIME|WAIT_POLICY|STACK_?SIZE|SPINCOUNT|DUPLICATE_LIB_OK|INIT_AT_FORK"
    r"|^TORCH_(NCCL|GLOO|DISTRIBUTED|SHOW|ELASTIC|FR)_|^TORCH_DEVICE_BACKEND_AUTOLOAD$|_DEBUG$"
)
"""Variables about paths, logging or cores: they change no number, and often differ without a reason."""


def variables(cuda: bool, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that are set and choose a kernel, by name; those of CUDA's libraries only with `cuda`."""
    begins, alone = (*CPU, *ANY, *(CUDA if cuda else ())), (*ALONE, *(ALONE_CUDA if cuda else ()))
    names = [name for name in environ if name in alone or (name.startswith(begins) and not _NO_CHOICE.search(name))]
    return {name: environ[name] for name in sorted(names)}


def settings(cuda: bool) -> dict[str, Any]:
    """Return the settings that code, such as a task's file, can change and that training does not.

    See also `settings.kernels`.
    """
    import torch

    backends: Any = torch.backends
    found = {
        "autocast": torch.is_autocast_enabled("cpu"),
        "default_device": str(torch.get_default_device()),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "flush_denormal": not bool(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1),
        "fp16_reduction": str(_call(torch, "_C._get_cpu_allow_fp16_reduced_precision_reduction")),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": backends.mkldnn.enabled,
        "mkldnn_deterministic": backends.mkldnn.deterministic,
        "mkldnn_precision": {name: _precision(backends, name) for name in ("matmul", "conv", "rnn")},
        "nnpack": str(_call(torch, "_C._get_nnpack_enabled")),
        "opt_einsum": str(backends.opt_einsum.strategy if backends.opt_einsum.enabled else None),
    }
    if cuda:
        matmul = backends.cuda.matmul
        found |= {
            "autocast_cuda": torch.is_autocast_enabled("cuda"),
            "blas": str(_call(torch, "backends.cuda.preferred_blas_library")),
            "cudnn": backends.cudnn.enabled,
            "cudnn_benchmark_limit": backends.cudnn.benchmark_limit,
            "fp16_reduction_cuda": str(matmul.allow_fp16_reduced_precision_reduction),
            "fp16_accumulation": str(getattr(matmul, "allow_fp16_accumulation", None)),
            "bf16_reduction": str(matmul.allow_bf16_reduced_precision_reduction),
            "attention_reduction": str(_call(torch, "backends.cuda.fp16_bf16_reduction_math_sdp_allowed")),
            "linalg": str(_call(torch, "backends.cuda.preferred_linalg_library")),
        }
    return found


def _precision(backends: Any, operation: str) -> str:
    """Return oneDNN's float32 precision in an operation: its own setting, or else the nearest one above it."""
    places = (_at(backends.mkldnn, operation), backends.mkldnn, backends)
    own = [getattr(place, "fp32_precision", "none") for place in places]
    return next((precision for precision in own if precision != "none"), "ieee")


def _at(place: Any, path: str) -> Any:
    """Return an attribute by its dotted path; None if this version of torch lacks it."""
    for name in filter(None, path.split(".")):
        place = getattr(place, name, None)
    return place


def _call(place: Any, path: str) -> Any:
    function = _at(place, path)
    return function() if callable(function) else None
