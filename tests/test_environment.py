"""What chooses a kernel is part of a study's environment: variables of the process, and settings made in code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = ["ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE"]
KERNELS += ["OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "KMP_DETERMINISTIC_REDUCTION"]
KERNELS += ["TORCHINDUCTOR_FREEZING", "GLIBC_TUNABLES", "LD_PRELOAD"]
NOTHING = ["OMP_PROC_BIND", "KMP_AFFINITY", "ONEDNN_VERBOSE", "TORCH_LOGS", "TORCH_HOME", "PYTORCH_VERSION", "HOME"]
NOTHING += ["TORCHINDUCTOR_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "MKL_NUM_THREADS"]


@pytest.mark.parametrize("name", KERNELS)
def test_a_variable_that_chooses_a_kernel_keeps_studies_apart(
    name: str, nondet: Callable[..., Any], study: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set in one process and not in the other, it is named, and nothing is added."""
    before = os.environ.get(name)
    monkeypatch.setenv(name, "2")
    ran = nondet("run", tiny, "--runs", 4, "--study", study)
    assert ran.code == 2
    assert f"variables.{name} is different: study={before}, here=2" in ran.err


def test_a_variable_that_changes_no_number_is_not_recorded(
    nondet: Callable[..., Any], study: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places, log levels, devices that are seen, and threads, which have a field of their own."""
    for name in NOTHING:
        monkeypatch.setenv(name, "1")
    assert nondet("run", tiny, "--runs", 3, "--study", study).code == 0
    assert not {*NOTHING} & nondet("show", study, "--json").json["environment"]["variables"].keys()


def test_runs_of_another_instruction_set_are_not_pooled(
    process: Callable[..., Any], study: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, contents: Callable[..., Any]
) -> None:
    """In a process of its own, where oneDNN reads it at its start: the command names it and leaves the runs alone."""
    before = contents(study)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    ran = process("run", tiny, "--runs", 4, "--study", study)
    assert (ran.code, "variables.ONEDNN_MAX_CPU_ISA" in ran.err) == (2, True)
    assert contents(study) == before


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("set_float32_matmul_precision('medium')", "matmul_precision"),
        ("set_flush_denormal(True)", "flush_denormal"),
        ("backends.mkldnn.set_flags(False)", "mkldnn"),
        ("_C._set_nnpack_enabled(False)", "nnpack"),
    ],
)
def test_a_setting_that_the_task_makes_in_code_keeps_studies_apart(
    setting: str, name: str, nondet: Callable[..., Any], task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The file reads from outside whether to make it, so that its own bytes are equal both times."""
    made = ("rng = np", f"if __import__('os').environ.get('SET'):\n    torch.{setting}\nrng = np")
    task = task_file(made)
    command = ("run", task, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert nondet(*command).code == 0
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SET", "1")
        try:
            ran = nondet(*command)
        finally:
            torch.set_float32_matmul_precision("highest")
            torch.set_flush_denormal(False)
            torch.backends.mkldnn.set_flags(True)
            torch._C._set_nnpack_enabled(True)
    assert ran.code == 2
    assert f"settings.{name} is different" in ran.err
    assert nondet(*command).code == 0


def test_an_environment_without_these_fields_is_still_read(nondet: Callable[..., Any], study: Path) -> None:
    """A study of an older version is shown and verified; what it did not record is not there."""
    from nondet.io.files import sealed, unsealed

    for path in (study / "study.json", *(study / "runs").glob("*.json")):
        fields = unsealed(path.read_bytes(), path)
        for name in ("variables", "settings"):
            del fields["environment"][name]
        path.write_bytes(sealed(fields))
    assert "variables" not in nondet("show", study, "--json").json["environment"]
