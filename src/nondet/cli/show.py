"""Show a study's table."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, Flag, Printed, answer
from nondet.io.streams import warn


def show(study: Path, /, *, examples: Flag = False, form: Printed = TEXT) -> int:
    """Print a study's table, the control first, and what it shows in words.

    Parameters
    ----------
    study
        The study's folder.
    examples
        Give errors and intervals that also hold for other test examples drawn in the same way.
    form
        How it is printed.
    """
    import nondet
    from nondet.reporting import crossing, prose
    from nondet.reporting.dead import dead_words

    found = nondet.show(study, examples)
    broken = found.control.identical is False
    answer(found, form)
    if form.alone:
        crossed = crossing.dead_words(found.crossing) if found.crossing else []
        for sentence in [*[prose.control_words(found)] * broken, *dead_words(found), *crossed]:
            warn(sentence)
    return 3 if broken else 0
