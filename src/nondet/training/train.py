"""From seeds to outcomes: train a stack from its start, from a trunk, or from where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED
from nondet.study.spec import WEIGHTS_LIMIT, Outcome
from nondet.study.states import NAMELESS, Seal
from nondet.training import averages, device, selection, snapshots
from nondet.training import examples as classify
from nondet.training import sequences as text
from nondet.training import track as tracking
from nondet.training.batches import each, some
from nondet.training.new_stack import new_stack
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem
from nondet.training.recipes import Plateau, is_plateau
from nondet.training.recorded import recorder
from nondet.training.settings import kernels
from nondet.training.stack import Seeds, Stack


def train_stack(
    problem: Problem,
    seeds: Sequence[Seeds],
    *,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    snapshot: Path | None = None,
    snapshot_seconds: float = snapshots.SECONDS,
    fork: Path | None = None,
    trunks: Mapping[int, Path] | None = None,
    trunk_slot: int = 0,
    seal: Seal = NAMELESS,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Outcome]:
    """Train one run for each entry of seeds (source -> seed), all together, and return their outcomes in that order.

    on_epoch: called with the number of finished epochs.
    snapshot: a file to which the state is written every `snapshot_seconds` and at a stop. Training continues from this
        file if it exists; delete it once the outcomes are safe.
    fork: a trunk's file; every run starts from it, and its seeds apply from there on.
    trunks: epoch -> file: where to save the state of the run in `trunk_slot` after that epoch, as a trunk for others.
    seal: identifies these runs and trunks in snapshot and trunk files; a file with another seal is not loaded.
    say: called with one sentence for each thing that a user should know about the training.
    """
    if problem.state or is_plateau(problem.recipe):  # no snapshot contains these: an interrupted stack starts again
        snapshot = None
    wanted = dict(trunks or {})
    deterministic = all(run.get("kernels", FIXED_SEED) == FIXED_SEED for run in seeds)
    with kernels(deterministic, problem.tf32):
        stack = start(problem, seeds) if fork is None else forked(problem, seeds, fork, seal)
        state = None if snapshot is None else snapshots.load_snapshot(snapshot, seal.of_snapshot())
        if state is not None:
            stack.restore(state)
        stack.recorder = recorder(problem, stack.width)
        on_epoch(stack.epoch)

        def save() -> None:
            if snapshot is not None:
                snapshots.save_snapshot(snapshot, stack.state, seal.of_snapshot() | {"epoch": stack.epoch})

        due = snapshots.Due(save, snapshot_seconds, wanted=snapshot is not None)
        with device.training(problem, stack, seeds, say) as on_device, due:
            plateau = Plateau(problem.recipe) if is_plateau(problem.recipe) else None
            while stack.epoch < problem.recipe.epochs and not selection.all_stopped(stack):
                with due.epoch():
                    if on_device is None:
                        feed(problem).train_epoch(problem, stack, seeds)
                    else:
                        on_device()
                    _after_epoch(problem, stack)
                    selection.after_epoch(problem, stack, seeds)
                    if plateau is not None:
                        stack.factor = plateau.after(stack)
                    if stack.epoch in wanted:
                        save_trunk(stack, trunk_slot, wanted.pop(stack.epoch), seal.of_trunk(stack.epoch))
                on_epoch(stack.epoch)
                due.now_and_then()
        for epoch, path in wanted.items():
            if epoch > stack.epoch:  # all runs failed before then, so the trunk and its forks fail too
                save_trunk(stack, trunk_slot, path, seal.of_trunk(epoch))
        return _outcomes(problem, stack)


def feed(problem: Problem) -> ModuleType:
    """Return the module that trains an epoch of such a task and computes its outputs."""
    return text if problem.recipe.bptt else classify


def start(problem: Problem, seeds: Sequence[Seeds]) -> Stack:
    """Return a new stack, and keep whatever is to be kept from its start."""
    stack = new_stack(problem, seeds)
    averages.begin(problem.recipe, stack)
    selection.begin(problem, stack)
    _look(problem, stack)
    return stack


def save_trunk(stack: Stack, slot: int, path: Path, seal: Mapping[str, Any]) -> None:
    """Save one run's state as a trunk, with all that `forked` needs."""
    if not path.exists() and not snapshots.save_snapshot(path, snapshots.slot_of(stack.state, slot), seal):
        raise BadInput("an onset needs an optimizer whose state is only tensors and numbers; choose SGD, Adam or AdamW")


