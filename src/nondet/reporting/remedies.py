"""The table of methods, and what it says in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nondet.analysis.remedies.methods import Method
from nondet.reporting import table
from nondet.stats.intervals import FEW

TIMES = "\N{MULTIPLICATION SIGN}"


def head(methods: Sequence[Method]) -> tuple[str, ...]:
    """The table's titles."""
    costs = (f"training {TIMES}", f"test {TIMES}", "reduction (%)")
    return (*table.head(methods[0].measures.figures, "method"), *costs)


def rows(methods: Sequence[Method]) -> list[tuple[str, ...]]:
    """The table's cells, in the methods' order."""
    return [
        (
            m.name,
            *table.measured_row(m.measures)[1:],
            str(m.training_cost),
            str(m.test_cost),
            table.DASH if number == 0 or math.isnan(m.reduction.value) else _with_error(m),
        )
        for number, m in enumerate(methods)
    ]


def summary(methods: Sequence[Method]) -> str:
    """The largest reduction that was measured, and its cost; also at the cost of one training, if it costs more."""
    measured = sorted((m for m in methods[1:] if not math.isnan(m.reduction.value)), key=lambda m: -m.reduction.value)
    if not measured:
        return "There is no reduction to speak of: no other method is measured, or the single model does not vary."
    best, single = measured[0], methods[0]
    if best.reduction.value <= 0:
        changed = f"{-best.reduction.value:+.0f} %"
        text = f"No method reduces variability here; the nearest, {best.name}, changes it by {changed}"
    else:
        text = f"The largest reduction of variability is that of {_priced(best, single)}"
    cheap = next((m for m in measured if m.training_cost == 1), best)
    if cheap.training_cost < best.training_cost and cheap.reduction.value > 0:
        text += f"; without further training, that of {_priced(cheap, single)}"
    answers = [m.measures.sound for m in (single, best)]
    if min(answers) < FEW:
        text += f"; with {answers[0]} single models beside {answers[1]} of that method, close figures say little"
    return text + "."


def _with_error(m: Method) -> str:
    error = m.reduction.error
    return f"{m.reduction.value:.0f}" + ("" if math.isnan(error) else f" ± {error:.0f}")


def _priced(m: Method, single: Method) -> str:
    trainings = "one training" if m.training_cost == 1 else f"{m.training_cost} trainings"
    passes = "one forward pass" if m.test_cost == 1 else f"{m.test_cost} forward passes"
    u = m.reduction
    chance = ": it may be chance" if u.low <= 0 else ""
    interval = "" if math.isnan(u.low) else f" (95 % interval {u.low:.0f} to {u.high:.0f}{chance})"
    accuracies = " % beside ".join(f"{x.measures['accuracy.mean'].value:.2f}" for x in (m, single)) + " %"
    return (
        f"{m.name}: {u.value:.0f} %{interval} over the five columns, for {trainings} and {passes} per test image "
        f"(accuracy {accuracies})"
    )
