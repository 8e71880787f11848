"""Runs added until an error is small enough, and seeds of sources crossed: from the command to study and JSON."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring import LANGUAGE_NAMES, NAMES, accuracy, measure, measure_language

from nondet.errors import BadInput, Damaged
from nondet.io.files import sealed, unsealed
from nondet.measures.measured import Measures
from nondet.running import until
from nondet.running.advice import go_on
from nondet.stats.components import disagreement_by_set, variance_components
from nondet.stats.estimate import Estimate
from nondet.study.design import Crossed, Stopping, conditions, crossed
from nondet.study.record import load
from nondet.study.study import Study

Nondet = Callable[..., Any]
TIMES = "\N{MULTIPLICATION SIGN}"
SOURCES = ("init", "shuffle", "augment", "order", "bit")
CLASSIFIER = NAMES
RULE = "accuracy.sd.error<18%"
ADAPTIVE = ("--until", RULE, "--runs", 3, "--vary", "init", "--vary", "all", "--limit", 30, "--workers", 1)
CROSSED = ("--design", "crossed", "--levels", 3, "--vary", "init", "--vary", "shuffle", "--workers", 1)

DRIVER = """
import json, os, signal, sys
import nondet.cli.main, nondet.training.train

words, folder, shares = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
counted = os.memfd_create("calls")

def forked(folder, kill=None):
    child = os.fork()
    if child == 0:
        calls = 0
        def counting(call):
            def instead(*args, **kwargs):
                nonlocal calls
                if calls == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                calls += 1
                return call(*args, **kwargs)
            return instead
        for name in ("fsync", "link", "unlink", "replace", "rename"):
            setattr(os, name, counting(getattr(os, name)))
        sys.argv = ["nondet", *words, "--study", folder]
        code = nondet.cli.main.main(sys.argv[1:])
        os.pwrite(counted, str(calls).encode(), 0)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert forked(f"{folder}/whole") == 0
total = int(os.pread(counted, 20, 0))
for number, share in enumerate(shares):
    assert forked(f"{folder}/{number}", int(share * total)) == -signal.SIGKILL
    assert forked(f"{folder}/{number}") == 0
