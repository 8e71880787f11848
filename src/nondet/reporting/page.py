"""One page about a study: a single HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nondet.analysis.results import Results
from nondet.analysis.runs import Failure
from nondet.io.files import write_file
from nondet.io.plain import plain
from nondet.io.signals import undisturbed
from nondet.reporting import crossing as components
from nondet.reporting import finding, table
from nondet.reporting import plots as figures
from nondet.reporting import prose as words
from nondet.reporting.cards import cards
from nondet.reporting.dead import dead_words, unreached_words
from nondet.reporting.plots.style import content
from nondet.reporting.plots.svg import inline
from nondet.reporting.targets import page_to_write
from nondet.running import advice, until
from nondet.study.study import Study
from nondet.tasks.task import Task

NOTE = (
    "A row is a condition: what its name says varies, everything else keeps its fixed seed. The first row is the "
    "control: nothing varies, and nothing may differ."
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
    return rendered(
        task=study.identity["name"],
        note=NOTE,
        facts=facts(results),
        zero=results.control.identical,
        control=words.control_words(results),
        found=findings(results),
        head=table.head(results.kind.figures),
        rows=table.rows(results),
        sections=figures.sections(results),
        unstable=unstable,
        environment=[(name, str(value)) for name, value in study.environment.items()],
        recipe=[(name, str(value)) for name, value in study.identity["recipe"].items()],
        commands=commands(study),
        failed=_failed(results),
    )


def rendered(*, sections: Sequence[figures.Section], failed: Sequence[Any] = (), **filled: Any) -> str:
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
        css=Markup(css), policy=policy(css), failed=failed, sections=[_shown(s) for s in sections], **filled
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


def findings(results: Results) -> list[str]:
    """What was found, in sentences, the most important one first; but for a control that is not zero, an alarm."""
    crossing = components.words(results.crossing) if results.crossing else []
    asked = until.words(results.study.until, results.dead)
    control = "" if results.control.identical is False else words.control_words(results)
    said = finding.of_study(results)
    own = (said.headline, " ".join(said.sentences), said.caution) if said else ()
    found = [*dead_words(results), *own, *unreached_words(results), *crossing]
    sentences = [*found, control, asked, words.failures(results), words.unfinished(results)]
    return [sentence for sentence in sentences if sentence]


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
    epochs = results.study.identity["recipe"].get("epochs", 0)
    return (
        f"{_count(runs, 'run')}, {', '.join(designs)}, "
        f"{_count(len(results.study.labels), f'test {results.kind.example}')}, "
        f"{_count(epochs, 'epoch')}"
    )


def _shown_plainly(value: object) -> object:
    """Whatever the template fills in: text without characters that would do something; markup of our own as it is."""
    return plain(value) if type(value) is str else value


def _whole(text: str) -> str:
    """The text with its percentages in one piece: no line ends between a number and its sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _shown(section: figures.Section) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "name": section.name,
        "heading": section.heading,
        "text": section.text,
        "table": section.table,
        "figures": [
            {
                "name": d.name,
                "caption": d.caption,
                "svg": Markup(inline(content(d.figure, "svg"), d.name, d.title, d.alternative)),
            }
            for d in section.drawings
        ],
    }
