"""Scores in: one number for each run, in the tables that people have, and the answers that scipy gives of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import stats

import nondet as nd

Nondet = Callable[..., Any]

BASE = [90.51, 90.63, 90.34, 90.80, 90.42]
AUG = [91.32, 90.87, 91.50, 91.08, 90.95]
FIELDS = ["name", "runs", "failed", "mean", "sd", "errors", "intervals"]
COMPARED = ["difference", "p_value", "superiority", "sd_ratio", "churn", "verdict", "more_runs"]


def tidy(folder: Path, name: str = "tidy.csv", mark: str = ",", head: str = "method,seed,accuracy") -> Path:
    """Five seeds of two methods, a row each."""
    rows = [head.replace(",", mark)]
    rows += [f"{arm}{mark}{seed}{mark}{v}" for arm, vs in (("base", BASE), ("aug", AUG)) for seed, v in enumerate(vs)]
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def arms(ran: Any) -> dict[str, dict[str, Any]]:
    assert ran.code == 0, ran.err
    return {arm["name"]: arm for arm in ran.json["arms"]}


def test_two_arms_of_a_tidy_table(nondet: Nondet, tmp_path: Path) -> None:
    """B - A with Welch's interval and p-value, as scipy has them; no churn of scores."""
    words = ("--metric", "accuracy", "--arm", "method", "--of", "base", "--with", "aug", "--json")
    found = nondet("compare", tidy(tmp_path), *words).json
    test = stats.ttest_ind(AUG, BASE, equal_var=False)
    interval = test.confidence_interval(0.95)
    assert [name in found for name in COMPARED] == [True] * len(COMPARED)
    assert (found["a"], found["b"], found["metric"], found["churn"]) == ("base", "aug", "accuracy", None)
    assert found["difference"]["estimate"] == pytest.approx(0.604)
    assert (found["difference"]["low"], found["difference"]["high"]) == pytest.approx((interval.low, interval.high))
    assert found["p_value"] == pytest.approx(float(test.pvalue))
    assert (found["verdict"], found["method"]) == ("better", "welch")


def test_the_other_way_round(nondet: Nondet, tmp_path: Path) -> None:
    """--of and --with choose the direction, whatever the order of the rows."""
    found = nondet("compare", tidy(tmp_path), "--of", "aug", "--with", "base", "--json").json
    assert found["verdict"] == "worse"
    assert found["difference"]["estimate"] == pytest.approx(-0.604)


def test_names_tell_what_columns_are(nondet: Nondet, tmp_path: Path) -> None:
    """Without options the columns are guessed, and the guess is said."""
    ran = nondet("compare", tidy(tmp_path), "--json")
    assert ran.json["difference"]["estimate"] == pytest.approx(0.604)
    assert "arms are read from the column 'method'; the metric is 'accuracy'" in ran.err


def test_measure(nondet: Nondet, tmp_path: Path) -> None:
    """Each arm's mean and SD (ddof = 1), with errors and intervals: exactly these fields."""
    ran = nondet("measure", tidy(tmp_path), "--json")
    assert list(ran.json) == ["metric", "arms", "finding"]
    assert ran.json["metric"] == "accuracy"
    base = arms(ran)["base"]
    assert list(base) == FIELDS
    assert (base["runs"], base["failed"]) == (5, 0)
    assert base["mean"] == pytest.approx(np.mean(BASE))
    assert base["sd"] == pytest.approx(np.std(BASE, ddof=1))
    assert base["errors"]["mean"] == pytest.approx(stats.sem(BASE))
    expected = stats.t.interval(0.95, 4, np.mean(BASE), stats.sem(BASE))
    assert base["intervals"]["mean"] == pytest.approx(list(expected))
    assert base["intervals"]["sd"][0] < base["sd"] < base["intervals"]["sd"][1]


