"""Show a study's table."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, print_json, print_table
from nondet.errors import BadInput
from nondet.io.streams import say, tell_as_it_is


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
    from nondet.analysis import crossing as components
    from nondet.analysis.results import read_results
    from nondet.reporting import prose as words
    from nondet.reporting import table
    from nondet.reporting.dead import dead_words, unreached_words
    from nondet.running import until
    from nondet.study import record as studies

    if json + markdown + latex > 1:
        raise BadInput("show takes one of --json, --markdown and --latex (got more); choose one")
    results = read_results(studies.load(study), examples)
    failed_control = results.control.identical is False
    if json:
        print_json(results.as_dict())
    elif markdown or latex:
        form = table.for_markdown if markdown else table.for_latex
        tell_as_it_is(form(table.rows(results), table.head(results)) + "\n")
        if results.crossing:
            tell_as_it_is("\n" + form(components.rows(results.crossing), components.head(results.crossing)) + "\n")
    else:
        print_table(
            table.for_terminal(table.rows(results), table.head(results)),
            words.failures(results),
            *dead_words(results),
            words.summary(results),
            *unreached_words(results),
            until.words(results.study.until, results.dead),
            above=words.control_words(results),
        )
        if results.crossing:
            print_table(
                table.for_terminal(components.rows(results.crossing), components.head(results.crossing)),
                *components.words(results.crossing),
            )
    if json or markdown or latex:
        crossed = components.dead_words(results.crossing) if results.crossing else []
        for sentence in [*[words.control_words(results)] * failed_control, *dead_words(results), *crossed]:
            say(sentence)
    caution = words.few_runs({c.condition.name: c.runs - len(c.failures) for c in results.conditions if not c.dead})
    if caution:
        say(caution)
    if results.missing:
        say(words.unfinished(results))
    return 3 if failed_control else 0
