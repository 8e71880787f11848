"""`nondet stabilize`: the studies that it needs, trained or found, and every method's measures from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nondet.analysis.reader import control_is_zero
from nondet.analysis.remedies.kept import sound_runs
from nondet.analysis.remedies.methods import Method, OnProgress, biased, methods
from nondet.errors import BadInput
from nondet.records import Record, finding, stacked
from nondet.study.record import load
from nondet.study.study import Study
from nondet.tasks import Recipe, names
from nondet.training.problem import Problem

CYCLES = 5
"""Members of the accelerated ensemble, as in the protocol."""

EMA = 0.99
SWA_SHARE = 4
"""SWA averages over the last one of so many equal parts of the epochs."""


@dataclass(frozen=True, repr=False)
class Stabilized(Record):
    """What `nondet stabilize` shows.

    methods: in the table's order, the single model first. left_out: a sentence for each method that is left out.
    identical: whether the control of every study is zero.
    """

    methods: tuple[Method, ...]
    left_out: tuple[str, ...]
    identical: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of `nondet stabilize --json`."""
        found = {"methods": [m.to_dict() for m in self.methods], "left_out": list(self.left_out)}
        notes = biased(self.methods)
        return found | ({"notes": notes} if notes else {}) | finding(self)

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each method and measure, including `reduction`."""
        tables: list[tuple[str, dict[str, list[Any]]]] = []
        for m in self.methods:
            last = {"figure": "reduction", **m.reduction.to_dict()}
            tables.append((m.name, {name: [*rows, last[name]] for name, rows in m.measures.tidy().items()}))
        return stacked("method", tables)


def stabilize(
    target: str,
    *,
    is_task: bool,
    folder: Path,
    assignments: Mapping[str, str],
    recipe_of: Callable[[], Recipe],
    train: Callable[[Path, dict[str, str]], Study],
    problem_of: Callable[[Study], Problem],
    kind_of: Callable[[], str] = lambda: "classification",
    cycles: int = CYCLES,
    on_progress: OnProgress = lambda what, done, total: None,
    workers: int | None = None,
) -> Stabilized:
    """Measure the methods of a task, or those of a finished study from what it kept.

    target: a task's name or file; or the folder of a study, or the one that an earlier command made for a task.
    is_task: whether it names a task.
    folder: where a task's two studies are, in `single` and `accelerated`; not used if the target is a study.
    assignments: the fields that the user set. recipe_of(): the task's recipe with them. kind_of(): its kind.
    train(folder, assignments): the finished study of the task with these fields set. problem_of(study): its task,
    on its device. on_progress, workers: see `methods`.
    """
    if is_task:
        single, accelerated = _trained(folder, assignments, recipe_of(), kind_of, train, cycles)
    else:
        single, accelerated = _found(Path(target))
    runs = sound_runs(single)
    answers = None if accelerated is None else sound_runs(accelerated)
    found, left_out = methods(runs, answers, problem_of(single), on_progress, workers)
    identical = all(control_is_zero(study) for study in (single, accelerated) if study is not None)
    return Stabilized(tuple(found), tuple(left_out), identical)


def _trained(
    folder: Path,
    assignments: Mapping[str, str],
    recipe: Recipe,
    kind_of: Callable[[], str],
    train: Callable[[Path, dict[str, str]], Study],
    cycles: int,
) -> tuple[Study, Study]:
    """Train both studies of a task; everything that can be refused is refused before the first one."""
    if recipe.bptt:
        _require_classes("language")
    _require_classes(kind_of())
    if cycles < 2:
        raise BadInput(f"cycles must be at least 2 to make an ensemble (got {cycles}); the protocol uses {CYCLES}")
    if recipe.cycles > 1:
        raise BadInput(f"stabilize sets cycles by itself (got a recipe with {recipe.cycles}); give <<cycles>> instead")
    in_cycles = {"cycles": str(cycles), "ema": "0", "swa": "0"}
    recipe.set(in_cycles)  # refuses epochs that are not a multiple
    single = {
        **assignments,
        **({} if recipe.ema or "ema" in assignments else {"ema": str(EMA)}),
        **({} if recipe.swa or "swa" in assignments else {"swa": str(max(1, recipe.epochs // SWA_SHARE))}),
    }
    return train(folder / "single", single), train(folder / "accelerated", {**assignments, **in_cycles})


def _require_classes(kind: str) -> None:
    if kind != "classification":
        raise BadInput(
            f"stabilize compares ensembles of classifiers (got kind {kind}); for other kinds compare two recipes: run "
            "the task, run it with another <<recipe=lr=0.01>> into another <<folder>>, and give both studies to "
            "`nondet compare`"
        )


def _found(folder: Path) -> tuple[Study, Study | None]:
    """Load the study in a folder, or the two studies in a folder of `stabilize`."""
    if not folder.is_dir():
        raise BadInput(
            f"stabilize needs a task ({', '.join(names())}, or a .py file) or a study's folder (got {str(folder)!r})"
        )
    pair = folder / "single", folder / "accelerated"
    both = all((part / "study.json").exists() for part in pair)
    single, accelerated = (load(pair[0]), load(pair[1])) if both else (load(folder), None)
    _require_classes(
        "language" if single.identity["recipe"].get("bptt") else single.identity.get("kind", "classification")
    )
    if single.identity["recipe"].get("cycles", 1) > 1:
        raise BadInput(
            f"stabilize compares with the single model (got accelerated ensembles in {folder}); give their task"
        )
    same = ("name", "code", "data", "model", "augment")
    if accelerated is not None and any(single.identity[k] != accelerated.identity[k] for k in same):
        raise BadInput(f"both studies in {folder} must be of one task, but they are not; give the task again")
    return single, accelerated