@pytest.mark.parametrize(("name", "mark"), [("t.tsv", "\t"), ("t.csv", ";"), ("t.txt", "\t"), ("t.csv", "\t")])
def test_separators(nondet: Nondet, tmp_path: Path, name: str, mark: str) -> None:
    found = arms(nondet("measure", tidy(tmp_path, name, mark), "--json"))
    assert found["aug"]["mean"] == pytest.approx(np.mean(AUG))


def test_decimal_commas_between_semicolons(nondet: Nondet, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("method;seed;accuracy\na;0;90,5\na;1;91,5\n")
    assert arms(nondet("measure", path, "--json"))["a"]["mean"] == 91.0


def columns() -> dict[str, list[Any]]:
    return {"method": ["base"] * 5 + ["aug"] * 5, "seed": [*range(5)] * 2, "accuracy": BASE + AUG}


def as_parquet(path: Path) -> None:
    parquet.write_table(pa.table(columns()), path)


def as_lines(path: Path) -> None:
    rows = [dict(zip(columns(), row, strict=True)) for row in zip(*columns().values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def as_list(path: Path) -> None:
    rows = [dict(zip(columns(), row, strict=True)) for row in zip(*columns().values(), strict=True)]
    path.write_text(json.dumps(rows))


def as_columns(path: Path) -> None:
    path.write_text(json.dumps({"base": BASE, "aug": AUG}))


def as_wide(path: Path) -> None:
    path.write_text("base,aug\n" + "\n".join(f"{a},{b}" for a, b in zip(BASE, AUG, strict=True)))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.parquet", as_parquet),
        ("t.jsonl", as_lines),
        ("t.ndjson", as_lines),
        ("t.json", as_list),
        ("wide.json", as_columns),
        ("wide.csv", as_wide),
    ],
)
def test_formats(nondet: Nondet, tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    """The same answer from each form."""
    write(tmp_path / name)
    words = ("--metric", "accuracy", "--of", "base", "--with", "aug", "--json")
    found = nondet("compare", tmp_path / name, *words)
    assert found.code == 0, found.err
    assert found.json["metric"] == "accuracy"
    assert found.json["p_value"] == pytest.approx(float(stats.ttest_ind(AUG, BASE, equal_var=False).pvalue))


def test_columns_of_unequal_length(nondet: Nondet, tmp_path: Path) -> None:
    """A column may be shorter; a run that failed says so in its cell."""
    path = tmp_path / "wide.csv"
    path.write_text("seed,base,aug\n0,90.5,91\n1,90.1,crashed\n2,90.3,91.5\n3,90.2,\n")
    ran = nondet("measure", path, "--json")
    found = arms(ran)
    assert (found["base"]["runs"], found["base"]["failed"]) == (4, 0)
    assert (found["aug"]["runs"], found["aug"]["failed"]) == (3, 1)
    assert found["aug"]["mean"] == 91.25
    assert "left out: 1 failed run of aug (1)" in ran.err


@pytest.mark.parametrize(
    "text", ["90.5\n91\n90\n", "\ufeff90.5\n91\n90\n", "accuracy\n90.5\n91\n90\n", "90.5\n\n91\n90"]
)
@pytest.mark.parametrize("ending", [".txt", ".csv", ".dat"])
def test_one_number_a_line(nondet: Nondet, tmp_path: Path, text: str, ending: str) -> None:
    path = tmp_path / f"base{ending}"
    path.write_text(text, encoding="utf-8")
    found = arms(nondet("measure", path, "--json"))["base"]
    assert (found["runs"], found["mean"]) == (3, 90.5)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_arrays(nondet: Nondet, tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Two files of one number a run, without labels."""
    np.save(tmp_path / "base.npy", np.reshape(BASE, shape))
    np.save(tmp_path / "aug.npy", np.reshape(AUG, shape))
    found = nondet("compare", tmp_path / "base.npy", tmp_path / "aug.npy", "--json").json
    assert found["difference"]["estimate"] == pytest.approx(0.604)
    assert (found["a"], found["runs"]) == (str(tmp_path / "base.npy"), {"a": 5, "b": 5})


@pytest.mark.parametrize("name", ["scores.txt", "scores.json"])
def test_a_metric_names_numbers_without_a_name(nondet: Nondet, tmp_path: Path, name: str) -> None:
    """A file of numbers alone says not what they are; the metric that is asked for does."""
    (tmp_path / name).write_text("\n".join(map(str, BASE)) if name == "scores.txt" else json.dumps(BASE))
    for command in ("measure", "floor"):
        assert nondet(command, tmp_path / name, "--metric", "loss", "--json").json["metric"] == "loss"
    assert "score" in nondet("floor", tmp_path / name).out


def test_two_files(nondet: Nondet, tmp_path: Path) -> None:
    """A file an arm, of whatever form; more of them are each compared with the first."""
    (tmp_path / "a.txt").write_text("\n".join(map(str, BASE)))
    (tmp_path / "b.csv").write_text("seed,accuracy\n" + "\n".join(f"{i},{v}" for i, v in enumerate(AUG)))
    found = nondet("compare", tmp_path / "a.txt", tmp_path / "b.csv", "--json").json
    assert found["verdict"] == "better"
    several = nondet("compare", tmp_path / "a.txt", tmp_path / "b.csv", f"{tidy(tmp_path)}:aug", "--json").json
    assert [c["verdict"] for c in several["comparisons"]] == ["better", "better"]


def test_marks_summaries_blanks_and_crashes(nondet: Nondet, tmp_path: Path) -> None:
    """What is no run is left out, counted and named; a run without a score counts as failed."""
    path = tmp_path / "t.csv"
    rows = ["Run,acc", "Run 0,0.91", "Run 1,0.93", "Run 2,NaN", "Run 3,", "Run 4,0.95", "Mean,0.93", "Std. dev.,0.02"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*rows, ",", ","]).encode())
    ran = nondet("measure", path, "--json")
    found = arms(ran)["t"]
    assert (found["runs"], found["failed"], found["mean"]) == (5, 2, pytest.approx(0.93))
    assert "2 failed runs of t (Run 2, Run 3)" in ran.err
    assert "2 summary rows (Mean, Std. dev.)" in ran.err
    assert "2 blank rows" in ran.err
    assert arms(nondet("measure", path, "--failed", "drop", "--json"))["t"]["runs"] == 3


def test_methods_that_are_called_like_summaries(nondet: Nondet, tmp_path: Path) -> None:
    """Pooling by mean or max is a method: each has seeds."""
    path = tmp_path / "t.csv"
    path.write_text("method,seed,acc\n" + "".join(f"{m},{s},{s + k}\n" for k, m in enumerate(("mean", "max", "cls"))
                                                  for s in range(3)))  # fmt: skip
    assert list(arms(nondet("measure", path, "--json"))) == ["mean", "max", "cls"]


def test_several_metrics(nondet: Nondet, tmp_path: Path) -> None:
    """`measure` takes all of them; a comparison is by one, and says which there are."""
    path = tmp_path / "t.csv"
    path.write_text("model,lr,seed,val_f1,val_loss,runtime\n" + "".join(
        f"{m},0.1,{s},{0.5 + s},{2 - s},99\n" for m in "ab" for s in range(3)))  # fmt: skip
    found = nondet("measure", path, "--json").json
    assert [one["metric"] for one in found["metrics"]] == ["val_f1", "val_loss"]
    ran = nondet("compare", path)
    assert ran.code == 2
    assert "has several scores ('val_f1', 'val_loss')" in ran.err
    assert "--metric val_f1" in ran.err
    assert nondet("compare", path, "--metric", "val_f1").code == 0


def test_less_can_be_better(nondet: Nondet, tmp_path: Path) -> None:
    """By the metric's name, which is said, or as --better says."""
    path = tidy(tmp_path, head="method,seed,test_loss")
    ran = nondet("compare", path, "--json")
    assert ran.json["verdict"] == "worse"
    assert "Lower test_loss is taken to be better, judging by its name; if not, give --better higher" in ran.err
    assert nondet("compare", path, "--better", "higher", "--json").json["verdict"] == "better"
    assert nondet("compare", tidy(tmp_path), "--better", "lower", "--json").json["verdict"] == "worse"


def test_pairs_are_a_matter_of_design(nondet: Nondet, tmp_path: Path) -> None:
    """Equal seeds are compared as independent runs, unless it is said that they are pairs; folds are."""
    path = tmp_path / "t.csv"
    base = [70.0, 75, 80, 85, 90]
    aug = [71.1, 75.9, 81.2, 86.0, 90.8]
    rows = [f"{m},{s},{v}\n" for m, vs in (("base", base), ("aug", aug)) for s, v in enumerate(vs)]
    path.write_text("method,seed,accuracy\n" + "".join(rows))
    ran = nondet("compare", path, "--json")
    assert (ran.json["method"], ran.json["verdict"]) == ("welch", "undecided")
    assert "--paired compares them as pairs" in ran.err
    found = nondet("compare", path, "--paired", "--json").json
    assert (found["method"], found["pairs"], found["verdict"]) == ("paired", 5, "better")
    assert found["p_value"] == pytest.approx(float(stats.ttest_rel(aug, base).pvalue))
    path.write_text("method,fold,accuracy\n" + "".join(rows))
    assert nondet("compare", path, "--json").json["method"] == "paired"
    path.write_text("method,accuracy\n" + "".join(row.replace(f",{s},", ",") for s in "01234" for row in rows
                                                  if f",{s}," in row))  # fmt: skip
    ran = nondet("compare", path, "--paired")
    assert ran.code == 2
    assert "pairs need at least 2 equal seeds" in ran.err


def test_equal_scores_are_runs(nondet: Nondet, tmp_path: Path) -> None:
    """Two runs may well have one accuracy; only the same rows are the same runs."""
    path = tmp_path / "t.csv"
    path.write_text("method,seed,acc\na,0,90\na,1,90\na,2,91\nb,0,92\nb,1,92\nb,2,93\n")
    assert nondet("compare", path, "--json").json["runs"] == {"a": 3, "b": 3}
    ran = nondet("compare", f"{path}:a", f"{path}:a")
    assert ran.code == 2
    assert "are the same 3 runs" in ran.err


def test_a_metric_and_a_run_keep_their_names(nondet: Nondet, tmp_path: Path) -> None:
    """Every command calls a metric and a run what the file calls them, and an arm's cautions go on in lower case."""
    path = tmp_path / "t.csv"
    values = [90.0, 90.1, 90.2, 89.9, 90.05, 89.95, 90.15, 90.02, 89.98, 71.0]
    for runs, said in (("GPT_{}", "a: run GPT_9 ("), ("RUN_{}", "a: RUN_9 (")):
        rows = [f"{arm},{runs.format(n)},{v}" for arm in "ab" for n, v in enumerate(values)]
        path.write_text("\n".join(["method,seed,test_accuracy", *rows]))
        measured, compared = nondet("measure", path), nondet("compare", path)
        assert "a: because of such runs" in measured.out
        assert "a: because of such runs" in compared.out
        assert said in measured.out
        assert said in compared.out
    planned = nondet("plan", "--study", path, "--of", "a", "--effect", 0.3)
    assert "a difference of 0.3 of test_accuracy with" in " ".join(planned.out.split())


def test_the_end_of_a_wide_ratio_is_a_plain_number(nondet: Nondet, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("m,seed,acc\n" + "".join(f"{arm},{n},{v}\n" for arm, of in (("a", (0.9339, 0.9572, 0.9594)),
                    ("b", (0.9511, 0.9508, 0.955))) for n, v in enumerate(of)))  # fmt: skip
    ran = nondet("compare", path, "--arm", "m")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("SD ratio")]
    assert re.search(r"0\.17 \[0\.00, 1[0-9]{2}\]$", line), line


def test_a_plan(nondet: Nondet, tmp_path: Path) -> None:
    """The pilot is an arm of a file."""
    words = ("--effect", 0.3, "--json", "--study")
    found = nondet("plan", *words, f"{tidy(tmp_path)}:base").json
    assert found["sd"] == pytest.approx(np.std(BASE, ddof=1))
    assert found["pilot"]["runs"] == 5
    assert found == nondet("plan", "--of", "base", *words, tidy(tmp_path)).json | {"pilot": found["pilot"]} | {
        "sentence": found["sentence"]
    }


@pytest.mark.parametrize(
    ("text", "words", "said", "way_out"),
    [
        ("kind,acc\nx,1\nx,2\ny,3\ny,4\n", (), "the column that says what was trained", ("--arm", "kind")),
        ("model,opt,optimizer,acc\n" + "".join(f"{m},q,{o},{v}\n" for v, (m, o) in enumerate(
            [(m, o) for m in "ab" for o in "cd" for _ in "12"])), (), "several columns that may name arms",
            ("--arm", "model,optimizer")),
        ("method,seed,acc\na,0,1\na,0,2\nb,0,3\nb,1,5\n", (), "must have one row for each run", None),
        ("method,seed,acc\na,0,1\na,1,2\n", ("--metric", "f1"), "--metric must name a column", ("--metric", "acc")),
        ("method,seed,acc\na,0,1\na,1,2\n", ("--metric", "ac"), "did you mean acc?); choose", ("--metric", "acc")),
        ("method,seed,acc\na,0,1\na,1,oops 3\n", ("--metric", "acc"), "must have a number in each row", None),
    ],
)  # fmt: skip
def test_doubt_is_refused(
    nondet: Nondet, tmp_path: Path, text: str, words: tuple[str, ...], said: str, way_out: tuple[str, ...] | None
) -> None:
    """One sentence, and the way out that it names works."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    ran = nondet("measure", path, *words)
    assert ran.code == 2
    assert said in ran.err
    if way_out:
        assert " ".join(way_out[:1]) in ran.err
        assert nondet("measure", path, *way_out).code == 0, way_out


def test_a_failed_run_without_a_seed_is_named_by_its_row(nondet: Nondet, tmp_path: Path) -> None:
    """In a table with a column for each arm too, where its seed is left out."""
    path = tmp_path / "t.csv"
    path.write_text("seed,base,aug\n1,91.2,91.9\n2,90.8,92.1\n,91.0,nan\n")
    assert "left out: 1 failed run of aug (row 3)" in nondet("measure", path).err


def test_python(tmp_path: Path) -> None:
    """The API takes the same, and numbers that a program has."""
    found = nd.compare(tidy(tmp_path), of="base", with_="aug")
    same = nd.compare({"base": BASE, "aug": AUG}, metric="accuracy")
    assert found.to_dict() | {"sentence": ""} == same.to_dict() | {"sentence": ""}
    assert nd.compare(BASE, AUG).difference.value == pytest.approx(0.604)
    measured = nd.measure({"base": BASE, "aug": [*AUG, math.nan]}, metric="accuracy")
    assert measured.to_dict()["arms"][1]["failed"] == 1
    assert nd.measure(str(tidy(tmp_path))).to_dict()["arms"][0]["sd"] == pytest.approx(np.std(BASE, ddof=1))
    assert nd.plan(0.3, pilot=BASE).runs_per_arm == 7
    with pytest.raises(nd.BadInput, match="must be one number for each run"):
        nd.compare({"a": [[1, 2], [3, 4]]}, {"b": [1, 2]})
