"""What a study found: its runs read from the store, checked, and measured condition by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nondet import __version__
from nondet.analysis.crossing import Crossing, read_crossing
from nondet.analysis.reach import UNREAD, Reach, reach_of
from nondet.analysis.runs import is_text, read_run, sound_runs
from nondet.errors import BadInput
from nondet.measures import Measures, Uncertainty, mean_uncertainty, measure, pairwise_uncertainty
from nondet.measures.language import LANGUAGE_NAMES, LanguageMeasures, measure_language, sample_tokens
from nondet.measures.similarity import cka_by_run, cka_unbiased_by_run, parameter_distance
from nondet.measures.summary import NAMES, errors_and_intervals
from nondet.stats.intervals import UNKNOWN
from nondet.study.design import Condition
from nondet.study.record import FORMAT, Study
from nondet.study.store import Stored

AnyMeasures = Measures | LanguageMeasures


def not_measured(text: bool) -> dict[str, Any]:
    """The figures of a condition with fewer than two runs that did not fail."""
    performance = "perplexity" if text else "accuracy"
    spread = {"mean": None, "sd": None, "sd_error": None}
    unknown = dict.fromkeys(LANGUAGE_NAMES if text else NAMES)
    return {
        performance: spread,
        "cross_entropy": spread,
        "disagreement": None,
        "correlation": {"pearson": None, "spearman": None},
        "ensemble_delta": {performance: None, "cross_entropy": None},
        **({} if text else {"accuracy_variance": {"total": None, "test_set": None, "training": None}}),
        "errors": unknown,
        "intervals": unknown,
    }


@dataclass(frozen=True)
class Control:
    """The repeats of the reference run, trained apart in different stacks.

    identical: whether all their files are equal to the last bit; None while there are fewer than two.
    slots: the slot of each in its stack, counted from 1. differing: which of them differ from the first, by number from
    1. largest: the largest difference of two logits.
    failed: the epoch at which the reference run failed, if it did.
    """

    runs: int
    identical: bool | None
    slots: tuple[int, ...] = ()
    differing: tuple[int, ...] = ()
    largest: float = 0.0
    failed: int | None = None
    measures: AnyMeasures | None = None


@dataclass(frozen=True)
class ConditionResult:
    """A condition: how many of its runs are there, which of them failed, and its measures if two or more did not.

    failures: number of the failed run -> epoch, both counted from 1.
    similarity: for each layer and epoch that was looked at, CKA as the mean over pairs of runs.
    distance: for each of these epochs, the mean distance of the runs' parameters to those of run 1.
    reach: whether what varies reaches the outputs.
    """

    condition: Condition
    runs: int
    failures: Mapping[int, int]
    measures: AnyMeasures | None
    similarity: tuple[Mapping[str, Any], ...] = ()
    distance: tuple[Mapping[str, Any], ...] = ()
    reach: Reach = UNREAD

    @property
    def dead(self) -> bool:
        """Whether it is known that nothing that varies here reaches an output: then no figure of it is a finding."""
        return self.reach.dead is True

    @property
    def effect(self) -> AnyMeasures | None:
        """The measures, unless they are of a dead source."""
        return None if self.dead else self.measures


@dataclass(frozen=True)
class Results:
    """examples: whether errors and intervals are of other test examples too."""

    study: Study
    control: Control
    conditions: tuple[ConditionResult, ...]
    missing: int
    crossing: Crossing | None = None
    examples: bool = False

    @property
    def dead(self) -> list[str]:
        """The names of the conditions that are known to be dead."""
        return [c.condition.name for c in self.conditions if c.dead]

    def as_dict(self) -> dict[str, Any]:
        """The JSON contract of `nondet show --json`."""
        return {
            "format": FORMAT,
            "nondet": __version__,
            "task": self.study.identity["name"],
            "recipe": dict(self.study.identity["recipe"]),
            "environment": dict(self.study.environment),
            "control": {
                "runs": self.control.runs,
                "identical": self.control.identical,
                **(
                    {"slots": list(self.control.slots), "differing": list(self.control.differing)}
                    if self.control.differing
                    else {}
                ),
            },
            "conditions": [
                {
                    "name": c.condition.name,
                    "vary": list(c.condition.vary),
                    "onset": c.condition.onset,
                    "dead": c.reach.dead,
                    "unreached": c.reach.unreached,
                    **(
                        c.measures.as_dict()
                        if c.measures
                        else {"runs": c.runs, "failed": len(c.failures), **not_measured(is_text(self.study))}
                    ),
                    **(
                        {"similarity": list(c.similarity), "distance": list(c.distance)}
                        if self.study.identity.get("track")
                        else {}
                    ),
                }
                for c in self.conditions
            ],
            **(self.crossing.as_dict() if self.crossing else {}),
            **({"until": asdict(self.study.until)} if self.study.until else {}),
        }


def read_results(study: Study, examples: bool = False) -> Results:
    """Read and measure all runs that are there; Damaged, with the way to retrain it, at the first that is not sound.

    examples: whether errors and intervals are to hold for other test examples too; BadInput for language models.
    """
    if examples and is_text(study):
        raise BadInput(
            "--examples is for classifiers, whose test examples are drawn one by one (got a language model, and the "
            "tokens of a text are not); leave it out"
        )
    planned, present = study.planned(), study.store.keys()
    stored: dict[str, Stored] = {}
    for key, spec in planned.items():
        if key in present or key in study.finished:
            stored[key] = read_run(study, spec)
    control = _control(study, stored, examples)
    conditions = tuple(_measured(study, c, stored, control.identical, examples) for c in study.conditions)
    missing, crossing = len(planned) - len(stored), read_crossing(study, stored)
    return Results(study, control, conditions, missing, crossing, examples)


def _measured(
    study: Study, condition: Condition, stored: Mapping[str, Stored], identical: bool | None, examples: bool
) -> ConditionResult:
    sound, failures = sound_runs(study, condition, stored)
    runs = list(sound.values())
    total = len(sound) + len(failures)
    reach = reach_of(study, condition, stored, identical)
    if len(sound) < 2:
        return ConditionResult(condition, total, failures, None, reach=reach)
    measures = _measures(study, runs, len(failures), examples)
    return ConditionResult(condition, total, failures, measures, *_tracked(study, runs), reach=reach)


def measured(study: Study, condition: Condition) -> AnyMeasures | None:
    """The measures of a condition's finished runs, if two or more did not fail."""
    sound, failures = sound_runs(study, condition)
    return _measures(study, list(sound.values()), len(failures)) if len(sound) >= 2 else None


