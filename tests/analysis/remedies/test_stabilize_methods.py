"""The table of methods: its figures, its costs, its JSON, and the two studies behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring import NAMES, measure

from nondet import Crop, Flip, Recipe
from nondet.analysis.remedies.kept import outputs, sound_runs
from nondet.analysis.remedies.methods import Method, grouped, methods
from nondet.analysis.remedies.reduction import columns, reduction
from nondet.analysis.remedies.stabilize import Stabilized, stabilize
from nondet.errors import BadInput
from nondet.reporting import remedies as table
from nondet.reporting import table as tables
from nondet.reporting.finding import Finding
from nondet.stats.estimate import Estimate, certain
from nondet.study.record import load
from nondet.study.study import Study
from nondet.training.problem import Problem

AUGMENT = (Crop(1), Flip())
COSTS = {
    "single model": (1, 1),
    "TTA flip": (1, 2),
    "TTA crop9": (1, 9),
    "TTA flip+crop9": (1, 18),
    "accelerated ensemble": (1, 2),
    "accelerated ensemble + TTA flip": (1, 4),
    "accelerated ensemble + TTA crop9": (1, 18),
    "accelerated ensemble + TTA flip+crop9": (1, 36),
    "EMA": (1, 1),
    "SWA": (1, 1),
    "ensemble of 2": (2, 2),
    "ensemble of 5": (5, 5),
}


def fields(assignments: dict[str, str]) -> dict[str, Any]:
    """A recipe's fields as `--set` would give them."""
    return {name: float(text) if name == "ema" else int(text) for name, text in assignments.items()}


@pytest.fixture(scope="module")
def given(
    problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]]:
    """What `nondet stabilize TASK` does with two cycles, its folder, and what it had trained."""
    folder = tmp_path_factory.mktemp("stabilize")
    asked: list[tuple[str, dict[str, str]]] = []

    def train(where: Path, assignments: dict[str, str]) -> Study:
        asked.append((where.name, assignments))
        return trained(where, problem_like(AUGMENT, **fields(assignments)))

    found = stabilize(
        "task.py",
        is_task=True,
        folder=folder,
        assignments={"batch_size": "12"},
        recipe_of=lambda: Recipe(epochs=4, batch_size=12, lr=0.1),
        train=train,
        problem_of=lambda study: problem_like(AUGMENT, **fields(asked[0][1])),
        cycles=2,
    )
    return found, folder, asked


def never(*_: object) -> Any:
    raise AssertionError("this must not be called")


def found_in(folder: Path, problem_of: Callable[[Study], Problem]) -> Stabilized:
    """`nondet stabilize STUDY`: nothing is trained."""
    return stabilize(
        str(folder),
        is_task=False,
        folder=Path("unused"),
        assignments={},
        recipe_of=never,
        train=never,
        problem_of=problem_of,
    )


def test_both_studies_are_asked_for(given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]]) -> None:
    """One with both averages, one with the cycles; the user's fields are in both."""
    _, _, asked = given
    assert asked == [
        ("single", {"batch_size": "12", "ema": "0.99", "swa": "1"}),
        ("accelerated", {"batch_size": "12", "cycles": "2", "ema": "0", "swa": "0"}),
    ]


def test_methods_and_costs(given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]]) -> None:
    """Every method is there, in the table's order, with its cost in trainings and in forward passes."""
    found, _, _ = given
    assert {m.name: (m.training_cost, m.test_cost) for m in found.methods} == COSTS
    assert list(COSTS) == [m.name for m in found.methods]
    assert found.left_out == ()
    assert found.identical


def test_reductions_of_few_answers_are_said_to_be_too_large(
    given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]],
) -> None:
    """Ensembles give fewer answers than there are runs: what they come to with SDs of ddof = 1 is said in words."""
    found, _, _ = given
    (said,) = found.to_dict()["notes"]
    single = found.methods[0]
    for m in found.methods[1:]:
        few = m.measures.sound < single.measures.sound
        rows = [columns(x.measures, unbiased=True) for x in (single, m)]
        assert m.unbiased == pytest.approx(reduction(*rows))
        assert (f"{m.name} {m.unbiased:.1f} % instead of {m.reduction.value:.1f} %" in said) == few
        assert few or m.unbiased == pytest.approx(m.reduction.value)
    assert said in " ".join(repr(found).split())


