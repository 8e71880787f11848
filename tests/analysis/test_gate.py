"""`nondet floor` and `nondet gate`: intervals, verdicts, exit statuses, and a ledger in which nothing changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nondet as nd
from nondet.analysis.gate import level_of
from nondet.stats.evidence import fixed_runs, log_evidence, log_mixture, log_ratio
from nondet.stats.prediction import prediction_reach

Nondet = Callable[..., Any]

BASE = [90.51, 90.63, 90.34, 90.80, 90.42, 90.58, 90.47, 90.71]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a baseline, and the place of the commands."""
    monkeypatch.chdir(tmp_path)
    numbers("base.txt", BASE)
    return tmp_path


def numbers(name: str, values: list[float]) -> str:
    Path(name).write_text("".join(f"{value}\n" for value in values))
    return name


# --- the floor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_runs", [1, 3])
def test_the_floor_is_the_prediction_interval(nondet: Nondet, folder: Path, new_runs: int) -> None:
    """By scipy's t distribution; with a number a line, and with a column of a table."""
    found = nondet("floor", "base.txt", "--new-runs", new_runs, "--level", 0.1, "--json").json
    mean, sd, n = np.mean(BASE), np.std(BASE, ddof=1), len(BASE)
    low, high = stats.t.interval(0.9, n - 1, loc=mean, scale=sd * np.sqrt(1 / n + 1 / new_runs))
    assert {name: found[name] for name in ("runs", "new_runs", "level")} == {
        "runs": n,
        "new_runs": new_runs,
        "level": 0.1,
    }
    assert [found[name] for name in ("mean", "sd", "low", "high")] == pytest.approx([mean, sd, low, high])
    rows = [f"{seed},{value},{value / 2}" for seed, value in enumerate(BASE)]
    Path("t.csv").write_text("\ufeffseed,accuracy,f1\n" + "\n".join(rows) + "\n", encoding="utf-8")
    table = nondet("floor", "t.csv", "--metric", "accuracy", "--new-runs", new_runs, "--level", 0.1, "--json").json
    assert [table[name] for name in ("low", "high")] == pytest.approx([low, high])
    assert table["metric"] == "accuracy"
    assert nd.floor(BASE, new_runs, level=0.1).low == pytest.approx(low)


def test_the_floor_holds_as_often_as_it_says() -> None:
    """Of normal values, in 20,000 studies of 5 runs and the mean of 2 new ones."""
    rng = np.random.Generator(np.random.Philox(1))
    runs, new = rng.normal(size=(20_000, 5)), rng.normal(size=(20_000, 2)).mean(axis=1)
    reach = np.array([prediction_reach(sd, 5, 2, 0.05) for sd in runs.std(axis=1, ddof=1)])
    outside = np.mean(np.abs(new - runs.mean(axis=1)) > reach)
    assert abs(outside - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 20_000)


def test_cautions(folder: Path) -> None:
    """Runs that are not normal, few runs, and runs that do not differ."""
    collapsed = nd.floor([*np.linspace(90, 91, 15), 11.0, 12.0])
    assert "not normal" in collapsed.notes[0]
    assert "with a chance of 89 %" in collapsed.notes[0]
    assert nd.floor(list(stats.norm.ppf((np.arange(20) + 0.5) / 20))).notes == ()
    assert "do not show" in nd.floor(BASE).notes[0]
    equal = nd.floor([1.0, 1.0, 1.0])
    assert equal.low == equal.high == 1.0
    assert "show no noise floor" in equal.sentence