"""
"""Make a study in one go, then others with a kill just before a change of the disk, after shares of all changes."""


def blobs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "runs").glob("*.safetensors")}


@pytest.fixture(scope="module")
def adaptive(tiny: Path, tmp_path_factory: pytest.TempPathFactory, process: Nondet) -> Path:
    """A study made with --until. Read it only."""
    folder = tmp_path_factory.mktemp("until") / "study"
    ran = process("run", tiny, *ADAPTIVE, "--study", folder)
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture(scope="module")
def crossing(tiny: Path, tmp_path_factory: pytest.TempPathFactory, process: Nondet) -> Path:
    """A study with a crossed design. Read it only."""
    folder = tmp_path_factory.mktemp("crossed") / "study"
    ran = process("run", tiny, *CROSSED, "--study", folder)
    assert ran.code == 0, ran.err
    return folder


# --- the stopping rule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "figure", "bound", "relative"),
    [
        ("accuracy.sd.error<10%", "accuracy.sd", 10, True),
        (" disagreement.error < 0.2 ", "disagreement", 0.2, False),
        ("ensemble_delta.cross_entropy.error<1e-3", "ensemble_delta.cross_entropy", 1e-3, False),
        ("correlation.pearson.error<5 %", "correlation.pearson", 5, True),
    ],
)
def test_a_rule_is_read(expression: str, figure: str, bound: float, relative: bool) -> None:
    """A figure by its dotted name, a bound, and a percent sign where the bound is relative."""
    rule = until.parse(expression, CLASSIFIER, 20, None)
    assert (rule.figure, rule.bound, rule.relative, rule.limit) == (figure, bound, relative, 200)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "must be MEASURE.error<NUMBER or MEASURE.error<NUMBER% (got '')"),
        ("accuracy.sd<10%", "must be MEASURE.error<NUMBER"),
        ("accuracy.sd.error>10%", "must be MEASURE.error<NUMBER"),
        ("accuracy.sd.error<10%%", "must be MEASURE.error<NUMBER"),
        (
            "accuracy.error<10%",
            "knows no measure 'accuracy' of this task (did you mean accuracy.sd?); choose from accuracy.mean",
        ),
        ("perplexity.sd.error<10%", "knows no measure 'perplexity.sd'"),
        ("accuracy.sd.error<0%", "must be a number above 0 (got '0')"),
        ("accuracy.sd.error<-1", "must be a number above 0 (got '-1')"),
        ("accuracy.sd.error<nan", "must be a number above 0 (got 'nan')"),
        ("accuracy.sd.error<1e999", "must be a number above 0 (got '1e999')"),
        ("accuracy.sd.error<ten%", "must be a number above 0 (got 'ten')"),
    ],
)
def test_a_bad_rule_is_refused_before_training(
    nondet: Nondet, tiny: Path, tmp_path: Path, expression: str, words: str
) -> None:
    """One sentence with the rule, the value and the way out; no study is begun."""
    ran = nondet("run", tiny, f"--until={expression}", "--study", tmp_path / "s")
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--until", RULE, "--limit", 5),
            "--limit must be at least the number of runs that --until begins with (got --limit 5",
        ),
        (("--limit", 5), "--limit needs --until (got --limit 5 alone)"),
        (("--levels", 3), "--levels is for --design crossed (got --levels 3 alone)"),
        (("--design", "crossed"), "--design crossed needs --levels"),
        (("--design", "full"), "--design must be conditions or crossed (got 'full')"),
        ((*CROSSED, "--runs", 5), "--runs is for conditions, but --design crossed has --levels (got --runs 5)"),
        ((*CROSSED, "--onset", 1), "--onset is for conditions, not for --design crossed (got --onset 1)"),
        ((*CROSSED, "--until", RULE), "--until is for conditions, not for --design crossed"),
        (("--design", "crossed", "--levels", 1), "levels must be at least 2 to cross seeds (got 1)"),
        (("--design", "crossed", "--levels", 22), "at most 10000 runs (got 22^3: 22 levels of 3 sources)"),
        (("--design", "crossed", "--levels", 3, "--vary", "init"), "needs at least 2 sources (got 1: init)"),
        (
            ("--design", "crossed", "--levels", 3, "--vary", "init+order"),
            "one source in each --vary (got 'init+order')",
        ),
    ],
)
def test_options_that_do_not_go_together(
    nondet: Nondet, tiny: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    """One sentence with the rule, the value and the way out; no study is begun."""
    ran = nondet("run", tiny, *options, "--study", tmp_path / "s")
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_every_figure_with_an_error_can_be_in_a_rule() -> None:
    """The names that a rule takes are those that have an error in the JSON."""
    logits = np.random.default_rng(0).normal(size=(3, 20, 4))
    labels = np.arange(20) % 4
    assert set(CLASSIFIER) == measure(logits, labels).to_dict()["errors"].keys()
    logprob = np.log(np.full((3, 20), 0.25)) + logits[:, :, 0].clip(-1, 0)
    language = measure_language(logprob, logits.argmax(-1), logits, labels)
    assert set(LANGUAGE_NAMES) == language.to_dict()["errors"].keys()


@pytest.mark.parametrize(
    ("value", "error", "relative", "absolute"),
    [(2.0, 0.1, 5.0, 0.1), (-2.0, 0.1, 5.0, 0.1), (0.0, 0.1, None, 0.1), (0.0, 0.0, 0.0, 0.0), (2.0, None, None, None)],
)
def test_the_error_that_a_rule_looks_at(
    value: float, error: float | None, relative: float | None, absolute: float | None
) -> None:
    """In percent of the figure's size, or in its unit; not known where the error is not, or the figure is 0."""
    figures = Measures((), {"disagreement": Estimate(value, math.nan if error is None else error, 0.0, 9.0)}, 5)
    for expression, expected in (("disagreement.error<10%", relative), ("disagreement.error<10", absolute)):
        assert until.parse(expression, CLASSIFIER, 2, 2).error_of(figures) == expected


def test_runs_that_agree_by_chance_show_no_error() -> None:
    """An error of 0 without an interval, which is that of unequal runs, is not known of few runs; of 20 it is 0."""
    rule = until.parse("accuracy.sd.error<10%", CLASSIFIER, 2, 2)
    found = {"accuracy.sd": Estimate(0.0, 0.0)}
    assert [rule.error_of(Measures((), found, runs, failed=1)) for runs in (3, 20, 21)] == [None, None, 0.0]


def test_when_a_rule_holds() -> None:
    """Below the bound, not at it; equal runs have an error of 0 and hold; an error that is not known does not."""
    rule = until.parse("disagreement.error<0.5", CLASSIFIER, 2, 2)
    assert [rule.holds(error) for error in (0.49, 0.0, 0.5, 0.6, None)] == [True, True, False, False, False]


