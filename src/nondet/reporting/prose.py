"""What the figures say, in one or two sentences that claim no more than they show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nondet.analysis.results import Results
from nondet.analysis.runs import Failure
from nondet.io.plain import plain
from nondet.measures.measured import Measures
from nondet.running.advice import go_on
from nondet.stats.estimate import Estimate
from nondet.study.study import RECORDED

CONTROL_NOT_ZERO = (
    "THE CONTROL IS NOT ZERO: trainings with equal seeds differ, so something varies that no source names; "
    "`nondet show` of the study says what it may be."
)

SHOWN = 3
"""Runs that failed, and files, that are named."""

_NAMES = {"bit": "one bit of one weight", "all": "every source but bit"}


def control_words(results: Results) -> str:
    """What the control shows; if it is not zero, what may cause that and what to do."""
    control = results.control
    if RECORDED in results.study.identity:
        return "Control: none. The runs were made elsewhere, so what varies besides their seeds is not known."
    if control.identical is None:
        return "Control: not finished yet, so it is not known whether the sources named are all that varies."
    if control.identical and (failed := control.failures.get(1)):
        why = (
            f"({plain(failed.why)})"
            if failed.why
            else f"at epoch {failed.epoch}, where its loss or an output is no longer a finite number"
        )
        way_out = "mend the training" if failed.why else "try a lower learning rate"
        return f"Control: the reference run fails {why}, and so do its {control.runs - 1} repeats; {way_out}."
    if control.identical:
        apart = "each by itself" if results.study.width == 1 else "each in another stack"
        return f"Control: {control.runs} trainings with equal seeds, {apart}, agree to the last bit."
    m = control.measures
    disagreement = m.get("disagreement").value if m else math.nan
    spread = (
        "" if math.isnan(disagreement) else f", and two of them disagree on {disagreement:.2f} % of the test examples"
    )
    what = list(results.kind.answers)[-1].removeprefix("sample.").replace("outputs", "logits")
    return (
        f"THE CONTROL IS NOT ZERO: of {control.runs} trainings with equal seeds {len(control.differing)} differ from "
        f"the first ({what} by up to {control.largest:.3g}){spread}.{_slots(results)} Something varies that no source "
        f"names, so no row below shows its source alone. It may be: {_shared(control.outside)}a model or data file "
        "that reads the clock, the system's randomness or a generator of its own; state that one model leaves to the "
        "next; an operation without a deterministic kernel; a faulty machine. Take it out of the task, then start a "
        "new study."
    )


def _shared(outside: Sequence[str]) -> str:
    """That a run may read what the one before it wrote."""
    return (
        f"a file that one run writes and the next one reads ({', '.join(map(plain, outside[:SHOWN]))}); "
        if outside
        else ""
    )


def _slots(results: Results) -> str:
    """In which slots the runs of a control that is not zero stood."""
    control = results.control
    if results.study.width == 1 or len(control.slots) < control.runs:
        return ""
    apart = sorted({control.slots[number - 1] for number in control.differing})
    return (
        f" The first stood in slot {control.slots[0]} of its stack, and those that differ in "
        f"{'slot' if len(apart) == 1 else 'slots'} {', '.join(map(str, apart))}; where the slot is the cause, "
        "a new study with a stack of 1 ends it."
    )


def failures(results: Results) -> str:
    """Which runs failed, when and why, and where all that they printed is; empty if none did."""
    every = {"the control": results.control.failures, **{c.condition.name: c.failures for c in results.conditions}}
    parts = [f"{name}: {failed_words(found)}" for name, found in every.items() if found]
    return f"Failed, and left out of the figures: {'; '.join(parts)}." if parts else ""


def failed_words(found: Mapping[int, Failure]) -> str:
    """Runs that failed, by number, with when or why: as many as can be read."""
    causes = [failure.why for failure in found.values() if failure.why]
    shown = [_failed(number, failure) for number, failure in list(found.items())[: SHOWN if causes else 5 * SHOWN]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _failed(number: int, failure: Failure) -> str:
    if not failure.why:
        return f"run {number} at epoch {failure.epoch}"
    see = f"; see {plain(str(failure.log))}" if failure.log else ""
    return f"run {number} ({plain(failure.why)}{see})"


def summary(results: Results) -> str:
    """The study in words: how much runs disagree, by source; what one bit does; whose the accuracy's variance is."""
    if results.crossing and not results.conditions:
        return ""
    differing = [c for c in results.conditions if not c.reach.past and c.reach.distinct != 1]
    measured = {c.condition.name: c.effect for c in differing if c.effect}
    if not measured and any(c.measures for c in results.conditions):
        return "No condition has runs that differ from the reference run, so there is nothing to compare."
    if not measured:
        return "No condition has two runs that did not fail, so there is nothing to compare yet."
    name = "all" if "all" in measured else next(reversed(measured))
    more = "" if results.control.identical is not False else ", and what no source names,"
    varying = f"With {_NAMES.get(name, name)}{more} varying, "
    split = split_words(measured[name], results.drawn)
    if len(measured) == 1:
        return f"{varying}{_pair(measured[name])}." + (f" {capital(split)}." if split else "")
    what = results.kind.example
    shown = {n: m["disagreement"].value for n, m in measured.items() if "disagreement" in m.estimates}
    if not shown:
        return f"{varying}{_pair(measured[name])}."
    if not any(shown.values()):
        return f"No two of these runs disagree on any test {what}, whatever varies."
    text = _range(measured, f"{what}s")
    if results.control.identical and "bit" in measured and "all" in measured and shown["all"] > 0:
        text += f"; one bit of one weight alone {_bit(measured['bit'], measured['all'])}"
    return f"{text}." + (f" {varying}{split}." if split else "")


