"""Keep a change, discard it, or run it again: one candidate after another against a baseline, looked at after each run.

As long as a candidate runs, it is tested with evidence that may be looked at as often as you like
(`nondet.stats.evidence`). Each candidate has its own level, and the levels of all possible candidates sum to alpha.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nondet.analysis.numbers import Numbers
from nondet.errors import BadInput
from nondet.io.ledger import FORMAT, Ledger, opened
from nondet.measures.figure import Score
from nondet.records import Record, finding, picked
from nondet.stats.evidence import fixed_runs, log_evidence
from nondet.stats.spread import sd_of
from nondet.stats.values import Floats
from nondet.version import __version__

Verdict = Literal["keep", "discard", "run again"]

ALPHA = 0.05
POWER = 0.8
"""A change that is better by the effect is discarded with a chance of at most 1 - POWER, or because of the limit."""

FEWEST = 2
"""Runs of a candidate before it can be kept: one run shows nothing of its SD."""

LONGER = 2
"""The limit is this multiple of the runs that a test of fixed size needs."""

SEARCHED = 1000


@dataclass(frozen=True, repr=False)
class Gate(Record):
    """What to do with a candidate now.

    Attributes:
        verdict: "keep", "discard" or "run again". why: for "discard", "evidence" or "limit"; else empty.
        base, candidate: names. number: of the candidate in the ledger, from 1. runs, base_runs: how many there are.
        metric: the number that is compared, and score, how it is written.
        difference: mean of the candidate's runs - mean of the baseline's.
        evidence: the e-value that the candidate is better. threshold: what it must reach to be kept, 1 / level.
        alpha: of the ledger. level: this candidate's share of it.
        effect: the improvement that must not be missed. limit: runs after which the candidate is discarded.
        more_runs: how many more a test of fixed size would need to find the effect; None if no number would do.
        seal: the SHA-256 of the ledger's last line. new: whether this call added it.
        notes: what else a reader must know. sentence: the verdict in words.
    """

    verdict: Verdict
    why: str
    base: str
    candidate: str
    number: int
    runs: int
    base_runs: int
    metric: str
    score: Score
    difference: float
    evidence: float
    threshold: float
    alpha: float
    level: float
    effect: float
    limit: int
    more_runs: int | None
    ledger: str
    seal: str
    new: bool
    notes: tuple[str, ...] = ()
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = picked(self, "verdict candidate number runs base_runs metric difference evidence threshold alpha level")
        found |= picked(self, "effect limit more_runs ledger seal")
        return {**found, "notes": list(self.notes), "sentence": self.sentence, **finding(self)}

    def tidy(self) -> dict[str, list[Any]]:
        """One row."""
        names = ("candidate", "number", "runs", "base_runs", "difference", "evidence", "threshold", "verdict")
        return {name: [getattr(self, name)] for name in names}


def level_of(number: int, alpha: float) -> float:
    """Return the level of a candidate by its number, from 1: `alpha / (number (number + 1))`. These sum to alpha."""
    return alpha / (number * (number + 1))


def gate(
    base: Numbers,
    new: Numbers,
    ledger: Path,
    *,
    name: str | None = None,
    alpha: float | None = None,
    effect: float | None = None,
    limit: int | None = None,
) -> Gate:
    """Decide on a candidate, and write the decision into the ledger; see `nondet.gate`.

    A decision on a name is final. BadInput if numbers cannot be compared or are not those of the ledger, or alpha
    differs from its own.
    """
    _check(base, new, alpha, effect, limit)
    with opened(ledger) as book:
        terms = _terms(book, base, alpha)
        return _decided(book, terms, base, new, name or new.name, effect, limit)


def _check(base: Numbers, new: Numbers, alpha: float | None, effect: float | None, limit: int | None) -> None:
    if alpha is not None and not 0 < alpha < 0.5:
        raise BadInput(f"<<alpha>> must be above 0 and below 0.5 (got {alpha}); try <<alpha=0.05>>")
    if effect is not None and not 0 < effect < math.inf:
        raise BadInput(f"<<effect>> must be above 0 (got {effect}); give the smallest improvement that matters")
    if limit is not None and limit < FEWEST:
        raise BadInput(f"<<limit>> must be at least {FEWEST} runs (got {limit}); try <<limit=20>>")
    if len(base.values) < 2 or not sd_of(base.values).value:
        raise BadInput(
            f"the baseline must have at least 2 runs that differ, to show how much runs vary (got {len(base.values)}"
            f" in {base.name}); add repeats of it"
        )
    if not len(new.values):
        raise BadInput(f"the candidate must have at least 1 run (got none in {new.name}); run it")
    if base.metric and new.metric and base.metric != new.metric:
        raise BadInput(
            f"the baseline and the candidate must have the same metric (got {base.metric!a} and {new.metric!a}); name "
            "it with <<metric>>"
        )
    if base.score.better != new.score.better:
        raise BadInput(
            f"the baseline and the candidate must be judged in the same way (got {base.metric!a} and {new.metric!a}, "
            "one of which is better when lower); say which is meant with <<better=lower>>"
        )
    if Counter(new.values.tolist()) == Counter(base.values.tolist()):
        raise BadInput(
            f"the candidate must have its own runs (got the same {len(new.values)} as in the baseline); give those"
        )


def _terms(book: Ledger, base: Numbers, alpha: float | None) -> Mapping[str, Any]:
    """Return the ledger's first line, written now if there is none."""
    if not book.lines:
        return book.add(
            {
                "ledger": "nondet",
                "format": FORMAT,
                "nondet": __version__,
                "alpha": ALPHA if alpha is None else alpha,
                "better": "higher" if base.score.better > 0 else "lower",
                "metric": base.metric,
            }
        )
    terms = book.lines[0]
    if alpha is not None and alpha != terms["alpha"]:
        raise BadInput(
            f"<<alpha>> must be that of the ledger, {terms['alpha']:g} (got {alpha:g}): it applies to all candidates "
            "in it; leave it out, or start another ledger"
        )
    if (base.score.better > 0) != (terms["better"] == "higher"):
        raise BadInput(
            f"the ledger counts {terms['better']} scores as better (got the reverse); give <<better={terms['better']}>>"
        )
    if base.metric and terms["metric"] and base.metric != terms["metric"]:
        raise BadInput(
            f"the ledger is for {terms['metric']!a} (got {base.metric!a}); start another ledger for another metric"
        )
    return terms


