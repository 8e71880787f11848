"""What 0.1 wrote and printed is read today: its studies, its run keys, its JSON. See tests/fixtures/0.1/README.md."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nondet.study.spec import RunSpec

Nondet = Callable[..., Any]

HERE = Path(__file__).parent / "fixtures" / "0.1"
STUDIES = sorted(path.name for path in (HERE / "kept").iterdir())
PRINTED = sorted(path.stem for path in (HERE / "printed").iterdir())
PROSE = ("sentence", "notes")
"""Fields for people, whose wording may change."""

MENDED = {
    "plan": ("sd", "sd_interval", "runs_per_arm_low", "runs_per_arm_high"),
    "compare": ("sd",),
    "show-until": ("intervals",),
}
"""Fields whose numbers are others now: plans and comparisons have the SD of `show` for the same runs, and its interval;
intervals after a stopping rule are wider."""

REFUSED = {"alike": "at least 5 sound runs each besides the reference run"}
"""What takes more runs now than these studies have."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands were given in the folder of the fixtures, and print its paths."""
    monkeypatch.chdir(HERE)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


IN_THE_LAST_DIGIT = ({"order", "bit"}, {"correlation.pearson", "ensemble_delta.cross_entropy"})
"""Conditions of kept/images that differ from the control in a last digit alone, and figures that are rounding there."""


def is_rounding(old: Any, new: Any) -> bool:
    """Whether all that a value says is left over from rounding, which processors do in ways of their own.

    It is an interval of no difference at all, or a pair of effects of which one is of the last digit.
    """
    if old is None and isinstance(new, list):
        return max(map(abs, new)) < 1e-13
    if isinstance(old, dict) and "ratio" in old:
        same = all(new[name] == old[name] for name in ("a", "b", "metric"))
        return same and old["metric"] in IN_THE_LAST_DIGIT[1] and bool({old["a"], old["b"]} & IN_THE_LAST_DIGIT[0])
    return False


def kept(old: Any, new: Any, place: str) -> None:
    """Every old field is there with its old value; new fields may stand beside. Numbers may round otherwise."""
    if is_rounding(old, new):
        return
    assert isinstance(new, type(old)) or (isinstance(old, float) and isinstance(new, int)), place
    if isinstance(old, dict):
        for name, value in old.items():
            assert name in new, f"{place}.{name}"
            mended = [field for start, fields in MENDED.items() if place.startswith(start) for field in fields]
            if name not in (*PROSE, *mended):
                kept(value, new[name], f"{place}.{name}")
    elif isinstance(old, list):
        assert len(new) == len(old), place
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            kept(a, b, f"{place}[{number}]")
    elif isinstance(old, float):
        assert new == pytest.approx(old, rel=1e-9, abs=1e-9), place
    else:
        assert new == old, place


@pytest.mark.parametrize("name", PRINTED)
def test_the_json_of_0_1(nondet: Nondet, name: str) -> None:
    """Each command prints what 0.1.0 printed, field by field."""
    golden = json.loads((HERE / "printed" / f"{name}.json").read_text())
    ran = nondet(*golden["command"], "--json")
    if name in REFUSED:
        assert (ran.code, REFUSED[name] in ran.err) == (2, True)
        return
    assert ran.code == 0, ran.err
    kept(golden["printed"], ran.json, name)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_0_1_is_sound(nondet: Nondet, name: str) -> None:
    """`verify` finds nothing wrong with it, and no table misses a run that is there: keys are what they were."""
    ran = nondet("verify", f"kept/{name}")
    assert ran.code == 0, ran.err
    for form in ((), ("--markdown",), ("--latex",)):
        shown = nondet("show", f"kept/{name}", *form)
        assert shown.code == 0, shown.err
        assert ("Not finished: 13 runs" in shown.err) == (name == "stopped")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if i % 4 else []) for i, n in enumerate(STUDIES)]
)
def test_the_page_of_a_study_of_0_1(nondet: Nondet, tmp_path: Path, name: str) -> None:
    """`report` makes its page."""
    ran = nondet("report", f"kept/{name}", "--out", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert (tmp_path / "page.html").read_text().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("name", STUDIES)
def test_run_keys_of_0_1(name: str) -> None:
    """A run's key, computed from what it is, is the name of its files; they are all there, and no others."""
    task = json.loads((HERE / "kept" / name / "study.json").read_text())["task"]
    runs = json.loads((HERE / "keys.json").read_text())[name]
    for key, run in runs.items():
        assert RunSpec(task, run["seeds"], run["onset"], run["repeat"]).key == key
    files = {path.name for path in (HERE / "kept" / name / "runs").iterdir()}
    assert files == {f"{key}.{ending}" for key in runs for ending in ("json", "safetensors")}


@pytest.mark.parametrize("name", STUDIES)
def test_nothing_is_added_to_a_study_of_0_1(nondet: Nondet, tmp_path: Path, name: str) -> None:
    """`run` with the command that made it refuses, names both versions, and leaves every byte as it was."""
    import nondet as package

    folder = Path(shutil.copytree(HERE / "kept" / name, tmp_path / "study"))
    before = everything(folder)
    ran = nondet(*json.loads((folder / "study.json").read_text())["command"][1:], "--study", folder)
    assert ran.code == 2
    assert f"made by nondet 0.1.0; this is nondet {package.__version__}" in " ".join(ran.err.split())
    assert everything(folder) == before
