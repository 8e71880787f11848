"""One page about a study: a single HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nondet.analysis.results import Results
from nondet.analysis.runs import Failure
from nondet.io.files import write_file
from nondet.io.plain import plain
from nondet.io.signals import undisturbed
from nondet.reporting import glossary, table
from nondet.reporting import plots as figures
from nondet.reporting import prose as words
from nondet.reporting.cards import Cards, cards
from nondet.reporting.cite import cite
from nondet.reporting.hero import Hero, of_results, with_picture
from nondet.reporting.plots.style import content
from nondet.reporting.plots.svg import inline
from nondet.reporting.ran import ran
from nondet.reporting.targets import page_to_write
from nondet.running import advice
from nondet.study.study import EPOCHS, Study
from nondet.tasks.task import Task

if TYPE_CHECKING:
    from markupsafe import Markup

NOTE = (
    "A row is a condition: what its name says varies, everything else keeps its fixed seed. The first row is the "
    "control: nothing varies, and nothing may differ. All conditions share the reference run, so their numbers are not "
    "wholly independent."
)


def page(
    results: Results,
    condition: str = "",
    data: str | None = None,
    *,
    run_task: bool = False,
    task: Task | None = None,
    say: Callable[[str], None] | None = None,
) -> str:
    """The page of a study, as HTML.

    Args:
        condition: whose most unstable examples are shown; see `cards`, also for the others.
        say: is told why the page has no pictures of examples, and the way out, which is not for the page's readers.

    Raises:
        BadInput: there is no condition of that name, or it has fewer than two runs that did not fail.
    """
    study = results.study
    unstable = cards(results, condition, data, run_task=run_task, task=task)
    if say and unstable and unstable.reason:
        say(f"The page has no pictures of examples: {unstable.reason}.")
    kind = results.kind
    first = ["disagreement", *(score.plot for score in kind.scores), *(score.name for score in kind.scores)]
    begin, sections = with_picture(of_results(results), figures.sections(results), first)
    return rendered(
        task=study.identity["name"],
        note=NOTE,
        facts=facts(results),
        ran=ran(study),
        zero=results.control.identical,
        control=words.control_words(results),
        hero=begin,
        head=table.head(kind.figures),
        rows=table.rows(results, in_one_precision=True),
        words=glossary.of_study(kind.figures, study.conditions),
        sections=sections,
        unstable=unstable,
        environment=[(name, _listed(value)) for name, value in study.environment.items()],
        recipe=[(name, str(value)) for name, value in study.identity["recipe"].items()],
        commands=commands(study),
        failed=_failed(results),
    )


def rendered(
    *,
    facts: str,
    hero: Hero,
    sections: Sequence[figures.Section],
    unstable: Cards | None = None,
    failed: Sequence[Any] = (),
    **filled: Any,
) -> str:
    """The page's template with these sections; `filled`: whatever else stands in it."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files("nondet.reporting")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown_plainly
    )
    environment.filters["whole"] = _whole
    template = environment.from_string((here / "page.html.j2").read_text(encoding="utf-8"))
    css = (here / "page.css").read_text(encoding="utf-8")
    return template.render(
        css=Markup(css),
        policy=policy(css),
        facts=facts,
        hero=hero,
        picture=_drawn(hero.drawing) if hero.drawing else None,
        cite=cite(facts),
        unstable=unstable,
        churn=_drawn(unstable.churn) if unstable and unstable.churn else None,
        failed=failed,
        sections=[_shown(s) for s in sections],
        **filled,
    )


def write_page(
    results: Results,
    file: Path,
    condition: str = "",
    data: str | None = None,
    *,
    run_task: bool = False,
    task: Task | None = None,
    option: str = "path",
    say: Callable[[str], None] | None = None,
) -> int:
    """Write a study's page, whole or not at all; its size in bytes.

    Args:
        option: what the user calls `file`. See `page` for the others.

    Raises:
        BadInput: something else than a page of nondet stands there.
    """
    target = page_to_write(file, option)
    return write_text(target, page(results, condition, data, run_task=run_task, task=task, say=say))


def write_text(target: Path, page: str) -> int:
    """Write a page to a file that `page_to_write` gave, whole or not at all; its size in bytes."""
    text = page.encode()
    with undisturbed():
        write_file(target, text, replace=True)
    return len(text)


def _failed(results: Results) -> list[Failure]:
    """Runs that failed of whose output something is known: a few, each for something else."""
    parts = (results.control, *results.conditions)
    every = [failure for part in parts for failure in part.failures.values() if failure.last]
    return list({failure.why: failure for failure in every}.values())[: words.SHOWN]


def commands(study: Study) -> list[str]:
    """The commands that make the study: one that trained all of it, or one for each part that it has grown."""
    parts = advice.commands(study)
    return parts if len(parts) > 1 else [advice.go_on(study)]


def policy(css: str) -> str:
    """The content security policy: nothing is fetched, no script runs, the one style is the page's own."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def facts(results: Results) -> str:
    """What the study is, in a line."""
    runs = len(results.study.planned()) - results.missing
    designs = [_count(len(results.conditions), "condition")] if results.conditions else []
    designs += ["a crossed design"] if results.crossing else []
    study = results.study
    seen = "command" not in study.request or EPOCHS in study.identity  # of a script's, or how many are not known
    return ", ".join(
        [
            _count(runs, "run"),
            *designs,
            _count(len(study.labels), f"test {results.kind.example}"),
            *([_count(study.epochs, "epoch")] if seen else []),
        ]
    )


def _shown_plainly(value: object) -> object:
    """Whatever the template fills in: text without characters that would do something; markup of our own as it is."""
    return plain(value) if type(value) is str else value


def _whole(text: str) -> Markup:
    """A sentence with its percentages in one piece, no line ending between a number and its sign; commands as code."""
    from markupsafe import Markup, escape

    space = "\N{NO-BREAK SPACE}"
    joined = plain(text).replace(" %", f"{space}%").replace(" ± ", f"{space}±{space}")
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(joined))))


def _listed(value: object) -> str:
    """A value as text; of one that holds others by name, these."""
    if not isinstance(value, Mapping):
        return str(value)
    parts = cast("Mapping[str, object]", value)
    return ", ".join(f"{name}: {_listed(part)}" for name, part in parts.items()) or "none"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _shown(section: figures.Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "heading": section.heading,
        "text": section.text,
        "table": section.table,
        "figures": [_drawn(drawing) for drawing in section.drawings],
    }


def _drawn(d: figures.Drawing) -> dict[str, Any]:
    from markupsafe import Markup

    svg = inline(content(d.figure, "svg"), d.name, d.title, d.alternative)
    return {"name": d.name, "caption": d.caption, "svg": Markup(svg)}
