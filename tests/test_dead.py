"""Sources that reach nothing: every surface says that they are dead, and no finding counts them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nondet.io.files import sealed
from nondet.study.record import load

Nondet = Callable[..., Any]

FIXTURES = Path(__file__).parent / "fixtures" / "0.1"

DASH = "\N{EN DASH}"
SEEDED = ("def model():\n", "def model():\n    torch.manual_seed(1234)\n")
"""A constructor that seeds the generators itself."""

IMAGES = ("inputs[:40], labels", "inputs[:40, :4].reshape(40, 1, 2, 2), labels")
OWN_GENERATOR = [
    IMAGES,
    ("inputs[40:], labels", "inputs[40:, :4].reshape(20, 1, 2, 2), labels"),
    ("nn.Sequential(nn.Linear(6, 8)", "nn.Sequential(nn.Flatten(), nn.Linear(4, 8)"),
    ("stack=4", "stack=4, augment=(Noise(),)"),
    (
        "task =",
        "class Noise:\n    def draw(self, rng, n):\n"
        "        return np.random.default_rng(0).integers(2, size=(n, 1))\n\n"
        "    def apply(self, inputs, draws):\n        return inputs + draws.view(-1, 1, 1, 1)\n\n"
        "    def __repr__(self):\n        return 'Noise()'\n\n\ntask =",
    ),
]
"""An augmentation that draws from a generator of its own."""

RARE_DROPOUT = ("nn.ReLU(), ", "nn.ReLU(), nn.Dropout(1e-9), ")
UNUSED = [
    ("def model():\n", "def model():\n    return Net()\n\n\ndef unused():\n"),
    (
        "task =",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.table = nn.Embedding(50, 8)\n        self.line = nn.Linear(6, 8)\n"
        "        self.out = nn.Linear(8, 3)\n\n"
        "    def forward(self, x):\n        rows = torch.arange(10, 40) if self.training else torch.arange(10)\n"
        "        return self.out(torch.relu(self.line(x) + 1e-30 * self.table(rows).sum()))\n\n\ntask =",
    ),
]
"""An embedding whose rows are looked up and multiplied by so little that no sum notices."""

CLOCK = [
    ("nn.Linear(8, 3))", "Noisy(8, 3))"),
    (
        "task =",
        "import os\n\n\nclass Noisy(nn.Linear):\n    def __init__(self, *size):\n        super().__init__(*size)\n"
        "        with torch.no_grad():\n            self.bias[0] += os.urandom(1)[0] / 999\n\n\ntask =",
    ),
]
"""A model that draws from the system's randomness."""


@pytest.fixture
def made(nondet: Nondet, task_file: Any, tmp_path: Path) -> Callable[..., Path]:
    """A study of the changed tiny task with these options."""

    def make(changes: Any, *options: object) -> Path:
        ran = nondet("run", task_file(*changes), "--workers", 1, "--study", tmp_path / "study", *options)
        assert ran.code == 0, ran.err
        return tmp_path / "study"

    return make


def conditions(nondet: Nondet, study: Path) -> dict[str, Any]:
    """The conditions of `show --json`, by name."""
    return {c["name"]: c for c in nondet("show", study, "--json").json["conditions"]}


def said(text: str) -> str:
    return " ".join(text.split())


def test_a_constructor_that_seeds_itself(nondet: Nondet, task_file: Any, tmp_path: Path) -> None:
    """`run`, every form of `show`, and the page name the dead seed and its likely cause; no finding counts its zero."""
    study = tmp_path / "study"
    ran = nondet("run", task_file(SEEDED), "--runs", 4, "--workers", 1, "--study", study)
    sentence = "all 4 runs of init equal the control to the last bit, so its seed does not reach the outputs"
    assert ran.code == 0
    for text in (ran.out, nondet("show", study).out, nondet("report", study).out):
        assert sentence in said(text)
        assert "torch.manual_seed" in said(text)
        assert "0.0 % (init)" not in said(text)
        assert "(init) to" not in said(text)
    for form in ("--json", "--markdown", "--latex"):
        shown = nondet("show", study, form)
        assert sentence in said(shown.err)
        assert sentence not in said(shown.out)
    assert f"| init | 4, dead | {DASH} |" in nondet("show", study, "--markdown").out
    assert sentence in said((study / "report.html").read_text())


def test_the_json_of_a_dead_condition(nondet: Nondet, made: Any) -> None:
    """`dead` is true of it and false of others; `unreached` counts the runs that equal the reference run."""
    found = conditions(nondet, made([SEEDED], "--runs", 3))
    assert {name: c["dead"] for name, c in found.items() if name != "bit"} == {
        "init": True,
        "shuffle": False,
        "order": False,
        "all": False,
    }
    assert (found["init"]["unreached"], found["shuffle"]["unreached"]) == (2, 0)


