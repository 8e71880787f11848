"""The commands from the outside: what they print, what they add to a study, and how they exit."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring import NAMES, measure

from nondet.cli import main as cli
from nondet.running.advice import go_on
from nondet.study import record as studies
from nondet.study.record import load
from nondet.study.store import Store

Nondet = Callable[..., Any]
Contents = Callable[[Path], dict[str, tuple[bytes, int]]]

CONDITION_KEYS = [
    "name",
    "vary",
    "onset",
    "dead",
    "unreached",
    "runs",
    "failed",
    "accuracy",
    "cross_entropy",
    "disagreement",
]
CONDITION_KEYS += ["correlation", "ensemble_delta", "accuracy_variance", "errors", "intervals"]
NULL = {
    "accuracy": {"mean": None, "sd": None, "sd_error": None},
    "cross_entropy": {"mean": None, "sd": None, "sd_error": None},
    "disagreement": None,
    "correlation": {"pearson": None, "spearman": None},
    "ensemble_delta": {"accuracy": None, "cross_entropy": None},
    "accuracy_variance": {"total": None, "test_set": None, "training": None},
    "errors": dict.fromkeys(NAMES),
    "intervals": dict.fromkeys(NAMES),
}

IMAGES = ("inputs[:40], labels", "inputs[:40, :4].reshape(40, 1, 2, 2), labels")
AUGMENTED = [
    IMAGES,
    ("inputs[40:], labels", "inputs[40:, :4].reshape(20, 1, 2, 2), labels"),
    ("nn.Sequential(nn.Linear(6, 8)", "nn.Sequential(nn.Flatten(), nn.Linear(4, 8)"),
    ("stack=4", "stack=4, augment=(nondet.Crop(1), nondet.Flip())"),
]
"""Changes that make the tiny task one of 2 x 2 images, which can be augmented."""

BROKEN_CONTROL = {
    "the system's randomness": "import os\n\ndef model():\n    m = nn.Linear(6, 3)\n    with torch.no_grad():\n"
    "        m.weight[0, 0] += int.from_bytes(os.urandom(4), 'little') / 2**32\n    return m\n\ntask =",
    "a counter of its class": "class Net(nn.Linear):\n    made = 0\n\n    def __init__(self):\n"
    "        super().__init__(6, 3)\n        Net.made += 1\n        with torch.no_grad():\n"
    "            self.weight.mul_(1 + Net.made / 8)\n\nmodel = Net\ntask =",
    "a generator of its own": "source = np.random.default_rng(0)\n\ndef model():\n    m = nn.Linear(6, 3)\n"
    "    with torch.no_grad():\n        m.weight[0, 0] += source.random()\n    return m\n\ntask =",
}
"""Models that carry something from one construction to the next, or read what no source seeds."""

HALF_DIVERGE = (
    "def model():\n",
    "def model():\n    return Sometimes()\n\n\nclass Sometimes(nn.Module):\n    def __init__(self):\n"
    "        super().__init__()\n        self.line = nn.Linear(6, 3)\n"
    "        self.register_buffer('steps', torch.zeros(()))\n"
    "        self.register_buffer('bad', (torch.rand(()) < 0.5).float())\n\n"
    "    def forward(self, x):\n        if self.training:\n            self.steps += 1\n"
    "        boom = torch.where((self.bad > 0) & (self.steps > 4), torch.inf, 1.0)\n"
    "        return self.line(x) * boom\n\n\ndef unused():\n",
)
"""A change of the tiny task: about half the init seeds give a model whose outputs overflow in its second epoch."""


def by_name(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in shown["conditions"]}


# --- the JSON contract -------------------------------------------------------------------------------------------


def test_show_json_has_the_keys_of_the_contract(nondet: Nondet, finished: Path) -> None:
    """`show --json` has exactly the keys, in the order and of the types, that scripts rely on."""
    ran = nondet("show", finished, "--json")
    shown = ran.json
    assert ran.code == 0
    assert ran.err.startswith(
        "warning: Intervals of fewer than 20 runs are rough (init 3, shuffle 3, order 3 and 2 more)"
    )
    assert list(shown) == ["format", "nondet", "task", "recipe", "environment", "control", "conditions", "finding"]
    assert {name: type(value) for name, value in shown["finding"].items()} == {
        "headline": str, "sentences": list, "caveats": list,
    }  # fmt: skip
    assert shown["format"] == 1
    assert shown["task"] == "tiny"
    assert shown["recipe"]["epochs"] == 2
    assert shown["environment"]["stack"] == 4
    assert shown["environment"]["threads"] == 1
    assert list(shown["control"]) == ["runs", "identical"]
    assert shown["control"]["identical"] is True
    assert shown["control"]["runs"] >= 2
    for c in shown["conditions"]:
        assert list(c) == CONDITION_KEYS
        assert {k: list(v) for k, v in c.items() if isinstance(v, dict)} == {
            k: list(v) for k, v in NULL.items() if isinstance(v, dict)
        }
        assert (c["onset"], c["runs"], c["failed"]) == (0, 3, 0)
        assert all(type(c[k]) is int for k in ("onset", "runs", "failed"))
        numbers = [*c["accuracy"].values(), *c["cross_entropy"].values(), c["disagreement"]]
        assert all(type(x) is float for x in numbers)


def test_the_default_conditions(nondet: Nondet, finished: Path) -> None:
    """Without --vary: each source alone, then all together, which leaves bit out."""
    conditions = by_name(nondet("show", finished, "--json").json)
    assert {name: c["vary"] for name, c in conditions.items()} == {
        "init": ["init"],
        "shuffle": ["shuffle"],
        "order": ["order"],
        "bit": ["bit"],
        "all": ["init", "shuffle", "order"],
    }


def test_show_json_has_the_figures_of_the_stored_outputs(nondet: Nondet, finished: Path) -> None:
    """The figures are those of the outputs in the store, computed here from their definitions; shares in percent."""
    study = load(finished)
    conditions = by_name(nondet("show", finished, "--json").json)
    for condition in study.conditions:
        keys = [spec.key for spec in condition.specs(study.identity, study.sources)]
        outputs = np.stack([Store(finished).get(key).arrays["outputs"] for key in keys]).astype(np.float64)
        right = 100 * (outputs.argmax(2) == study.labels).mean(1)
        answers = outputs.argmax(2)
        pairs = [(i, j) for i in range(3) for j in range(i)]
        found = conditions[condition.name]
        assert found["accuracy"]["mean"] == pytest.approx(right.mean())
        assert found["accuracy"]["sd"] == pytest.approx(right.std(ddof=0))
        assert found["disagreement"] == pytest.approx(100 * np.mean([answers[i] != answers[j] for i, j in pairs]))
        unreached = sum(np.array_equal(run, outputs[0]) for run in outputs[1:])
        reach = {"dead": unreached == 2, "unreached": unreached}
        assert found == {**condition.as_dict(), **reach, **measure(outputs, study.labels).as_condition()}


def test_measure_json_is_a_condition_without_its_name(nondet: Nondet, tmp_path: Path) -> None:
    """`measure --json` prints one condition object of the contract, less its name and what its sources reach."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "outputs.npy", rng.normal(size=(4, 30, 5)).astype(np.float32))
    np.save(tmp_path / "labels.npy", rng.integers(0, 5, 30))
    ran = nondet("measure", tmp_path / "outputs.npy", "--labels", tmp_path / "labels.npy", "--json")
    assert ran.code == 0
    assert ran.err.startswith("warning: Intervals of fewer than 20 runs are rough (outputs 4)")
    assert list(ran.json) == [*CONDITION_KEYS[5:], "finding"]
    assert (ran.json["runs"], ran.json["failed"]) == (4, 0)
    assert 0 < ran.json["disagreement"] <= 100


