"""`compare`, `plan` and `alike` where something is lost, failed, of another shape, or hardly there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nondet.analysis.arm import Arm
from nondet.analysis.compare import compare
from nondet.analysis.runs import Runs
from nondet.kinds import CLASSIFICATION, LANGUAGE
from nondet.reporting.decisions import comparison_tables
from nondet.reporting.verdicts import method_words, of_comparison

Nondet = Callable[..., Any]


def arm(values: list[float], name: str, seeds: list[int] | None = None, digests: str = "") -> Arm:
    """An arm of runs with these accuracies, predictions drawn at random, and seeds of `init`."""
    answers = np.random.Generator(np.random.Philox(len(values))).integers(0, 3, size=(len(values), 50))
    return Arm(
        name=name,
        runs=Runs(name, CLASSIFICATION, np.zeros(50, dtype=np.int64), {"outputs": np.eye(3, dtype="f")[answers]}),
        metric=CLASSIFICATION.scores[0],
        values=np.array(values),
        numbers=tuple(range(1, len(values) + 1)),
        digests=tuple(digests) if digests else tuple(f"{name} {place}" for place in range(len(values))),
        seeds=None if seeds is None else tuple({"init": s} for s in seeds),
    )


# --- shapes and names --------------------------------------------------------------------------------------------


def test_logits_of_other_classes_are_refused(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms that choose among 3 and among 5 classes are not compared, though all labels fit both; classes alone are."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.Generator(np.random.Philox(1))
    for name, classes in (("a", 3), ("b", 5)):
        logits = rng.normal(size=(4, 30, classes))
        np.save(f"{name}.npy", logits)
        np.save(f"{name}.classes.npy", logits.argmax(-1))
    np.save("y.npy", rng.integers(3, size=30))
    ran = nondet("compare", "a.npy", "b.npy", "--labels", "y.npy")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "nondet: both arms must choose among the same classes (a.npy has 3 logits for each example, b.npy 5); give "
        "logits of the same classes, or predicted classes as integers\n"
    )
    assert nondet("compare", "a.classes.npy", "b.classes.npy", "--labels", "y.npy").code == 0


def test_an_empty_name_is_no_arm(nondet: Nondet) -> None:
    """An unset variable of a script does not become the folder that one is in."""
    ran = nondet("compare", "", "")
    assert (ran.code, ran.out) == (2, "")
    assert "an arm must be a study, STUDY:condition, or outputs (got an empty name)" in ran.err


# --- what is lost or failed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["safetensors", "json"])
def test_a_lost_run_is_damage(nondet: Nondet, study: Path, ending: str) -> None:
    """A run that a finished study has no more: each command exits 1 with the run and the way to train it again."""
    for path in (study / "runs").glob(f"*.{ending}"):
        path.unlink()
    for words in (("compare", study, f"{study}:init"), ("plan", "--effect", 1, "--study", study), ("alike", study)):
        ran = nondet(*words)
        assert (ran.code, ran.out) == (1, "")
        assert f".{ending} is missing; it belongs to the run with seeds" in ran.err
        assert "trains it again" in ran.err
        assert ran.err.count("\n") == 1


def test_a_lost_repeat_of_the_control_is_damage(nondet: Nondet, study: Path) -> None:
    """Without its repeats nobody knows whether the control is zero: that is said, as `show` says it."""
    from nondet.study.record import load

    repeat = list(load(study).control_specs())[1]
    (study / "runs" / f"{repeat}.json").unlink()
    for words in (("compare", study, f"{study}:init"), ("show", study)):
        ran = nondet(*words)
        assert (ran.code, ran.out) == (1, "")
        assert "(repeat 1 of the control)" in ran.err


def test_failed_runs_need_another_recipe(
    nondet: Nondet, process: Nondet, task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Where all runs failed, the way out is not the command that gave them."""
    task = task_file(("lr=0.1", "lr=1e30"))
    assert process("run", task, "--runs", 2, "--vary", "init", "--study", tmp_path / "failed").code == 0
    ran = nondet("compare", tmp_path / "failed", tmp_path / "failed")
    assert ran.code == 2
    assert "has 0 that are finished and sound, and 2 that failed); ask for more --runs, or train with" in ran.err