def test_the_floor_of_a_study(nondet: Nondet, finished: Path) -> None:
    """Of a condition's runs, by the score that is named."""
    found = nondet("floor", f"{finished}:init", "--metric", "cross_entropy", "--json").json
    values = nd.open(finished)["init"].scores()["cross_entropy"]
    assert found["mean"] == pytest.approx(values.mean())
    assert found["metric"] == "cross_entropy"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "an empty file"),
        ("1.0\n", "at least 2"),
        ("1.0\nnan\n", "at least 2"),
        ("a,b\n1,2\n3,4\n", "name one with --of a"),
        ("1,2\n3,4\n", "name one with --of 1"),
        ("acc,x\n1,a\n3\n", "--metric"),
    ],
)
def test_numbers_that_cannot_be_read(nondet: Nondet, folder: Path, content: str, words: str) -> None:
    Path("x.csv").write_text(content)
    ran = nondet("floor", "x.csv", *(["--metric", "y"] if "x" in content else []))
    assert ran.code == 2
    assert words in ran.err


def test_the_floor_of_one_arm(nondet: Nondet, folder: Path) -> None:
    """Of a table of several, the one that is named, without its failed run, which is told."""
    rows = [f"base,{seed},{value}" for seed, value in enumerate(BASE)]
    Path("t.csv").write_text("\n".join(["method,seed,accuracy", *rows, "base,9,nan", "aug,1,3.0", "aug,2,4.0"]))
    found = nondet("floor", "t.csv", "--of", "base", "--json").json
    assert found["runs"] == len(BASE)
    assert found["mean"] == pytest.approx(np.mean(BASE))
    assert "1 failed run is left out." in found["notes"]
    assert nondet("floor", "t.csv:aug", "--json").json["mean"] == 3.5
    refused = nondet("floor", "t.csv")
    assert refused.code == 2
    assert "name one with --of base" in refused.err


# --- the evidence ------------------------------------------------------------------------------------------------


def test_the_ratio_of_densities_is_scipys() -> None:
    """Of the noncentral t and the central one, near and far from 0."""
    t = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 8.0])
    for freedom, shift in ((3, 0.4), (8, 1.7), (60, 3.0)):
        expected = stats.nct.logpdf(t, freedom, shift) - stats.t.logpdf(t, freedom)
        same = np.full(len(t), float(freedom)), np.full(len(t), shift)
        middle = np.isfinite(expected) & (t > -2)  # scipy's density has no digits left far on the other side
        assert log_ratio(t, *same)[middle] == pytest.approx(expected[middle], rel=1e-6)


def test_the_evidence_has_expectation_one() -> None:
    """If nothing differs, its mean is 1 at any number of runs: by numerical integration over the central t."""
    for runs, new in ((5, 1), (10, 4)):
        t = np.linspace(-60, 60, 8001)
        size = np.full(len(t), runs * new / (runs + new))
        values = np.exp(log_mixture(t, np.full(len(t), runs + new - 2.0), size)) * stats.t.pdf(t, runs + new - 2)
        assert np.trapezoid(values, t) == pytest.approx(1, abs=0.02)


def test_a_larger_spread_of_the_new_runs_counts() -> None:
    """The evidence from runs that scatter more than the baseline's is no larger than the pooled SD gives."""
    base, new = np.array(BASE), np.array([90.0, 92.5, 91.9])
    pooled = ((len(base) - 1) * base.var(ddof=1) + 2 * new.var(ddof=1)) / (len(base) + 1)
    size = len(base) * 3 / (len(base) + 3)
    t = (new.mean() - base.mean()) * np.sqrt(size / pooled)
    assert log_evidence(base, new) < log_mixture(np.array([t]), np.array([9.0]), np.array([size]))[0]


def test_the_fixed_size_has_its_power() -> None:
    """The fewest runs whose one-sided t-test has the power, by scipy's noncentral t."""
    count = fixed_runs(1.0, 20, 0.025, 0.8, 1000)
    assert count is not None

    def power(k: int) -> float:
        bound = stats.t.isf(0.025, 18 + k)
        return float(stats.nct.sf(bound, 18 + k, np.sqrt(20 * k / (20 + k))))

    assert power(count) >= 0.8 > power(count - 1)
    assert fixed_runs(0.5, 5, 0.05, 0.8, 1000) is None