@pytest.mark.parametrize(("vary", "width", "expected"), [([], 16, [25, 30, 35]), (["init"], 16, [35, 50, 65])])
def test_rounds_fill_whole_stacks(vary: list[str], width: int, expected: list[int]) -> None:
    """A round's new runs, with the control's, are whole stacks: five runs of each of six conditions and two repeats."""
    wanted = conditions(vary, SOURCES, 20)
    study = Study(Path("x"), {"recipe": {}}, SOURCES, {"stack": width}, np.zeros(1), conditions=tuple(wanted))
    found = []
    for _ in expected:
        before = study.planned().keys()
        found.append(until.next_runs(study, wanted, 200))
        wanted = [replace(c, runs=found[-1]) for c in wanted]
        study = replace(study, conditions=tuple(wanted))
        assert len(study.planned().keys() - before) % width == 0
    assert found == expected
    assert until.next_runs(study, wanted, found[-1] + 1) == found[-1] + 1  # the limit is kept to


def test_until_stops_when_it_holds(nondet: Nondet, tiny: Path, tmp_path: Path, adaptive: Path) -> None:
    """The rule holds at the end and not a round before, and the study is that of one command with as many runs."""
    shown = nondet("show", adaptive, "--json").json
    stopping = shown["until"]
    runs = stopping["runs"]
    assert 3 < runs <= 30
    assert (stopping["expression"], stopping["begin"], stopping["limit"], stopping["held"]) == (RULE, 3, 30, True)
    assert {c["name"]: c["runs"] for c in shown["conditions"]} == {"init": runs, "all": runs}
    assert stopping["errors"].keys() == {"init", "all"}
    assert max(stopping["errors"].values()) < 18
    assert stopping["caution"] == until.CAUTION
    assert until.CAUTION in " ".join(nondet("show", adaptive).out.split())

    ran = nondet("run", tiny, "--runs", runs, "--vary", "init", "--vary", "all", "--study", tmp_path / "once")
    assert ran.code == 0
    assert blobs(tmp_path / "once") == blobs(adaptive)
    once = nondet("show", tmp_path / "once", "--json").json
    intervals = [[c.pop("intervals") for c in each["conditions"]] for each in (once, shown)]
    said = {"until", "finding"}
    assert {name: once[name] for name in once.keys() - said} == {name: shown[name] for name in shown.keys() - said}
    for plain, after in zip(*intervals, strict=True):  # which allow for having looked
        for name, (low, high) in ((n, sides) for n, sides in plain.items() if sides):
            assert after[name][0] <= low <= high <= after[name][1]
    init = once["conditions"][0]
    assert stopping["errors"]["init"] == pytest.approx(100 * init["accuracy"]["sd_error"] / init["accuracy"]["sd"])

    study, rounds = load(adaptive), [3]
    while rounds[-1] < runs:
        now = replace(study, conditions=tuple(replace(c, runs=rounds[-1]) for c in study.conditions))
        rounds.append(until.next_runs(now, now.conditions, 30))
    assert rounds[-1] == runs
    before = nondet("run", tiny, *ADAPTIVE[:-4], "--limit", rounds[-2], "--study", tmp_path / "before")
    assert f"up to {rounds[-2]}:" in before.out
    assert nondet("show", tmp_path / "before", "--json").json["until"]["held"] is False


def test_until_again_trains_nothing(
    nondet: Nondet, tiny: Path, adaptive: Path, contents: Callable[[Path], object]
) -> None:
    """The same command on the finished study, and the way to go on that the study names, change no byte of it."""
    before = contents(adaptive), (adaptive / "study.json").read_bytes()
    assert "to train" not in nondet("run", tiny, *ADAPTIVE, "--study", adaptive).err
    assert (contents(adaptive), (adaptive / "study.json").read_bytes()) == before
    assert nondet(*shlex.split(go_on(load(adaptive)))[1:]).code == 0
    assert contents(adaptive) == before[0]


