"""The noise floor, and decisions on one candidate after another, in words."""

from __future__ import annotations

from nondet.analysis.floor import Floor
from nondet.analysis.gate import Gate
from nondet.io.plain import plain
from nondet.reporting.finding import Finding, named


def of_floor(found: Floor) -> Finding:
    """Say where new runs of the same recipe fall, and which difference is noise."""
    unit, several = f" {found.score.points}" if found.score.points else "", found.new_runs > 1
    new = "the mean of new runs" if several else "one new run"
    seen = (
        f"{found.runs} runs of {plain(found.name)} have a mean {plain(found.score.words)} of "
        f"{_figure(found.mean, found)} and an SD of {_figure(found.sd, found)}{unit} (ddof = 1)."
    )
    notes = tuple(map(plain, found.notes))
    if not found.sd:
        return Finding("These runs do not differ, so they show no noise floor.", (seen,), notes)
    ends = f"[{_figure(found.low, found)}, {_figure(found.high, found)}]"
    what = named(found.score.words)
    headline = f"By chance alone, {new} of the same recipe has {what} {_figure(found.mean, found)} {ends}."
    share = f"{100 * (1 - found.level):g} %"
    holds = f"Brackets show the interval that contains {share} of new runs, if runs are independent and normal."
    if several:
        holds = f"Brackets show the interval that contains {share} of the means of {found.new_runs} new runs, if runs "
        holds += "are independent and normal."
    noise = f"A difference of less than {_figure(found.floor, found)}{unit} from the mean of these runs is noise."
    return Finding(headline, (noise, seen), (*notes, holds))


def of_gate(found: Gate) -> Finding:
    """Say what to do, and why."""
    unit = f" {found.score.points}" if found.score.points else ""
    do = {"keep": "Keep {}", "discard": "Discard {}", "run again": "Run {} again"}[found.verdict]
    headline = (
        f"{do.format(named(found.candidate))}: its mean {named(found.score.words)} differs from the baseline's by "
        f"{_signed(found.difference, found)}{unit}."
    )
    runs = f"{found.runs} run{'s' * (found.runs > 1)} of candidate {found.number}"
    seen = f"This compares {runs} with {found.base_runs} of {plain(found.base)}."
    evidence = f"The evidence that it is better is {found.evidence:.3g}; {found.threshold:.4g} is needed."
    return Finding(headline, (seen, evidence, _why(found, unit)), tuple(map(plain, found.notes)))


def _why(found: Gate, unit: str) -> str:
    effect = f"{_figure(found.effect, found)}{unit}"
    if found.verdict == "keep":
        return f"The chance that any change kept in this ledger is no improvement is at most {100 * found.alpha:g} %."
    if found.verdict == "discard" and found.why == "evidence":
        return f"A candidate that improves by {effect} would rarely show so little."
    if found.verdict == "discard":
        return f"The limit of {found.limit} runs is reached without enough evidence that it is better."
    if found.more_runs is None:
        return (
            f"No number of its runs is likely to show an improvement of {effect} against {found.base_runs} runs of the "
            "baseline: add repeats of the baseline, or look for a larger effect."
        )
    return f"A test of fixed size would need about {found.more_runs} more to show {effect}."


def _figure(value: float, found: Floor | Gate) -> str:
    """Format a value with the decimals of its score, or with enough for a small number."""
    return f"{value:.{found.score.decimals}f}" if found.score.points else f"{value:.5g}"


def _signed(value: float, found: Floor | Gate) -> str:
    return ("\N{MINUS SIGN}" if value < 0 else "+") + _figure(abs(value), found)