def _decided(
    book: Ledger,
    terms: Mapping[str, Any],
    base: Numbers,
    new: Numbers,
    name: str,
    effect: float | None,
    limit: int | None,
) -> Gate:
    looks = book.lines[1:]
    own = [line for line in looks if line["candidate"] == name]
    if own:
        last = own[-1]
        for told, before, what in ((new.values, last["values"], "candidate"), (base.values, last["base"], "baseline")):
            if last["verdict"] == "run again" or what == "candidate":
                _check_kept(told, before, name, what)
        if last["verdict"] != "run again":
            return _record(book, base, new, last, new_line=False)
        for argument, value in (("effect", effect), ("limit", limit)):
            if value is not None and value != last[argument]:
                raise BadInput(
                    f"<<{argument}>> of a candidate must stay the same as at first, {last[argument]:g} (got {value:g});"
                    " leave it out"
                )
        number, effect, limit = last["number"], last["effect"], last["limit"]
    else:
        number = len({line["candidate"] for line in looks}) + 1
    level = level_of(number, terms["alpha"])
    effect = sd_of(base.values).value if effect is None else effect
    if limit is None:
        fixed = _fixed(base.values, effect, level)
        limit = LONGER * max(FEWEST, len(base.values) if fixed is None else fixed)
    if own and len(own[-1]["values"]) == len(new.values) and len(own[-1]["base"]) == len(base.values):
        return _record(book, base, new, own[-1], new_line=False)
    found = {
        "candidate": name,
        "number": number,
        **_look(base.score.better * base.values, base.score.better * new.values, level, effect, limit),
        "level": level,
        "effect": effect,
        "limit": limit,
        "baseline": base.name,
        "base": base.values.tolist(),
        "values": new.values.tolist(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return _record(book, base, new, book.add(found), new_line=True)


def _look(base: Floats, new: Floats, level: float, effect: float, limit: int) -> dict[str, Any]:
    """Return the verdict on scores of which higher ones are better."""
    better = log_evidence(base, new)
    not_enough = log_evidence(-base - effect, -new)  # that the improvement is below the effect
    found: tuple[Verdict, str] = ("run again", "")
    if better >= -math.log(level) and len(new) >= FEWEST:
        found = "keep", ""
    elif not_enough >= -math.log(1 - POWER):
        found = "discard", "evidence"
    elif len(new) >= limit:
        found = "discard", "limit"
    return {"verdict": found[0], "why": found[1], "evidence": math.exp(min(better, 700.0))}


def _fixed(base: Floats, effect: float, level: float) -> int | None:
    return fixed_runs(effect / sd_of(base).value, len(base), level, POWER, SEARCHED)


def _check_kept(told: Floats, before: list[float], name: str, what: str) -> None:
    """Refuse runs that leave out some that were seen before."""
    missing = Counter(before) - Counter(told.tolist())
    if missing:
        raise BadInput(
            f"all runs of the {what} that were seen before must stay ({name!a} had {len(before)} at the last look, of "
            f"which {sum(missing.values())} are no longer there, such as {next(iter(missing)):g}); give all of them, "
            "or give another candidate its own name with <<name>>"
        )


def _record(book: Ledger, base: Numbers, new: Numbers, line: Mapping[str, Any], *, new_line: bool) -> Gate:
    names, kept = ("verdict", "why", "candidate", "number", "evidence", "level", "effect", "limit"), line["values"]
    again = line["verdict"] == "run again"
    fixed = _fixed(base.values, line["effect"], line["level"]) if again else None
    return Gate(
        **{name: line[name] for name in names},
        base=line["baseline"],
        runs=len(kept),
        base_runs=len(line["base"]),
        metric=new.metric or base.metric,
        score=base.score,
        difference=sum(kept) / len(kept) - sum(line["base"]) / len(line["base"]),
        threshold=1 / line["level"],
        alpha=book.lines[0]["alpha"],
        more_runs=None if fixed is None else max(1, fixed - len(new.values)),
        ledger=str(book.path),
        seal=book.seal,
        new=new_line,
        notes=tuple(dict.fromkeys((*base.notes, *new.notes))),
    )
