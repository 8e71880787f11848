"""A page about a study: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nondet.analysis.results import Results
from nondet.analysis.runs import Failure
from nondet.io.files import write_file
from nondet.io.plain import plain
from nondet.io.signals import undisturbed
from nondet.reporting import crossing, plots, prose, table
from nondet.reporting.finding import Finding
from nondet.reporting.glossary import glossary
from nondet.reporting.plots import Drawing, Section
from nondet.reporting.plots.style import content
from nondet.reporting.plots.svg import inline
from nondet.reporting.ran import cite, ran
from nondet.reporting.results import cautions, of_study
from nondet.reporting.unstable import cards
from nondet.running import advice, until
from nondet.study.study import EPOCHS, Study
from nondet.tasks.task import Task

if TYPE_CHECKING:
    from markupsafe import Markup

NOTE = (
    "Each row is a condition: its name says what varies, and everything else keeps its fixed seed. The first row is "
    "the control: nothing varies in it, and nothing may differ. All conditions share the reference run, so their "
    "numbers are not fully independent."
)


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


def page(
    results: Results,
    condition: str = "",
    data: str | None = None,
    *,
    run_task: bool = False,
    task: Task | None = None,
    say: Callable[[str], None] | None = None,
) -> str:
    """Return the page of a study, as HTML.

    Args:
        condition: the one whose most unstable examples are shown; see `cards` for it and the others.
        say: called with the reason if the page has no pictures, and with the way out, which the page leaves out.

    Raises:
        BadInput: there is no condition of that name, or it has fewer than two runs that did not fail.
    """
    study = results.study
    unstable = cards(results, condition, data, run_task=run_task, task=task)
    if say and unstable and unstable.reason:
        say(f"The page has no pictures of examples: {unstable.reason}.")
    kind = results.kind
    first = ["disagreement", *(score.plot for score in kind.scores), *(score.name for score in kind.scores)]
    begin, sections = with_picture(of_results(results), plots.sections(results), first)
    return rendered(
        task=study.identity["name"],
        note=NOTE,
        facts=facts(results),
        ran=ran(study),
        zero=results.control.identical,
        control=prose.control_words(results),
        hero=begin,
        head=table.head(kind.figures),
        rows=table.rows(results, in_one_precision=True),
        words=glossary(kind.figures, study.conditions),
        sections=sections,
        unstable=unstable,
        environment=[(name, _listed(value)) for name, value in study.environment.items()],
        recipe=[(name, str(value)) for name, value in study.identity["recipe"].items()],
        commands=commands(study),
        failed=_failed(results),
    )


def rendered(*, facts: str, **filled: Any) -> str:
    """Fill the page's template."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files("nondet.reporting")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown_plainly
    )
    environment.filters |= {"whole": _whole, "svg": _svg}
    template = environment.from_string((here / "page.html.j2").read_text(encoding="utf-8"))
    css = (here / "page.css").read_text(encoding="utf-8")
    return template.render(css=Markup(css), policy=policy(css), facts=facts, cite=cite(facts), **filled)


def write_page(target: Path, page: str) -> int:
    """Write a page to a file that `page_to_write` returned, whole or not at all, and return its size in bytes."""
    text = page.encode()
    with undisturbed():
        write_file(target, text, replace=True)
    return len(text)


def _failed(results: Results) -> list[Failure]:
    """Return a few failed runs whose output is known, each with a different cause."""
    parts = (results.control, *results.conditions)
    every = [failure for part in parts for failure in part.failures.values() if failure.last]
    return list({failure.why: failure for failure in every}.values())[: prose.SHOWN]


def commands(study: Study) -> list[str]:
    """Return the commands that make the study: one for all of it, or one for each part that was added."""
    parts = advice.commands(study)
    return parts if len(parts) > 1 else [advice.go_on(study)]


def policy(css: str) -> str:
    """Return the content security policy: nothing is fetched, no script runs, and only the page's own style applies."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def facts(results: Results) -> str:
    """Describe the study in one line."""
    runs = len(results.study.planned()) - results.missing
    designs = [_count(len(results.conditions), "condition")] if results.conditions else []
    designs += ["a crossed design"] if results.crossing else []
    study = results.study
    seen = "command" not in study.request or EPOCHS in study.identity  # a script's number of epochs may be unknown
    return ", ".join(
        [
            _count(runs, "run"),
            *designs,
            _count(len(study.labels), f"test {results.kind.example}"),
            *([_count(study.epochs, "epoch")] if seen else []),
        ]
    )


def _shown_plainly(value: object) -> object:
    """Clean what the template fills in: text loses control characters, and our own markup stays as it is."""
    return plain(value) if type(value) is str else value


def _whole(text: str) -> Markup:
    """Mark up a sentence: no line break between a number and its sign, and commands as code."""
    from markupsafe import Markup, escape

    space = "\N{NO-BREAK SPACE}"
    joined = plain(text).replace(" %", f"{space}%").replace(" ± ", f"{space}±{space}")
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(joined))))


def _listed(value: object) -> str:
    """Return a value as text; for a mapping, list its values by name."""
    if not isinstance(value, Mapping):
        return str(value)
    parts = cast("Mapping[str, object]", value)
    return ", ".join(f"{name}: {_listed(part)}" for name, part in parts.items()) or "none"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _svg(d: Drawing) -> Markup:
    from markupsafe import Markup

    return Markup(inline(content(d.figure, "svg"), d.name, d.title, d.alternative))
