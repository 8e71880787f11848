"""Whether a run that was found under a name is that run, and an answer to the study's test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nondet.errors import Damaged
from nondet.study.blob import Arrays

if TYPE_CHECKING:
    from nondet.study.record import Study
    from nondet.study.spec import RunSpec
    from nondet.study.store import Stored

ANSWERS = ("outputs",)
ANSWERS_TEXT = ("logprob", "prediction", "sample.logits")
AXES = {"outputs": 2, "logprob": 1, "prediction": 1, "sample.logits": 2}
"""What a run answers, of a classifier and of a language model, and its axes."""


def checked_run(study: Study, spec: RunSpec, run: Stored) -> Stored:
    """The run, whose hashes are right already: whoever seals a record can seal anything.

    Raises:
        Damaged: its record is of another run or of none, or its arrays answer another test set.
    """
    if run.record.get("run") != spec.as_dict() or "failed" not in run.record:
        raise Damaged(f"{study.store.record_path(spec.key)} is damaged: it is the record of another run, or of none")
    if run.record["failed"] is None and isinstance(run.arrays, Arrays):
        for name in ANSWERS_TEXT if study.identity["recipe"].get("bptt") else ANSWERS:
            shape = run.arrays.shapes.get(name, ())
            if len(shape) != AXES[name] or (name != "sample.logits" and shape[:1] != study.labels.shape):
                raise Damaged(
                    f"{run.arrays.path} is damaged: its {name} are no answers to {len(study.labels)} test examples "
                    f"(shape {shape})"
                )
    return run
