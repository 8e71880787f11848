"""What a plan says: how many runs, for which difference, and what they cost."""

from __future__ import annotations

from nondet.analysis.plan import Plan
from nondet.io.plain import plain
from nondet.reporting.finding import Finding, with_interval
from nondet.reporting.prose import PROBABILITIES
from nondet.stats.looks import steps


def finding(plan: Plan) -> Finding:
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