def test_figures_are_those_of_the_stored_runs(
    given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]], problem_like: Callable[..., Problem]
) -> None:
    """What needs no pass of the network is measured on the arrays as they are stored; ensembles by numpy here."""
    found, folder, _ = given
    labels = problem_like(AUGMENT).test[1].numpy()
    single = sound_runs(load(folder / "single"))
    kept = outputs(single, ["outputs", "ema.outputs", "swa.outputs"])
    logits = kept["outputs"]
    expected = {
        "single model": logits,
        "EMA": kept["ema.outputs"],
        "SWA": kept["swa.outputs"],
        "ensemble of 2": np.stack([(logits[i] + logits[i + 1]) / 2 for i in (0, 2, 4, 6, 8)]),
        "ensemble of 5": np.stack([sum(logits[i : i + 5]) / 5 for i in (0, 5)]),
        "accelerated ensemble": outputs(sound_runs(load(folder / "accelerated")), ["outputs"])["outputs"],
    }
    by_name = {m.name: m for m in found.methods}
    baseline = columns(measure(logits, labels))
    for name, array in expected.items():
        right = measure(array, labels)
        assert by_name[name].measures["disagreement"].value == right["disagreement"].value
        assert by_name[name].measures["accuracy.sd"].value == pytest.approx(right["accuracy.sd"].value, abs=1e-12)
        assert by_name[name].measures["cross_entropy.sd"].value == pytest.approx(
            right["cross_entropy.sd"].value, abs=1e-12
        )
        assert by_name[name].reduction.value == pytest.approx(reduction(baseline, columns(right)), abs=1e-6)
    assert by_name["single model"].reduction.value == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_are_disjoint_means(dtype: type[np.floating[Any]]) -> None:
    """Successive runs form a group; what is left over belongs to none; sums are float64 and the type stays."""
    logits = np.random.default_rng(2).standard_normal((7, 4, 3)).astype(dtype)
    found = grouped(logits, 3)
    expected = np.stack([np.mean(logits[i : i + 3].astype(np.float64), axis=0) for i in (0, 3)]).astype(dtype)
    assert found.dtype == dtype
    assert np.array_equal(found, expected)


def test_json(given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]]) -> None:
    """The contract: one object for each method, its measures in the names of every report, and no NaN."""
    found, _, _ = given
    parsed = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [set(m) for m in parsed["methods"]] == [
        {
            "name",
            "runs",
            "failed",
            "accuracy",
            "cross_entropy",
            "disagreement",
            "correlation",
            "ensemble_delta",
            "accuracy_variance",
            "errors",
            "intervals",
            "training_cost",
            "test_cost",
            "reduction",
        }
    ] * len(COSTS)
    assert parsed["methods"][0]["reduction"] == 0
    assert parsed["methods"][-1]["runs"] == 2
    assert (parsed["methods"][0]["errors"]["reduction"], parsed["methods"][0]["intervals"]["reduction"]) == (0, [0, 0])
    for m in parsed["methods"]:
        assert tuple(m["errors"]) == tuple(m["intervals"]) == (*NAMES, "reduction")
    for m in parsed["methods"][1:-1]:
        low, high = m["intervals"]["reduction"]
        assert low < m["reduction"] < high
    assert parsed["methods"][-1]["intervals"]["reduction"] is None  # two answers leave no pair of two others
    odd = replace(found.methods[1], reduction=certain(float("nan")))
    assert odd.to_dict()["reduction"] is None


def test_the_folder_of_a_task_is_read_again(
    given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]], problem_like: Callable[..., Problem]
) -> None:
    """Given the folder in place of the task, nothing is trained, and every figure is the same."""
    found, folder, asked = given
    again = found_in(folder, lambda study: problem_like(AUGMENT, **fields(asked[0][1])))
    assert again == found