# --- what is said ------------------------------------------------------------------------------------------------


def test_pairs_that_are_not_all_runs_say_so() -> None:
    """The difference of pairs is not that of the means beside it, where an arm has other runs too."""
    rng = np.random.Generator(np.random.Philox(3))
    values = 90 + 2 * rng.normal(size=8)
    a = arm(list(values), "a", list(range(1, 9)))
    more = compare([a, arm([*(values + 1 + 0.1 * rng.normal(size=8)), 80.0, 81.0], "b", list(range(1, 11)))])[0]
    assert (more.pairs, more.runs) == (8, (8, 10))
    assert more.difference.value != pytest.approx(more.means[1] - more.means[0], abs=1)
    assert method_words(more).endswith("; the difference is between these runs only.")
    all_paired = compare([a, arm(list(values + 1 + 0.1 * rng.normal(size=8)), "b", list(range(1, 9)))])[0]
    assert "alone" not in method_words(all_paired)


def test_some_pairs_that_go_opposite_ways_are_counted_in() -> None:
    """All runs are compared, and the sentence, the table and the JSON say that pairs among them widen the interval."""
    rng = np.random.Generator(np.random.Philox(6))
    values = 90 + rng.normal(size=8)
    a = arm(list(values), "a", list(range(1, 9)))
    found = compare([a, arm([*(181 - values + 0.2 * rng.normal(size=8)), 92.0, 90.5], "b", list(range(1, 11)))])[0]
    assert (found.method, found.pairs, found.runs) == ("widened", 8, (8, 10))
    assert found.difference.value == pytest.approx(found.means[1] - found.means[0])
    apart = compare([arm(list(values), "a"), arm([*(181 - values), 92.0, 90.5], "b")])[0]
    assert (found.difference.high or 0) - (found.difference.low or 0) > 1.2 * (
        (apart.difference.high or 0) - (apart.difference.low or 0)
    )
    assert "which widens the interval" in method_words(found)
    assert (found.to_dict()["method"], found.to_dict()["pairs"]) == ("widened", 8)
    assert next(iter(comparison_tables([found])))[1][6] == ["compared as", "", "runs, 8 pairs counted in"]


def test_each_table_has_the_runs_of_a_that_it_is_about() -> None:
    """A run that A shares with one arm alone counts for the others: they stand in another table."""
    a, fewer, more = arm([1, 2, 3, 9], "a", None, "wxyz"), arm([4, 5, 6], "b", None, "zbc"), arm([4, 5, 6], "c")
    found = compare([a, more, fewer])
    assert [c.runs for c in found] == [(4, 3), (3, 3)]
    tables = list(comparison_tables(found))
    assert [head[1:] for head, _ in tables] == [["A: a", "c"], ["A: a", "b"]]
    assert [(rows[0][1], rows[1][1]) for _, rows in tables] == [("4", "3.75"), ("3", "2.00")]


def test_a_margin_is_not_offered_where_it_cannot_help() -> None:
    """Where no accuracy varies, nothing is ever alike, and the sentence names no margin as a way out."""
    found = compare([arm([90.0] * 2, "a"), arm([91.0] * 2, "b")])[0]
    text = of_comparison(found).text
    assert found.verdict == "undecided"
    no_interval = "There is no interval, because all runs of each have the same accuracy; permutation test: p = 0.333."
    assert no_interval in of_comparison(found).caveats
    assert "These runs cannot show how many more would decide, because their accuracy does not vary." in text
    assert "margin" not in text


def test_large_figures_are_short() -> None:
    """The perplexity of a diverged run may have a hundred digits; three are shown."""
    a, b = (replace(arm(v, n), metric=LANGUAGE.scores[0]) for v, n in (([1e99, 2e99], "a"), ([5, 6], "b")))
    assert "1.5e+99 [" in of_comparison(compare([a, b])[0]).text


