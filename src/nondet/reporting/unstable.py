"""The test examples that flip: as tables, and in words."""

from __future__ import annotations

from collections.abc import Mapping

from nondet.analysis.unstable import Unstable
from nondet.measures.examples import ClassChurn
from nondet.reporting.finding import Finding, Part, named

CLASSES_SHOWN = 10
VOTES_SHOWN = 6
HEAD = ("example", "label", "disagree (%)", "minority (%)", "entropy between", "within", "votes")
HEAD_CLASSES = ("class", "examples", "churn (%)", "95 % interval")


def parts(found: Unstable) -> list[Part]:
    """Return the tables of the examples that flip most, and of the classes."""
    rows = [
        (
            str(e.index),
            str(e.label),
            f"{e.disagreement:.1f}",
            f"{e.minority:.1f}",
            f"{e.between:.2f}",
            "" if e.within is None else f"{e.within:.2f}",
            _votes(e.votes),
        )
        for e in found.top
    ]
    return [Part(HEAD, rows), Part(HEAD_CLASSES, class_rows(found)), Part(below=[found.sentence])]


def classes_shown(found: Unstable) -> list[ClassChurn]:
    """Return the classes with the largest churn, or the most frequent words of a text, largest first."""
    text = bool(found.kind.sampled)
    return sorted(found.classes, key=lambda c: -(c.examples if text else c.churn))[:CLASSES_SHOWN]


def class_rows(found: Unstable) -> list[tuple[str, ...]]:
    """Return the table of these classes."""
    table: list[tuple[str, ...]] = []
    for c in classes_shown(found):
        error, interval = f" ± {c.error:.2f}" if c.error > 0 else "", found.interval(c)
        ends = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
        table.append((str(c.label), str(c.examples), f"{c.churn:.2f}{error}", ends))
    return table


def sentence(found: Unstable) -> str:
    """Say what the runs agree on, and how few examples cause their disagreement."""
    u, word = found.unanimous, found.kind.example
    text = (
        f"On {u.all:.1f} % of the {found.examples:,} test {word}s all {found.runs} runs agree (condition "
        f"{found.condition}; {u.right:.1f} % right, {u.wrong:.1f} % wrong)"
    )
    first, tenth = found.carried[1], found.carried[10]
    if first is None or tenth is None:
        return f"{text}: no two runs disagree."
    return (
        f"{text}. Two runs disagree on {found.disagreement:.2f} % on average; the 1 % of {word}s that flip most in "
        f"these runs account for {first:.0f} % of this, and the 10 % that flip most for {tenth:.0f} %."
    )


def finding(found: Unstable) -> Finding:
    """Say on how many examples all runs agree, and how few cause their disagreement."""
    u, word = found.unanimous, found.kind.example
    headline = f"On {u.all:.1f} % of the test {word}s all runs agree ({named(found.condition)})."
    runs = f"There are {found.runs} runs and {found.examples:,} {word}s"
    more = [f"{runs}; {u.right:.1f} % are right in all runs, and {u.wrong:.1f} % have the same wrong answer in all."]
    first, tenth = found.carried[1], found.carried[10]
    if first is None or tenth is None:
        return Finding(headline, (*more, "No two runs disagree."))
    more.append(f"Two runs disagree on {found.disagreement:.2f} % on average.")
    more.append(
        f"The 1 % of {word}s that flip most account for {first:.0f} % of this, and the 10 % that do for {tenth:.0f} %."
    )
    return Finding(headline, tuple(more))


def _votes(votes: Mapping[int, int]) -> str:
    parts = [f"{k}: {runs}" for k, runs in list(votes.items())[:VOTES_SHOWN]]
    others = len(votes) - len(parts)
    return ", ".join(parts) + (f", {others} more" if others else "")