def test_a_study_alone(problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path: Path) -> None:
    """A finished ordinary study gives what its runs allow, and a sentence for each method that it does not."""
    problem = problem_like(AUGMENT, epochs=1)
    study = trained(tmp_path / "study", problem, runs=4)
    found = found_in(study.folder, lambda study: problem)
    names = [m.name for m in found.methods]
    assert names == ["single model", "TTA flip", "TTA crop9", "TTA flip+crop9", "ensemble of 2"]
    said = " ".join(found.left_out)
    assert len(found.left_out) == 4
    for text in (
        "accelerated ensemble is left out",
        "EMA is left out",
        "SWA is left out",
        "need 10 runs, but there are 4",
    ):
        assert text in said


def test_weights_that_are_not_kept(
    problem_like: Callable[..., Problem],
    trained: Callable[..., Study],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where weights are too large to be kept, only TTA is left out, and the reason is said."""
    monkeypatch.setattr("nondet.training.train.WEIGHTS_LIMIT", 0)
    problem = problem_like(AUGMENT, epochs=1)
    runs = sound_runs(trained(tmp_path / "study", problem, runs=4))
    found, left_out = methods(runs, None, problem)
    assert [m.name for m in found] == ["single model", "ensemble of 2"]
    assert left_out[0] == "single model + TTA is left out: a study does not keep weights of 16 MiB or more per run."


def test_a_task_without_augmentation_has_no_tta(
    problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path: Path
) -> None:
    """Nothing says which copies of colour images would be alike, so none is made up."""
    problem = problem_like((), epochs=1)
    found, left_out = methods(sound_runs(trained(tmp_path / "study", problem, runs=4)), None, problem)
    assert "TTA" not in " ".join(m.name for m in found)
    assert left_out[0].startswith("TTA is left out")


@pytest.mark.parametrize(
    ("recipe", "cycles", "match"),
    [
        (Recipe(epochs=4, batch_size=1, lr=0.1), 3, r"multiple of cycles \(got 4 and 3\); try recipe=\{'epochs': 3\}"),
        (Recipe(epochs=4, batch_size=1, lr=0.1), 1, "cycles must be at least 2"),
        (Recipe(epochs=4, batch_size=1, lr=0.1, cycles=2), 2, "give cycles instead"),
        (Recipe(epochs=4, batch_size=1, lr=0.1, bptt=10), 2, "kind language"),
    ],
)
def test_tasks_that_are_refused_before_training(recipe: Recipe, cycles: int, match: str, tmp_path: Path) -> None:
    """Nothing is trained for a command that cannot end well."""
    with pytest.raises(BadInput, match=match):
        stabilize(
            "digits",
            is_task=True,
            folder=tmp_path,
            assignments={},
            recipe_of=lambda: recipe,
            train=never,
            problem_of=never,
            cycles=cycles,
        )


def test_studies_that_are_refused(
    problem_like: Callable[..., Problem], trained: Callable[..., Study], tmp_path: Path
) -> None:
    """A folder that is none; a study of ensembles alone; two studies of different tasks."""
    with pytest.raises(BadInput, match="stabilize needs a task"):
        found_in(tmp_path / "nowhere", never)
    with pytest.raises(BadInput, match="is not a study"):
        found_in(tmp_path, never)
    trained(tmp_path / "pair" / "single", problem_like(AUGMENT, epochs=1), runs=2)
    trained(tmp_path / "pair" / "accelerated", problem_like((Crop(1),), epochs=2, cycles=2), runs=2)
    with pytest.raises(BadInput, match="must be of one task"):
        found_in(tmp_path / "pair", never)
    with pytest.raises(BadInput, match=r"got accelerated ensembles in .*; give their task"):
        found_in(tmp_path / "pair" / "accelerated", never)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (Recipe(epochs=8, batch_size=1, lr=0.1, ema=0.9, swa=3), {}),
        (Recipe(epochs=8, batch_size=1, lr=0.1), {"ema": "0.99", "swa": "2"}),
        (Recipe(epochs=2, batch_size=1, lr=0.1), {"ema": "0.99", "swa": "1"}),
    ],
)
def test_averages_of_the_recipe_come_first(own: Recipe, expected: dict[str, str], tmp_path: Path) -> None:
    """Averages that the recipe has are kept; else EMA 0.99, and SWA over the last quarter, at least one epoch."""
    asked: list[dict[str, str]] = []

    def train(folder: Path, assignments: dict[str, str]) -> Study:
        asked.append(assignments)
        raise BadInput("enough")

    with pytest.raises(BadInput, match="enough"):
        stabilize(
            "digits",
            is_task=True,
            folder=tmp_path,
            assignments={},
            recipe_of=lambda: own,
            train=train,
            problem_of=never,
            cycles=2,
        )
    assert asked == [expected]


def test_table(given: tuple[Stabilized, Path, list[tuple[str, dict[str, str]]]]) -> None:
    """A row for each method under one head: the columns of every report, then costs and reduction."""
    found, _, _ = given
    body = table.rows(found.methods)
    assert all(len(row) == len(table.head(found.methods)) for row in body)
    assert body[0][0] == "single model"
    assert body[0][-3:] == ("1", "1", tables.DASH)
    assert body[-1][-3:-1] == ("5", "5")
    assert tables.for_markdown(body, table.head(found.methods)).count("\n") == len(COSTS) + 1


def methods_with(*figures: tuple[str, int, int, float, int]) -> list[Method]:
    """Methods with these names, costs, reductions and numbers of answers."""
    rng = np.random.default_rng(1)
    return [
        Method(
            name, measure(rng.standard_normal((n, 9, 3)), rng.integers(3, size=9)), training, test, Estimate(percent)
        )
        for name, training, test, percent, n in figures
    ]


def found_of(*methods: Method) -> Finding:
    """What is found in a table of these methods."""
    return table.of_stabilized(Stabilized(methods, (), True))


def test_the_finding_names_the_best_and_its_cost() -> None:
    """The largest reduction, its cost and accuracy, and the largest without further training where that is another."""
    methods = methods_with(
        ("single", 1, 1, 0.0, 40), ("A", 1, 4, 30.4, 40), ("B", 1, 1, -5.0, 40), ("C", 2, 2, 55.0, 20)
    )
    single, _, _, c = (f"{m.measures['accuracy.mean'].value:.2f} %" for m in methods)
    found = found_of(*methods)
    assert found.headline == "Variability is reduced most by C: by 55 %."
    assert found.sentences == (
        "That is the mean over the table's five columns, for 2 trainings and 2 forward passes per test image.",
        f"Its mean accuracy is {c}, against {single}.",
        "Without more training, A reduces it by 30 %.",
    )


def test_the_finding_has_the_interval() -> None:
    """A reduction whose interval holds 0 may be chance, and is said to; the table has the error."""
    single, method = methods_with(("single", 1, 1, 0.0, 40), ("C", 1, 1, 20.0, 40))
    sure = replace(method, reduction=Estimate(20.0, 5.0, 9.0, 29.0))
    found = found_of(single, sure)
    assert "by C: by 20 % [9, 29]." in found.headline
    assert found.caveats == ("Brackets show 95 % intervals.",)
    assert table.rows([single, sure])[1][-1] == "20 ± 5"
    found = found_of(single, replace(method, reduction=Estimate(20.0, 15.0, -12.0, 44.0)))
    assert "by C: by 20 % [-12, 44]." in found.headline
    assert found.caveats[0] == "The interval contains 0, so the reduction may be chance."


def test_the_finding_says_when_there_are_few() -> None:
    """Few runs are named as such."""
    found = found_of(*methods_with(("single", 1, 1, 0.0, 40), ("C", 1, 1, 55.0, 8)))
    assert found.caveats == ("With only 40 single models and 8 of C, small differences mean little.",)


def test_the_finding_of_nothing() -> None:
    """No reduction is claimed where none was measured, or where every method varies more."""
    nothing = "There is no reduction to report: no other method is measured, or the single model does not vary."
    assert found_of(*methods_with(("single", 1, 1, 0.0, 40))).headline == nothing
    assert found_of(*methods_with(("single", 1, 1, 0.0, 40), ("A", 1, 1, float("nan"), 40))).headline == nothing
    found = found_of(*methods_with(("single", 1, 1, 0.0, 40), ("A", 1, 1, -3.0, 40)))
    assert found.headline == "No method reduces variability here; the best, A, changes it by +3 %."
