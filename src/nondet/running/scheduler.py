"""Which runs are missing, and in which order they are made: stack by stack, each by whoever claims it first."""

from __future__ import annotations

import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nondet.errors import BadInput
from nondet.runners.base import Enough, Places, Runner, TooWide
from nondet.running.advice import go_on
from nondet.running.proof import Proof
from nondet.sources import FIXED_SEED
from nondet.study.mirror import claiming, mirror_of, own_order
from nondet.study.spec import Outcome, RunSpec
from nondet.study.states import Seal, snapshot_name
from nondet.study.study import Study


@dataclass(frozen=True)
class Watcher:
    """Who is told how far the work is.

    on_epoch: the run-epochs done of the stack in hand; 0 when it is in the store. on_wait: that there is nothing to do
    but to wait for others.
    """

    on_epoch: Callable[[int], None] = lambda done: None
    on_wait: Callable[[], None] = lambda: None


POLL_SECONDS = 0.5
"""Between looks at what other processes have made."""


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

    Runs that another process is making are left to it, and waited for. Stacks that do not fit into the memory are made
    half as wide from there on, if the runner can do that without another bit.

    Args:
        proof: this process's, where it comes back for more.
        stacks: it leaves after so many. wait: without it, it leaves when others make all that is left.

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
                elif work.trunk_is_due and take(study.trunk_key):
                    maker.trunk()
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
    """The runs that are not there yet, in the order of the plan.

    Nothing here grows with the number of runs but the first look: a stack costs what its runs cost, and those that
    others are at work on. stack_of: of a study in a bucket, the runs that have one lease, by key.
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
            self.in_own_order(platform.node())

    def in_own_order(self, machine: str) -> None:
        """Take the stacks in an order of this machine's own, so that not all machines ask for the same ones first."""
        for keys in self.others.values():
            place = {name: n for n, name in enumerate(own_order({self.stack_of[key] for key in keys}, machine))}
            for key in sorted(keys, key=lambda key: place[self.stack_of[key]]):
                keys.move_to_end(key)

    @property
    def done(self) -> bool:
        """Whether all runs are there, and all trunks that others fork from."""
        return not self.control and not any(self.others.values()) and not self.study.lacking_trunks()

    @property
    def trunk_is_due(self) -> bool:
        """Whether a trunk is lacking that no run of the control will leave any more."""
        return not self.control and bool(self.study.lacking_trunks())

    def next_stack(self, take: Callable[[str], bool], width: int | None = None) -> list[RunSpec]:
        """The next runs that are free: one of the control, as long as there are any, and others; none if none is.

        At most `width` of them, the study's if left out.

        All of one family: runs with a late onset fork from one trunk, which comes first. The same runs missing give the
        same stack, so that an interrupted command finds its snapshot again.
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
        """Note that these are there."""
        for spec in specs:
            self.control.pop(spec.key, None)
            self.others.get(spec.family, OrderedDict()).pop(spec.key, None)

    def _taken(self, keys: OrderedDict[str, int], take: Callable[[str], bool], count: int) -> list[str]:
        """The first so many that are not there by now and that nobody else has taken; what is there is dropped."""
        there_is = self.study.store.has
        taken: list[str] = []
        there: list[str] = []
        for key in keys:
            if len(taken) == count:
                break
            free = not there_is(key) and take(key)
            if there_is(key):  # perhaps finished by another between the two
                there.append(key)
            elif free:
                taken.append(key)
        for key in there:
            del keys[key]
        return taken


def stacks_of(study: Study) -> dict[str, str]:
    """By key the run that a lease is named by: the first of those that are planned beside it. None for the control."""
    control, families = study.control_specs(), dict[tuple[int, bool], list[str]]()
    for key, spec in study.specs().items():
        if key not in control:
            families.setdefault(spec.family, []).append(key)
    return {key: keys[n - n % study.width] for keys in families.values() for n, key in enumerate(keys)}


@dataclass(frozen=True)
class _Maker:
    """Makes one stack of a study after the other. width: of a stack; the study's, unless that does not fit here."""

    study: Study
    runner: Runner
    watcher: Watcher
    proof: Proof
    width: int

    def stack(self, specs: Sequence[RunSpec]) -> Sequence[RunSpec]:
        """Make these runs together and keep them; those of them that were kept.

        The control's first stack leaves the trunks that others need. A process that has not proved itself carries the
        reference run beside them, and keeps nothing unless it is the stored one to the last bit.
        """
        study = self.study
        specs, beside = self._with_proof(specs)
        slots, runs = self._slots([*specs, *beside]), len(specs)
        onset, deterministic = specs[0].family
        begin = datetime.now(UTC)
        snapshot = _snapshot_path(study, slots)
        control = [slot for slot, spec in enumerate(slots) if set(spec.seeds.values()) == {FIXED_SEED}]
        places = Places(
            snapshot=snapshot,
            fork=study.trunk_path(onset) if onset else None,
            trunks=study.lacking_trunks() if control and deterministic and not onset else {},
            trunk_slot=control[0] if control else 0,
            seal=_seal(study, slots),
            folder=study.folder,
            onset=onset,
        )
        outcomes = self.runner.produce(
            [spec.seeds for spec in slots], places, lambda epoch: self.watcher.on_epoch(epoch * runs)
        )
        if control and self.proof.needed(study, self.runner.repeats):
            self._prove(outcomes[control[0]], [*places.trunks.values(), snapshot])
        _keep(study, slots, [spec.key for spec in specs], outcomes, begin)
        self.proof.given |= study.reference.key in {spec.key for spec in specs}
        snapshot.unlink(missing_ok=True)
        self.watcher.on_epoch(0)
        return specs

    def trunk(self) -> None:
        """Make the reference run once more, as far as the latest trunk that is lacking: its own stack is done already.

        As far as its end, where this process must prove itself by it.
        """
        study = self.study
        trunks, unproved = study.lacking_trunks(), self.proof.needed(study, self.runner.repeats)
        slots = [study.reference] * self.width

        def stop(epoch: int) -> None:
            self.watcher.on_epoch(0)
            if epoch >= max(trunks, default=0) and not unproved:
                raise Enough

        with suppress(Enough):
            places = Places(trunks=trunks, seal=_seal(study, slots), folder=study.folder)
            outcomes = self.runner.produce([spec.seeds for spec in slots], places, stop)
            if unproved:
                self._prove(outcomes[0], [*trunks.values()])

    def _with_proof(self, specs: Sequence[RunSpec]) -> tuple[Sequence[RunSpec], Sequence[RunSpec]]:
        """The runs to keep of a stack, and the reference run beside them where this process must prove itself by it.

        A run of the control among them proves it as well. Where the reference run has no place beside them, or an
        interrupted process left a snapshot of just these, it is made first, by itself.
        """
        study = self.study
        control = study.control_specs()
        if not self.proof.needed(study, self.runner.repeats) or any(spec.key in control for spec in specs):
            return specs, ()
        _, deterministic = specs[0].family
        if self.width > 1 and deterministic and not _snapshot_path(study, self._slots(specs)).exists():
            return specs[: self.width - 1], (study.reference,)
        slots = self._slots([study.reference])
        self.watcher.on_epoch(0)
        places = Places(seal=_seal(study, slots), folder=study.folder)
        self._prove(self.runner.produce([spec.seeds for spec in slots], places, lambda epoch: None)[0], [])
        return specs, ()

    def _slots(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """A full stack; without copies where no bit depends on the width."""
        return _slots(specs, len(specs) if self.study.width_free else self.width)

    def _prove(self, outcome: Outcome, left: Sequence[Path]) -> None:
        """Take a proof; where it fails, what its stack has left on the disk goes."""
        try:
            self.proof.take(self.study, outcome)
        except BadInput:
            for path in left:
                path.unlink(missing_ok=True)
            raise


def _slots(specs: Sequence[RunSpec], width: int) -> list[RunSpec]:
    """A full stack: these runs, then copies of the first; rotated, so that the control's runs take different slots."""
    padded = [*specs, *[specs[0]] * (width - len(specs))]
    shift = specs[0].repeat % len(padded)
    return padded[len(padded) - shift :] + padded[: len(padded) - shift]


def _snapshot_path(study: Study, slots: Sequence[RunSpec]) -> Path:
    """Where a stack's snapshot stands: it is named by its runs and their slots."""
    return study.folder / "partial" / f"{snapshot_name([spec.key for spec in slots])}.snapshot"


def _seal(study: Study, slots: Sequence[RunSpec]) -> Seal:
    """What names the snapshots and trunks of a stack, and the trunk it forks from."""
    return Seal(tuple(s.key for s in slots), study.reference.key, slots[0].onset, study.environment)


def _keep(
    study: Study, slots: Sequence[RunSpec], chosen: Sequence[str], outcomes: Sequence[Outcome], begin: datetime
) -> None:
    """Write a stack's outcomes, each run once, with what is known of its making in its record."""
    end, command = datetime.now(UTC), go_on(study)
    by_key = {spec.key: (slot, spec, outcome) for slot, (spec, outcome) in enumerate(zip(slots, outcomes, strict=True))}
    records = {
        key: {
            "run": by_key[key][1].as_dict(),
            "failed": by_key[key][2].failed,
            "facts": dict(by_key[key][2].facts),
            "environment": dict(study.environment),
            "slot": by_key[key][0],
            "stack_runs": len(chosen),
            "seconds": round((end - begin).total_seconds() / len(chosen), 3),
            "started": begin.isoformat(timespec="seconds"),
            "ended": end.isoformat(timespec="seconds"),
            "host": platform.node(),
            "command": command,
        }
        for key in chosen
    }
    study.store.put_all({key: (by_key[key][2].arrays, record) for key, record in records.items()})
