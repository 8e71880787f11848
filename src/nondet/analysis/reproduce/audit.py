"""What each source of a training reaches, and what else changes the training: a table, within minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from nondet.analysis.reproduce.causes import BY_KIND, RANDOM, Finding
from nondet.analysis.reproduce.diverge import as_dict
from nondet.analysis.reproduce.habits import habits, ignored, passes
from nondet.analysis.reproduce.ladder import Ladder, Origin
from nondet.analysis.reproduce.parting import parted, seen, sites_of
from nondet.analysis.results import Results
from nondet.records import Record, finding
from nondet.runners.script import Script
from nondet.runners.traced import Trace, Traced

SORTED = ("init", "shuffle", "augment", "dropout", "other")

REACHES, DEAD, LEAKS, CHANGES, HARMLESS = "reaches", "dead", "leaks", "changes", "harmless"


@dataclass(frozen=True)
class Row:
    """A source. draws: how often it is drawn from. reaches: whether another seed for it changes the training.

    Both are None if not known. leaks_into: other sources whose numbers it changes. verdict: reaches, dead or leaks; for
    what comes from outside, changes (the training) or harmless. A bit that is rounded away is harmless too.
    """

    name: str
    draws: int | None
    reaches: bool | None
    leaks_into: tuple[str, ...] = ()
    verdict: str = REACHES

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "leaks_into": list(self.leaks_into)}


@dataclass(frozen=True, repr=False)
class Audit(Record):
    """The sources of a training, the findings, and what nothing explains.

    unexplained: why two runs part with everything held; None if they do not. told: ignored settings that change nothing
    here. steps: how many were looked at, in `unit`. runs: how many were made.
    """

    name: str
    sources: tuple[Row, ...]
    findings: tuple[Finding, ...]
    unexplained: Origin | str | None
    inconclusive: str
    steps: int
    whole: bool
    runs: int
    told: tuple[Finding, ...] = ()
    unit: str = "training steps"
    sentence: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        wrong = any(row.verdict in (DEAD, LEAKS, CHANGES) for row in self.sources)
        return not (wrong or self.findings or self.unexplained)

    def to_dict(self) -> dict[str, Any]:
        hidden = self.unexplained
        return {
            "format": 1,
            "name": self.name,
            "verdict": "inconclusive" if self.inconclusive else "clean" if self.clean else "findings",
            "sources": [row.to_dict() for row in self.sources],
            "unexplained": {"seen": hidden} if isinstance(hidden, str) else as_dict(hidden) if hidden else None,
            "findings": [finding.to_dict() for finding in self.findings],
            "told": [one.to_dict() for one in self.told],
            "steps": self.steps,
            "whole": self.whole,
            "runs": self.runs,
            "sentence": self.sentence,
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        rows = [row.to_dict() for row in self.sources]
        return {n: [row[n] for row in rows] for n in ("name", "draws", "reaches", "verdict")}


def audit_of(results: Results) -> Audit:
    """Return what a study of a task says about its sources: whether each of them alone reaches the outputs."""
    rows: list[Row] = []
    for found in results.conditions:
        if len(found.condition.vary) == 1:
            # a bit that is rounded away is no fault: the next one may reach
            gone = HARMLESS if found.condition.name == "bit" else DEAD
            rows.append(Row(found.condition.name, None, not found.dead, (), gone if found.dead else REACHES))
    unexplained = None if results.control.identical else "repeats with equal seeds are not equal to the last bit"
    epochs = int(results.study.identity["recipe"]["epochs"])
    name, runs = results.study.identity["name"], len(rows) + 2
    return Audit(name, tuple(rows), (), unexplained, "", epochs, True, runs, unit="epochs")


TASK_STEPS = 100
"""How many steps of a task are looked at one by one; its study covers all of them."""


def audit_task(script: Script, results: Results, say: Callable[[str], None]) -> Audit:
    """Return what a study of a task says about its sources, and one run of its script about everything else."""
    known = audit_of(results)
    found = audit(script, steps=TASK_STEPS, say=say, rows=lambda ladder: _leaking(ladder, known.sources))
    return replace(
        found, name=known.name, unexplained=known.unexplained or found.unexplained, runs=found.runs + known.runs
    )


def audit(
    script: Script,
    *,
    steps: int | None,
    say: Callable[[str], None],
    rows: Callable[[Ladder], list[Row]] | None = None,
) -> Audit:
    """Audit a script.

    steps: how many training steps of each run to look at; None for all of them. rows: finds the sources of a task,
    whose script is nondet's own; if it is left out, they are found here.
    """
    with closing(Traced(script)) as traced:
        ladder = Ladder(traced, steps, say)
        say("Running the script as it is.")
        first = ladder.run(ladder.how)
        found = [] if rows else list(habits(first, used_in_training(ladder, first)))
        matters, harmless = ([], []) if rows else ignored(first, ladder.hashes)
        found += matters
        blank = Audit(script.title, (), (), None, "", first.steps, first.ended, 0, tuple(harmless))
        if not seen(first):
            return replace(
                blank, inconclusive="it takes no training step that can be seen, and holds no array at its end"
            )
        say("Running it again and again with everything from outside held.")
        pair = ladder.unsteady()
        if pair:
            hidden = ladder.unexplained(*pair)
            return replace(blank, findings=tuple(found), unexplained=hidden, runs=traced.runs)
        kinds = ladder.kinds(first, ladder.control())
        origins = ladder.origins(kinds)
        if not origins:
            pair = ladder.apart() if parted(first, ladder.control()) else None
            hidden = ladder.unexplained(*pair) if pair else ladder.repeated() if first.steps else None
            origins = [hidden] if hidden else []
        unexplained = next((origin for origin in origins if not origin.kind), None)
        outside = _outside(ladder, kinds, origins) if not unexplained else []
        if rows:  # a task's script is nondet's own and asks for much that is harmless
            outside = [row for row in outside if row.reaches]
        found += [Finding(o.cause, o.site, f"another {o.kind} changes the training") for o in origins if o.kind]
        sources: list[Row] = []
        if not unexplained:
            sources, inconclusive = (rows(ladder), "") if rows else _sorted(ladder, script, say)
            blank = replace(blank, inconclusive=inconclusive if not (sources or found) else "")
        single: dict[tuple[str, str], Finding] = {}
        for one in found:
            single.setdefault((one.cause.name, one.site), one)
        return replace(
            blank,
            sources=(*sources, *outside),
            findings=tuple(single.values()),
            unexplained=unexplained,
            runs=traced.runs,
        )


def used_in_training(ladder: Ladder, first: Trace) -> list[str]:
    """Return the lines whose passes without a gradient change the training when nudged: they are no evaluations.

    Examples are a teacher's answers, and what a generator hands to a discriminator.
    """
    lines = passes(first)
    if not lines:
        return []
    ladder.say("Nudging passes without a gradient in training mode.")

    def trained(nudged: Sequence[str]) -> list[Any]:
        return [record[:3] for record in ladder.run(replace(ladder.held, nudged=nudged)).of("weights")]

    plain = [record[:3] for record in ladder.control().of("weights")]
    if trained(lines) == plain:
        return []
    return lines if len(lines) == 1 else [one for one in lines if trained([one]) != plain]


def _outside(ladder: Ladder, kinds: list[str], origins: list[Origin]) -> list[Row]:
    """Return a row for each kind of outside input that was asked for."""
    reached = {origin.kind for origin in origins}
    rows: list[Row] = []
    for kind in kinds:
        draws = len([r for r in ladder.control().of("o") if r[1] == kind])
        name = BY_KIND[kind].name if BY_KIND[kind] is not RANDOM else f"unseeded {kind}"
        if kind in reached or (draws and sites_of(ladder.control(), kind)):
            reaches = kind in reached
            rows.append(Row(name, draws or None, reaches, (), CHANGES if reaches else HARMLESS))
    return rows


def _sorted(ladder: Ladder, script: Script, say: Callable[[str], None]) -> tuple[list[Row], str]:
    """Return a row for each source that the script draws from or takes a seed for, from runs with another seed."""
    how = replace(ladder.held, seeds={}, words={})
    control = ladder.traced.run(how)
    if control.failure:
        return [], f"its random numbers cannot be sorted by source: {control.failure}"
    again = ladder.traced.run(how)
    if parted(control, again):
        return [], "two runs with equal seeds part once random numbers are sorted by source"
    draws: Mapping[str, int] = control.ledger.get("draws", {})
    names = [name for name in SORTED if draws.get(name)]
    names += [name for name in script.asked if name not in names]
    rows: list[Row] = []
    for name in names:
        say(f"Another seed of {name}.")
        trace = ladder.traced.run(replace(how, seeds={name: 2}, words={name: 2}))
        if trace.failure:
            rows.append(Row(name, draws.get(name), None, (), "failed"))
            continue
        reaches = parted(control, trace) is not None
        into = leaks(name, control, trace) if reaches else ()
        rows.append(Row(name, draws.get(name), reaches, into, LEAKS if into else REACHES if reaches else DEAD))
    return rows, ""


OWN = {"start": ("init",), "order": ("shuffle",)}
OWN_OF_TASK = {"start": ("init", "bit"), "batch": ("augment", "shuffle", "order")}
"""Which sources decide the first weights, and the order of the examples or the batches."""


def own_of_task(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return, of a task with these sources, which of them decide what."""
    return {kind: [owner for owner in owners if owner in names] for kind, owners in OWN_OF_TASK.items()}


def _leaking(ladder: Ladder, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a task with what each source's seed changes besides its own."""
    own = own_of_task([row.name for row in rows])
    found: list[Row] = []
    for row in rows:
        ladder.say(f"Another seed of {row.name}.")
        other = ladder.run(replace(ladder.held, words={row.name: 2}))
        into = leaks(row.name, ladder.control(), other, own)
        found.append(replace(row, leaks_into=into, verdict=LEAKS) if into else row)
    return found


def leaks(name: str, control: Trace, other: Trace, own: Mapping[str, Sequence[str]] = OWN) -> tuple[str, ...]:
    """Return the sources whose numbers change when only another source's seed did.

    own: which sources decide what; the first of them is named.
    """
    found: list[str] = []
    for kind, owners in own.items():
        # a model that is first called later may be an average of what was trained
        a, b = ([r[2] for r in trace.of(kind) if kind != "start" or r[1] == 0] for trace in (control, other))
        if a != b and owners and name not in (*owners, "seed", "other"):
            found.append(owners[0])
    return tuple(found)
