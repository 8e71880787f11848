"""The test examples that flip: as tables, in words, and on a page as cards with pictures and the runs' answers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nondet.analysis.opened import OpenStudy, chosen_condition
from nondet.analysis.pictures import pictures_of
from nondet.analysis.results import Results
from nondet.analysis.runs import Runs
from nondet.analysis.unstable import Example, Unstable
from nondet.analysis.unstable import unstable as find
from nondet.measures.examples import ClassChurn
from nondet.reporting.finding import Finding, Part, named
from nondet.reporting.plots.section import Drawing
from nondet.reporting.plots.spreads import forest, listed
from nondet.reporting.plots.style import styled
from nondet.study.design import Condition
from nondet.tasks.task import Task

CLASSES_SHOWN = 10
VOTES_SHOWN = 6
CARDS = 12
ANSWERS = 4
"""How many different answers a card lists; the rest are summed up."""

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


@dataclass(frozen=True)
class Answer:
    """An answer that some of the runs give: in words, by how many runs, where they begin, and whether it is right."""

    words: str
    runs: int
    begin: int
    right: bool


@dataclass(frozen=True)
class Card:
    """title: the example. picture: a PNG file as a data address; empty if there is none."""

    title: str
    label: str
    answers: tuple[Answer, ...]
    picture: str
    alternative: str


@dataclass(frozen=True)
class Cards:
    """The section: the number of runs, what they agree on in words, the cards, why there are no pictures, and the churn
    of the classes as a table and as a drawing."""

    runs: int
    sentence: str
    cards: tuple[Card, ...]
    reason: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    churn: Drawing | None = None


def cards(
    results: Results, name: str = "", data: str | None = None, *, run_task: bool = False, task: Task | None = None
) -> Cards | None:
    """Return the section of a condition: the one called `name`, else `all`, else the last; None if no two runs differ.

    Args:
        data: the folder of the task's data.
        run_task: whether to run the user's task file to read its pictures. task: the study's task, if it is in no file.

    Raises:
        BadInput: there is no condition of that name, or it has fewer than two runs that did not fail.
    """
    condition = chosen_condition(results.study, name) if name else _usual(results)
    runs = OpenStudy(results.study)[condition.name] if condition else None
    if condition is None or runs is None or not hasattr(runs.answers, "predicted"):
        return None
    name = results.study.identity["name"]
    return cards_of(runs, name, lambda indices: pictures_of(results.study, indices, data, run_task=run_task, task=task))


def cards_of(runs: Runs, task: str, pictures: Callable[[list[int]], tuple[Mapping[int, bytes], str]]) -> Cards:
    """Return the section of some runs. pictures: returns the examples' pictures, or why there are none."""
    found = find(runs, task, CARDS)
    flipping = [example for example in found.top if example.disagreement > 0]
    indices = [example.index for example in flipping]
    drawn, reason = pictures(indices) if indices else ({}, "")
    return Cards(
        runs=found.runs,
        sentence=sentence(found),
        cards=tuple(_card(found, example, drawn.get(example.index)) for example in flipping),
        reason=reason,
        head=HEAD_CLASSES,
        rows=class_rows(found) if flipping else [],
        churn=_churn(found) if flipping else None,
    )


def _churn(found: Unstable) -> Drawing | None:
    """Draw the churn of the classes in the table."""
    shown = classes_shown(found)
    values = {str(c.label): c.churn for c in shown}
    known = {str(c.label): (interval[0], interval[1]) for c in shown if (interval := found.interval(c))}
    title = f"Churn of each {'word' if found.kind.sampled else 'class'} (%)"
    with styled():
        picture = forest(values, known, "churn: disagreement within the class (%)", coloured=False)
    return Drawing("churn", title, f"{title}. {listed(values, known)}.", picture)


def _usual(results: Results) -> Condition | None:
    able = [c.condition for c in results.conditions if c.effect is not None and c.reach.distinct > 1]
    return next((c for c in able if c.name == "all"), able[-1] if able else None)


def _card(found: Unstable, example: Example, png: bytes | None) -> Card:
    title = f"{found.kind.example.capitalize()} {example.index}"
    answers = _answers(example)
    return Card(
        title=title,
        label=f"label {example.label}",
        answers=answers,
        picture=f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else "",
        alternative=f"{title}, label {example.label}. Answers: {'; '.join(answer.words for answer in answers)}.",
    )


def _answers(example: Example) -> tuple[Answer, ...]:
    listed = list(example.votes.items())
    answers: list[Answer] = []
    begin = 0
    for answer, runs in listed[:ANSWERS]:
        answers.append(Answer(f"{answer}: {_runs(runs)}", runs, begin, answer == example.label))
        begin += runs
    if rest := sum(runs for _, runs in listed[ANSWERS:]):
        answers.append(Answer(f"others: {_runs(rest)}", rest, begin, False))
    return tuple(answers)


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