def test_a_plan_takes_outputs_as_its_pilot(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of others with their labels are a pilot too; probabilities are warned of."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.Generator(np.random.Philox(2))
    powers = np.exp(rng.normal(size=(5, 40, 3)))
    np.save("p.npy", powers / powers.sum(-1, keepdims=True))
    np.save("y.npy", rng.integers(3, size=40))
    ran = nondet("plan", "--effect", 2, "--study", "p.npy", "--labels", "y.npy", "--json")
    accuracies = 100 * (powers.argmax(-1) == np.load("y.npy")).mean(1)
    assert (ran.code, ran.json["sd"]) == (0, pytest.approx(accuracies.std()))
    assert ran.json["sd_unbiased"] == pytest.approx(accuracies.std(ddof=1))
    assert ran.err.startswith("warning: p.npy: the outputs look like probabilities")
    for words in (("--study", "p.npy"), ("--sd", 1, "--labels", "y.npy")):
        ran = nondet("plan", "--effect", 2, *words)
        assert (ran.code, ran.out) == (2, "")
        assert "labels" in ran.err


def test_a_plan_names_its_metric(nondet: Nondet) -> None:
    """With an SD alone, --metric gives the unit."""
    ran = nondet("plan", "--effect", 0.2, "--sd", 0.23, "--metric", "accuracy")
    assert "a difference of 0.2 points of accuracy" in ran.out


def test_a_plan_for_what_hardly_varies(nondet: Nondet) -> None:
    """The smallest SD there is gives two runs, and no failure of arithmetic."""
    ran = nondet("plan", "--effect", 1, "--sd", 5e-324, "--json")
    assert (ran.code, ran.json["runs_per_arm"]) == (0, 2)


def test_a_plan_speaks_of_one_nat(nondet: Nondet, finished: Path) -> None:
    """One nat, a range only where there is one, and a time that is not zero."""
    out = nondet("plan", "--effect", 1, "--study", f"{finished}:order", "--metric", "cross_entropy").out
    assert "a difference of 1 nat with" in out
    assert "The ends of the SD's 95 % interval give the same number." in out
    assert "2 to 2" not in out
    assert "about 0 seconds" not in out


def test_alike_ends_with_what_was_shown(nondet: Nondet, process: Nondet, tiny: Path, tmp_path: Path) -> None:
    """The findings come last, after a stopping rule, if one chose the number of runs."""
    rule = ("--until", "disagreement.error<50", "--limit", 7)
    folder = tmp_path / "ruled"
    assert process("run", tiny, "--runs", 6, "--vary", "init", "--vary", "shuffle", *rule, "--study", folder).code == 0
    lines = " ".join(nondet("alike", folder).out.split())
    assert lines.index("From 5 runs per condition") < lines.index("until disagreement.error<50 in all of them")
    assert lines.index("until disagreement.error<50") < lines.rindex("were shown to be alike")


@pytest.mark.slow
def test_a_stopping_rule_is_noted_for_its_own_conditions(
    nondet: Nondet, process: Nondet, tiny: Path, tmp_path: Path
) -> None:
    """The note holds after runs were added by hand, too, and is not of conditions that the rule was not about."""
    folder = tmp_path / "ruled"
    rule = ("--until", "disagreement.error<0.001", "--limit", 3)
    for words in (("--runs", 3, "--vary", "init", *rule), ("--runs", 5, "--vary", "init", "--vary", "shuffle")):
        assert process("run", tiny, *words, "--study", folder).code == 0
    notes = nondet("compare", f"{folder}:init", f"{folder}:shuffle", "--json").json["notes"]
    assert (
        f"Runs of {folder}:init were added until disagreement.error<0.001, and not by a plan made in advance." in notes
    )
    assert not any("shuffle were added" in note for note in notes)


def test_one_more_run_is_no_others() -> None:
    """Of six runs that both arms have, five are named."""
    a, b = arm([1, 2, 3, 4, 5, 6], "a", None, "uvwxyz"), arm([1, 2, 3, 4, 5, 6, 7, 8], "b", None, "uvwxyzst")
    assert "runs 1, 2, 3, 4, 5 and 1 other of b are also in a" in compare([a, b])[0].notes[0]
