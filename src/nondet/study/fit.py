"""Check whether a process may add runs to a study, and say what differs in version, task, environment or trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nondet.errors import BadInput
from nondet.study.provenance import require_same, require_same_version
from nondet.study.spec import same_trial
from nondet.study.study import Study


class Made(Protocol):
    """What a study must know about whatever makes its runs."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    sources: tuple[str, ...]
    labels: np.ndarray


def require_fit(study: Study, made: Made, environment: Mapping[str, Any]) -> None:
    """Raise BadInput, saying what differs, unless such runs made in this environment may be added to the study."""
    require_same_study(study, Study(study.folder, made.identity, tuple(made.sources), environment, made.labels))


def require_same_study(old: Study, new: Study) -> None:
    require_same_version(old.folder, old.environment)
    _require_same_task(old, new)
    require_same(old.folder, old.environment, new.environment)
    _require_same_trial(old, new)


def _require_same_task(old: Study, new: Study) -> None:
    """Raise BadInput, saying what differs, if two tasks differ; the way out is always another folder."""
    ours, theirs = new.identity, old.identity
    way_out = "start a new study with <<folder>>"
    if theirs["name"] != ours["name"]:
        raise BadInput(f"{old.folder} is a study of {theirs['name']!r}, not of {ours['name']!r}; {way_out}")
    recipes = theirs["recipe"], ours["recipe"]
    fields = [k for k in sorted({*recipes[0], *recipes[1]}) if recipes[0].get(k) != recipes[1].get(k)]
    if not fields and theirs.get("track") != ours.get("track"):
        raise BadInput(
            f"{old.folder} was made with another <<track>> (study={theirs.get('track')}, here={ours.get('track')}), "
            f"and what was not recorded during training cannot be added later; use the same, or {way_out}"
        )
    if fields:
        changes = "; ".join(f"{k} is different: study={recipes[0].get(k)}, here={recipes[1].get(k)}" for k in fields)
        raise BadInput(f"{old.folder} was made with another recipe ({changes}); use the same, or {way_out}")
    files = theirs.get("code"), ours.get("code")
    if isinstance(files[0], Mapping) and isinstance(files[1], Mapping) and files[0] != files[1]:
        changed = [name for name in sorted({*files[0], *files[1]}) if files[0].get(name) != files[1].get(name)]
        raise BadInput(
            f"a study must keep to one script, and {', '.join(changed)} has changed since {old.folder} was made; "
            f"restore it, or {way_out}"
        )
    names = {"code": "code", "data": "data", "model": "model", "augment": "augmentation", "schedule": "schedule"}
    for name, word in names.items():
        if theirs.get(name) != ours.get(name):
            raise BadInput(
                f"the {word} of task {ours['name']!r} has changed since {old.folder} was made"
                f"{_BY_ITSELF if name == 'data' else ''}; restore it, or {way_out}"
            )


_BY_ITSELF = (
    " (if nobody changed it, it differs from process to process: look for a split or shuffle without a seed, classes "
    "numbered in the order of a set, which depends on PYTHONHASHSEED, or files in the order of os.listdir, which must "
    "be sorted)"
)


def _require_same_trial(old: Study, new: Study) -> None:
    """Refuse a task whose trial steps had another result; checked last, since another environment may be the cause."""
    ours, theirs = new.identity, old.identity
    if not same_trial(theirs.get("trial"), ours.get("trial")):
        losses = [identity["trial"]["loss"] for identity in (theirs, ours)]
        raise BadInput(
            f"{old.folder} was made with another training: three trial steps of {ours['name']!r} had losses "
            f"{_listed(losses[0])} then and {_listed(losses[1])} now, so something that it imports or reads has "
            f"changed; restore it, or start a new study with <<folder>>"
        )


def _listed(numbers: Sequence[float | None]) -> str:
    return ", ".join("no number" if x is None else f"{x:.6g}" for x in numbers)
