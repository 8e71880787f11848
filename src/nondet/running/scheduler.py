"""Find the missing runs, and make them in order: stack by stack, each by whoever claims it first."""

from __future__ import annotations

import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.runners.base import Enough, OnEpoch, Places, Runner, TooWide
from nondet.running.advice import go_on
from nondet.running.proof import Proof
from nondet.sources import FIXED_SEED
from nondet.study.mirror import claiming, mirror_of, own_order
from nondet.study.spec import Outcome, RunSpec
from nondet.study.states import Seal, snapshot_name
from nondet.study.study import Study


@dataclass(frozen=True)
class Watcher:
    """Functions that are called as the work goes on.

    on_epoch: with the run-epochs done of the current stack, and 0 once it is in the store. on_wait: when there is
    nothing to do but wait for others.
    """

    on_epoch: Callable[[int], None] = lambda done: None
    on_wait: Callable[[], None] = lambda: None


POLL_SECONDS = 0.5
"""The time between looks at what other processes have made."""


def make_missing(
    study: Study,
    runner: Runner,
    watcher: Watcher | None = None,
    proof: Proof | None = None,
    *,
    stacks: int | None = None,
    wait: bool = True,
) -> int:
    """Make every planned run that is not in the store, and every trunk that is lost, until all are there.

    Runs that another process is making are left to it, and waited for. If a stack does not fit into memory, all stacks
    from there on are half as wide, provided that the runner can do that without changing a bit.

    Args:
        proof: this process's, if it calls this more than once.
        stacks: leave after this many. wait: if false, leave when others are making all that is left.

    Returns:
        How many runs this process has made.
    """
    watcher, work = watcher or Watcher(), Missing(study)
    maker = _Maker(study, runner, watcher, proof or Proof(), study.width)
    runs = made = 0
    while not work.done and made != stacks:
        with claiming(study.folder, work.stack_of) as take:
            chosen = work.next_stack(take, maker.width)
            try:
                if chosen:
                    kept = maker.stack(chosen)
                    work.drop(kept)
                    runs, made = runs + len(kept), made + 1
                elif not work.control and study.lacking_trunks() and take(study.trunk_key):
                    maker.trunk()  # no control run is left that would leave it
                    made += 1
                elif not work.done:
                    if not wait:
                        break
                    watcher.on_wait()
                    time.sleep(POLL_SECONDS)
                    if (mirror := mirror_of(study.folder)) is not None:
                        mirror.keys()  # what others have put there by now
            except TooWide:
                if maker.width == 1:
                    raise
                maker = replace(maker, width=maker.width // 2)
    return runs


class Missing:
    """The runs that are not there yet, in the planned order.

    Only the first look takes longer the more runs there are. After that, the cost of a stack depends only on its own
    runs and on those that others are working on. stack_of: for a study in a bucket, the run that names the lease of
    each run, by key.
    """

    def __init__(self, study: Study) -> None:
        self.study, present = study, study.store.keys()
        control = study.control_specs()
        self.control: OrderedDict[str, int] = OrderedDict((key, 0) for key in control if key not in present)
        self.others: dict[tuple[int, bool], OrderedDict[str, int]] = {}
        for number, (key, spec) in enumerate(study.specs().items()):
            if key not in control and key not in present:
                self.others.setdefault(spec.family, OrderedDict())[key] = number
        self.stack_of = stacks_of(study) if mirror_of(study.folder) is not None else {}
        if self.stack_of:
            # Machines do not all ask for the same stack: each takes them in an order of its own.
            place = {name: n for n, name in enumerate(own_order({*self.stack_of.values()}, platform.node()))}
            for keys in self.others.values():
                for key in sorted(keys, key=lambda key: place[self.stack_of[key]]):
                    keys.move_to_end(key)

    @property
    def done(self) -> bool:
        """Whether all runs are there, and all trunks that runs fork from."""
        return not self.control and not any(self.others.values()) and not self.study.lacking_trunks()

    def next_stack(self, take: Callable[[str], bool], width: int | None = None) -> list[RunSpec]:
        """Return the next runs that are free: one control run, as long as there are any, and others. Empty if none is.

        There are at most `width` of them; by default, the study's width.

        All are of one family, because runs with a late onset fork from one trunk, which comes first. The same missing
        runs give the same stack, so an interrupted command finds its snapshot again.
        """
        planned, lacking = self.study.planned(), self.study.lacking_trunks()
        width = width or self.study.width
        chosen = self._taken(self.control, take, 1)
        if chosen:
            families = [planned[chosen[0]].family]
        else:
            waiting = {family: keys for family, keys in self.others.items() if keys and family[0] not in lacking}
            families = sorted(waiting, key=lambda family: next(iter(waiting[family].values())))
        for family in families:
            chosen += self._taken(self.others.get(family, OrderedDict()), take, width - len(chosen))
            if chosen:
                break
        return [planned[key] for key in chosen]

    def drop(self, specs: Sequence[RunSpec]) -> None:
        """Note that these runs are there."""
        for spec in specs:
            self.control.pop(spec.key, None)
            self.others.get(spec.family, OrderedDict()).pop(spec.key, None)

    def _taken(self, keys: OrderedDict[str, int], take: Callable[[str], bool], count: int) -> list[str]:
        """Take the first `count` runs that are missing and that nobody else has taken; drop those that are there."""
        there_is = self.study.store.has
        taken: list[str] = []
        there: list[str] = []
        for key in keys:
            if len(taken) == count:
                break
            free = not there_is(key) and take(key)
            if there_is(key):  # another process may have finished it in between
                there.append(key)
            elif free:
                taken.append(key)
        for key in there:
            del keys[key]
        return taken


def stacks_of(study: Study) -> dict[str, str]:
    """Map each run to the one that names its lease: the first of its planned stack. Control runs are left out."""
    control, families = study.control_specs(), dict[tuple[int, bool], list[str]]()
    for key, spec in study.specs().items():
        if key not in control:
            families.setdefault(spec.family, []).append(key)
    return {key: keys[n - n % study.width] for keys in families.values() for n, key in enumerate(keys)}


@dataclass(frozen=True)
class _Maker:
    """Makes the stacks of a study one by one. width: of a stack; the study's, unless that does not fit here."""

    study: Study
    runner: Runner
    watcher: Watcher
    proof: Proof
    width: int

    def stack(self, specs: Sequence[RunSpec]) -> Sequence[RunSpec]:
        """Make these runs together, and return those that were kept.

        The control's first stack leaves the trunks that others need. A process that has not proved itself also trains
        the reference run in the stack, and keeps nothing unless that equals the stored one to the last bit.
        """
        study = self.study
        specs, beside = self._with_proof(specs)
        slots, runs = self._slots([*specs, *beside]), len(specs)
        onset, deterministic = specs[0].family
        begin = datetime.now(UTC)
        snapshot = _snapshot_path(study, slots)
        control = [slot for slot, spec in enumerate(slots) if set(spec.seeds.values()) == {FIXED_SEED}]
        trunks = study.lacking_trunks() if control and deterministic and not onset else {}
        outcomes = self._outcomes(
            slots,
            lambda epoch: self.watcher.on_epoch(epoch * runs),
            snapshot=snapshot,
            fork=study.trunk_path(onset) if onset else None,
            trunks=trunks,
            trunk_slot=control[0] if control else 0,
            onset=onset,
        )
        if control and self.proof.needed(study, self.runner.repeats):
            self._prove(outcomes[control[0]], [*trunks.values(), snapshot])
        _keep(study, slots, [spec.key for spec in specs], outcomes, begin)
        self.proof.given |= study.reference.key in {spec.key for spec in specs}
        snapshot.unlink(missing_ok=True)
        self.watcher.on_epoch(0)
        return specs

    def trunk(self) -> None:
        """Repeat the reference run up to the latest missing trunk, because its own stack is done already.

        If this process must prove itself with it, the run goes on to its end.
        """
        study = self.study
        trunks, unproved = study.lacking_trunks(), self.proof.needed(study, self.runner.repeats)
        slots = [study.reference] * self.width

        def stop(epoch: int) -> None:
            self.watcher.on_epoch(0)
            if epoch >= max(trunks, default=0) and not unproved:
                raise Enough

        with suppress(Enough):
            outcomes = self._outcomes(slots, stop, trunks=trunks)
            if unproved:
                self._prove(outcomes[0], [*trunks.values()])

    def _with_proof(self, specs: Sequence[RunSpec]) -> tuple[Sequence[RunSpec], Sequence[RunSpec]]:
        """Return the runs of a stack to keep, and the reference run if this process must prove itself with it.

        A control run among them is a proof as well. If the stack has no room for the reference run, or an interrupted
        process left a snapshot of exactly these runs, the reference run is made first, by itself.
        """
        study = self.study
        control = study.control_specs()
        if not self.proof.needed(study, self.runner.repeats) or any(spec.key in control for spec in specs):
            return specs, ()
        _, deterministic = specs[0].family
        if self.width > 1 and deterministic and not _snapshot_path(study, self._slots(specs)).exists():
            return specs[: self.width - 1], (study.reference,)
        self.watcher.on_epoch(0)
        self._prove(self._outcomes(self._slots([study.reference]), lambda epoch: None)[0], [])
        return specs, ()

    def _outcomes(self, slots: Sequence[RunSpec], on_epoch: OnEpoch, **places: Any) -> list[Outcome]:
        """Make a stack's runs. What they leave half-trained is sealed with what identifies them."""
        study = self.study
        seal = Seal(tuple(s.key for s in slots), study.reference.key, slots[0].onset, study.environment)
        where = Places(seal=seal, folder=study.folder, **places)
        return self.runner.produce([spec.seeds for spec in slots], where, on_epoch)

    def _slots(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Return a full stack: these runs, then copies of the first, unless no bit depends on the width.

        They are rotated so that control runs take different slots.
        """
        padded = [*specs] if self.study.width_free else [*specs, *[specs[0]] * (self.width - len(specs))]
        shift = specs[0].repeat % len(padded)
        return padded[len(padded) - shift :] + padded[: len(padded) - shift]

    def _prove(self, outcome: Outcome, left: Sequence[Path]) -> None:
        """Take a proof; if it fails, delete what its stack left on the disk."""
        try:
            self.proof.take(self.study, outcome)
        except BadInput:
            for path in left:
                path.unlink(missing_ok=True)
            raise


def _snapshot_path(study: Study, slots: Sequence[RunSpec]) -> Path:
    return study.folder / "partial" / f"{snapshot_name([spec.key for spec in slots])}.snapshot"


def _keep(
    study: Study, slots: Sequence[RunSpec], chosen: Sequence[str], outcomes: Sequence[Outcome], begin: datetime
) -> None:
    """Write a stack's outcomes, each run once, with a record of how it was made."""
    end, command = datetime.now(UTC), go_on(study)
    slot_of = {spec.key: slot for slot, spec in enumerate(slots)}
    runs: dict[str, tuple[Mapping[str, np.ndarray], dict[str, Any]]] = {}
    for slot in (slot_of[key] for key in chosen):
        spec, outcome = slots[slot], outcomes[slot]
        runs[spec.key] = (
            outcome.arrays,
            {
                "run": spec.as_dict(),
                "failed": outcome.failed,
                "facts": dict(outcome.facts),
                "environment": dict(study.environment),
                "slot": slot,
                "stack_runs": len(chosen),
                "seconds": round((end - begin).total_seconds() / len(chosen), 3),
                "started": begin.isoformat(timespec="seconds"),
                "ended": end.isoformat(timespec="seconds"),
                "host": platform.node(),
                "command": command,
            },
        )
    study.store.put_all(runs)
