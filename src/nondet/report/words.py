"""What the figures say, in one or two sentences that claim no more than they show."""

from __future__ import annotations

from nondet.measures import Measures
from nondet.measures.language import LanguageMeasures
from nondet.report.results import AnyMeasures, Results, is_text

CONTROL_NOT_ZERO = (
    "THE CONTROL IS NOT ZERO: trainings with equal seeds differ, so something varies that no source names; "
    "`nondet show` of the study says what it may be."
)

_NAMES = {"bit": "one bit of one weight", "all": "every source but bit"}


def control_words(results: Results) -> str:
    """What the control shows; if it is not zero, what may cause that and what to do."""
    control = results.control
    if control.identical is None:
        return "Control: not finished yet, so it is not known whether the sources named are all that varies."
    if control.identical and control.failed:
        return (
            f"Control: the reference run fails at epoch {control.failed}, where its loss or an output is no longer a "
            f"finite number, and so do its {control.runs - 1} repeats; try a lower learning rate (--set lr=...)."
        )
    if control.identical:
        return f"Control: {control.runs} trainings with equal seeds, each in another stack, agree to the last bit."
    m = control.measures
    spread = f", and two of them disagree on {m.disagreement:.2f} % of the test examples" if m else ""
    return (
        f"THE CONTROL IS NOT ZERO: of {control.runs} trainings with equal seeds {control.differing} differ from the "
        f"first (logits by up to {control.largest:.3g}){spread}. Something varies that no source names, so no row "
        "below shows its source alone. It may be: a model or data file that reads the clock, the system's "
        "randomness or a generator of its own; state that one model leaves to the next; an operation without a "
        "deterministic kernel; a faulty machine. Take it out of the task, then start again with a new --study."
    )


def failures(results: Results) -> str:
    """Which runs failed, and at which epoch; empty if none did."""
    parts = [
        f"{c.condition.name}: " + ", ".join(f"run {run} at epoch {epoch}" for run, epoch in c.failures.items())
        for c in results.conditions
        if c.failures
    ]
    return f"Failed, and left out of the figures: {'; '.join(parts)}." if parts else ""


def summary(results: Results) -> str:
    """The study in a line: how much runs disagree, by source, and what one bit does beside all sources."""
    if results.crossing and not results.conditions:
        return ""
    measured = [(c.condition.name, c.measures) for c in results.conditions if c.measures]
    if not measured:
        return "No condition has two runs that did not fail, so there is nothing to compare yet."
    if len(measured) == 1:
        return f"With {_NAMES.get(measured[0][0], measured[0][0])} varying, {_pair(measured[0][1])}."
    ordered = sorted(measured, key=lambda pair: pair[1].disagreement)
    (low, least), (high, most) = ordered[0], ordered[-1]
    if not most.disagreement:
        return f"No two runs disagree on any test {'token' if is_text(results.study) else 'example'}, whatever varies."
    alike = len(measured) > 2 and least.disagreement > most.disagreement / 2
    text = (
        f"{'Whichever source varies, two runs' if alike else 'Depending on what varies, two runs'} disagree on "
        f"{least.disagreement:.1f} % ({low}) to {most.disagreement:.1f} % ({high}) of the test "
        f"{'tokens' if is_text(results.study) else 'examples'}"
    )
    by_name = dict(measured)
    if "bit" in by_name and "all" in by_name and by_name["all"].disagreement > 0:
        bit, share = by_name["bit"].disagreement, by_name["bit"].disagreement / by_name["all"].disagreement
        if share >= 0.1:
            text += f"; one bit of one weight alone gives {bit:.1f} %, {100 * share:.0f} % of what all sources give"
        else:
            text += f"; one bit of one weight alone gives {bit:.2g} %: this training hardly amplifies it"
    return text + "."


def measured_words(measures: Measures) -> str:
    """The sentence under the table of `nondet measure`."""
    return f"Over these {measures.runs} runs, {_pair(measures)}."


def unfinished(results: Results) -> str:
    """How to go on with a study some of whose runs are not there yet; empty if all are."""
    if not results.missing:
        return ""
    return f"Not finished: {results.missing} runs are still to train. Go on with: {results.study.command_line}"


def _pair(m: AnyMeasures) -> str:
    if isinstance(m, LanguageMeasures):
        return (
            f"perplexity has an SD of {m.perplexity.sd:.2f} ± {m.perplexity.sd_error:.2f} around "
            f"{m.perplexity.mean:.1f}, and two runs disagree on the most probable next word at {m.disagreement:.1f} % "
            "of the test tokens"
        )
    return (
        f"accuracy has an SD of {m.accuracy.sd:.2f} ± {m.accuracy.sd_error:.2f} points around {m.accuracy.mean:.2f} %, "
        f"and two runs disagree on {m.disagreement:.1f} % of the test examples"
    )
