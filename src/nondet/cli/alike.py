"""Are the sources' effects the same?"""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, print_json, print_sentences, print_table
from nondet.errors import BadInput
from nondet.io.streams import say


def alike(study: Path, /, *, margin: float = 1.25, level: float = 0.05, json: Flag = False) -> int:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    For each metric, one permutation test of all conditions; and for each pair of them the ratio of the two effects,
    with a test of equivalence. Conditions are compared with those that start to vary at the same epoch.

    Parameters
    ----------
    study
        The study's folder.
    margin
        The largest ratio of two effects that still counts as alike, above 1.
    level
        The share of false positives that is allowed.
    json
        As JSON: omnibus, pairs, margin, level, runs, left_out and sentence.
    """
    from nondet.analysis import alike as report
    from nondet.analysis.effects import read_effects
    from nondet.analysis.runs import control_is_zero
    from nondet.reporting import prose as words
    from nondet.reporting import table
    from nondet.running import until
    from nondet.stats.equivalence import MIN_RUNS, check_margin
    from nondet.study import record as studies

    check_margin(margin, level)
    opened = studies.load(study)
    effects, left_out = read_effects(opened)
    if not effects:
        got = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise BadInput(
            f"two conditions of the same onset must have at least {MIN_RUNS} sound runs each besides the reference "
            f"run that all share (got {got or 'no conditions'}); "
            "add --runs 20, or another --vary, to `nondet run`"
        )
    found, control = [report.alike(group, margin, level) for group in effects], control_is_zero(opened)
    if json:
        print_json(report.as_json(found, left_out))
    else:
        for one in found:
            above = f"Sources that vary from epoch {one.effects.onset} on:" if len(found) > 1 else ""
            print_table(table.for_terminal(report.rows(one), report.head(one)), above=above)
        print_sentences(report.legend(found), *(f"Left out: {n} ({reason})." for n, reason in left_out.items()))
        print_sentences(until.words(opened.until), *map(report.sentence, found))
    done, planned = studies.count_done(opened)
    if done < planned:
        say(f"Not finished: {planned - done} runs are still to train. Go on with: {opened.command_line}")
    if control is False:
        say(words.CONTROL_NOT_ZERO)
        return 3
    return 0
