"""The top of a page: the headline, its number in large type, the picture of that number, and the caveats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nondet.analysis.results import Results
from nondet.reporting import crossing, prose
from nondet.reporting.finding import Finding
from nondet.reporting.plots.section import Drawing, Section
from nondet.reporting.results import cautions, of_study
from nondet.running import until

_NUMBER = re.compile(
    r"\b(?:on|of) (?P<number>-?\d[\d.,]*(?:e[+-]?\d+)?(?: (?:%|points|nats|[^\W\d]+(?= \[)))?)"
    r"(?: \[(?P<low>[^],]+), (?P<high>[^]]+)\])?"
)
"""Matches a headline's number, with its unit and the ends of its interval."""

_UNIT = re.compile(r"%|points|nats|\[")
"""A match must contain one of these; otherwise it is some other number."""


@dataclass(frozen=True)
class Hero:
    """alarms: sentences that come first. number: the headline's number, as text; empty if it has none. low, high: its
    95 % interval. sentences: below the headline. caveats: what a reader must know before using the numbers."""

    headline: str
    number: str = ""
    low: str = ""
    high: str = ""
    sentences: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    drawing: Drawing | None = None

    @property
    def said(self) -> list[str]:
        """What a command repeats from the page."""
        return [*self.alarms, self.headline]


def hero(said: Finding, alarms: Sequence[str] = (), caveats: Sequence[str] = ()) -> Hero:
    """Split a finding into its number and the rest. caveats: further ones."""
    found = _NUMBER.search(said.headline)
    number, low, high = ("", "", "")
    if found and _UNIT.search(found.group()):
        number, low, high = (found[name] or "" for name in ("number", "low", "high"))
    return Hero(said.headline, number, low, high, said.sentences, (*said.caveats, *caveats), tuple(alarms))


def of_results(results: Results) -> Hero:
    """Return what a study found, with an alarm for each dead source."""
    parts = components = crossing.words(results.crossing) if results.crossing else []
    said = of_study(results)
    if said is None:
        said, parts = Finding(components[0]), components[1:]
    further = [
        *cautions(results),
        *prose.unreached_words(results),
        until.words(results.study.until, results.dead),
        prose.failures(results),
        prose.unfinished(results.study, results.missing),
    ]
    control = [] if results.control.identical is False else [prose.control_words(results)]
    sentences = (*said.sentences, *parts, *control)
    return hero(replace(said, sentences=sentences), prose.dead_words(results), list(filter(None, further)))


def with_picture(begin: Hero, sections: Sequence[Section], first: Sequence[str]) -> tuple[Hero, list[Section]]:
    """Move the first of these drawings that a section has from there to the top of the page.

    first: names of drawings, the best picture of the headline's number first.
    """
    drawings = {drawing.name: drawing for section in sections for drawing in section.drawings}
    name = next((name for name in first if name in drawings), None)
    if name is None:
        return begin, list(sections)
    rest = [
        replace(s, drawings=left) if len(left) < len(s.drawings) else s
        for s in sections
        if (left := tuple(d for d in s.drawings if d.name != name)) or not s.drawings
    ]
    return replace(begin, drawing=drawings[name]), rest
