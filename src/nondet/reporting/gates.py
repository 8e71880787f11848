"""The noise floor, and decisions on one candidate after another, in words."""

from __future__ import annotations

from nondet.analysis.floor import Floor
from nondet.analysis.gate import Gate
from nondet.io.plain import plain


def floor_words(found: Floor) -> str:
    """The prediction interval in a few sentences, with what it assumes."""
    unit, several = f" {found.points}" if found.points else "", found.new_runs > 1
    new = f"the mean of {found.new_runs} new runs" if several else "one new run"
    share = f"{100 * (1 - found.level):g} %"
    text = (
        f"{found.runs} runs of {plain(found.name)} have a mean {plain(found.words)} of {_figure(found.mean, found)} "
        f"and an SD of {_figure(found.sd, found)}{unit}. "
    )
    if not found.sd:
        return text + "Runs that do not differ show no noise floor."
    return text + (
        f"{new[0].upper()}{new[1:]} of the same recipe lies between {_figure(found.low, found)} and "
        f"{_figure(found.high, found)} with a chance of {share}, if runs are independent and normal: a difference "
        f"below {_figure(found.floor, found)}{unit} is noise."
    )


def gate_words(found: Gate) -> str:
    """What to do, and why."""
    unit = f" {found.points}" if found.points else ""
    seen = (
        f"{found.runs} run{'s' * (found.runs > 1)} of it against {found.base_runs} of {plain(found.base)} show a mean "
        f"{plain(found.words)} that differs by {_signed(found.difference, found)}{unit}"
    )
    evidence = f"the evidence that it is better is {found.evidence:.3g}, and {found.threshold:.4g} is needed"
    what = f"{plain(found.candidate)}, candidate {found.number}"
    if found.verdict == "keep":
        return (
            f"Keep {what}: {seen}; the evidence that it is better, {found.evidence:.3g}, has reached "
            f"{found.threshold:.4g}. The chance that any change kept by this ledger is none is at most "
            f"{100 * found.alpha:g} %."
        )
    effect = f"{_figure(found.effect, found)}{unit}"
    if found.verdict == "discard":
        why = (
            f"an improvement of {effect} would hardly show so little"
            if found.why == "evidence"
            else f"the limit of {found.limit} runs is reached without enough evidence that it is better"
        )
        return f"Discard {what}: {seen}; {why}."
    text = f"Run {what} again: {seen}; {evidence}."
    if found.more_runs is None:
        return (
            f"{text} No number of its runs is likely to show an improvement of {effect} against {found.base_runs} runs "
            "of the baseline: add repeats of the baseline, or look for a larger effect."
        )
    return f"{text} A test of fixed size would take about {found.more_runs} more to show {effect}."


def _figure(value: float, found: Floor | Gate) -> str:
    """With the decimals of its score, or enough for a small number."""
    return f"{value:.{found.decimals}f}" if found.points else f"{value:.5g}"


def _signed(value: float, found: Floor | Gate) -> str:
    return ("\N{MINUS SIGN}" if value < 0 else "+") + _figure(abs(value), found)
