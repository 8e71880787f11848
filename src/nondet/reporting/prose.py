"""What the numbers show, in one or two sentences that claim no more than that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nondet.analysis.results import Results
from nondet.analysis.runs import Failure
from nondet.io.plain import plain
from nondet.running.advice import go_on
from nondet.study.study import RECORDED, Study

CONTROL_NOT_ZERO = (
    "THE CONTROL IS NOT ZERO: trainings with equal seeds differ, so something varies that no source names; "
    "run `nondet show` on the study to see what it may be."
)

PROBABILITIES = (
    "the outputs look like probabilities (all from 0 to 1, with a sum of 1 for each example), but correlations, "
    "cross-entropies and ensembles are defined for logits; give the logits, or the logarithms of the probabilities"
)

SHOWN = 3
"""How many failed runs and files are named."""


def control_words(results: Results) -> str:
    """Say what the control shows; if it is not zero, what may cause that and what to do."""
    control = results.control
    if RECORDED in results.study.identity:
        return "Control: none. The runs were made elsewhere, so it is not known what else varies besides their seeds."
    if control.identical is None:
        return "Control: not finished yet, so it is not known whether the sources named are all that varies."
    if control.identical and (failed := control.failures.get(1)):
        why = (
            f"({plain(failed.why)})"
            if failed.why
            else f"at epoch {failed.epoch}, where its loss or an output is no longer a finite number"
        )
        way_out = "fix the training" if failed.why else "try a lower learning rate"
        return f"Control: the reference run fails {why}, and so do its {control.runs - 1} repeats; {way_out}."
    if control.identical:
        apart = "each by itself" if results.study.width == 1 else "each in a different stack"
        return f"Control: {control.runs} trainings with equal seeds, {apart}, agree to the last bit."
    m = control.measures
    disagreement = m.get("disagreement").value if m else math.nan
    spread = (
        "" if math.isnan(disagreement) else f", and two of them disagree on {disagreement:.2f} % of the test examples"
    )
    what = list(results.kind.answers)[-1].removeprefix("sample.").replace("outputs", "logits")
    return (
        f"THE CONTROL IS NOT ZERO: of {control.runs} trainings with equal seeds, {len(control.differing)} differ from "
        f"the first ({what} by up to {control.largest:.3g}){spread}.{_slots(results)} Something varies that no source "
        f"names, so no row below shows its source alone. It may be: {_shared(control.outside)}a model or data file "
        "that reads the clock, the system's randomness or its own generator; state that one model leaves behind for "
        "the next; an operation without a deterministic kernel; a faulty machine. Remove it from the task, then start "
        "a new study."
    )


def _shared(outside: Sequence[str]) -> str:
    """Say that a run may read what the one before it wrote."""
    return (
        f"a file that one run writes and the next one reads ({', '.join(map(plain, outside[:SHOWN]))}); "
        if outside
        else ""
    )


def _slots(results: Results) -> str:
    """Say in which slots the runs of a control that is not zero were."""
    control = results.control
    if results.study.width == 1 or len(control.slots) < control.runs:
        return ""
    apart = sorted({control.slots[number - 1] for number in control.differing})
    return (
        f" The first was in slot {control.slots[0]} of its stack, and those that differ were in "
        f"{'slot' if len(apart) == 1 else 'slots'} {', '.join(map(str, apart))}; if the slot is the cause, "
        "a new study with a stack of 1 avoids it."
    )


def failures(results: Results) -> str:
    """Say which runs failed, when and why, and where their output is; empty if none did."""
    every = {"the control": results.control.failures, **{c.condition.name: c.failures for c in results.conditions}}
    parts = [f"{name}: {failed_words(found)}" for name, found in every.items() if found]
    return f"Failed, and left out of the numbers: {'; '.join(parts)}." if parts else ""


def failed_words(found: Mapping[int, Failure]) -> str:
    """List failed runs by number, with when or why they failed, as many as are readable."""
    causes = [failure.why for failure in found.values() if failure.why]
    shown = [_failed(number, failure) for number, failure in list(found.items())[: SHOWN if causes else 5 * SHOWN]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _failed(number: int, failure: Failure) -> str:
    if not failure.why:
        return f"run {number} at epoch {failure.epoch}"
    see = f"; see {plain(str(failure.log))}" if failure.log else ""
    return f"run {number} ({plain(failure.why)}{see})"


def unfinished(study: Study, missing: int) -> str:
    """Say how to continue a study that is not finished; empty if it is."""
    if not missing:
        return ""
    return f"Not finished: {missing} runs still have to be trained. Go on with: {go_on(study)}"
