"""A page about runs that no study made: outputs or scores of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from nondet.analysis.arms import Arm
from nondet.analysis.outside import Outside
from nondet.io.plain import plain
from nondet.measures.shape import few_runs
from nondet.reporting import table
from nondet.reporting.cards import Cards, cards_of
from nondet.reporting.page import rendered, write_text
from nondet.reporting.plots.outside import sections
from nondet.reporting.targets import page_to_write
from nondet.stats.estimate import Estimate

NOTE = "A row is an arm: runs of one recipe, which no study of nondet made, so that nothing is known of their control."
NO_PICTURES = "the runs are not those of a study, whose task has them"


def write_page(found: Outside, file: Path, condition: str = "", *, option: str = "path") -> int:
    """Write the page, whole or not at all; its size in bytes.

    Args:
        condition: the arm whose most unstable examples are shown; the first if empty. option: what the user calls
            `file`.

    Raises:
        BadInput: something else than a page of nondet stands there, or there is no such arm.
    """
    target = page_to_write(file, option)
    shown = found.chosen(condition)
    text = rendered(
        task=Path(found.name).name or found.name,
        note=NOTE,
        facts=_facts(found),
        zero=None,
        control="",
        found=findings(found),
        head=table.head(found.kind.figures, "arm"),
        rows=rows(found),
        sections=sections(found),
        unstable=_cards(shown),
        environment=[],
        recipe=[],
        commands=[f"nondet report {quote(plain(found.name))}"],
    )
    return write_text(target, text)


def rows(found: Outside) -> list[tuple[str, ...]]:
    """The table's cells, a row for each arm."""
    kind = found.kind.figures
    return [(name, str(m.runs), *table.cells(kind, m)) for name, m in found.measures.items()]


def findings(found: Outside) -> list[str]:
    """What was found, in sentences: the spread of each arm first."""
    score = found.chosen("").metric
    name = score.name.replace(".", "_")
    spreads = "; ".join(
        f"{arm}: SD {_words(m.get(f'{name}.sd'))}, mean {m.get(f'{name}.mean').value:.4g}, {m.runs} runs"
        for arm, m in found.measures.items()
    )
    unit = f" ({score.unit})" if score.unit else ""
    few = few_runs({name: m.runs for name, m in found.measures.items()})
    first = f"Spread of {score.words}{unit} from run to run: {spreads}."
    return [sentence for sentence in (first, *dict.fromkeys(found.notes), few) if sentence]


def _words(sd: Estimate) -> str:
    return f"{sd.value:.3g}" + (f" ({sd.low:.3g} to {sd.high:.3g})" if sd.known else "")


def _cards(arm: Arm) -> Cards | None:
    """The examples that flip, of runs whose answers are classes and differ."""
    if arm.predictions is None or not (arm.predictions != arm.predictions[0]).any():
        return None

    def pictures(indices: list[int]) -> tuple[Mapping[int, bytes], str]:
        return {}, NO_PICTURES

    return cards_of(arm.runs, arm.name, pictures)


def _facts(found: Outside) -> str:
    runs = sum(m.runs for m in found.measures.values())
    examples = len(found.chosen("").labels)
    parts = [f"{runs:,} runs", f"{len(found.arms)} arm{'' if len(found.arms) == 1 else 's'}"]
    return ", ".join([*parts, f"{examples:,} test {found.kind.example}s"] if examples else parts)