@pytest.mark.parametrize(
    ("changes", "source", "cause"),
    [
        ([RARE_DROPOUT], "dropout", "so small that nothing is dropped"),
        (OWN_GENERATOR, "augment", "a generator of its own"),
        ([("batch_size=16, lr=0.1", "batch_size=16, lr=0.0")], "shuffle", "the learning rate is 0"),
        ([("batch_size=16", "batch_size=1")], "order", "a mini-batch is one example"),
    ],
)
def test_each_source_has_causes_of_its_own(nondet: Nondet, made: Any, changes: Any, source: str, cause: str) -> None:
    """Whatever the source, it is found by its runs, and its likely causes are named."""
    study = made(changes, "--runs", 3, "--vary", source)
    shown = nondet("show", study)
    assert f"all 3 runs of {source} equal the control to the last bit" in said(shown.out)
    assert cause in said(shown.out)
    assert "nothing to compare" in said(shown.out)
    assert conditions(nondet, study)[source]["dead"] is True


def test_sources_that_are_dead_together(nondet: Nondet, made: Any) -> None:
    """A condition of several sources is dead where all of them are; of one dead source among others nothing shows."""
    changes = [SEEDED, ("lr=0.1", "lr=0.0")]
    study = made(changes, "--runs", 3, "--vary", "init+shuffle", "--vary", "shuffle")
    found = conditions(nondet, study)
    assert found["init+shuffle"]["dead"] is found["shuffle"]["dead"] is True
    assert "none of its sources (init, shuffle) reaches the outputs" in said(nondet("show", study).out)


def test_outputs_count_and_not_weights(nondet: Nondet, made: Any) -> None:
    """One bit of a weight that no output depends on stays in the run's weights, and is unreached all the same."""
    study = made(UNUSED, "--runs", 4, "--vary", "bit", "--set", "bit=table.weight")
    found = conditions(nondet, study)["bit"]
    assert (found["dead"], found["unreached"]) == (True, 3)
    assert "all 4 runs of bit equal the control" in said(nondet("show", study).out)


def test_some_changes_of_a_bit_reach_nothing(nondet: Nondet, made: Any) -> None:
    """How many of the changes never reached an output is said, and a condition of which some did is not dead."""
    study = made([("lr=0.1", "lr=0.1, precision='bfloat16'")], "--runs", 12, "--vary", "bit", "--vary", "init")
    found = conditions(nondet, study)
    lost = found["bit"]["unreached"]
    assert found["bit"]["dead"] is False
    assert 0 < lost < 11
    assert f"Of 11 changes of one bit {lost} never reached an output" in said(nondet("show", study).out)


def test_an_onset_at_the_end_is_not_dead(nondet: Nondet, made: Any) -> None:
    """After the last epoch nothing is left to vary: that is said plainly, and whether the source is dead is unknown."""
    study = made([], "--runs", 3, "--vary", "shuffle", "--onset", 0, "--onset", 2)
    found = conditions(nondet, study)
    assert (found["shuffle"]["dead"], found["shuffle@2"]["dead"]) == (False, None)
    assert found["shuffle@2"]["unreached"] == 2
    text = said(nondet("show", study).out)
    assert "All runs of shuffle@2 are the reference run: training is over at the end of epoch 2" in text
    assert "DEAD" not in text
    assert "0.0 % (shuffle@2)" not in text


def test_what_cannot_be_known_is_null(nondet: Nondet, task_file: Any, tmp_path: Path) -> None:
    """Where runs are missing, where the control is not zero, and where all runs fail, `dead` is null."""
    for shown in nondet("show", FIXTURES / "kept" / "stopped", "--json").json["conditions"]:
        assert shown["dead"] is None
    broken = task_file(*CLOCK, name="broken")
    assert nondet("run", broken, "--runs", 2, "--vary", "init", "--study", tmp_path / "broken").code == 3
    assert conditions(nondet, tmp_path / "broken")["init"]["dead"] is None
    failing = task_file(("lr=0.1", "lr=1e38"), name="failing")
    assert nondet("run", failing, "--runs", 2, "--vary", "shuffle", "--study", tmp_path / "failing").code == 0
    found = conditions(nondet, tmp_path / "failing")["shuffle"]
    assert (found["failed"], found["dead"], found["unreached"]) == (2, None, None)


