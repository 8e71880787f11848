"""Plans, the noise floor, and decisions on one candidate after another, in words."""

from __future__ import annotations

from nondet.analysis.floor import Floor
from nondet.analysis.gate import Gate
from nondet.analysis.plan import Plan
from nondet.io.plain import plain
from nondet.reporting.finding import MINUS, Finding, named, with_interval
from nondet.reporting.prose import PROBABILITIES
from nondet.stats.looks import steps


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
        f"{MINUS if found.difference < 0 else '+'}{_figure(abs(found.difference), found)}{unit}."
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


def of_plan(plan: Plan) -> Finding:
    """Return the runs of each arm with the range that the SD's interval allows, then the difference, the SD and the
    cost."""
    ends = "" if plan.high is None or plan.low == plan.high else f" [{plan.low:,}, {plan.high:,}]"
    headline = f"Each arm needs {plan.runs_per_arm:,} runs{ends}."
    caveats = [*map(plain, plan.all_notes)]
    if plan.pilot and not plan.sd.known:
        caveats.append("With so few runs the SD has no interval, so the number is a guess.")
    elif plan.pilot and plan.high is None:
        caveats.append(
            f"At the upper end of the SD's interval it takes more than a million, and at the lower end {plan.low:,}."
        )
    if plan.pilot and plan.sd.known and plan.low == plan.high:
        caveats.append("The ends of the SD's 95 % interval give the same number.")
    if ends:
        caveats.append("Brackets show the numbers at the ends of the SD's 95 % interval; the upper one is safe.")
    return Finding(headline, (*filter(None, (_difference(plan), _sd(plan), _cost(plan))),), tuple(caveats))


def cautions(plan: Plan) -> list[str]:
    """Return a warning if the pilot's outputs look like probabilities."""
    return [f"{plan.pilot}: {PROBABILITIES}"] if plan.probabilities else []


def _difference(plan: Plan) -> str:
    unit = f" {plan.points.removesuffix('s') if plan.effect == 1 else plan.points}" if plan.points else ""
    of = f" of {plain(plan.words or plan.metric.replace('_', '-'))}" if plan.metric and plan.points != "nats" else ""
    test = f"two-sided t-test at {100 * plan.level:.3g} %"
    if plan.looks > 1:
        *first, last = steps(plan.runs_per_arm, plan.looks)
        at = f"after {', '.join(map(str, first))} and {last} runs" if first else f"after {last} runs"
        test = f"looked at {at} of each, each time with a {test}"
    return f"They find a difference of {plan.effect:g}{unit}{of} with a chance of {100 * plan.power:g} % ({test})."


def _sd(plan: Plan) -> str:
    if not plan.pilot:
        return f"One run's SD is assumed to be {plan.sd.value:.3g} in both arms."
    unbiased = "" if plan.unbiased_sd == plan.sd.value else f"; corrected for bias it is {plan.unbiased_sd:.3g}"
    return (
        f"Both arms are assumed to vary as much as the {plan.pilot_runs} runs of {plain(plan.pilot)}, whose SD is "
        f"{with_interval(plan.sd, '{:.3g}'.format)}{unbiased}."
    )


def _cost(plan: Plan) -> str:
    if not plan.pilot:
        return ""
    time = f": about {duration(plan.seconds)} at the pilot's pace" if plan.seconds else ""
    return f"With the pilot's runs as one arm, {plan.runs_to_train:,} runs have to be trained{time}."


def duration(seconds: float) -> str:
    """Format a time in the largest unit in which it is at least 2."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    said = f"{seconds:.0f}" if seconds >= 2 else f"{seconds:.1g}"
    return f"{said} second" if said == "1" else f"{said} seconds"
