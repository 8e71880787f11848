"""What every finding and every table is made of: the two types, and how names and numbers are worded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nondet.io.plain import plain
from nondet.records import Record
from nondet.stats.estimate import Estimate

MOST = 3
"""Sentences below a headline."""

NAMED = 3
"""How many words of a name a headline has room for."""

WIDTH = 120
"""The width of output that does not go to a terminal."""

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Finding:
    """headline: one sentence of at most 25 words, with one number and its 95 % interval, if it has one.

    sentences: at most three. caveats: what a reader must know before using the rest.
    """

    headline: str
    sentences: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The headline and the sentences."""
        return " ".join((self.headline, *self.sentences))

    @property
    def caution(self) -> str:
        """The caveats; empty if there are none."""
        return " ".join(self.caveats)

    def to_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Part:
    """A table, or none; a sentence above it, and those below it.

    wide: how many characters it needs, if many. intervals: the rows with intervals in place of lopsided errors, for a
        terminal. short: shorter names of rows, for when there is no room.
    """

    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    below: Sequence[str] = ()
    above: str = ""
    wide: int = WIDTH
    intervals: Sequence[Sequence[str]] = ()
    short: Mapping[str, str] = field(default_factory=dict[str, str])


def said(found: Record, *more: str) -> list[str]:
    """Return a record's finding, then what else is said, then the caveats."""
    one: Finding = found.finding
    return [one.text, *more, *one.caveats]


def brackets(level: float, estimates: Iterable[Estimate]) -> tuple[str, ...]:
    """Say what the brackets are, if any of these estimates has an interval."""
    return (f"Brackets show {100 * (1 - level):g} % intervals.",) if any(e.known for e in estimates) else ()


def named(name: str) -> str:
    """Shorten a name for a headline to its first words, if it has many."""
    words = plain(name).split()
    return " ".join(words) if len(words) <= NAMED else f"{' '.join(words[:NAMED])}..."


def with_interval(e: Estimate, number: Callable[[float], str], unit: str = "") -> str:
    """Format an estimate with its unit, and its interval in brackets if it has one."""
    return number(e.value) + unit + (f" [{number(e.low)}, {number(e.high)}]" if e.known else "")


def share(e: Estimate, decimals: int = 1) -> str:
    """Format a percentage, with its interval if it has one."""
    return with_interval(e, f"{{:.{decimals}f}}".format, " %")


def signed(value: float, number: Callable[[float], str]) -> str:
    """Format a difference with its sign."""
    return (MINUS if value < 0 else "+" if value > 0 else "") + number(abs(value))


def capital(text: str) -> str:
    """Capitalise a text, to begin a sentence."""
    return text[:1].upper() + text[1:]
