"""Two runs of a script as it is: whether they part, where, and why."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nondet.analysis.reproduce import causes
from nondet.analysis.reproduce.causes import place
from nondet.analysis.reproduce.ladder import REPEATS, Ladder, Origin
from nondet.analysis.reproduce.parting import differ, parted, seen
from nondet.records import Record, finding
from nondet.runners.script import Script
from nondet.runners.traced import Trace, Traced

DETERMINISTIC = "deterministic"
"""The fix that frameworks offer: deterministic algorithms only, and one seed for hashes."""

ORIGIN, NONE, INCONCLUSIVE = "origin", "none", "inconclusive"


@dataclass(frozen=True)
class Proof:
    """Whether a fix works: runs without it part, and runs with it do not.

    fix: "deterministic", or a command. unmended, mended: whether two runs parted without it, and with it.
    runs: how many were made with it.
    """

    fix: str
    unmended: bool
    mended: bool
    runs: int

    @property
    def holds(self) -> bool:
        return self.unmended and not self.mended

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


@dataclass(frozen=True, repr=False)
class Diverged(Record):
    """Where two runs of a script part, and why.

    verdict: origin, none, or inconclusive. step: the first training step whose record differs, from 0.
    origins: the causes, earliest first. window: the first and last training step compared; None if there was none.
    whole: whether the runs finished by themselves. what: what differs first. runs: how many were made.
    against: what the run was compared with, if not with a second run of the same script. differs: what differs between
    the two environments, each with its value here and there. why: why the verdict is inconclusive.
    chance: whether the two runs were equal only by chance: others part, with another clock or another order of adding.
    """

    script: str
    verdict: str
    step: int | None
    what: str
    origins: tuple[Origin, ...]
    window: tuple[int, int] | None
    whole: bool
    evaluations: int
    runs: int
    site: str = ""
    proof: Proof | None = None
    sentence: str = ""
    against: str = ""
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    why: str = ""
    chance: bool = False

    @property
    def first(self) -> Origin | None:
        return self.origins[0] if self.origins else None

    def to_dict(self) -> dict[str, Any]:
        first = as_dict(self.first) if self.first else place(self.site)
        return {
            "format": 1,
            "script": self.script,
            "verdict": self.verdict,
            "step": self.step,
            **{name: first.get(name) for name in ("module", "operation", "file", "line")},
            "cause": first.get("cause") if self.verdict == ORIGIN else None,
            "window": list(self.window) if self.window else None,
            "whole": self.whole,
            "evaluations": self.evaluations,
            "what": self.what or None,
            "origins": [as_dict(origin) for origin in self.origins],
            "proof": self.proof.to_dict() if self.proof else None,
            "chance": self.chance,
            "runs": self.runs,
            "against": {"run": self.against, "differs": {n: list(pair) for n, pair in self.differs.items()}}
            if self.against
            else None,
            "sentence": self.sentence,
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        rows = [as_dict(origin) for origin in self.origins]
        names = ("cause", "file", "line", "step", "what", "call", "mend")
        return {name: [row[name] for row in rows] for name in names}


def as_dict(origin: Origin) -> dict[str, Any]:
    operation = asdict(origin.operation) if origin.operation else {}
    return {
        "cause": origin.cause.name,
        **place(origin.site),
        "call": origin.call or None,
        "names": list(origin.names),
        "step": origin.parting.step,
        "what": origin.parting.what,
        "operation": operation.get("name") or None,
        "backward": operation.get("backward") or None,
        "module": operation.get("module") or None,
        "shapes": [list(shape) for shape in operation["shapes"]] if operation else None,
        "ulps": operation.get("ulps"),
        "difference": operation.get("difference"),
        "mend": origin.cause.mend,
        "sure": origin.sure,
    }


def diverge(script: Script, *, steps: int | None, fix: str, say: Callable[[str], None]) -> Diverged:
    """Run a script twice as it is, and find why the two trainings part, if they do.

    steps: how many training steps to compare; None for all of them. fix: a fix to prove, if any.
    """
    with closing(Traced(script)) as traced:
        ladder = Ladder(traced, steps, say)
        found = _diverge(ladder, traced)
        if not fix:
            return found
        proof = proved(ladder, fix, found)
        verdict = found.verdict if proof.holds else INCONCLUSIVE
        return replace(found, verdict=verdict, proof=proof, runs=traced.runs)


def blank_of(script: Script, a: Trace, b: Trace, runs: int, **more: Any) -> Diverged:
    """Return the record of two runs that are equal, as far as is known."""
    evaluations, steps = (min(len(trace.of(kind)) for trace in (a, b)) for kind in ("answer", "weights"))
    window = (0, steps - 1) if steps else None
    return Diverged(script.title, NONE, None, "", (), window, a.ended and b.ended, evaluations, runs, **more)


def _diverge(ladder: Ladder, traced: Traced) -> Diverged:
    ladder.say("Running the script twice as it is.")
    a, b = ladder.run(ladder.how), ladder.run(ladder.how)
    found = parted(a, b)
    blank = blank_of(traced.script, a, b, traced.runs)
    if found is None and not seen(a):
        return replace(blank, verdict=INCONCLUSIVE)
    if found is None and (pair := ladder.unsteady() if a.steps else None):
        found, (a, b) = parted(*pair), pair
    if found is None and traced.left():
        ladder.say("Running it once more with the files that it left.")
        after = traced.run(replace(ladder.how, keep=True))
        if not after.failure:  # a script may need an empty folder
            found, b = parted(a, after), after
    if found is None:
        by_chance = ladder.by_chance(a, b)
        repeated = ladder.repeated() if a.steps and not by_chance else None
        origins = by_chance or ([repeated] if repeated else [])
        if not origins:
            return replace(blank, runs=traced.runs)
        first = origins[0].parting
        blank = replace(blank, verdict=ORIGIN, step=first.step, what=first.what, origins=tuple(origins))
        return replace(blank, runs=traced.runs, chance=True)
    if a.steps and found.step < a.steps:  # steps after the one that differs are not needed
        ladder.begin(replace(ladder.how, until=found.step))
    ladder.say(f"They part at step {found.step}: {differ(found.what)}. Everything from outside is held now.")
    origins = why(ladder, a, b)
    named = [origin for origin in origins if origin.sure or origin.cause is not causes.UNKNOWN]
    verdict = ORIGIN if named else INCONCLUSIVE
    return replace(blank, verdict=verdict, origins=tuple(origins), runs=traced.runs, **found.where)


def proved(ladder: Ladder, fix: str, found: Diverged) -> Proof:
    """Run the script with a fix, often enough to see it fail.

    If an operation is the origin, operations that may add in any order are repeated with the fix as well. If the two
    runs were equal by chance, what can part them is tried with the fix as well.
    """
    ladder.say("Running the script with the fix.")
    if fix == DETERMINISTIC:
        ladder.begin(replace(ladder.how, deterministic=True, hash=0))
    else:
        ladder.begin(ladder.how)
        ladder.traced.script = Script(shlex.split(fix))
        ladder.traced.script.check()
    first, *others = [ladder.run(ladder.how) for _ in range(1 + REPEATS)]
    mended = any(parted(first, other) for other in others)
    if not mended and found.first is not None and found.first.operation is not None:
        mended = ladder.repeated() is not None
    elif not mended and found.chance:
        mended = bool(ladder.by_chance(first))
    return Proof(fix, bool(found.what), mended, 1 + REPEATS)


def why(ladder: Ladder, a: Trace, b: Trace) -> list[Origin]:
    """Find what makes two runs part, earliest first."""
    pair = ladder.unsteady()
    if pair:
        return [ladder.unexplained(*pair)]
    found = ladder.origins(ladder.kinds(a, b, ladder.control()))
    if not found and (pair := ladder.unsteady(2 * REPEATS) or ladder.apart()):
        return [ladder.unexplained(*pair)]
    return found
