"""Check whether a process may add runs to a study, and say what differs in version, task, environment or trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nondet.errors import BadInput
from nondet.study.provenance import differing, unlike
from nondet.study.spec import same_trial
from nondet.study.study import Study
from nondet.version import __version__


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
    """See `require_fit`. How many runs are trained together does not matter if no kernel depends on it."""
    made_by = old.environment.get("nondet")
    if made_by != __version__:
        raise BadInput(
            f"a study must keep to one version, and {old.folder} was made by nondet {made_by}; this is nondet "
            f"{__version__}, which can read it but not add to it: install that version, or start a new study with "
            "<<folder>>"
        )
    _require_same_task(old, new)
    environments = [old.environment, new.environment]
    if all(environment.get("kernels", {}).get("width_free") for environment in environments):
        environments = [{k: v for k, v in e.items() if k != "stack"} for e in environments]
    if fields := differing(*environments):
        raise BadInput(
            f"a study must keep to one environment, and {old.folder} was made in another ({'; '.join(fields)}); "
            "restore it, or start a new study with <<folder>>"
        )
    _require_same_trial(old, new)


def _require_same_task(old: Study, new: Study) -> None:
    """Raise BadInput, saying what differs, if two tasks differ; the way out is always another folder."""
    ours, theirs = new.identity, old.identity
    way_out = "start a new study with <<folder>>"
    if theirs["name"] != ours["name"]:
        raise BadInput(f"{old.folder} is a study of {theirs['name']!r}, not of {ours['name']!r}; {way_out}")
    before, now = theirs["recipe"], ours["recipe"]
    fields = unlike(before, now)
    if not fields and theirs.get("track") != ours.get("track"):
        raise BadInput(
            f"{old.folder} was made with another <<track>> (study={theirs.get('track')}, here={ours.get('track')}), "
            f"and what was not recorded during training cannot be added later; use the same, or {way_out}"
        )
    if fields:
        changes = "; ".join(f"{k} is different: study={before.get(k)}, here={now.get(k)}" for k in fields)
        raise BadInput(f"{old.folder} was made with another recipe ({changes}); use the same, or {way_out}")
    one, other = theirs.get("code"), ours.get("code")
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one != other:
        raise BadInput(
            f"a study must keep to one script, and {', '.join(unlike(one, other))} has changed since {old.folder} was "
            f"made; restore it, or {way_out}"
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
