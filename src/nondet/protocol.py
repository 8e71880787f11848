"""The protocol: which runs there are.

In a condition that varies the sources S, run i (i = 1..N) takes seed i for each source in S and seed 1 for all the
others, so the run with all seeds 1 is shared by every condition (Summers & Dinneen 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nondet.errors import BadInput
from nondet.run import RunSpec
from nondet.sources import FIXED_SEED, SOURCES

NOT_IN_ALL = ("bit",)
"""`all` is every source of the task but these."""


@dataclass(frozen=True)
class Condition:
    """A set of sources that vary from epoch `onset` on, while every other source keeps its fixed seed; `runs` runs."""

    name: str
    vary: tuple[str, ...]
    runs: int
    onset: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "vary": list(self.vary), "onset": self.onset, "runs": self.runs}

    def specs(self, identity: Mapping[str, Any], sources: Sequence[str]) -> list[RunSpec]:
        """The condition's runs, in order; the first is the reference run, all of whose seeds are fixed.

        Initial parameters are past when a later onset comes: there `init` keeps its fixed seed.
        """
        varying = [s for s in self.vary if not (self.onset and s == "init")]
        specs: list[RunSpec] = []
        for i in range(FIXED_SEED, FIXED_SEED + self.runs):
            seeds = {s: i if s in varying else FIXED_SEED for s in sources}
            specs.append(RunSpec(identity, seeds, self.onset if set(seeds.values()) != {FIXED_SEED} else 0))
        return specs


def condition(vary: str, sources: Sequence[str], runs: int, onset: int = 0) -> Condition:
    """The condition that `--vary` names: a source, several joined by +, or `all`; a late onset is in its name."""
    if runs < 2:
        raise BadInput(f"runs must be at least 2 to measure variability (got {runs}); try --runs 20")
    everything = tuple(s for s in sources if s not in NOT_IN_ALL)
    names = everything if vary == "all" else tuple(vary.split("+"))
    for name in names:
        if name in SOURCES and name not in sources:
            raise BadInput(f"this task has no {name} to vary; its sources are {', '.join(sources)}, or all")
        if name not in sources:
            raise BadInput(f"unknown source {name!r} in --vary {vary}; choose from {', '.join(sources)}, or all")
    chosen = tuple(s for s in sources if s in names)
    name = "all" if chosen == everything else "+".join(chosen)
    return Condition(f"{name}@{onset}" if onset else name, chosen, runs, onset)


def conditions(
    vary: Sequence[str], sources: Sequence[str], runs: int, onsets: Sequence[int] = (), epochs: int = 0
) -> list[Condition]:
    """The conditions of these `--vary` options, from each of these onsets on (0 if none is given).

    Without `vary`, each source alone and then all of them together; from a late onset on all but `init`, which is past.
    """
    for onset in onsets:
        if not 0 <= onset <= epochs:
            raise BadInput(f"onset must be an epoch from 0 to the recipe's {epochs} (got {onset}); choose another")
    named = [
        condition(v, sources, runs, onset)
        for onset in onsets or [0]
        for v in vary or [*(s for s in sources if not (onset and s == "init")), "all"]
    ]
    return list({c.name: c for c in named}.values())


def merged(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """Both lists as one, in the order of the old; of the same condition the one with more runs."""
    by_name = {c.name: c for c in old}
    for c in new:
        if c.name not in by_name or by_name[c.name].runs < c.runs:
            by_name[c.name] = c
    return list(by_name.values())


def control(reference: RunSpec, distinct_runs: int, width: int) -> list[RunSpec]:
    """The deterministic control: the reference run and its repeats, to be trained apart in different stacks.

    As many as there are stacks, when each holds one of them and `width` - 1 other runs, so that every stack of a study
    that is trained in one go carries one; but two at the least, and (narrow stacks) no more than a tenth of the runs.
    """
    stacks = -(-(distinct_runs - 1) // max(width - 1, 1))
    repeats = max(2, min(stacks, -(-distinct_runs // 10)))
    return [RunSpec(reference.identity, reference.seeds, reference.onset, repeat) for repeat in range(repeats)]
