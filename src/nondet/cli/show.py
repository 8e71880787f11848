"""Show a study's table."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, answer
from nondet.errors import BadInput
from nondet.io.streams import say, tell_as_it_is, warn


def show(
    study: Path, /, *, examples: Flag = False, json: Flag = False, markdown: Flag = False, latex: Flag = False
) -> int:
    """Print a study's table, the control first, and what it says in words.

    Parameters
    ----------
    study
        The study's folder.
    examples
        Errors and intervals that hold for other test examples too, drawn as these were.
    json
        Everything as JSON, for scripts.
    markdown
        The table as Markdown.
    latex
        The table as LaTeX (it needs the package booktabs).
    """
    from nondet import api
    from nondet.reporting import crossing, prose, table
    from nondet.reporting.dead import dead_words
    from nondet.reporting.shown import as_tables, beside

    if json + markdown + latex > 1:
        raise BadInput("show takes one of --json, --markdown and --latex (got more); choose one")
    found = api.show(study, examples)
    broken = found.control.identical is False
    if markdown or latex:
        tell_as_it_is(as_tables(found, table.for_markdown if markdown else table.for_latex))
        for sentence in beside(found):
            say(sentence)
    else:
        answer(found, json=json)
    if json or markdown or latex:
        crossed = crossing.dead_words(found.crossing) if found.crossing else []
        for sentence in [*[prose.control_words(found)] * broken, *dead_words(found), *crossed]:
            warn(sentence)
    return 3 if broken else 0
