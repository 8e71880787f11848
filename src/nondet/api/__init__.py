"""The Python API: each function does what the command of the same name does, and returns as a record what that
prints."""

from __future__ import annotations

from nondet.api.decisions import alike, compare, floor, gate, plan
from nondet.api.pictures import plots, report, unstable
from nondet.api.remedies import stabilize
from nondet.api.reproduce import audit, diverge, keep_run, resume_check
from nondet.api.shared import is_study
from nondet.api.studies import doctor, open, pull, push, run, show, status, work

__all__ = [
    "alike",
    "audit",
    "compare",
    "diverge",
    "doctor",
    "floor",
    "gate",
    "is_study",
    "keep_run",
    "open",
    "plan",
    "plots",
    "pull",
    "push",
    "report",
    "resume_check",
    "run",
    "show",
    "stabilize",
    "status",
    "unstable",
    "work",
]
