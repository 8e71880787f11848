"""Single measures, and the peak memory of a process that computes one: python one_measure.py NAME OUTPUTS LABELS.

A process's peak never falls, so it is measured in a fresh process with nothing but the outputs in memory.
"""

import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nondet
from nondet.measures.answers import Answers
from nondet.measures.arrays import checked, checked_outputs
from nondet.measures.diversity import correlation_by_run, disagreement_of
from nondet.measures.ensemble import gains_by_run

LABELLED: dict[str, Callable[[Any, Any], Any]] = {
    "measure": nondet.measure,
    "accuracy and cross_entropy": lambda outputs, labels: Answers(outputs, labels).accuracy,
    "ensemble_accuracy_delta": lambda outputs, labels: gains_by_run(*checked(outputs, labels), names=("accuracy",)),
    "ensemble_cross_entropy_delta": lambda outputs, labels: gains_by_run(
        *checked(outputs, labels), names=("cross_entropy",)
    ),
}
UNLABELLED: dict[str, Callable[[Any], Any]] = {
    "disagreement": lambda outputs: disagreement_of(checked_outputs(outputs).argmax(axis=2)),
    "pearson": lambda outputs: correlation_by_run(outputs, "pearson"),
    "spearman": lambda outputs: correlation_by_run(outputs, "spearman"),
}


def peak() -> float:
    """Peak memory of this process in MiB."""
    # On Linux getrusage includes the memory of the parent process; VmHWM starts from zero.
    if sys.platform == "linux":
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) / 2**10 if found else 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: in bytes


if __name__ == "__main__":
    name, outputs, labels = sys.argv[1], np.load(sys.argv[2]), np.load(sys.argv[3])
    if name in LABELLED:
        LABELLED[name](outputs, labels)
    else:
        UNLABELLED[name](outputs)
    print(peak())