def test_measure_agrees_with_show(nondet: Nondet, finished: Path, tmp_path: Path) -> None:
    """A study's outputs, saved as somebody else's, give the study's figures."""
    study = load(finished)
    keys = [spec.key for spec in study.conditions[0].specs(study.identity, study.sources)]
    np.save(tmp_path / "o.npy", np.stack([study.store.get(key).arrays["outputs"] for key in keys]))
    np.save(tmp_path / "l.npy", study.labels)
    measured = nondet("measure", tmp_path / "o.npy", "--labels", tmp_path / "l.npy", "--json").json
    shown = nondet("show", finished, "--json").json["conditions"][0]
    assert measured.pop("finding")["headline"].startswith("Two runs disagree on ")
    assert measured == {k: v for k, v in shown.items() if k in measured}
    assert list(shown)[5:] == list(measured)


def test_measure_says_null_where_a_number_does_not_exist(nondet: Nondet, tmp_path: Path) -> None:
    """Correlations of constant logits are null: NaN is not JSON."""
    np.save(tmp_path / "o.npy", np.stack([np.zeros((3, 2)), np.ones((3, 2))]))
    np.save(tmp_path / "l.npy", np.zeros(3, int))
    ran = nondet("measure", tmp_path / "o.npy", "--labels", tmp_path / "l.npy", "--json")
    assert ran.code == 0
    assert ran.json["correlation"] == {"pearson": None, "spearman": None}
    assert ran.json["disagreement"] == 0