def measured_words(measures: Measures) -> str:
    """The sentences under the table of `nondet measure`."""
    split = split_words(measures, measures.drawn)
    return f"Over these {measures.runs} runs, {_pair(measures)}." + (f" {capital(split)}." if split else "")


def split_words(m: Measures, drawn: bool) -> str:
    """How much of the accuracy's variance the test set causes, and what another would show; empty if none is known.

    drawn: whether intervals are of test examples too; without, they cannot speak for other test sets, and say so.
    """
    total, part, rest = (m.get(f"accuracy_variance.{name}") for name in ("total", "test_set", "training"))
    if not total.value > 0 or math.isnan(rest.value) or math.isnan(rest.low):
        return ""
    over = "95 % interval" if drawn else "95 % interval over runs alone"
    caused = f"{part.value:.2g} ± {part.error:.1g}"
    sd = _points(math.sqrt(total.value))
    text = f"accuracy's variance is {total.value:.2g} squared points (without bias: an SD of {sd}), "
    high = _points(math.sqrt(max(rest.high, 0.0)))
    most = f"on an infinitely large test set the SD would be at most {high} points ({over})"
    if rest.value <= 0:
        return f"{text}no more than the {caused} that the finite test set causes by itself; {most}"
    text += f"of which the finite test set causes {caused}; "
    if rest.low <= 0:
        return f"{text}the rest can be chance, and {most}"
    return text + (
        f"on an infinitely large test set the SD would be {_points(math.sqrt(rest.value))} points "
        f"({over} {_points(math.sqrt(rest.low))} to {high})"
    )


def _points(value: float) -> str:
    """Two decimals, or two digits where decimals would leave none."""
    return f"{value:.2f}" if value == 0 or value >= 0.1 else f"{value:.2g}"


def unfinished(results: Results) -> str:
    """How to go on with a study some of whose runs are not there yet; empty if all are."""
    if not results.missing:
        return ""
    return f"Not finished: {results.missing} runs are still to train. Go on with: {go_on(results.study)}"


def _range(measured: Mapping[str, Measures], what: str) -> str:
    """The least and the largest disagreement, and whether their intervals lie apart."""
    ordered = sorted(measured, key=lambda name: measured[name]["disagreement"].value)
    low, high = ordered[0], ordered[-1]
    below, above = (measured[name]["disagreement"] for name in (low, high))
    text = f"Two runs disagree on {_share(below)} ({low}) to {_share(above)} ({high}) of the test {what}"
    if not below.known or not above.known:  # of two runs, or of runs that answer alike
        return f"{text} (in brackets: its 95 % interval)" if below.known or above.known else text
    if below.high < above.low:
        chance = f", as those of the extremes of {len(measured)} conditions may by chance" if len(measured) > 2 else ""
        return f"{text} (in brackets: 95 % intervals, which lie apart{chance})"
    return f"{text} (in brackets: 95 % intervals, which overlap: this does not show that they differ)"


def _share(e: Estimate) -> str:
    return f"{e.value:.1f} %" + (f" [{e.low:.1f}, {e.high:.1f}]" if e.known else "")


def _bit(bit: Measures, every: Measures) -> str:
    """What one bit does, and its share of what all sources do, with an interval where there is one."""
    own = bit["disagreement"]
    if own.value == 0:
        return f"changed no answer in these {bit.sound} runs"
    share, low, high = ratio(own, every["disagreement"])
    if high < 0.1:
        return f"gives {own.value:.2g} %: this training hardly amplifies it"
    interval = "" if math.isnan(low) else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"gives {own.value:.2g} %, which is {100 * share:.0f} %{interval} of what all sources give"


def ratio(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """One estimate over another, and its 95 % interval, from both on the logarithmic scale; both are above 0."""
    share = a.value / b.value
    if math.isnan(a.low) or math.isnan(b.low):
        return share, math.nan, math.nan
    down = math.hypot(math.log(a.value / a.low), math.log(b.high / b.value))
    up = math.hypot(math.log(a.high / a.value), math.log(b.value / b.low))
    return share, share * math.exp(-down), share * math.exp(up)


def capital(text: str) -> str:
    """A text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def _interval(e: Estimate, decimals: int) -> str:
    return f" (95 % interval {e.low:.{decimals}f} to {e.high:.{decimals}f})" if e.known else ""


def _pair(m: Measures) -> str:
    """How far a score spreads, and how often two runs disagree."""
    mean, sd = (m[name] for name in list(m)[:2])
    figures = {figure.name: figure for figure in m.figures}
    name, part = next(iter(m)).split(".")[0], m.get("disagreement")
    unit, points = figures[f"{name}.mean"].unit, figures[f"{name}.sd"].unit
    text = (
        f"{name} has an SD of {sd.value:.2f}{f' {points}' if points else ''}{_interval(sd, 2)} around {mean.value:.2f}"
    )
    text += f" {unit}" if unit else ""
    if math.isnan(part.value):
        return text
    what = "test tokens, in their most probable next word" if name == "perplexity" else "test examples"
    return f"{text}, and two runs disagree on {part.value:.1f} %{_interval(part, 1)} of the {what}"