def _measures(study: Study, runs: Sequence[Stored], failed: int, examples: bool = False) -> AnyMeasures:
    if not is_text(study):
        return measure(_stacked(runs, "outputs"), study.labels, failed, examples)
    return measure_language(
        _stacked(runs, "logprob"),
        _stacked(runs, "prediction"),
        _stacked(runs, "sample.logits"),
        study.labels[sample_tokens(len(study.labels))],
        failed,
    )


def _tracked(study: Study, runs: Sequence[Stored]) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """Similarity by layer and epoch, and the parameters' distance by epoch, each with errors and intervals over runs.

    A distance is a mean over the other runs, run 1 being as it is. NaN is None.
    """
    track = study.identity.get("track", {"epochs": [], "layers": []})
    similarity: list[Mapping[str, Any]] = []
    distance: list[Mapping[str, Any]] = []
    for epoch in track["epochs"]:
        for layer in track["layers"]:
            name = f"track.{epoch}.layer.{layer}"
            if name in runs[0].arrays:
                seen = _stacked(runs, name)
                rows = {"cka": cka_by_run(seen), "cka_unbiased": cka_unbiased_by_run(seen)}
                found = {kind: pairwise_uncertainty(by_run, distance_from=1.0) for kind, by_run in rows.items()}
                figures = {kind: _number(float(by_run.mean())) for kind, by_run in rows.items()}
                similarity.append({"layer": layer, "epoch": epoch, **figures, **errors_and_intervals(found)})
        if f"track.{epoch}.parameters" in runs[0].arrays:
            l2, cosine = parameter_distance(_stacked(runs, f"track.{epoch}.parameters"))
            others = {"l2": l2[1:], "cosine": cosine[1:]}
            figures = {kind: _number(float(values.mean())) for kind, values in others.items()}
            found = {kind: _of_mean(values) for kind, values in others.items()}
            distance.append({"epoch": epoch, **figures, **errors_and_intervals(found)})
    return tuple(similarity), tuple(distance)


def _of_mean(values: np.ndarray) -> Uncertainty:
    return mean_uncertainty(values) if len(values) > 1 and np.isfinite(values).all() else UNKNOWN


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _stacked(runs: Sequence[Stored], name: str) -> np.ndarray:
    return np.stack([run.arrays[name] for run in runs])  # (N, ...)


def _control(study: Study, stored: Mapping[str, Stored], examples: bool) -> Control:
    runs = [stored[key] for key in study.control_specs() if key in stored]
    if len(runs) < 2:
        return Control(len(runs), None, failed=runs[0].record["failed"] if runs else None)
    digests = [run.record["blob"]["sha256"] for run in runs]
    slots = tuple(int(run.record["slot"]) + 1 for run in runs if "slot" in run.record)
    differing = tuple(number for number, digest in enumerate(digests, start=1) if digest != digests[0])
    sound = [run for run in runs if run.record["failed"] is None]
    if len(sound) < 2:
        return Control(len(runs), not differing, slots, differing, failed=runs[0].record["failed"])
    outputs = _stacked(sound, "sample.logits" if is_text(study) else "outputs")
    return Control(
        runs=len(runs),
        identical=not differing,
        slots=slots,
        differing=differing,
        largest=float(np.abs(outputs - outputs[0]).max()),
        measures=_measures(study, sound, 0, examples),
    )
