"""The most unstable test examples as a page shows them: a card for each, with its picture and the runs' answers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nondet.analysis.opened import OpenStudy, chosen_condition
from nondet.analysis.pictures import pictures_of
from nondet.analysis.results import Results
from nondet.analysis.runs import Runs
from nondet.analysis.unstable import Example, Unstable, unstable
from nondet.reporting.plots.section import Drawing
from nondet.reporting.plots.spreads import forest, listed
from nondet.reporting.plots.style import styled
from nondet.reporting.unstable import HEAD_CLASSES, class_rows, classes_shown, sentence
from nondet.study.design import Condition
from nondet.tasks.task import Task

CARDS = 12
ANSWERS = 4
"""How many different answers a card lists; the rest are summed up."""


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
    """The section: its condition and number of runs, what they agree on in words, the cards, why there are no pictures,
    and the churn of the classes as a table and as a drawing."""

    condition: str
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
    found = unstable(runs, task, CARDS)
    flipping = [example for example in found.top if example.disagreement > 0]
    indices = [example.index for example in flipping]
    drawn, reason = pictures(indices) if indices else ({}, "")
    return Cards(
        condition=found.condition,
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