def forked(problem: Problem, seeds: Sequence[Seeds], trunk: Path, seal: Seal = NAMELESS) -> Stack:
    """Return a stack in which every run starts from a trunk; a run's bit is changed there, if any training follows."""
    state = snapshots.load_snapshot(trunk, seal.of_fork())
    if state is None:
        raise BadInput(
            f"{trunk} is damaged, or not the trunk that these runs fork from; remove it, and it will be trained again"
        )
    stack = new_stack(problem, [{**run, "init": FIXED_SEED, "bit": FIXED_SEED} for run in seeds])
    stack.restore(snapshots.widened(state, stack.width))
    if stack.epoch < problem.recipe.epochs:
        parameters = stack.parameters
        for slot, run in enumerate(seeds):
            mine = {name: parameters[name][slot] for name, _ in stack.skeleton.named_parameters()}
            change = change_bit(
                mine, run.get("bit", FIXED_SEED), problem.recipe.bit, problem.reached, problem.recipe.amp
            )
            stack.facts[slot] |= {"bit": asdict(change)} if change else {}
    return stack


def _after_epoch(problem: Problem, stack: Stack) -> None:
    averages.after_epoch(problem.recipe, stack)
    _look(problem, stack)
    cycle = problem.recipe.epochs // problem.recipe.cycles
    if problem.recipe.cycles > 1 and stack.epoch % cycle == 0:
        number = stack.epoch // cycle
        stack.kept[f"member{number}.outputs"] = classify.evaluate(problem, stack)
        stack.kept |= {f"member{number}.{name}": w for name, w in _weights(stack).items()}


def _look(problem: Problem, stack: Stack) -> None:
    if problem.track and stack.epoch in problem.track.epochs:
        index = tracking.probe(len(problem.test[1]))
        probe = each(lambda t: t.to(problem.device), some(problem.test[0], index))
        labels = problem.test[1][torch.from_numpy(index)]
        stack.kept |= tracking.look(stack, problem.objective, problem.track, probe, labels)


def _outcomes(problem: Problem, trained: Stack) -> list[Outcome]:
    stack = selection.finished(problem, trained)
    left, finite = feed(problem).outputs(problem, stack)
    left |= _weights(stack)
    for kind in averages.kinds(problem.recipe):
        mean = averages.averaged(stack, kind)
        if kind == "swa" and mean.buffers:
            feed(problem).refresh_statistics(problem, mean)
        outputs, sound = feed(problem).outputs(problem, mean)
        finite = finite & sound
        left |= {f"{kind}.{name}": array for name, array in (outputs | _weights(mean)).items()}
    if problem.recipe.cycles > 1:
        members = [stack.kept.pop(f"member{k + 1}.outputs", left["outputs"]) for k in range(problem.recipe.cycles)]
        mean = torch.stack([member.double() for member in members]).mean(0)
        left["outputs"], finite = mean.to(left["outputs"].dtype), finite & mean.isfinite().flatten(1).all(1)
    left |= stack.kept
    stack.failed[(stack.failed == 0) & ~finite] = stack.epoch
    return [_outcome(stack, left, run, failed) for run, failed in enumerate(stack.failed.tolist())]


def _outcome(stack: Stack, left: Mapping[str, Tensor], run: int, failed: int) -> Outcome:
    # A failed run's curves end where it failed, even if the stack trained longer for the other runs.
    arrays: dict[str, np.ndarray] = {f"curves.{n}": c[run, : failed or None].numpy() for n, c in stack.curves.items()}
    if not failed:
        arrays |= {name: array[run].numpy() for name, array in left.items()}
    return Outcome(arrays, failed or None, stack.facts[run])


def _weights(stack: Stack) -> dict[str, Tensor]:
    """Return every run's parameters and buffers on the CPU, if one run's take less than WEIGHTS_LIMIT bytes.

    numpy has no bfloat16, so such weights become float32, which is exact. A complex number becomes two real ones.
    """
    weights = stack.weights
    if sum(w[0].numel() * w.element_size() for w in weights.values()) >= WEIGHTS_LIMIT:
        return {}
    plain = {name: w.float() if w.dtype == torch.bfloat16 else snapshots.real(w) for name, w in weights.items()}
    return {f"weights.{name}": w.detach().to("cpu", copy=True) for name, w in plain.items()}
