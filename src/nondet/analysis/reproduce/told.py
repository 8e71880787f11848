"""What the frameworks were told and ignored: what of it matters is a finding, the rest is said."""

from __future__ import annotations

from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.finding import Finding
from nondet.runners.traced import Trace

NAME = "ignored setting"


def told(trace: Trace, hashes: bool) -> tuple[list[Finding], list[Finding]]:
    """Settings of a run that are ignored: those that matter, and those that change nothing here.

    hashes: whether the script uses sets or hashes, without which their seed does not matter.
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
        what = f"{setting} is set in the program, and Python has read it before"
        return Cause(NAME, what, f"set it in the command: {setting}=0 python train.py")
    if how == "late":
        return Cause(NAME, f"{setting} is set after {whom} has read it", f"set it before {whom} is imported")
    if how == "warned":
        what = f"deterministic algorithms are asked for, and {whom} has none"
        return Cause(NAME, what, "call it without warn_only=True, and use another operation where it fails")
    if how == "not compiled":
        return Cause(NAME, "torch.compile is called, and nothing was compiled", "look for TORCHDYNAMO_DISABLE")
    return Cause(NAME, f"{setting} is set, and there is no CUDA device", "leave it: it does nothing here")


def _seen(setting: str, whom: str, how: str) -> str:
    return {
        "late": f"{setting} was set to another value than it had",
        "warned": "torch warned of it, and went on",
        "not compiled": "the model ran as it is",
    }.get(how, f"{setting} is True")
