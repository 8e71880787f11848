"""The protocol: which runs a study consists of.

In a condition that varies the sources S, run i (i = 1..N) has seed i for each source in S and seed 1 for all the
others, so the run with all seeds 1 is shared by every condition (Summers & Dinneen 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.sources import FIXED_SEED, SOURCES, in_all, source_called
from nondet.study.spec import RunSpec

MOST_RUNS = 1_000_000
"""Most runs in one condition: each is a file, and every command looks at all of them."""

MOST_CROSSED = 10_000
"""Most runs in a crossed design."""


def varying(vary: Sequence[str], onset: int) -> tuple[str, ...]:
    """Return those of a condition's sources that can still vary from its onset on."""
    return tuple(name for name in vary if not (onset and source_called(name).at_start))


@dataclass(frozen=True)
class Condition:
    """`runs` runs in which a set of sources varies from epoch `onset` on, while all others keep their fixed seed.

    given: for runs that were made elsewhere, the seeds of each, as pairs in the order of names.
    """

    name: str
    vary: tuple[str, ...]
    runs: int
    onset: int = 0
    given: tuple[tuple[tuple[str, int], ...], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        given = {"given": [dict(seeds) for seeds in self.given]} if self.given else {}
        return {"name": self.name, "vary": list(self.vary), "onset": self.onset, "runs": self.runs, **given}

    def specs(self, identity: Mapping[str, Any], sources: Sequence[str]) -> list[RunSpec]:
        """Return the condition's runs in order; the first is the reference run, whose seeds are all fixed.

        A later onset comes after the parameters are initialised, so `init` keeps its fixed seed there.
        """
        if self.given:
            return [RunSpec(identity, dict(seeds), self.onset) for seeds in self.given]
        chosen = varying(self.vary, self.onset)
        specs: list[RunSpec] = []
        for i in range(FIXED_SEED, FIXED_SEED + self.runs):
            seeds = {s: i if s in chosen else FIXED_SEED for s in sources}
            specs.append(RunSpec(identity, seeds, self.onset if set(seeds.values()) != {FIXED_SEED} else 0))
        return specs


@dataclass(frozen=True)
class Crossed:
    """A full factorial: one run for each combination of seeds 1 to `levels` of the sources that vary.

    The others keep their fixed seed. Its runs are not independent of each other: they share seeds.
    """

    vary: tuple[str, ...]
    levels: int

    @property
    def runs(self) -> int:
        return self.levels ** len(self.vary)

    def specs(self, identity: Mapping[str, Any], sources: Sequence[str]) -> list[RunSpec]:
        """Return the runs in order, the seeds of the last source changing fastest; the first is the reference run."""
        seeds = range(FIXED_SEED, FIXED_SEED + self.levels)
        cells = (dict(zip(self.vary, cell, strict=True)) for cell in product(seeds, repeat=len(self.vary)))
        return [RunSpec(identity, {s: cell.get(s, FIXED_SEED) for s in sources}) for cell in cells]


def crossed(vary: Sequence[str], sources: Sequence[str], levels: int) -> Crossed:
    """Return the factorial of the sources that these `--vary` options name; without any, of all that can be crossed."""
    usual = tuple(name for name in in_all(sources) if source_called(name).seeded)
    for name in vary:
        if name in sources and not source_called(name).seeded:
            raise BadInput(
                f"<<design=crossed>> needs sources that have a seed (got {name}, which has none); leave it out"
            )
        if name not in sources:
            raise BadInput(
                f"<<design=crossed>> needs one source in each <<vary>> (got {name!r}); choose from "
                f"{', '.join(sources)}, or leave <<vary>> out for {', '.join(usual)}"
            )
    chosen = tuple(s for s in sources if s in vary) or usual
    if len(chosen) < 2:
        raise BadInput(
            f"<<design=crossed>> needs at least 2 sources (got {len(chosen)}: {', '.join(chosen)}); add another "
            "<<vary>>"
        )
    if levels < 2:
        raise BadInput(f"levels must be at least 2 to cross seeds (got {levels}); try <<levels=4>>")
    if levels > MOST_CROSSED or levels ** len(chosen) > MOST_CROSSED:
        raise BadInput(
            f"<<design=crossed>> allows at most {MOST_CROSSED} runs (got {levels}^{len(chosen)}: {levels} levels of "
            f"{len(chosen)} sources); give fewer <<levels>>, or name fewer sources with <<vary>>"
        )
    return Crossed(chosen, levels)


@dataclass(frozen=True)
class Stopping:
    """The outcome of a stopping rule: runs were added to these conditions until an estimate's error was small enough.

    expression, begin, limit: as given to the command; begin and limit are runs in each condition.
    runs: how many each condition has at least. held: whether the rule held then; None while that is not decided.
    errors: the estimate's error by condition, in percent of the estimate if the rule is; None where it is not known.
    """

    expression: str
    begin: int
    limit: int
    runs: int
    held: bool | None = None
    errors: Mapping[str, float | None] = field(default_factory=dict[str, float | None])


def condition(vary: str, sources: Sequence[str], runs: int, onset: int = 0) -> Condition:
    """Return the condition that `--vary` names: a source, several joined by +, or `all`."""
    if runs < 2:
        raise BadInput(f"runs must be at least 2 to measure variability (got {runs}); try <<runs=20>>")
    if runs > MOST_RUNS:
        raise BadInput(f"runs must be at most {MOST_RUNS:,} in a condition (got {runs:,}); try <<runs=100>>")
    everything = in_all(sources)
    names = everything if vary == "all" else tuple(vary.split("+"))
    for name in names:
        if name in SOURCES and name not in sources:
            raise BadInput(f"this task has no {name} to vary; its sources are {', '.join(sources)}, or all")
        if name not in sources:
            near = did_you_mean(name, [*sources, "all"])
            raise BadInput(
                f"unknown source {name!r} in <<vary={vary}>>{near}; choose from {', '.join(sources)}, or all"
            )
    chosen = tuple(s for s in sources if s in names)
    if onset and not varying(chosen, onset):
        raise BadInput(
            f"something must vary in a condition, and {vary} does not from epoch {onset} on: the parameters are "
            f"initialised earlier, so all runs would be the same (got <<vary={vary}>> with <<onset={onset}>>); give "
            f"<<vary={vary}>> without <<onset>>, or vary another source too"
        )
    name = "all" if chosen == everything else "+".join(chosen)
    return Condition(f"{name}@{onset}" if onset else name, chosen, runs, onset)


def conditions(
    vary: Sequence[str], sources: Sequence[str], runs: int, onsets: Sequence[int] = (), epochs: int = 0
) -> list[Condition]:
    """Return the conditions of these `--vary` options, from each of these onsets on (0 if none is given).

    Without `vary`: each source alone, then all of them together. From a late onset on, `init` is left out, since the
    parameters are initialised earlier.
    """
    for onset in onsets:
        if not 0 <= onset <= epochs:
            raise BadInput(f"onset must be an epoch from 0 to the recipe's {epochs} (got {onset}); choose another")
    named = [condition(v, sources, runs, onset) for onset in onsets or [0] for v in vary or _usual(sources, onset)]
    return list({c.name: c for c in named}.values())


def _usual(sources: Sequence[str], onset: int) -> list[str]:
    """Return what varies without `--vary`: each source alone, and all together if any of these belongs to `all`."""
    alone = varying(sources, onset)
    return [*alone, "all"] if in_all(alone) else [*alone]


def past_words(conditions: Sequence[Condition]) -> str:
    """Say which conditions, except `all`, name a source that cannot vary at their onset; empty if none does."""
    late = [c.name for c in conditions if len(varying(c.vary, c.onset)) < len(c.vary) and not c.name.startswith("all@")]
    if not late:
        return ""
    return f"The parameters are initialised before a late onset: in {', '.join(late)} init keeps its fixed seed"


def merged(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """Merge two lists of conditions, in the order of the old one.

    Of two versions of a condition the one with more runs is kept; given runs are combined.
    """
    by_name = {c.name: c for c in old}
    for c in new:
        if c.given and c.name in by_name:
            given = tuple(dict.fromkeys((*by_name[c.name].given, *c.given)))
            by_name[c.name] = replace(c, given=given, runs=len(given))
        elif c.name not in by_name or by_name[c.name].runs < c.runs:
            by_name[c.name] = c
    return list(by_name.values())


def control(reference: RunSpec, distinct_runs: int, width: int) -> list[RunSpec]:
    """Return the deterministic control: the reference run and its repeats, each to be trained in another stack.

    There are as many as stacks, if each stack trains one of them and `width` - 1 other runs. So every stack of a study
    that is trained in one go includes one. But there are at least two, and, where stacks are narrow, no more than a
    tenth of the runs.
    """
    stacks = -(-(distinct_runs - 1) // max(width - 1, 1))
    repeats = max(2, min(stacks, -(-distinct_runs // 10)))
    return [RunSpec(reference.identity, reference.seeds, reference.onset, repeat) for repeat in range(repeats)]