def test_the_levels_sum_to_alpha() -> None:
    assert sum(level_of(number, 0.05) for number in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)


def test_null_loops_keep_nothing_in_95_of_100(tmp_path: Path) -> None:
    """Loops of 4 changes that do nothing, looked at after each of 6 runs, through the API: few keep one."""
    rng = np.random.Generator(np.random.Philox(4))
    kept = 0
    for loop in range(12):
        base, ledger = rng.normal(size=8), tmp_path / f"{loop}.jsonl"
        for candidate in range(4):
            runs = rng.normal(size=6)
            for count in range(1, 7):
                found = nd.gate(base, runs[:count], ledger, name=str(candidate), limit=6)
                if found.verdict != "run again":
                    break
            kept += found.verdict == "keep"
    assert kept <= 2  # of 12 loops at 5 %: more has a chance of 2 %


# --- the gate ----------------------------------------------------------------------------------------------------


def test_keep_discard_and_run_again(nondet: Nondet, folder: Path) -> None:
    """Exit statuses 0, 1 and 4; each further candidate has a smaller part of alpha; what is decided stays so."""
    words = ("gate", "base.txt", "new.txt", "--ledger", "l.jsonl", "--json")
    numbers("new.txt", [90.6])
    again = nondet(*words, "--alpha", 0.1)
    assert (again.code, again.json["verdict"]) == (4, "run again")
    numbers("new.txt", [90.6, 89.9, 90.1, 89.8])
    worse = nondet(*words)
    assert (worse.code, worse.json["verdict"]) == (1, "discard")
    assert worse.json["level"] == pytest.approx(0.05)
    assert nondet(*words).code == 1
    numbers("new.txt", [91.6, 91.7, 91.5])
    refused = nondet(*words)
    assert refused.code == 2
    assert "--name" in refused.err
    better = nondet(*words, "--name", "second")
    assert (better.code, better.json["verdict"]) == (0, "keep")
    assert better.json["number"] == 2
    assert better.json["threshold"] == pytest.approx(60)
    assert better.json["evidence"] >= 60
    lines = Path("l.jsonl").read_text().splitlines()
    assert len(lines) == 4  # the terms and three looks: what is decided already adds none
    assert json.loads(lines[-1])["sha256"] == better.json["seal"]


def test_lower_can_be_better(nondet: Nondet, folder: Path) -> None:
    """By the metric's name, or as said; a ledger keeps to one."""
    rows = "\n".join(map(str, BASE))
    Path("base.csv").write_text(f"loss\n{rows}\n")
    Path("new.csv").write_text("loss\n88.1\n88.2\n88.0\n")
    assert nondet("gate", "base.csv", "new.csv", "--ledger", "l").code == 0
    assert nondet("gate", "base.csv", "new.csv", "--ledger", "m", "--better", "higher").code == 1
    ran = nondet("gate", "base.csv", "new.csv", "--ledger", "l", "--better", "higher")
    assert ran.code == 2
    assert "--better lower" in ran.err
    assert nondet("gate", "base.csv", "new.csv", "--ledger", "n", "--better", "up").code == 2