def test_until_is_said(nondet: Nondet, adaptive: Path, tmp_path: Path, tiny: Path) -> None:
    """Rule, runs and largest error in words; a limit met first is not success; the record outlives later commands."""
    runs = load(adaptive).conditions[0].runs
    assert f"until {RULE} in all of them: that took {runs}," in " ".join(nondet("show", adaptive).out.split())
    ran = nondet(
        "run",
        tiny,
        "--until",
        "disagreement.error<1e-9",
        "--runs",
        2,
        "--limit",
        3,
        "--vary",
        "init",
        "--study",
        tmp_path / "s",
    )
    assert ran.code == 0
    assert "so the rule does not hold; continue with a larger limit." in " ".join(ran.out.split())
    assert "After 2 runs of each condition the largest error is" in ran.err
    stopping = load(tmp_path / "s").until
    assert stopping is not None
    assert (stopping.runs, stopping.held) == (3, False)
    assert nondet("run", tiny, "--runs", 4, "--vary", "init", "--study", tmp_path / "s").code == 0
    assert load(tmp_path / "s").until == stopping


def test_until_with_runs_that_are_there(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A condition that has more runs than the command begins with counts with all of them, beyond the limit as well."""
    folder = tmp_path / "s"
    assert nondet("run", tiny, "--runs", 6, "--vary", "init", "--study", folder).code == 0
    ran = nondet(
        "run", tiny, "--until", "accuracy.sd.error<1e-9", "--runs", 2, "--limit", 4, "--vary", "init", "--study", folder
    )
    assert ran.code == 0
    assert "to train" not in ran.err
    assert nondet("show", folder, "--json").json["until"]["runs"] == 6


def test_until_when_all_runs_fail(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """An error that nobody knows does not hold: the limit ends it, and JSON has null."""
    words = ("--until", RULE, "--runs", 2, "--limit", 3, "--vary", "init", "--set", "lr=1e30")
    ran = nondet("run", tiny, *words, "--study", tmp_path / "s")
    assert ran.code == 0
    assert "the largest error is not known (init)" in " ".join(ran.out.split())
    assert nondet("show", tmp_path / "s", "--json").json["until"]["errors"] == {"init": None}


@pytest.mark.parametrize(
    ("words", "shares"),
    [
        pytest.param(ADAPTIVE, [0.4, 0.999], marks=pytest.mark.slow, id="until"),
        pytest.param(CROSSED, [0.7], marks=pytest.mark.slow, id="crossed"),
        pytest.param(ADAPTIVE, [*np.linspace(0, 0.98, 12)], marks=pytest.mark.slow, id="until-often"),
        pytest.param(CROSSED, [*np.linspace(0, 0.99, 8)], marks=pytest.mark.slow, id="crossed-often"),
    ],
)
def test_killed_before_a_change_of_the_disk(
    nondet: Nondet, tiny: Path, tmp_path: Path, words: tuple[object, ...], shares: list[float]
) -> None:
    """kill -9 in the first round, between rounds or at the end: the same command makes the same study."""
    command = [sys.executable, "-c", DRIVER, json.dumps(["run", *map(str, (tiny, *words))]), str(tmp_path)]
    done = subprocess.run(
        [*command, json.dumps(shares)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"
    for number in range(len(shares)):
        folder = tmp_path / str(number)
        assert blobs(folder) == blobs(whole)
        assert (folder / "study.json").read_bytes() == (whole / "study.json").read_bytes()
        assert nondet("verify", folder).code == 0


# --- crossed seeds -----------------------------------------------------------------------------------------------


def test_a_crossed_design_has_every_combination() -> None:
    """L^k runs with seeds 1 to L of each source, the others fixed; the first is the reference run."""
    design = crossed(["shuffle", "init"], SOURCES, 3)
    assert (design.vary, design.runs) == (("init", "shuffle"), 9)
    specs = design.specs({"name": "x"}, SOURCES)
    assert [(s.seeds["init"], s.seeds["shuffle"]) for s in specs] == list(product((1, 2, 3), repeat=2))
    assert {s.seeds[name] for s in specs for name in ("augment", "order", "bit")} == {1}
    first, *_ = conditions(["init"], SOURCES, 3)
    shared = {s.key for s in specs} & {s.key for s in first.specs({"name": "x"}, SOURCES)}
    assert len(shared) == 3  # keys are those of ordinary conditions


def test_without_vary_all_sources_with_a_seed_are_crossed() -> None:
    """Every source but bit, and but kernels, which has no seed and is refused by name."""
    assert crossed([], (*SOURCES, "kernels"), 2).vary == ("init", "shuffle", "augment", "order")
    assert crossed(["bit", "init"], SOURCES, 2).vary == ("init", "bit")
    with pytest.raises(BadInput, match=r"needs sources that have a seed \(got kernels, which has none\)"):
        crossed(["kernels", "init"], (*SOURCES, "kernels"), 2)


def test_crossed_figures_are_those_of_the_stored_outputs(nondet: Nondet, crossing: Path) -> None:
    """Components and disagreement in the JSON are those of the runs, put in their cells by hand."""
    study, shown = load(crossing), nondet("show", crossing, "--json").json
    assert isinstance(study.crossed, Crossed)
    outputs = np.empty((3, 3, 20, 3))
    for spec in study.crossed.specs(study.identity, study.sources):
        outputs[spec.seeds["init"] - 1, spec.seeds["shuffle"] - 1] = study.store.get(spec.key).arrays["outputs"]
    split = variance_components(accuracy(outputs.reshape(9, 20, 3), study.labels).reshape(3, 3))
    assert shown["conditions"] == []
    assert shown["control"]["identical"] is True
    assert {k: shown["crossed"][k] for k in ("vary", "levels", "runs", "failed")} == {
        "vary": ["init", "shuffle"],
        "levels": 3,
        "runs": 9,
        "failed": 0,
    }
    assert shown["crossed"]["accuracy"]["variance"] == split.total.value
    assert shown["crossed"]["accuracy"]["alone"]["init"]["share"] == split.alone[0].share.value
    assert [c["sources"] for c in shown["components"]] == [["init"], ["shuffle"], ["init", "shuffle"]]
    for record, (_, component), (_, pairs) in zip(
        shown["components"], split.parts, disagreement_by_set(outputs.argmax(-1)), strict=True
    ):
        assert record["variance"] == component.variance.value
        assert {k: record[k] for k in ("share", "error", "low", "high")} == component.share.to_dict("share")
        assert record["disagreement"] == pairs.to_dict("mean")
        assert 0 <= record["cross_entropy"]["low"] <= record["cross_entropy"]["high"] <= 1
    assert sum(c["share"] for c in shown["components"]) == pytest.approx(1)


def test_crossed_is_shown(nondet: Nondet, crossing: Path) -> None:
    """A row for each set of sources in every form of the table, and sentences with intervals."""
    out = nondet("show", crossing).out
    assert f"init {TIMES} shuffle" in out
    assert "Between runs whose seeds of init, shuffle are all new, accuracy has an SD of" in " ".join(out.split())
    assert "alone differs" in " ".join(out.split())
    assert f"| init {TIMES} shuffle |" in nondet("show", crossing, "--markdown").out
    assert r"shuffle & " in nondet("show", crossing, "--latex").out


def test_crossed_shares_runs_and_grows(nondet: Nondet, tiny: Path, tmp_path: Path, crossing: Path) -> None:
    """Conditions and crossing share their runs; more levels keep those that are there, and fewer change nothing."""
    folder = tmp_path / "s"
    small = ("--design", "crossed", "--levels", 2, "--vary", "init", "--vary", "shuffle", "--study", folder)
    assert nondet("run", tiny, "--runs", 3, "--vary", "init", "--vary", "shuffle", "--study", folder).code == 0
    assert nondet("run", tiny, *small).code == 0
    before = blobs(folder)
    assert len(before) == 3 + 2 + 1 + 1  # one reference and its repeat, two more of each condition, one more cell
    assert nondet("run", tiny, *CROSSED, "--study", folder).code == 0
    after = blobs(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == 9 + 1
    assert nondet("run", tiny, *small).code == 0
    assert blobs(folder) == after
    shown = nondet("show", folder, "--json").json
    assert [c["name"] for c in shown["conditions"]] == ["init", "shuffle"]
    assert shown["components"] == nondet("show", crossing, "--json").json["components"]


def test_a_study_has_one_crossing(nondet: Nondet, tiny: Path, crossing: Path) -> None:
    """Another set of sources belongs in another study."""
    ran = nondet(
        "run", tiny, "--design", "crossed", "--levels", 3, "--vary", "init", "--vary", "order", "--study", crossing
    )
    assert ran.code == 2
    assert (
        "crosses init, shuffle (got init, order); cross the same sources, or start a new study with --study" in ran.err
    )


def test_crossed_with_two_levels(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Two levels give shares with intervals; the jackknife of disagreement has too few, and JSON says null."""
    assert nondet("run", tiny, *CROSSED[:3], 2, *CROSSED[4:], "--study", tmp_path / "s").code == 0
    records = nondet("show", tmp_path / "s", "--json").json["components"]
    assert {c["disagreement"]["error"] for c in records} == {None}
    assert all(0 <= c["low"] <= c["high"] <= 1 for c in records)


def test_crossed_where_nothing_varies(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Runs with the same accuracy have no shares of it: null, and a sentence that says so."""
    words = ("--design", "crossed", "--levels", 2, "--vary", "order", "--vary", "bit", "--study", tmp_path / "s")
    ran = nondet("run", tiny, *words)
    assert ran.code == 0
    assert "All 4 runs have the same accuracy, so there is no variance to divide." in " ".join(ran.out.split())
    assert {c["share"] for c in nondet("show", tmp_path / "s", "--json").json["components"]} == {None}


def test_crossed_with_failed_runs(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Without a sound run in every cell there are no components, and a sentence says why."""
    ran = nondet("run", tiny, *CROSSED, "--set", "lr=1e30", "--study", tmp_path / "s")
    assert ran.code == 0
    assert "9 failed: run 1 at epoch 1," in " ".join(ran.out.split())
    shown = nondet("show", tmp_path / "s", "--json").json
    assert (shown["crossed"]["failed"], shown["crossed"]["accuracy"], shown["components"]) == (9, None, [])


def test_an_unfinished_crossing(nondet: Nondet, crossing: Path, tmp_path: Path) -> None:
    """While runs are missing there are no components; the command that goes on is named."""
    folder = Path(shutil.copytree(crossing, tmp_path / "s"))
    path = folder / "study.json"
    fields = unsealed(path.read_bytes(), path)
    path.write_bytes(sealed({**fields, "finished": [], "crossed": {"vary": ["init", "shuffle"], "levels": 4}}))
    ran = nondet("show", folder)
    assert ran.code == 0
    assert "has 9 of its 16 runs; variance components need them all." in ran.out
    assert "Go on with: nondet run" in ran.err
    assert nondet("show", folder, "--json").json["components"] == []


def test_a_language_model_crosses_and_stops(nondet: Nondet, tmp_path: Path) -> None:
    """Perplexity takes the place of accuracy in the rule and in the components."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("valid", 10), ("test", 80)):
        (tmp_path / f"{part}.txt").write_text(" ".join("abcd"[i] for i in rng.integers(4, size=count)) + "\n")
    small = ("--data", tmp_path, "--set", "epochs=1", "--set", "batch_size=4", "--set", "bptt=8", "--stack", 4)
    study = ("--study", tmp_path / "s", "--workers", 1)
    ran = nondet(
        "run", "text", *small, "--design", "crossed", "--levels", 2, "--vary", "init", "--vary", "dropout", *study
    )
    assert ran.code == 0, ran.err
    assert "perplexity has an SD of" in " ".join(ran.out.split())
    ran = nondet("run", "text", *small, "--until", "perplexity.sd.error<90%", "--runs", 2, "--vary", "init", *study)
    assert ran.code == 0, ran.err
    shown = nondet("show", tmp_path / "s", "--json").json
    assert shown["crossed"]["perplexity"]["variance"] > 0
    assert shown["until"]["held"] is True
    assert nondet("run", "text", *small, "--until", "accuracy.sd.error<90%", *study).code == 2


# --- the study's file --------------------------------------------------------------------------------------------


def test_other_studies_are_what_they_were(finished: Path, crossing: Path, adaptive: Path) -> None:
    """Without a crossing the format is the first, and neither field is there; with one, older versions must refuse."""
    fields = {f: unsealed((f / "study.json").read_bytes(), f) for f in (finished, crossing, adaptive)}
    assert [fields[f]["format"] for f in (finished, crossing, adaptive)] == [1, 2, 1]
    assert not {"crossed", "until"} & fields[finished].keys()
    assert (load(finished).crossed, load(finished).until) == (None, None)
    assert load(adaptive).until == Stopping(**fields[adaptive]["until"])


@pytest.mark.parametrize(
    "change", [{"until": {"held": True}}, {"until": 3}, {"crossed": {"vary": ["init"]}}, {"crossed": []}]
)
def test_a_spoilt_record_is_damage(study: Path, change: dict[str, Any]) -> None:
    """A stopping rule or a crossing that nondet did not write is damage, not a traceback."""
    path = study / "study.json"
    path.write_bytes(sealed({**unsealed(path.read_bytes(), path), **change}))
    with pytest.raises(Damaged, match="is not what nondet wrote"):
        load(study)