def test_measure_prints_a_table_and_a_sentence(nondet: Nondet, tmp_path: Path) -> None:
    """Without --json: one row, and what it says."""
    np.save(tmp_path / "o.npy", np.random.default_rng(1).normal(size=(3, 8, 2)))
    np.save(tmp_path / "l.npy", np.zeros(8, int))
    ran = nondet("measure", tmp_path / "o.npy", "--labels", tmp_path / "l.npy")
    assert ran.code == 0
    assert ", over these 3 runs." in " ".join(ran.out.split())


# --- run: what is added, and what stays --------------------------------------------------------------------------


def test_run_prints_the_table_with_the_control_first(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A run ends with the table, its first row the control, and a sentence; progress goes to standard error."""
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert ran.code == 0
    lines = [line for line in ran.out.splitlines() if line]
    assert lines[0].startswith("Control: 2 trainings")
    assert lines[1].split()[:2] == ["condition", "runs"]
    assert lines[2].startswith("deterministic (control)")
    assert lines[3].startswith("init")
    assert "runs to train" in ran.err
    assert "\x1b" not in ran.out + ran.err


def test_the_study_is_named_by_the_task_by_default(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --study the study is `studies/TASK` here."""
    monkeypatch.chdir(tmp_path)
    assert nondet("run", tiny, "--runs", 2, "--vary", "bit").code == 0
    assert nondet("show", "studies/tiny", "--json").json["task"] == "tiny"


def test_vary_joins_sources(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """`--vary shuffle+augment` is one condition of both, in any order of the names; several --vary are several."""
    task, folder = task_file(*AUGMENTED), tmp_path / "s"
    ran = nondet("run", task, "--runs", 2, "--vary", "augment+shuffle", "--vary", "init", "--study", folder)
    assert ran.code == 0
    conditions = by_name(nondet("show", folder, "--json").json)
    assert {name: c["vary"] for name, c in conditions.items()} == {
        "shuffle+augment": ["shuffle", "augment"],
        "init": ["init"],
    }
    ran = nondet("run", task, "--runs", 2, "--vary", "shuffle+augment", "--study", folder)
    assert "to train" not in ran.err
    assert len(by_name(nondet("show", folder, "--json").json)) == 2


def test_vary_all_is_every_source_but_bit(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """`--vary all` takes the task's sources, augment included where it has one, and leaves bit out."""
    folder = tmp_path / "s"
    assert nondet("run", task_file(*AUGMENTED), "--runs", 2, "--vary", "all", "--study", folder).code == 0
    (condition,) = nondet("show", folder, "--json").json["conditions"]
    assert (condition["name"], condition["vary"]) == ("all", ["init", "shuffle", "augment", "order"])


def test_dropout_is_a_source_where_the_model_has_it(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """A model with dropout trains in a stack, gains the source, and its control is still exactly zero."""
    task, folder = task_file(("nn.ReLU()", "nn.Dropout(0.5)")), tmp_path / "s"
    ran = nondet("run", task, "--runs", 3, "--vary", "dropout", "--vary", "all", "--study", folder)
    assert ran.code == 0
    shown = nondet("show", folder, "--json").json
    assert shown["control"]["identical"] is True
    assert by_name(shown)["all"]["vary"] == ["init", "shuffle", "dropout", "order"]
    assert by_name(shown)["dropout"]["correlation"]["pearson"] < 1


def test_again_trains_nothing(nondet: Nondet, tiny: Path, study: Path, contents: Contents) -> None:
    """The same command again trains nothing, touches no file of a run, and shows the same."""
    before, shown = contents(study), nondet("show", study, "--json").out
    ran = nondet("run", tiny, "--runs", 3, "--study", study)
    assert ran.code == 0
    assert "to train" not in ran.err
    assert contents(study) == before
    assert nondet("show", study, "--json").out == shown


def test_more_runs_and_conditions_only_add(nondet: Nondet, tiny: Path, study: Path, contents: Contents) -> None:
    """More --runs and another --vary train what is new; every finished run keeps its bytes and its time."""
    before, shown = contents(study), by_name(nondet("show", study, "--json").json)
    assert nondet("run", tiny, "--runs", 5, "--vary", "all", "--vary", "init+bit", "--study", study).code == 0
    after, now = contents(study), by_name(nondet("show", study, "--json").json)
    assert {name: after[name] for name in before} == before
    assert {name: c["runs"] for name, c in now.items()} == {**dict.fromkeys(shown, 3), "all": 5, "init+bit": 5}
    assert {name: now[name] for name in shown if name != "all"} == {n: c for n, c in shown.items() if n != "all"}


def test_fewer_runs_take_nothing_away(nondet: Nondet, tiny: Path, study: Path, contents: Contents) -> None:
    """A smaller --runs leaves a study as it is."""
    before = contents(study)
    assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", study).code == 0
    assert contents(study) == before
    assert by_name(nondet("show", study, "--json").json)["init"]["runs"] == 3


def test_a_grown_study_is_the_one_made_at_once(nondet: Nondet, tiny: Path, study: Path, tmp_path: Path) -> None:
    """Runs added later are the runs that one command would have made: the figures are the same to the last bit."""
    assert nondet("run", tiny, "--runs", 6, "--study", study).code == 0
    assert nondet("run", tiny, "--runs", 6, "--study", tmp_path / "at once").code == 0
    assert nondet("show", study, "--json").out == nondet("show", tmp_path / "at once", "--json").out


def test_the_same_run_in_two_studies_is_the_same_file(
    nondet: Nondet, tiny: Path, finished: Path, tmp_path: Path
) -> None:
    """Studies with other conditions and other numbers of runs leave equal blobs for the runs that they share."""
    other = tmp_path / "other"
    assert nondet("run", tiny, "--runs", 5, "--vary", "shuffle", "--vary", "bit+init", "--study", other).code == 0
    first, second = ({p.name: p for p in (s / "runs").glob("*.safetensors")} for s in (finished, other))
    shared = first.keys() & second.keys()
    assert len(shared) >= 4
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in shared)


def test_a_blob_holds_only_the_run(finished: Path) -> None:
    """Outputs, curves and weights are in the blob; host, times and command in the record."""
    study = load(finished)
    for key in study.planned():
        stored = study.store.get(key)
        assert {name.split(".")[0] for name in stored.arrays} == {"outputs", "curves", "weights"}
        assert stored.arrays["outputs"].shape == (20, 3)
        assert stored.arrays["curves.loss"].shape == (2,)
        assert stored.arrays["weights.0.weight"].shape == (8, 6)
        assert {"host", "started", "ended", "command", "environment", "run"} <= stored.record.keys()


def test_set_changes_the_recipe(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """`--set` takes fields of the recipe and the optimizer's options, and they stand in the JSON."""
    sets = ["--set", "epochs=1", "--set", "momentum=0.5", "--set", "schedule=constant", "--set", "lr=1"]
    assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", *sets).code == 0
    recipe = nondet("show", tmp_path / "s", "--json").json["recipe"]
    assert (recipe["epochs"], recipe["momentum"], recipe["schedule"], recipe["lr"]) == (1, 0.5, "constant", 1.0)


@pytest.mark.parametrize("options", [["--set", "optimizer=Adam", "--set", "betas=[0.9,0.99]"], []])
def test_a_recipe_with_a_pair_can_go_on(nondet: Nondet, task_file: Nondet, tmp_path: Path, options: list[str]) -> None:
    """An option that is a pair of numbers, by --set or in the file, is the same recipe the second time."""
    change = [] if options else [("lr=0.1)", "lr=0.1, optimizer='Adam', options={'betas': (0.9, 0.99)})")]
    command = ["run", task_file(*change), "--runs", 2, "--vary", "init", "--study", tmp_path / "s", *options]
    assert nondet(*command).code == 0
    again = nondet(*command)
    assert (again.code, len(again.err.splitlines())) == (0, 1)
    assert again.err.startswith("warning: Intervals of fewer than 20 runs are rough (init 2)")
    assert nondet("show", tmp_path / "s", "--json").json["recipe"]["betas"] == [0.9, 0.99]


def test_stack_is_remembered(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A study keeps the width it began with, whatever the task's own is."""
    folder = tmp_path / "s"
    assert nondet("run", tiny, "--runs", 2, "--vary", "init", "--stack", 3, "--study", folder).code == 0
    assert nondet("run", tiny, "--runs", 3, "--vary", "init", "--study", folder).code == 0
    assert nondet("show", folder, "--json").json["environment"]["stack"] == 3


def test_a_stack_of_one_works(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """One model at a time is a width as any other; its control is zero as well."""
    assert nondet("run", tiny, "--runs", 2, "--vary", "all", "--stack", 1, "--study", tmp_path / "s").code == 0
    assert nondet("show", tmp_path / "s", "--json").json["control"]["identical"] is True


def test_the_way_to_go_on_is_a_command_that_does(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nondet: Nondet
) -> None:
    """The command that a study names goes on with it, though `main` was called by another program."""
    monkeypatch.setattr(sys, "argv", ["somebody.py", "--their", "words", "--more"])
    words = ["--runs", "2", "--vary", "init", "--vary", "bit", "--set", "epochs=1", "--stack", "3"]
    assert cli.main(["run", str(tiny), *words, "--study", str(tmp_path / "a study")]) == 0
    program, *command = shlex.split(go_on(load(tmp_path / "a study")))
    again = nondet(*command)
    assert (program, again.code, len(again.err.splitlines())) == ("nondet", 0, 1)
    assert again.err.startswith("warning: Intervals of fewer than 20 runs are rough (init 2, bit 2)")


def test_main_gives_the_status_back(tmp_path: Path) -> None:
    """`main` returns the exit status, whatever the command; it does not end the process."""
    assert cli.main(["--version"]) == 0
    assert cli.main(["--help"]) == 0
    assert cli.main(["show", str(tmp_path / "no study")]) == 2
    assert cli.main(["no command"]) == 2


# --- show, tasks, verify -----------------------------------------------------------------------------------------


def test_show_prints_what_run_printed(nondet: Nondet, tiny: Path, study: Path) -> None:
    """`show` prints the table that the run ended with."""
    assert nondet("run", tiny, "--runs", 3, "--study", study).out == nondet("show", study).out


def test_show_markdown_is_a_table(nondet: Nondet, finished: Path) -> None:
    """The Markdown has a head, a rule and a row for the control and each condition, all of one width."""
    lines = nondet("show", finished, "--markdown").out.splitlines()
    assert len(lines) == 2 + 1 + 5
    assert {line.count("|") for line in lines} == {9}
    assert lines[1].startswith("|---|---:|")
    assert lines[2].startswith("| deterministic (control) |")


def test_show_latex_is_a_table(nondet: Nondet, finished: Path) -> None:
    """The LaTeX is one booktabs table; every special character is written as text."""
    out = nondet("show", finished, "--latex").out
    assert out.startswith("\\begin{tabular}{lrrrrrrr}\n\\toprule")
    assert out.rstrip().endswith("\\bottomrule\n\\end{tabular}")
    body = out.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == 6
    assert all(len(re.findall(r"(?<!\\)&", row)) == 7 and row.endswith(r" \\") for row in body)
    assert not re.search(r"(?<!\\)[%#_]", out)
    assert not set(out) & set("±Δ\N{EN DASH}")


def test_a_hostile_name_stays_text(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """A task's name full of markup is printed as it is in every form, and breaks none of them."""
    name = r"[bold red]x[/] <b>&amp; | `a` *b* _c_ \textbf{d} $e$ % # ~ ^ [link](u) 'q' \"r\" \n é"
    task, folder = task_file(("stack=4", f'stack=4, name="{name}"')), tmp_path / "[red]s[/]"
    assert nondet("run", task, "--runs", 2, "--vary", "init", "--study", folder).code == 0
    shown = nondet("show", folder, "--json")
    assert shown.json["task"].startswith("[bold red]x[/] <b>&amp; |")
    for form in ([], ["--markdown"], ["--latex"]):
        assert nondet("show", folder, *form).code == 0
    lines = nondet("show", folder, "--markdown").out.splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {9}
    other = task_file(("stack=4", "stack=4, name='other'"))
    ran = nondet("run", other, "--runs", 2, "--vary", "init", "--study", folder)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert "[bold red]x[/] <b>" in ran.err
    assert "[red]s[/]" in ran.err


def test_show_of_an_unfinished_study(nondet: Nondet, study: Path) -> None:
    """A study whose command never ended shows what is there, and says what is missing and how to go on."""
    opened = load(study)
    studies._save(replace(opened, finished=frozenset()))
    for key in list(opened.planned())[2:6]:
        opened.store.record_path(key).unlink()
    ran = nondet("show", study, "--json")
    assert ran.code == 0
    assert "4 runs still have to be trained" in ran.err
    assert "nondet run" in ran.err
    assert [c["runs"] for c in ran.json["conditions"]] != [3] * 5
    assert "of 3" in nondet("show", study).out
    assert nondet("verify", study).code == 0


def test_show_of_a_study_with_nothing_yet(nondet: Nondet, study: Path) -> None:
    """A study without one finished run has figures that are null, and a control that is not known."""
    studies._save(replace(load(study), finished=frozenset()))
    for path in (study / "runs").iterdir():
        path.unlink()
    ran = nondet("show", study, "--json")
    assert ran.code == 0
    assert ran.json["control"] == {"runs": 0, "identical": None}
    for c in ran.json["conditions"]:
        assert {k: c[k] for k in NULL} == NULL
        assert (c["runs"], c["failed"]) == (0, 0)
    assert nondet("show", study).code == 0


def test_tasks_lists_digits(nondet: Nondet) -> None:
    """`tasks` names each task with its sources, its data and its recipe, and the way to one's own."""
    ran = nondet("tasks")
    assert ran.code == 0
    assert "digits" in ran.out
    assert "init, shuffle, augment, order, bit" in ran.out
    assert "epochs=" in ran.out
    assert "my_task.py" in ran.out


def test_verify_counts_sound_runs(nondet: Nondet, finished: Path) -> None:
    """`verify` of a sound study exits with 0 and says how many runs it read."""
    ran = nondet("verify", finished)
    assert (ran.code, ran.err) == (0, "")
    assert f"{len(load(finished).planned())} runs are sound" in ran.out


def test_verify_names_evidence(nondet: Nondet, study: Path) -> None:
    """A second result that differs is no damage, but it is not silent either."""
    opened = load(study)
    key = next(iter(opened.planned()))
    arrays = dict(opened.store.get(key).arrays)
    arrays["outputs"] = arrays["outputs"] + 1
    assert not opened.store.put(key, arrays, {"failed": None})
    ran = nondet("verify", study)
    assert ran.code == 0
    assert "evidence" in ran.out
    assert key in ran.out


def test_help_is_good_enough_to_work_from(nondet: Nondet) -> None:
    """Each command's help names its options, and the main help the exit statuses."""
    help_of_run = nondet("run", "--help").out
    for option in ("--runs", "--vary", "--study", "--stack", "--set", "--device"):
        assert option in help_of_run
    assert "3 the control" in " ".join(nondet("--help").out.split())
    assert "--labels" in nondet("measure", "--help").out


# --- the control -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", BROKEN_CONTROL)
def test_a_control_that_is_not_zero_is_said_first(
    nondet: Nondet, task_file: Nondet, tmp_path: Path, cause: str
) -> None:
    """Exit code 3, before all figures: what it means, what may cause it, and what to do."""
    task, folder = task_file(("task =", BROKEN_CONTROL[cause])), tmp_path / "s"
    ran = nondet("run", task, "--runs", 2, "--study", folder)
    assert ran.code == 3
    assert ran.out.startswith("THE CONTROL IS NOT ZERO")
    words = " ".join(ran.out.split())
    assert "the system's randomness" in words
    assert "state that one model leaves behind for the next" in words
    assert "then start a new study" in words
    shown = nondet("show", folder, "--json")
    assert shown.code == 3
    control = shown.json["control"]
    assert control["identical"] is False
    assert control["differing"]
    first, *others = (control["slots"][number - 1] for number in (1, *control["differing"]))
    assert f"The first was in slot {first} of its stack" in words
    assert ", ".join(map(str, sorted(set(others)))) in words
    assert "THE CONTROL IS NOT ZERO" in shown.err
    for form in ("--markdown", "--latex"):
        ran = nondet("show", folder, form)
        assert ran.code == 3
        assert "THE CONTROL IS NOT ZERO" in ran.err
        assert "THE CONTROL" not in ran.out
    assert nondet("verify", folder).code == 0


def test_a_model_that_changes_its_inputs_does_not_change_the_data(
    nondet: Nondet, task_file: Nondet, tmp_path: Path
) -> None:
    """An in-place first operation in the model is the model's affair: the next stack gets the same data."""
    inplace = ("return nn.Sequential(nn.Linear(6, 8)", "return nn.Sequential(Half(), nn.Linear(6, 8)")
    half = "class Half(nn.Module):\n    def forward(self, x):\n        return x.mul_(0.5)\n\n\ndef model"
    task = task_file(inplace, ("def model", half))
    ran = nondet("run", task, "--runs", 3, "--study", tmp_path / "s")
    assert ran.code == 0, ran.out


def test_an_augmentation_of_any_class_can_go_on(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """A user's augmentation that is a plain class has no name of its own; the study must go on, or say so at once."""
    sign = (
        "class Sign:\n    def draw(self, rng, n):\n        return rng.integers(2, size=(n, 1))\n\n"
        "    def apply(self, inputs, draws):\n        return inputs * (2 * draws - 1)\n\n\ntask ="
    )
    task = task_file(("task =", sign), ("stack=4", "stack=4, augment=(Sign(),)"))
    command = ["run", task, "--runs", 2, "--vary", "augment", "--study", tmp_path / "s"]
    first = nondet(*command)
    if first.code == 2:
        assert "augment" in first.err
        assert len(first.err.splitlines()) == 1
    else:
        assert nondet(*command).code == first.code == 0


# --- runs that diverge -------------------------------------------------------------------------------------------


def test_a_run_that_diverges_is_recorded_and_the_others_go_on(
    nondet: Nondet, task_file: Nondet, tmp_path: Path
) -> None:
    """Some init seeds overflow in epoch 2: they are counted as failed with that epoch, and measured nowhere."""
    task, folder = task_file(HALF_DIVERGE), tmp_path / "s"
    ran = nondet("run", task, "--runs", 8, "--vary", "init", "--vary", "shuffle", "--study", folder)
    assert ran.code == 0
    shown = nondet("show", folder, "--json").json
    assert shown["control"]["identical"] is True
    init = by_name(shown)["init"]
    study = load(folder)
    specs = next(c for c in study.conditions if c.name == "init").specs(study.identity, study.sources)
    failed = [study.store.get(s.key).record["failed"] for s in specs]
    assert set(failed) == {None, 2}
    assert (init["runs"], init["failed"]) == (8, sum(f == 2 for f in failed))
    assert f"8, {init['failed']} failed" in ran.out
    sound = [study.store.get(s.key).arrays["outputs"] for s, f in zip(specs, failed, strict=True) if f is None]
    assert init["accuracy"]["mean"] == pytest.approx(measure(np.stack(sound), study.labels)["accuracy.mean"].value)
    assert nondet("verify", folder).code == 0
    assert "to train" not in nondet("run", task, "--runs", 8, "--vary", "init", "--study", folder).err


def test_a_failed_run_does_not_touch_its_neighbours(nondet: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """The runs that did not fail are the ones that another split into stacks gives, and so are the failed ones."""
    task = task_file(HALF_DIVERGE)
    for name, vary in (("a", ["init"]), ("b", ["bit", "all", "init"])):
        words = [word for source in vary for word in ("--vary", source)]
        assert nondet("run", task, "--runs", 6, *words, "--study", tmp_path / name).code == 0
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / s / "runs").glob("*.safetensors")} for s in "ab")
    shared = first.keys() & second.keys()
    assert len(shared) >= 7
    assert all(first[name] == second[name] for name in shared)


def test_when_all_runs_fail(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """A learning rate that no run survives is a result: all failed, figures null, valid JSON, no traceback."""
    folder = tmp_path / "s"
    ran = nondet("run", tiny, "--runs", 3, "--set", "lr=1e30", "--study", folder)
    assert ran.code == 0
    assert "3 failed" in ran.out
    shown = nondet("show", folder, "--json").json
    assert shown["control"]["identical"] is True
    for c in shown["conditions"]:
        assert (c["runs"], c["failed"]) == (3, 3)
        assert {k: c[k] for k in NULL} == NULL
    for form in ("--markdown", "--latex"):
        assert nondet("show", folder, form).code == 0
    assert nondet("verify", folder).code == 0


@pytest.mark.parametrize("lr", ["1e20", "1e60"])
def test_huge_outputs_are_a_failed_run(nondet: Nondet, tiny: Path, tmp_path: Path, lr: str) -> None:
    """In float64 a run can end at 1e200 without one NaN: that is a run that diverged, not a study nobody can show."""
    sets = ["--set", "precision=float64", "--set", f"lr={lr}", "--set", "schedule=constant"]
    ran = nondet("run", tiny, "--runs", 2, "--vary", "init", *sets, "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    (condition,) = nondet("show", tmp_path / "s", "--json").json["conditions"]
    assert condition["failed"] == 2
