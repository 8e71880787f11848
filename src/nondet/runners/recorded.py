"""Keep runs that were made elsewhere, by a user's own sweep, in a study one by one."""

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
from nondet.study.design import Condition
from nondet.study.spec import RunSpec
from nondet.study.study import RECORDED, Study
from nondet.version import __version__


class Recorded:
    """A run in progress. Report what it leaves as it goes; nondet keeps it when the block ends."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.values: dict[str, float] = {}
        self.curves: dict[str, list[float]] = {}

    def outputs(self, outputs: Any, labels: Any) -> None:
        """Report the test set's logits `(n, c)` or predicted classes `(n,)`, and its labels `(n,)`."""
        try:
            self.arrays = {"outputs": as_array(outputs), "labels": as_array(labels)}
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"outputs and labels must be arrays of numbers (got something else: {error}); fix them"
            ) from None

    def scores(self, **scores: float) -> None:
        """Report numbers by name, such as accuracy=93.1.

        If one is reported again and again, such as once an epoch, the last value counts, and all values are its curve.
        """
        for name, value in scores.items():
            try:
                self.values[name] = float(value)
            except (TypeError, ValueError):
                raise BadInput(f"a score must be one number (got {name}={value!r}); give its mean") from None
            self.curves.setdefault(name, []).append(self.values[name])


class _Elsewhere(Observed):
    """The runner of a study of such runs."""

    def environment(self, width: int) -> dict[str, Any]:
        return {"nondet": __version__, "device": "cpu", "stack": width}


@contextmanager
def record_run(folder: str | Path, condition: str = "all", *, seeds: Mapping[str, int]) -> Generator[Recorded]:
    """Keep a run of your own sweep in a study. The first run creates the study; several processes may add runs at once.

    >>> with nondet.record_run("studies/mine", condition="all", seeds={"seed": 3}) as run:  # doctest: +SKIP
    ...     run.outputs(logits, labels)

    If the block raises an error, the run is kept as failed, with only that error, and the error is raised again.

    Args:
        folder: the study's. condition: what varies between the runs; the name of their row in the table.
        seeds: this run's seed for each source; all runs of the study must name the same sources.

    Raises:
        BadInput: the run does not match the runs before it, or another run has these seeds.
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
        raise BadInput(f"seeds must map sources to whole numbers from 0 (got {dict(seeds)!r}); try {{'seed': 3}}")
    if not all(map(is_name, condition.split("+"))):
        raise BadInput(f"a condition's name must be letters, digits, _, . and - (got {condition!r}); choose another")
    return tuple(sorted(seeds.items()))


def _keep(place: Path, condition: str, given: tuple[tuple[str, int], ...], made: Made, begin: datetime) -> None:
    runner = _runner(place, given, made)
    outcome = runner.outcome(made)
    study = studies.open_study(
        place, runner, runner.environment(1), [Condition(condition, tuple(dict(given)), 1, 0, (given,))]
    )
    spec = RunSpec(study.identity, dict(given))
    if study.store.record_path(spec.key).exists():
        study.store.get(spec.key)  # which is checked
        if not study.store.equals(spec.key, outcome):
            raise BadInput(
                f"a run must have its own seeds, and {place} has a different run with {dict(given)}: something varies "
                "that these seeds do not name; record it with other seeds, or in a new study"
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


def _runner(place: Path, given: tuple[tuple[str, int], ...], made: Made) -> _Elsewhere:
    """Return the runner of this run and those before it; BadInput if it does not match them."""
    sources = [name for name, _ in given]
    if (place / "study.json").exists():
        study: Study = studies.load(place)
        if RECORDED not in study.identity:
            raise BadInput(
                f"the study must consist of recorded runs (got {place}, whose runs nondet made); choose another"
            )
        if sorted(study.sources) != sources:
            raise BadInput(
                f"seeds must be for {', '.join(study.sources)} in all runs of {place} (got {dict(given)}); give those, "
                "or record the run in another study"
            )
        runner = _Elsewhere(study.identity["name"], study.identity, study.sources, study.labels)
        misfit = "" if made.failure else runner.misfit(made)
        if misfit:
            raise BadInput(f"a run must match those before it, but {misfit}; record it in another study")
        return runner
    way_out = "call run.outputs(outputs, labels), or run.scores(accuracy=...), inside the block"
    identity, labels = described(place.name, {"epochs": 1}, "", made, way_out)
    return _Elsewhere(place.name, {**identity, RECORDED: True}, sources, labels)
