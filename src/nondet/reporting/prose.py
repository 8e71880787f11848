"""What the numbers show, in one or two sentences that claim no more than that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nondet.analysis.results import ConditionResult, Results
from nondet.analysis.runs import Failure
from nondet.io.plain import plain
from nondet.running.advice import go_on
from nondet.sources import source_called
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
    files = ", ".join(map(plain, control.outside[:SHOWN]))
    shared = f"a file that one run writes and the next one reads ({files}); " if files else ""
    what = list(results.kind.answers)[-1].removeprefix("sample.").replace("outputs", "logits")
    return (
        f"THE CONTROL IS NOT ZERO: of {control.runs} trainings with equal seeds, {len(control.differing)} differ from "
        f"the first ({what} by up to {control.largest:.3g}){spread}.{_slots(results)} Something varies that no source "
        f"names, so no row below shows its source alone. It may be: {shared}a model or data file "
        "that reads the clock, the system's randomness or its own generator; state that one model leaves behind for "
        "the next; an operation without a deterministic kernel; a faulty machine. Remove it from the task, then start "
        "a new study."
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


def causes(sources: Sequence[str], named: bool = True) -> str:
    """Say why these sources may reach nothing, each with its name if `named`."""
    return "; ".join((f"{s}: " if named else "") + source_called(s).causes for s in sources)


def dead_words(results: Results) -> list[str]:
    """Return some sentences for each condition whose sources reach nothing, whose numbers are no findings."""
    dead = [c for c in results.conditions if c.dead]
    alone = {c.condition.vary[0] for c in dead if len(c.condition.vary) == 1}
    return [_dead(c, [s for s in c.condition.vary if s not in alone or len(c.condition.vary) == 1]) for c in dead]


def unreached_words(results: Results) -> list[str]:
    """Return a sentence for each other condition in which some runs equal the reference run or each other, or in which
    all do because nothing is left to vary."""
    zero = results.control.identical is not False
    alive = [c for c in results.conditions if zero and not c.dead and not c.reach.past]
    past = [c for c in results.conditions if c.reach.past and c.runs > 1]
    return [
        *(_unreached(c) for c in alive if c.reach.unreached),
        *(_repeated(c) for c in alive if c.reach.repeated),
        *(_past(c) for c in past),
    ]


def _dead(c: ConditionResult, unexplained: Sequence[str]) -> str:
    name, several = c.condition.name, len(c.condition.vary) > 1
    what = f"none of its sources ({', '.join(c.condition.vary)}) reaches" if several else "its seed does not reach"
    why = causes(unexplained, several)
    return (
        f"DEAD: all {c.runs} runs of {name} equal the control to the last bit, so {what} the outputs. This is not "
        "an effect of 0, and no finding includes it." + (f" Likely causes: {why}." if why else "")
    )


def _unreached(c: ConditionResult) -> str:
    lost, others = c.reach.unreached or 0, c.reach.runs
    if c.condition.vary == ("bit",):
        said = f"Of {others} one-bit changes, {lost} never reached an output"
    else:
        said = f"Of the {others} runs of {c.condition.name} besides the reference run, {lost} "
        said += f"{'was' if lost == 1 else 'were'} not affected"
    end = "that run equals" if lost == 1 else "those runs equal"
    named = f" ({c.condition.name})" if c.condition.onset and c.condition.vary == ("bit",) else ""
    return f"{said}{named}: {end} the reference run to the last bit."


def _repeated(c: ConditionResult) -> str:
    equal = "1 equals an earlier one" if c.reach.repeated == 1 else f"{c.reach.repeated} equal an earlier one"
    return (
        f"Of the {c.reach.runs} runs of {c.condition.name} besides the reference run, {equal} to the last bit: "
        "different seeds, but the same training."
    )


def _past(c: ConditionResult) -> str:
    if c.reach.runs:
        why = f"training is over at the end of epoch {c.condition.onset}, so nothing can vary after it"
    else:
        why = "initial parameters cannot vary at a late onset, and nothing else varies in it"
    return f"All runs of {c.condition.name} equal the reference run: {why}."