def test_the_limit_ends_it(folder: Path) -> None:
    """A candidate between the two is discarded at its limit; before, the sentence says how many runs it takes."""
    middle = [90.62, 90.55, 90.65, 90.59]
    assert nd.gate(BASE, middle[:3], "l", limit=4, effect=0.1).verdict == "run again"
    found = nd.gate(BASE, middle, "l")
    assert (found.verdict, found.why, found.limit) == ("discard", "limit", 4)
    few = nd.gate(BASE[:3], [90.6], "m", effect=0.05)
    assert few.more_runs is None
    assert "add repeats of the baseline" in few.sentence


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace("90.6", "91.6"), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines[:-1], lines[-1][:-10]],
        lambda lines: lines[1:],
        lambda lines: ["{}"],
        lambda lines: ["not json"],
    ],
    ids=["changed", "dropped", "swapped", "torn", "headless", "other", "text"],
)
def test_a_ledger_that_was_changed_is_refused(
    nondet: Nondet, folder: Path, damage: Callable[[list[str]], list[str]]
) -> None:
    """With status 2, for 1 means discard; and the file is left as it is."""
    for count in (1, 2, 3):
        numbers("new.txt", [90.6, 90.5, 90.7][:count])
        assert nondet("gate", "base.txt", "new.txt", "--ledger", "l").code == 4
    changed = "\n".join(damage(Path("l").read_text().splitlines())) + "\n"
    Path("l").write_text(changed)
    ran = nondet("gate", "base.txt", "new.txt", "--ledger", "l")
    assert ran.code == 2
    assert "ledger" in ran.err
    assert Path("l").read_text() == changed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("base.txt", "base.txt"), "the candidate must have its own runs"),
        (("one.txt", "new.txt"), "at least 2 runs that differ"),
        (("base.txt", "new.txt", "--alpha", 1), "alpha"),
        (("base.txt", "new.txt", "--effect", 0), "--effect"),
        (("base.txt", "new.txt", "--limit", 1), "--limit"),
        (("base.txt", "missing.txt"), "nothing is at missing.txt"),
        (("base.txt", "new.txt", "--ledger", "."), "--ledger"),
    ],
)
def test_what_cannot_be_decided_is_refused(nondet: Nondet, folder: Path, words: tuple[Any, ...], said: str) -> None:
    numbers("new.txt", [90.6])
    numbers("one.txt", [90.6])
    ran = nondet("gate", *words, *(() if "--ledger" in words else ("--ledger", "l")))
    assert ran.code == 2
    assert said in ran.err
    assert not Path("l").exists()


def test_terms_stay(folder: Path) -> None:
    """Alpha is the ledger's, effect and limit the candidate's."""
    nd.gate(BASE, [90.6], "l", alpha=0.1, effect=0.3, limit=9)
    for other in ({"alpha": 0.05}, {"effect": 0.2}, {"limit": 8}):
        with pytest.raises(nd.BadInput, match=f"{next(iter(other))}"):
            nd.gate(BASE, [90.6, 90.7], "l", **other)
    assert nd.gate(BASE, [90.6, 90.7], "l").alpha == 0.1


def test_the_gate_takes_the_arms_of_one_table(nondet: Nondet, folder: Path) -> None:
    """By the names of its columns and arms, on the command line and in Python, as from two files."""
    wider = [value + 1 for value in BASE[:4]]
    rows = [f"{name},{i},{x}" for name, values in (("base", BASE), ("wider", wider)) for i, x in enumerate(values)]
    Path("t.csv").write_text("recipe,try,accuracy\n" + "\n".join(rows) + "\n")
    numbers("wider.txt", wider)
    columns = ("--arm", "recipe", "--seed", "try", "--metric", "accuracy", "--of", "base")
    apart = nondet("gate", "base.txt", "wider.txt", "--ledger", "apart.jsonl", "--json").json
    table = nondet("gate", "t.csv", *columns, "--with", "wider", "--ledger", "table.jsonl", "--json").json
    same = ("verdict", "runs", "base_runs", "difference", "evidence", "threshold")
    assert [table[name] for name in same] == [apart[name] for name in same]
    assert table["candidate"] == "t.csv:wider"
    named = {"arm": "recipe", "seed": "try", "of": "base", "metric": "accuracy"}
    assert nd.gate("t.csv", None, "python.jsonl", with_="wider", **named).evidence == apart["evidence"]
    with pytest.raises(nd.BadInput, match="gate needs a baseline and a candidate"):
        nd.gate("t.csv", None, "python.jsonl", **named)
    np.save("outputs.npy", np.zeros((4, 3, 2)))
    with pytest.raises(nd.BadInput, match="an arm can be chosen by name from a file of scores only"):
        nd.gate("outputs.npy", None, "python.jsonl", of="base", with_="wider", labels=[0, 1, 0])
