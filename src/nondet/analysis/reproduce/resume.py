"""Whether a training that stops and resumes equals one without a stop, and if not, which state is lost."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from nondet.analysis.reproduce.causes import place
from nondet.analysis.reproduce.ladder import finished
from nondet.analysis.reproduce.parting import parted
from nondet.errors import BadInput
from nondet.records import Record, finding
from nondet.runners.script import Script
from nondet.runners.traced import How, Trace, Traced

STATES = ("weights", "optimizer", "schedule", "scaler", "averages", "generator", "sampler position", "order of data")
"""In this order: losing one changes those after it."""

LASTING = ("optimizer", "schedule", "scaler", "averages")
"""States that matter even if the weights are equal so far.

A scale is a power of two, and a schedule's next step may be far off. Running statistics and averages of the weights
(`averages`) are for evaluation.
"""

MENDS = {
    "weights": "save model.state_dict(), and load it",
    "optimizer": "save optimizer.state_dict(), and load it",
    "schedule": "save the schedule's state_dict(), and load it",
    "scaler": "save scaler.state_dict(), and load it",
    "averages": "save the state_dict() of each model and of each average of its weights, and load them",
    "generator": "save the generators' states (torch.get_rng_state(), numpy.random.get_state(), random.getstate())",
    "sampler position": "save how far the epoch has got, and skip as many batches",
    "order of data": "save the state of what draws the order, and restore it before the loader starts",
}


@dataclass(frozen=True)
class Difference:
    """A state that differs. step: of the whole training, from 0; the state first differs before it."""

    state: str
    step: int

    @property
    def mend(self) -> str:
        return MENDS[self.state]


@dataclass(frozen=True, repr=False)
class Resumed(Record):
    """How a resumed training differs from one without a stop.

    verdict: resumes, differs or inconclusive. differences: the states that differ, earliest first. steps: k, before the
    stop. saved: FILE:LINE where the state is saved. equal: whether the weights are equal so far. start: the step at
    which the state was saved: k, or an earlier one. why: why the verdict is inconclusive.
    """

    script: str
    verdict: str
    differences: tuple[Difference, ...]
    steps: int
    saved: str = ""
    equal: bool = False
    start: int = 0
    why: str = ""
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        differences = [
            {"state": one.state, "step": one.step, **place(self.saved), "mend": one.mend} for one in self.differences
        ]
        first = differences[0] if differences else {}
        return {
            "format": 1,
            "script": self.script,
            "verdict": self.verdict,
            "state": first.get("state"),
            "step": first.get("step"),
            **place(self.saved),
            "steps": self.steps,
            "window": [0, 2 * self.steps - 1],
            "differences": differences,
            "sentence": self.sentence,
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        return {name: [getattr(one, name) for one in self.differences] for name in ("state", "step")}


def resume_check(script: Script, steps: int, resume: str, say: Callable[[str], None]) -> Resumed:
    """Compare 2k steps with k, a stop, and k more.

    resume: the words that replace `{resume}` when it resumes.
    """
    counts = any("{steps}" in word for word in script.words)
    with closing(Traced(script)) as traced:
        if steps < 1:
            raise BadInput(f"<<steps>> must be at least 1 (got {steps}); try <<steps=4>>")

        def part(until: int, words: str = "", keep: bool = False) -> Trace:
            traced.script = _worded(script, until, words)
            trace = traced.run(How("states", None if counts else until - 1, pins={}, hash=0, keep=keep))
            return finished(trace, f"the {'resumed part' if keep else 'script'} must finish, but it did not")

        say(f"Running {2 * steps} steps without a stop, twice.")
        whole, again = part(2 * steps), part(2 * steps)
        blank = Resumed(script.title, "inconclusive", (), steps)
        if whole.steps != 2 * steps:
            why = f"the script takes {whole.steps} training steps instead of the {2 * steps} that were asked for"
            fewer = f"try <<steps={max(1, whole.steps // 2)}>>"
            counted = "put {steps} where the script takes their number, or leave it out"
            return replace(blank, why=f"{why}; {counted if counts else fewer}")
        if parted(whole, again):
            return replace(blank, why="two runs without a stop already part; nondet diverge says why")
        say(f"Running {steps} steps, a stop, and {steps} more.")
        first = part(steps)
        saved = next((r[2] for r in reversed(first.of("file")) if r[1] == "save"), "")
        if not saved and not traced.left():
            why = f"the script saved no file in its first {steps} steps; try <<steps={2 * steps}>>"
            return replace(blank, why=why)
        rest = part(2 * steps, resume, keep=True)
        if not rest.steps:
            return replace(blank, saved=saved, why="the resumed part takes no training step")
        start = resumed_at(whole, rest, steps)
        found, equal = differences(whole, rest, start), weights_equal(whole, rest, start)
        verdict = "differs" if found else "resumes"
        return replace(blank, verdict=verdict, differences=tuple(found), saved=saved, equal=equal, start=start)


def _worded(script: Script, number: int, resume: str) -> Script:
    words: list[str] = []
    for word in script.words:
        if word == "{resume}":
            words += shlex.split(resume)
        else:
            words.append(word.replace("{steps}", str(number)).replace("{resume}", resume))
    return replace(script, command=tuple(words), arguments=())


def resumed_at(whole: Trace, rest: Trace, steps: int) -> int:
    """Return the step at which a resumed training starts: the last one up to the stop whose weights it starts with.

    If it starts with none of these, or with the initial weights, that is the stop.
    """
    mine, theirs = _by_step(whole, "states"), _by_step(rest, "states")
    start = theirs.get(0, {}).get("weights")
    return next((step for step in range(steps, 0, -1) if mine.get(step, {}).get("weights") == start), steps)


def differences(whole: Trace, rest: Trace, steps: int) -> list[Difference]:
    """Return the states that differ between the rest of a training and its resumed rest, earliest first.

    steps: where the resumed rest starts.
    """
    mine, theirs, batches, others = (_by_step(trace, kind) for kind in ("states", "batch") for trace in (whole, rest))
    found: dict[str, int] = {}
    for step in range(whole.steps - steps):
        a, b = mine.get(steps + step, {}), theirs.get(step, {})
        for state in STATES[:6]:
            if _lacks(state, a.get(state), b.get(state)):
                found.setdefault(state, step)
        batch = others.get(step)
        if batch and batch != batches.get(steps + step):
            again = batch == batches.get(step) and step + steps > 0 and "generator" not in found
            found.setdefault("sampler position" if again else "order of data", step)
    if not _data_part(whole, rest, steps):  # nothing is drawn from a generator that differs
        found.pop("generator", None)
    if weights_equal(whole, rest, steps):  # what is lost shows later
        found = {state: step for state, step in found.items() if state in LASTING}
    first = min(found.values(), default=0)
    ordered = sorted(found.items(), key=lambda one: (one[1], STATES.index(one[0])))
    return [Difference(state, steps + step) for state, step in ordered if step == first or state != "weights"]


def _lacks(state: str, whole: str | None, rest: str | None) -> bool:
    """Whether a resumed training lacks a state; a model that it has besides, say to load weights, is no lack."""
    if state == "averages":
        return bool(Counter((whole or "").split()) - Counter((rest or "").split()))
    return whole != rest


def weights_equal(whole: Trace, rest: Trace, steps: int) -> bool:
    """Whether the weights after each resumed step equal those of a training without a stop."""
    mine, theirs = _by_step(whole, "weights"), _by_step(rest, "weights")
    return all(mine.get(steps + step) == theirs.get(step) for step in range(whole.steps - steps))


def _data_part(whole: Trace, rest: Trace, steps: int) -> bool:
    """Whether anything drawn in a step differs: the batch, or the model's output for it with equal weights."""
    mine, theirs, batches, others, outputs, answers = (
        _by_step(trace, kind) for kind in ("states", "batch", "output") for trace in (whole, rest)
    )
    for step in range(whole.steps - steps):
        if batches.get(steps + step) != others.get(step):
            return True
        if mine.get(steps + step, {}).get("weights") != theirs.get(step, {}).get("weights"):
            return False
        if outputs.get(steps + step) != answers.get(step):
            return True
    return False


def _by_step(trace: Trace, kind: str) -> dict[int, Any]:
    """Return what a run recorded of a kind in each step: the state, or a list of digests."""
    found: dict[int, Any] = {}
    for _, step, value, *_ in trace.of(kind):
        if kind == "states":
            found[step] = value
        else:
            found.setdefault(step, []).append(value)
    return found
