"""The table of methods, and what it shows in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nondet.analysis.remedies.methods import Method, biased
from nondet.analysis.remedies.stabilize import Stabilized
from nondet.reporting import table
from nondet.reporting.finding import WIDTH, Finding, Part, brackets, named, said, share
from nondet.stats.intervals import FEW

TIMES = "\N{MULTIPLICATION SIGN}"


def head(methods: Sequence[Method]) -> tuple[str, ...]:
    """The table's titles."""
    costs = (f"training {TIMES}", f"test {TIMES}", "reduction (%)")
    return (*table.head(methods[0].measures.figures, "method"), *costs)


def rows(methods: Sequence[Method], intervals: bool = False) -> list[tuple[str, ...]]:
    """Return the table's cells, in the methods' order. intervals: see `table.rows`."""
    skew = table.lopsided(methods[0].measures.figures, [m.measures for m in methods]) if intervals else ()
    return [
        (
            m.name,
            *table.measured_row(m.measures, skew)[1:],
            str(m.training_cost),
            str(m.test_cost),
            table.DASH if number == 0 or math.isnan(m.reduction.value) else _with_error(m),
        )
        for number, m in enumerate(methods)
    ]


def parts(found: Stabilized) -> list[Part]:
    """Return the table of the methods."""
    intervals = rows(found.methods, intervals=True)
    return [Part(head(found.methods), rows(found.methods), said(found), wide=WIDTH + 40, intervals=intervals)]


def of_stabilized(found: Stabilized) -> Finding:
    """Return the largest measured reduction and its cost; if that is above one training, also the largest without."""
    methods = found.methods
    measured = sorted((m for m in methods[1:] if not math.isnan(m.reduction.value)), key=lambda m: -m.reduction.value)
    caveats = [*found.left_out, *biased(methods)]
    if not measured:
        text = "There is no reduction to report: no other method is measured, or the single model does not vary."
        return Finding(text, (), tuple(caveats))
    best, single = measured[0], methods[0]
    if best.reduction.value <= 0:
        ends = f" [{-best.reduction.high:+.0f}, {-best.reduction.low:+.0f}]" if best.reduction.known else ""
        change = f"{-best.reduction.value:+.0f} %{ends}"
        headline = f"No method reduces variability here; the best, {named(best.name)}, changes it by {change}."
    else:
        headline = f"Variability is reduced most by {named(best.name)}: by {share(best.reduction, 0)}."
    own, other = (f"{m.measures['accuracy.mean'].value:.2f} %" for m in (best, single))
    more = [_price(best), f"Its mean accuracy is {own}, against {other}."]
    cheap = next((m for m in measured if m.training_cost == 1), best)
    if cheap.training_cost < best.training_cost and cheap.reduction.value > 0:
        more.append(f"Without more training, {cheap.name} reduces it by {share(cheap.reduction, 0)}.")
    answers = [m.measures.sound for m in (single, best)]
    if min(answers) < FEW:
        caveats.append(
            f"With only {answers[0]} single models and {answers[1]} of {best.name}, small differences mean little."
        )
    if best.reduction.low <= 0 < best.reduction.value:
        caveats.append("The interval contains 0, so the reduction may be chance.")
    known = [m.reduction for m in (best, cheap)]
    return Finding(headline, tuple(more), (*caveats, *brackets(0.05, known)))


def _with_error(m: Method) -> str:
    error = m.reduction.error
    return f"{m.reduction.value:.0f}" + ("" if math.isnan(error) else f" ± {error:.0f}")


def _price(m: Method) -> str:
    trainings = "one training" if m.training_cost == 1 else f"{m.training_cost} trainings"
    passes = "one forward pass" if m.test_cost == 1 else f"{m.test_cost} forward passes"
    return f"That is the mean over the table's five columns, for {trainings} and {passes} per test image."
