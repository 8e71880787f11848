"""The Python API from a `Task` that no file holds: each record says what its command says, and prints and tabulates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from conftest import Ran
from torch import nn

import nondet as nd

Nondet = Callable[..., Ran]


def make() -> nd.Task:
    """Blurred spots on the left or on the right, for a linear model: a second of training."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(160, 1, 8, 8, generator=draws)
    labels = (images.mean((1, 2, 3)) > 0).long()

    def model() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

    return nd.Task(
        name="spots",
        model=model,
        train=(images[:100], labels[:100]),
        test=(images[100:], labels[100:]),
        recipe=nd.Recipe(epochs=4, batch_size=25, lr=0.1),
        augment=(nd.Crop(1), nd.Flip()),
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> nd.OpenStudy:
    torch.set_num_threads(1)
    return nd.run(make(), runs=6, vary=["init", "shuffle", "all"], folder=tmp_path_factory.mktemp("program") / "spots")


CALLS: dict[str, tuple[Callable[[nd.OpenStudy], Any], Callable[[Path], list[object]]]] = {
    "show": (nd.show, lambda folder: ["show", folder]),
    "show --examples": (lambda study: nd.show(study, examples=True), lambda folder: ["show", folder, "--examples"]),
    "compare": (
        lambda study: nd.compare(study["init"], study["all"], margin=2),
        lambda folder: ["compare", f"{folder}:init", f"{folder}:all", "--margin", 2],
    ),
    "plan": (
        lambda study: nd.plan(1.0, pilot=study["all"]),
        lambda folder: ["plan", "--study", f"{folder}:all", "--effect", 1],
    ),
    "alike": (nd.alike, lambda folder: ["alike", folder]),
    "unstable": (lambda study: nd.unstable(study["all"], top=5), lambda folder: ["examples", folder, "--top", 5]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_record_says_what_its_command_says(nondet: Nondet, study: nd.OpenStudy, name: str) -> None:
    """`to_dict()` is what the command prints with --json; `repr` what it prints without, its warnings below."""
    call, command = CALLS[name]
    found, words = call(study), command(study.folder)
    assert nondet(*words, "--json").json == found.to_dict()
    ran, printed = nondet(*words), repr(found)
    assert printed.startswith(ran.out)
    assert printed.removeprefix(ran.out).split() == ran.err.split()


def records(study: nd.OpenStudy) -> dict[str, Any]:
    found = {name: call(study) for name, (call, _) in CALLS.items()}
    return {**found, "measure": nd.measure(study["all"]), "stabilize": nd.stabilize(study)}


def test_records_are_tables_and_pages(study: nd.OpenStudy) -> None:
    """Every record has a tidy table that Arrow takes, with equal columns, and a form for notebooks that is HTML."""
    for name, found in records(study).items():
        columns = found.tidy()
        assert len({len(column) for column in columns.values()}) == 1, name
        table = pyarrow.table(found)
        assert (table.column_names, table.to_pydict()) == (list(columns), columns), name
        page = found._repr_html_()
        assert page.startswith("<div>"), name
        assert page.endswith("</div>"), name
        assert page.count("<table>") == page.count("</table>"), name


def test_measures_of_runs_and_of_arrays(nondet: Nondet, study: nd.OpenStudy, tmp_path: Path) -> None:
    """Runs, their arrays, tensors and a file of them have the same figures; each is an estimate."""
    runs = study["all"]
    assert (len(runs), runs.outputs.shape, runs.labels.shape, runs.failed) == (6, (6, 60, 2), (60,), {})
    assert runs.seeds[2]["init"] == runs.seeds[2]["shuffle"] == 3
    assert runs.curves["loss"].shape == (6, 4)
    found = nd.measure(runs)
    np.savez(tmp_path / "runs.npz", outputs=runs.outputs, labels=runs.labels)
    assert nondet("measure", tmp_path / "runs.npz", "--json").json == found.to_dict()
    for outputs in (runs.outputs, torch.from_numpy(runs.outputs.copy()), runs.outputs.tolist()):
        assert nd.measure(outputs, runs.labels).to_dict() == found.to_dict()
    estimate = found["accuracy.sd"]
    assert estimate.value == pytest.approx(nd.measure(runs).to_dict()["accuracy"]["sd"])
    assert estimate.low < estimate.value < estimate.high
    assert estimate.error > 0


def test_arms_are_whatever_has_outputs(study: nd.OpenStudy, tmp_path: Path) -> None:
    """Arms are runs, pairs, and arrays beside labels; what has no labels is refused, and the way out works."""
    a, b = study["init"], study["all"]
    pairs = nd.compare((a.outputs, a.labels), (b.outputs, b.labels))
    beside = nd.compare(a.outputs, torch.from_numpy(b.outputs.copy()), labels=a.labels)
    np.save(tmp_path / "labels.npy", a.labels)
    assert pairs.to_dict() == beside.to_dict()
    assert pairs.to_dict() == nd.compare(a.outputs, b.outputs, labels=str(tmp_path / "labels.npy")).to_dict()
    assert (pairs.comparisons[0].a, pairs.comparisons[0].b) == ("outputs 1", "outputs 2")
    with pytest.raises(nd.BadInput, match=r"labels are needed for outputs \(got none\); give \(outputs, labels\)"):
        nd.compare(a.outputs, b.outputs)


def test_the_same_call_goes_on(study: nd.OpenStudy) -> None:
    """A call again trains nothing; one for more runs trains what is missing; another model is refused."""
    before = {path: path.stat().st_mtime_ns for path in (study.folder / "runs").iterdir()}
    again = nd.run(make(), runs=6, vary=["init", "shuffle", "all"], folder=study.folder)
    assert {path: path.stat().st_mtime_ns for path in (study.folder / "runs").iterdir()} == before
    assert nd.show(again).to_dict() == nd.show(study).to_dict()
    other = make()
    with pytest.raises(nd.BadInput, match="the code of task 'spots' has changed since"):
        nd.run(
            nd.Task(**{**vars(other), "model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))}),
            folder=study.folder,
        )


def test_a_study_knows_its_task_or_is_told(study: nd.OpenStudy, tmp_path: Path) -> None:
    """What needs the task has it from `run`; of a study that was opened it is given, and is asked for if it is not."""
    opened = nd.open(study.folder)
    found = nd.stabilize(study)
    assert "TTA flip" in [method.name for method in found.methods]
    assert nd.stabilize(opened, task=make()).to_dict() == found.to_dict()
    with pytest.raises(nd.BadInput, match=r"the task 'spots', which a program defined.*; give that task too"):
        nd.stabilize(opened)
    for name, given, task in (("with", study, None), ("told", opened, make()), ("without", opened, None)):
        page = nd.report(given, tmp_path / f"{name}.html", task=task)
        assert ("Without pictures: " in page.read_text()) == (name == "without"), name


def test_pictures(study: nd.OpenStudy) -> None:
    """Every picture of the page, by its name, as a figure of matplotlib."""
    from matplotlib.figure import Figure

    pictures = nd.plots(study)
    assert {"accuracy", "disagreement", "training-loss"} <= set(pictures)
    assert all(isinstance(picture, Figure) for picture in pictures.values())


def test_what_cannot_be_is_one_sentence(study: nd.OpenStudy, tmp_path: Path) -> None:
    """Rule, value, way out: for names of conditions, figures, sources, and folders."""
    for call, text in (
        (lambda: study["none"], "has no condition 'none'; choose one of init, shuffle, all"),
        (lambda: nd.measure(study["all"])["none"], "these runs have no measure 'none'; choose from accuracy.mean"),
        (lambda: nd.run(make(), vary="none", folder=tmp_path / "s"), "unknown source 'none'"),
        (lambda: nd.open(tmp_path / "none"), "study.json is missing"),
        (lambda: nd.plan(1.0), "plan needs either sd or a pilot (got none); give one"),
        (lambda: nd.measure(study["all"].outputs), "labels must be given with outputs (got none)"),
        (lambda: nd.run(3, folder=tmp_path / "s"), "a task must be a nondet.Task"),  # type: ignore[arg-type]
    ):
        with pytest.raises(nd.BadInput) as refused:
            call()  # pyright: ignore[reportUnusedCallResult]
        assert text in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("augmentation", [nd.Crop(1), nd.Flip()])
def test_augmentations_of_images_are_for_images(augmentation: Any, tmp_path: Path) -> None:
    """Inputs of another shape are refused by name, before anything is trained."""
    inputs, labels = torch.randn(40, 6), torch.arange(40) % 2
    task = nd.Task(
        model=lambda: nn.Linear(6, 2),
        train=(inputs, labels),
        test=(inputs, labels),
        recipe=nd.Recipe(epochs=1, batch_size=8, lr=0.1),
        augment=(augmentation,),
    )
    with pytest.raises(nd.BadInput, match=r"is for images of shape .*\(got inputs of shape \(n, 6\)\); leave it out"):
        nd.run(task, runs=2, folder=tmp_path / "s")
    assert not (tmp_path / "s").exists()
