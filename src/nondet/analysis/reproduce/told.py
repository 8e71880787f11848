"""Settings that the frameworks ignored: those that matter are findings, the rest are only mentioned."""

from __future__ import annotations

from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.finding import Finding
from nondet.runners.traced import Trace

NAME = "ignored setting"


def told(trace: Trace, hashes: bool) -> tuple[list[Finding], list[Finding]]:
    """Return a run's ignored settings: those that matter, and those that change nothing here.

    hashes: whether the script uses sets or hashes; if not, their seed does not matter.
    """
    matters: list[Finding] = []
    harmless: list[Finding] = []
    for _, setting, site, whom, how in trace.of("told"):
        found = Finding(_cause(setting, whom, how), site, _seen(setting, whom, how))
        idle = how == "no device" or (setting == "PYTHONHASHSEED" and not hashes)
        (harmless if idle else matters).append(found)
    return matters, harmless


def _cause(setting: str, whom: str, how: str) -> Cause:
    if how == "late" and whom == "python":
        what = f"{setting} is set in the program, but Python had already read it"
        return Cause(NAME, what, f"set it in the command: {setting}=0 python train.py")
    if how == "late":
        return Cause(NAME, f"{setting} is set after {whom} has read it", f"set it before {whom} is imported")
    if how == "warned":
        what = f"deterministic algorithms are requested, but {whom} has none"
        return Cause(NAME, what, "call it without warn_only=True, and use another operation where it fails")
    if how == "not compiled":
        return Cause(NAME, "torch.compile is called, but nothing was compiled", "check for TORCHDYNAMO_DISABLE")
    return Cause(NAME, f"{setting} is set, but there is no CUDA device", "leave it: it does nothing here")


def _seen(setting: str, whom: str, how: str) -> str:
    return {
        "late": f"{setting} was set to a new value",
        "warned": "torch warned about it and went on",
        "not compiled": "the model ran uncompiled",
    }.get(how, f"{setting} is True")