def test_dead_conditions_are_left_out_of_other_commands(nondet: Nondet, made: Any) -> None:
    """`alike`, `compare`, `plan` and `examples` say that the runs of a dead condition are one run."""
    study = made([SEEDED], "--runs", 6)
    alike = nondet("alike", study, "--json")
    assert alike.code == 0
    assert "init" not in alike.json["runs"]
    reasons = {left["condition"]: left["reason"] for left in alike.json["left_out"]}
    assert "equal the reference run to the last bit" in reasons["init"]
    for command in (
        ("compare", f"{study}:init", f"{study}:all"),
        ("plan", "--effect", 1, "--study", f"{study}:init"),
        ("examples", f"{study}:init"),
    ):
        ran = nondet(*command)
        assert ran.code == 2
        assert "equal outputs, and count as one run" in ran.err


def test_a_dead_source_of_a_crossed_design(nondet: Nondet, made: Any) -> None:
    """It has no share of the variance, and the others' are as they would be without it."""
    study = made([SEEDED], "--design", "crossed", "--levels", 3, "--vary", "init", "--vary", "shuffle")
    shown = nondet("show", study)
    assert "DEAD: in the crossed design no seed of init changes an output of any run" in said(shown.out)
    assert "torch.manual_seed" in said(shown.out)
    assert "init alone" not in said(shown.out)
    assert "where init alone differs" not in said(shown.out)
    assert "DEAD" in nondet("show", study, "--latex").err
    found = {tuple(c["sources"]): c["dead"] for c in nondet("show", study, "--json").json["components"]}
    assert found == {("init",): True, ("shuffle",): False, ("init", "shuffle"): True}
    assert f"| init (dead) | {DASH} |" in nondet("show", study, "--markdown").out


def test_a_study_of_words(nondet: Nondet, tmp_path: Path) -> None:
    """Of a language model likewise."""
    text = (FIXTURES / "tasks" / "words.py").read_text()
    (tmp_path / "words.py").write_text(text.replace("__init__()\n", "__init__()\n        torch.manual_seed(0)\n"))
    ran = nondet("run", tmp_path / "words.py", "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert ran.code == 0
    assert "all 2 runs of init equal the control to the last bit" in said(ran.out)


def test_a_stopping_rule_says_nothing_of_dead_conditions(nondet: Nondet, made: Any) -> None:
    """An error of 0 of a dead condition is no error that is small enough."""
    rule = ("--until", "accuracy.sd.error<10%", "--limit", 4)
    study = made([SEEDED], "--runs", 3, "--vary", "init", *rule)
    assert "all conditions are dead, so the rule says nothing" in said(nondet("show", study).out)
    made([SEEDED], "--runs", 3, "--vary", "init", "--vary", "shuffle", *rule)
    assert "0 % (init)" not in said(nondet("show", study).out)


def test_stabilize_needs_runs_that_differ(nondet: Nondet, made: Any) -> None:
    """Runs that are all copies of one have no variability to reduce."""
    ran = nondet("stabilize", made([SEEDED], "--runs", 3, "--vary", "init"))
    assert ran.code == 2
    assert "two runs that did not fail and that differ" in ran.err


def test_runs_that_repeat_each_other_are_counted(nondet: Nondet, made: Any) -> None:
    """A constructor that makes two models of all seeds is not dead, but that its runs are copies is said."""
    study = made(
        [("def model():\n", "def model():\n    torch.manual_seed(int(torch.rand(()) < 0.5))\n")],
        "--runs",
        8,
        "--vary",
        "init",
    )
    found = conditions(nondet, study)["init"]
    assert found["dead"] is False
    others = 7 - found["unreached"]
    assert 1 < others < 7
    text = said(nondet("show", study).out)
    assert f"Of the 7 runs of init besides the reference run, {others - 1} equal an earlier one to the last bit" in text
    assert f"{found['unreached']} were reached by nothing: those runs equal the reference run" in text


def test_an_unfinished_study_of_equal_runs(nondet: Nondet, made: Any) -> None:
    """While runs are missing it is not known whether a source is dead, and its zero is no finding either."""
    study = made([SEEDED], "--runs", 4, "--vary", "init", "--vary", "shuffle")
    fields = json.loads((study / "study.json").read_text())
    specs = load(study).conditions[0].specs(load(study).identity, load(study).sources)
    for ending in ("json", "safetensors"):
        (study / "runs" / f"{specs[3].key}.{ending}").unlink()
    del fields["sha256"]
    (study / "study.json").write_bytes(sealed(fields | {"finished": []}))
    assert conditions(nondet, study)["init"]["dead"] is None
    for command in (("show", study), ("report", study)):
        ran = nondet(*command)
        assert ran.code == 0
        assert "0.0 % (init)" not in said(ran.out)
    assert "Of the 2 runs of init besides the reference run, 2 were reached by nothing" in said(
        nondet("show", study).out
    )
