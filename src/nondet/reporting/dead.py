"""What is said about sources that reach no output: that they are dead, likely causes, and the runs they missed."""

from __future__ import annotations

from collections.abc import Sequence

from nondet.analysis.results import ConditionResult, Results
from nondet.sources import source_called


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
