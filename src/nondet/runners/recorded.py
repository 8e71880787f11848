"""Runs that were made elsewhere, by a user's own sweep: kept in a study one by one."""

from __future__ import annotations

import platform
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.io.plain import plain
from nondet.runners.observed import Made, Observed, described
from nondet.script.left import as_array
from nondet.sources import is_name
from nondet.study import record as studies
from nondet.study.blob import Arrays
from nondet.study.design import Condition
from nondet.study.spec import RunSpec
from nondet.study.study import RECORDED, Study
from nondet.version import __version__


class Recorded:
    """A run that is being made: what it leaves is said by and by, and kept once its block ends."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.values: dict[str, float] = {}
        self.curves: dict[str, list[float]] = {}

    def outputs(self, outputs: Any, labels: Any) -> None:
        """Logits of the test set `(n, c)`, or predicted classes `(n,)`; and its labels `(n,)`."""
        try:
            self.arrays = {"outputs": as_array(outputs), "labels": as_array(labels)}
        except (TypeError, ValueError) as error:
            raise BadInput(f"outputs and labels must be arrays of numbers (got others: {error}); mend them") from None

    def scores(self, **scores: float) -> None:
        """Numbers by name, such as accuracy=93.1; of one that is said again, once an epoch, the last counts, and all of
        them are its curve."""
        for name, value in scores.items():
            try:
                self.values[name] = float(value)
            except (TypeError, ValueError):
                raise BadInput(f"a score must be one number (got {name}={value!r}); give its mean") from None
            self.curves.setdefault(name, []).append(self.values[name])


class _Elsewhere(Observed):
    """What a study of such runs is made of."""

    def environment(self, width: int) -> dict[str, Any]:
        return {"nondet": __version__, "device": "cpu", "stack": width}


@contextmanager
def record_run(folder: str | Path, condition: str = "all", *, seeds: Mapping[str, int]) -> Generator[Recorded]:
    """Keep a run of your own sweep in a study, which the first one makes; several processes may at once.

    >>> with nondet.record_run("studies/mine", condition="all", seeds={"seed": 3}) as run:  # doctest: +SKIP
    ...     run.outputs(logits, labels)

    A block that ends by an error keeps nothing but that, as a run that failed, and the error goes on.

    Args:
        folder: the study's. condition: what varies between its runs, as a row of the table is called.
        seeds: of this run, by source; the same sources in all runs of the study.

    Raises:
        BadInput: what the run leaves is not like the runs before it, or another run has these seeds.
    """
    place = Path(folder)
    given = _checked(condition, seeds)
    run, begin = Recorded(), datetime.now(UTC)
    try:
        yield run
    except Exception as error:
        if (place / "study.json").exists():
            _keep(place, condition, given, Made({}, {}, {}, f"{type(error).__name__}: {plain(str(error))}"), begin)
        raise
    curves = {name: values for name, values in run.curves.items() if len(values) > 1}
    _keep(place, condition, given, Made(run.arrays, run.values, {}, curves=curves), begin)


def _checked(condition: str, seeds: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    if not all(is_name(name) and type(seed) is int and 0 <= seed < 2**63 for name, seed in seeds.items()) or not seeds:
        raise BadInput(f"seeds must be whole numbers of at least 0 by source (got {dict(seeds)!r}); try {{'seed': 3}}")
    if not all(map(is_name, condition.split("+"))):
        raise BadInput(f"a condition must be letters, digits, _, . and - (got {condition!r}); choose another name")
    return tuple(sorted(seeds.items()))


def _keep(place: Path, condition: str, given: tuple[tuple[str, int], ...], made: Made, begin: datetime) -> None:
    runner = _runner(place, given, made)
    outcome = runner.outcome(made)
    study = studies.open_study(
        place, runner, runner.environment(1), [Condition(condition, tuple(dict(given)), 1, 0, (given,))]
    )
    spec = RunSpec(study.identity, dict(given))
    path = study.store.record_path(spec.key)
    if path.exists():
        kept = study.store.get(spec.key)
        if (kept.record["failed"], _bytes(kept.arrays)) != (outcome.failed, _bytes(outcome.arrays)):
            raise BadInput(
                f"a run must have seeds of its own, and {place} has another one with {dict(given)}: record it under "
                "others, or in a new study, for something varies that these seeds do not name"
            )
        return
    record = {
        "run": spec.as_dict(),
        "failed": outcome.failed,
        "facts": dict(outcome.facts),
        "environment": dict(study.environment),
        "seconds": round((datetime.now(UTC) - begin).total_seconds(), 3),
        "started": begin.isoformat(timespec="seconds"),
        "host": platform.node(),
        "command": "nondet.record_run",
    }
    study.store.put(spec.key, outcome.arrays, record)


def _bytes(arrays: Mapping[str, np.ndarray] | Arrays) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(arrays[name]).tobytes() for name in arrays}


def _runner(place: Path, given: tuple[tuple[str, int], ...], made: Made) -> _Elsewhere:
    """What this run and those before it are of; BadInput if it is not like them."""
    sources = [name for name, _ in given]
    if (place / "study.json").exists():
        study: Study = studies.load(place)
        if RECORDED not in study.identity:
            raise BadInput(f"a study must be of runs recorded so (got {place}, whose runs nondet made); name another")
        if sorted(study.sources) != sources:
            raise BadInput(f"seeds must be of {', '.join(study.sources)} in all runs of {place} (got {dict(given)})")
        runner = _Elsewhere(study.identity["name"], study.identity, study.sources, study.labels)
        misfit = "" if made.failure else runner.misfit(made)
        if misfit:
            raise BadInput(f"a run must be like those before it, and {misfit}; record it in another study")
        return runner
    way_out = "call run.outputs(outputs, labels), or run.scores(accuracy=...), inside the block"
    identity, labels = described(place.name, {"epochs": 1}, "", made, way_out)
    return _Elsewhere(place.name, {**identity, RECORDED: True}, sources, labels)
