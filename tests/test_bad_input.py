"""Input that cannot be used: exit code 2 and one sentence with the rule, the value and the way out; no traceback."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nondet.io.files import sealed, unsealed
from nondet.study.record import _save, load

Refused = Callable[..., str]

MODEL = "return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))"
TRAIN = "train=(inputs[:40], labels[:40])"
RECIPE = "recipe=nondet.Recipe(epochs=2, batch_size=16, lr=0.1)"


def net(body: str) -> tuple[str, str]:
    """A change of the tiny task: a linear model whose forward pass is this one line."""
    text = "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    text += "        self.line = nn.Linear(6, 3)\n"
    return "def model():\n", f"{text}\n    def forward(self, x):\n        {body}\n\n\ndef model():\n    return Net()\n"


@pytest.fixture
def refused(nondet: Callable[..., Any]) -> Refused:
    """Give a command that must be refused, and return the sentence; `words` must be in it."""

    def give(*arguments: object, words: tuple[str, ...] = (), lines: int = 1) -> str:
        ran = nondet(*arguments)
        assert ran.code == 2, (ran.out, ran.err)
        assert ran.out == ""
        assert len(ran.err.splitlines()) == lines, ran.err
        assert ran.err.splitlines()[-1].startswith("nondet: ")
        assert "Traceback" not in ran.err
        for word in words:
            assert word in ran.err
        return ran.err

    return give


# --- the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nope"], ("unknown task 'nope'", "digits", ".py")),
        (["run", ""], ("unknown task ''", "digits")),
        (["run", "missing.py"], ("cannot read missing.py", "No such file", "give the path")),
        (["run"], ("requires an argument",)),
        (["run", "TINY", "more"], ("more",)),
        (["run", "TINY", "--bogus"], ("--bogus",)),
        (["run", "TINY", "--runs", "1"], ("at least 2", "got 1", "--runs 20")),
        (["run", "TINY", "--runs", "0"], ("at least 2", "got 0", "--runs 20")),
        (["run", "TINY", "--runs", "-3"], ("at least 2", "got -3", "--runs 20")),
        (["run", "TINY", "--runs", "abc"], ("--runs", "abc")),
        (["run", "TINY", "--runs"], ("--runs",)),
        (["run", "TINY", "--stack", "0"], ("at least 1", "got 0")),
        (["run", "TINY", "--stack", "-2"], ("at least 1", "got -2")),
        (["run", "TINY", "--stack", "wide"], ("--stack", "wide")),
        (["run", "TINY", "--workers", "0"], ("at least 1", "got 0")),
        (["run", "TINY", "--workers", "many"], ("--workers", "many")),
        (["run", "TINY", "--vary", "weather"], ("unknown source 'weather'", "init, shuffle, order, bit", "all")),
        (["run", "TINY", "--vary", "init+weather"], ("unknown source 'weather'", "init, shuffle, order, bit")),
        (["run", "TINY", "--vary", "augment"], ("no augment to vary", "init, shuffle, order, bit")),
        (["run", "TINY", "--vary", "init+dropout"], ("no dropout to vary", "init, shuffle, order, bit")),
        (["run", "TINY", "--device", "gpu"], ("device must be", "'gpu'", "auto")),
        (["run", "TINY", "--device", ""], ("device must be", "''", "auto")),
        (["run", "TINY", "--device", "meta"], ("device must be", "'meta'", "auto")),
        (["run", "TINY", "--device", "hpu"], ("device must be", "'hpu'", "auto")),
        (["run", "TINY", "--device", "privateuseone"], ("device must be", "'privateuseone'", "auto")),
        (["run", "TINY", "--device", "cpu:7"], ("device must be", "'cpu:7'", "auto")),
        (["show"], ("requires an argument",)),
        (["show", "missing"], ("missing is not a study", "study.json")),
        (["show", "TINY"], ("is not a study",)),
        (["show", "missing", "--json", "--latex"], ("one of --json, --markdown, --latex, --csv",)),
        (["verify", "missing"], ("missing is not a study",)),
        (["measure"], ("requires an argument",)),
        (["measure", "x.npy"], ("x.npy", "No such file")),
        (["measure", "two\nlines.npy"], ("lines.npy", "No such file")),
        (["dance"], ("dance",)),
    ],
)
def test_words_that_make_no_command(
    refused: Refused, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: Any
) -> None:
    """Each is refused in one line that names what was given; and no study is begun."""
    monkeypatch.chdir(tmp_path)
    refused(*[str(tiny) if a == "TINY" else a for a in arguments], words=words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none(refused: Refused, tiny: Path, tmp_path: Path, device: str) -> None:
    """A CUDA device that is not here is refused before anything is trained."""
    refused("run", tiny, "--device", device, "--study", tmp_path / "s", words=(f"'{device}'", "auto"))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["colour=red"], ("no field 'colour'", "epochs, batch_size, lr", "momentum")),
        (["options=3"], ("no field 'options'",)),
        (["params=3"], ("no field 'params'",)),
        (["epochs"], ("field=value", "'epochs'", "--set epochs=5")),
        (["epochs="], ("field=value", "'epochs='")),
        (["=5"], ("field=value", "'=5'")),
        (["epochs=0"], ("epochs must be a whole number of at least 1", "got 0")),
        (["epochs=x"], ("epochs must be a whole number", "got 'x'")),
        (["epochs=2.5"], ("epochs must be a whole number", "got 2.5")),
        (["epochs=true"], ("epochs must be a whole number", "got True")),
        (["epochs=99999999999"], ()),
        (["batch_size=0"], ("batch_size must be a whole number of at least 1", "got 0")),
        (["batch_size=-4"], ("batch_size", "got -4")),
        (["lr=-1"], ("lr must be a number of at least 0", "got -1")),
        (["lr=nan"], ("lr must be a number", "nan")),
        (["lr=NaN"], ("lr must be a number", "nan")),
        (["lr=1e999"], ("lr must be a number", "inf")),
        (["lr=fast"], ("lr must be a number", "'fast'")),
        (["warmup=-1"], ("warmup must be a number of at least 0", "got -1")),
        (["bias_lr=x"], ("bias_lr must be a number", "'x'")),
        (["precision=int8"], ("float32, float64", "'int8'")),
        (["amp=int8"], ("amp must be bfloat16 or float16", "'int8'")),
        (["amp=float16", "precision=float64"], ("precision float32", "leave out one")),
        (["schedule=foo"], ("cosine, constant", "'foo'")),
        (["optimizer=Foo"], ("torch.optim", "'Foo'")),
        (["optimizer=lr_scheduler"], ("torch.optim", "'lr_scheduler'")),
        (["optimizer=Optimizer"], ("Optimizer",)),
        (["optimizer=SparseAdam"], ("SparseAdam", "choose")),
        (["momentum=strong"], ("SGD", "--set")),
        (["momentum=-1"], ("SGD", "-1")),
        (["weight_decay=NaN"], ()),
        (["weight_decay=1e999"], ()),
        (["nesterov=true"], ("SGD", "momentum")),
        (["optimizer=Adam", "betas=3"], ("Adam", "--set")),
        (["optimizer=Adam", "betas=[0.9]"], ("Adam",)),
        (["optimizer=Adam", "betas=[2,3]"], ("Adam", "beta")),
        (["optimizer=Adam", "capturable=true"], ("Adam",)),
        (["optimizer=Adam", "momentum=0.9"], ("no field 'momentum'", "betas")),
    ],
)
def test_a_recipe_that_cannot_be(refused: Refused, tiny: Path, tmp_path: Path, sets: list[str], words: Any) -> None:
    """A field that is not one, a value or an optimizer that cannot be: refused, and no study is begun."""
    given = [word for s in sets for word in ("--set", s)]
    refused("run", tiny, "--study", tmp_path / "s", *given, words=words)
    assert not (tmp_path / "s").exists()


# --- a study that is another's -----------------------------------------------------------------------------------


def test_a_study_of_another_task(refused: Refused, task_file: Callable[..., Path], study: Path) -> None:
    """The name of both tasks, and the way out."""
    refused("run", task_file(), "--study", study, words=("'tiny'", "'mine'", "new study with --study"))


def test_a_study_of_another_recipe(refused: Refused, tiny: Path, study: Path) -> None:
    """Every field that differs, with both its values."""
    words = (
        "another recipe",
        "epochs is different: study=2, here=5",
        "momentum is different",
        "new study with --study",
    )
    refused("run", tiny, "--study", study, "--set", "epochs=5", "--set", "momentum=0.9", words=words)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("import nondet", "import nondet  # edited"), "code"),
        (("default_rng(0)", "default_rng(1)"), "code"),
        (("nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)", "nn.Linear(6, 3)"), "code"),
    ],
)
def test_an_edited_file_does_not_mix_with_its_old_runs(
    refused: Refused, task_file: Callable[..., Path], study: Path, change: tuple[str, str], word: str
) -> None:
    """Whatever was edited in the file, a comment included, its runs are others."""
    before = sorted((study / "runs").iterdir())
    refused(
        "run",
        task_file(change, name="tiny"),
        "--study",
        study,
        words=(f"the {word} of task", "has changed since", "restore it"),
    )
    assert sorted((study / "runs").iterdir()) == before


def test_a_study_of_another_width(refused: Refused, tiny: Path, study: Path) -> None:
    """Another --stack is another environment: the field is named with both values."""
    refused("run", tiny, "--study", study, "--stack", 8, words=("stack is different: study=4, here=8", "--study"))


def test_a_study_of_another_number_of_threads(refused: Refused, tiny: Path, study: Path) -> None:
    """The thread count is part of the environment."""
    torch.set_num_threads(2)
    refused("run", tiny, "--study", study, words=("threads is different: study=1, here=2", "--study"))


def test_a_study_of_another_library(refused: Refused, tiny: Path, study: Path) -> None:
    """Versions are part of the environment; all that differs is named in the one line."""
    opened = load(study)
    _save(replace(opened, environment={**opened.environment, "torch": "1.0", "numpy": "0.9"}))
    refused("run", tiny, "--study", study, words=("torch is different: study=1.0", "numpy is different: study=0.9"))


@pytest.mark.parametrize("command", [["show"], ["verify"], ["run", "TINY", "--study"]])
def test_a_study_of_a_later_format(refused: Refused, tiny: Path, study: Path, command: list[str]) -> None:
    """A study that a later version made is refused by every command, with both formats and the way out."""
    path = study / "study.json"
    path.write_bytes(sealed({**unsealed(path.read_bytes(), path), "format": 99}))
    refused(*[str(tiny) if c == "TINY" else c for c in command], study, words=("format 99", "reads 1", "--study"))


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_sound_file_that_is_no_study(nondet: Callable[..., Any], study: Path, command: str) -> None:
    """A sealed record under the name study.json is not taken for a study."""
    (study / "study.json").write_bytes(next((study / "runs").glob("*.json")).read_bytes())
    ran = nondet(command, study)
    assert ran.code == 1
    assert "study.json" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_folder_with_other_files(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    """A study is not begun among files of somebody else, and theirs stay as they are."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    refused("run", tiny, "--study", folder, words=("holds other files", "name another"))
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]


# --- a user's file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"def f(:\n", ("does not import", "SyntaxError", "line 1")),
        (b"x = '\xe9'\n", ("does not import", "SyntaxError")),
        (b"a\0b", ("does not import",)),
        (b"\n\nraise ValueError('one\\ntwo')", ("does not import", "ValueError: one two", "line 3", "fix")),
        (b"import surely_not_there", ("does not import", "surely_not_there")),
        (b"from . import x", ("does not import",)),
        (b"import sys; sys.exit(0)", ("does not import", "SystemExit")),
        (b"def f():\n    f()\nf()", ("does not import", "RecursionError")),
        (b"", ("must define `task = nondet.Task(...)`", "no `task`")),
        (b"task = 3", ("must define `task = nondet.Task(...)`", "int")),
        (b"import nondet\ntask = nondet.Task", ("must define `task = nondet.Task(...)`", "type")),
        (b"import nondet\ntask = nondet.Task(3)", ("does not import", "TypeError", "line 2")),
    ],
)
def test_a_file_that_defines_no_task(refused: Refused, tmp_path: Path, text: bytes, words: Any) -> None:
    """A file that does not import, or has no task, is named with its line and its error."""
    path = tmp_path / "mine.py"
    path.write_bytes(text)
    refused("run", path, "--study", tmp_path / "s", words=("mine.py", *words))
    assert not (tmp_path / "s").exists()


def test_a_folder_that_is_called_like_a_file(refused: Refused, tmp_path: Path) -> None:
    """A folder whose name ends in .py is not a Python file."""
    (tmp_path / "mine.py").mkdir()
    refused("run", tmp_path / "mine.py", words=("cannot read", "folder"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # shapes
        (
            net("return self.line(x)[:, 0].double().flatten()[:, None, None]"),
            ("(batch, classes)", "(16, 1, 1)", "fix"),
        ),
        (net("return self.line(x)[None]"), ("(batch, classes)", "(1, 16, 3)", "fix")),
        (net("return self.line(x), 1"), ("(batch, classes)", "tuple", "return out[0]")),
        (net("return self.line(x)[:-1]"), ("(batch, classes)", "(15, 3)", "fix")),
        (net("return self.line(x)[:, :0]"), ("at least 2 classes", "(16, 0)", "fix")),
        (net("return {'a': self.line(x), 'b': x}"), ("(batch, classes)", "a dict of a, b", "return out['a']")),
        (("nn.Linear(8, 3)", "nn.Linear(8, 2)[:]"), ("fix",)),
        (("labels[:40]", "labels[:40] + 5"), ("train labels must be smaller", "3 outputs", "got 6")),
        (("labels[40:]", "labels[40:] + 5"), ("test labels must be smaller", "3 outputs", "got 6")),
        # a forward pass that cannot be trained
        (net("return self.line(x).detach()"), ("cannot be trained", "fix")),
        (net("return self.line(x).long()"), ("cannot be trained", "fix")),
        (net("return self.line(x.view(-1, 7))"), ("the model fails on inputs of shape (16, 6)", "fix")),
        (net("return self.line(x) if self.training else 1 / 0"), ("ZeroDivisionError", "fix")),
        # a constructor that makes no model
        ((MODEL, "return None"), ("nn.Module", "NoneType")),
        ((MODEL, "return nn.ReLU()"), ("parameters to train",)),
        ((MODEL, "return 1 / 0"), ("model", "ZeroDivisionError")),
        (("model=model", "model=None"), ("model", "NoneType")),
        (("model=model", "model=model()"), ("model",)),
        (("model=model", "model=nn.Linear"), ("model",)),
        # data
        ((TRAIN, "train=(inputs[:40], labels[:39])"), ("same length", "40 and 39", "one label for each")),
        ((TRAIN, "train=(inputs[:0], labels[:0])"), ("at least 1", "0 and 0")),
        ((TRAIN, "train=(inputs[:40], -labels[:40])"), ("train labels must be at least 0", "got -1")),
        ((TRAIN, "train=(inputs[:40], labels[:40].float())"), ("whole class numbers", "torch.float32", ".long()")),
        ((TRAIN, "train=(inputs[:40], labels[:40, None])"), ("whole class numbers", "(40, 1)")),
        ((TRAIN, "train=(inputs[:40] / 0 * 0, labels[:40])"), ("train inputs must be finite", "NaN")),
        ((TRAIN, "train=(inputs[:40].double() * 1e300, labels[:40])"), ("train inputs must be finite",)),
        ((TRAIN, "train=None"), ("train must be a pair",)),
        ((TRAIN, "train=(inputs[:40], labels[:40], 3)"), ("train must be a pair",)),
        ((TRAIN, "train=(['a', 'b'], [0, 1])"), ("train must be a pair",)),
        ((TRAIN, "train=(inputs[:40].to_sparse(), labels[:40])"), ("train",)),
        (
            ("test=(inputs[40:], labels[40:])", "test=(inputs[40:], labels[41:])"),
            ("test inputs and labels", "20 and 19"),
        ),
        # the rest of the task
        ((RECIPE, "recipe=None"), ("recipe",)),
        ((RECIPE, "recipe={'epochs': 3}"), ("recipe",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, options=None")), ("options",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, options={'momentum': torch.ones(())}")), ("options",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, options={'colour': 3}")), ("colour",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, optimizer=3")), ("optimizer must be", "got 3")),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, schedule=3")), ("schedule must be", "got 3")),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, schedule=lambda e, n: 1 / 0")), ("schedule",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, schedule=lambda e, n: None")), ("schedule",)),
        ((RECIPE, RECIPE.replace("lr=0.1", "lr=0.1, precision=['float32']")), ("precision must be",)),
        (("stack=4", "stack=0"), ("stack must be", "got 0")),
        (("stack=4", "stack='4'"), ("stack must be", "'4'")),
        (("stack=4", "stack=4, augment=nondet.Crop(1)"), ("augment",)),
        (("stack=4", "stack=4, augment=('flip',)"), ("augment", "flip")),
        (("stack=4", "stack=4, augment=(nondet.Crop(1),)"), ()),
        (("stack=4", "stack=4, nmae='x'"), ("nmae",)),
    ],
)
def test_a_task_that_cannot_be_trained(
    refused: Refused, task_file: Callable[..., Path], tmp_path: Path, change: tuple[str, str], words: Any
) -> None:
    """Whatever is wrong with a user's task is one sentence, before a study is begun."""
    refused("run", task_file(change), "--study", tmp_path / "s", words=words)
    assert not (tmp_path / "s").exists()


def test_inputs_that_require_a_gradient_are_data(
    nondet: Callable[..., Any], task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """A flag that a tensor carries from elsewhere is no reason to fail: trained, or refused in one line."""
    task = task_file((TRAIN, "train=(inputs[:40].clone().requires_grad_(), labels[:40])"))
    ran = nondet("run", task, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert ran.code in (0, 2)
    lines = ran.err.splitlines()
    assert len(lines) == (1 if ran.code else 2), ran.err
    assert lines[-1].startswith(
        "nondet: " if ran.code else "warning: Intervals of fewer than 20 runs are rough (init 2)"
    )


@pytest.mark.parametrize(
    "model",
    [
        "class Scale(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.rand(6))\n\n"
        "    def forward(self, x):\n        return x * self.scale\n\n\ndef model():\n    return Scale()\n",
        "def model():\n    line = nn.Linear(6, 3)\n    nn.init.zeros_(line.weight)\n    return line\n",
    ],
    ids=["one axis", "zeros"],
)
def test_a_model_without_a_bit_to_change_has_no_such_source(
    nondet: Callable[..., Any], task_file: Callable[..., Path], tmp_path: Path, model: str
) -> None:
    """A model whose weights are all zeros or of one axis has no bit to change: the default run leaves bit out, and
    asking for it is refused before a study is begun.
    """
    task = task_file(("def model():\n", model))
    asked = nondet("run", task, "--runs", 2, "--vary", "bit", "--study", tmp_path / "asked")
    assert asked.code == 2
    assert len(asked.err.splitlines()) == 1
    assert not (tmp_path / "asked").exists()
    assert nondet("run", task, "--runs", 2, "--study", tmp_path / "s").code == 0
    assert "bit" not in [c["name"] for c in nondet("show", tmp_path / "s", "--json").json["conditions"]]


def test_a_model_of_random_shape(nondet: Callable[..., Any], task_file: Callable[..., Path], tmp_path: Path) -> None:
    """A constructor that draws its own width cannot be stacked, and the sentence says what to take out."""
    shapes = "h = int(torch.randint(2, 99, ()))\n    return nn.Sequential(nn.Linear(6, h), nn.Linear(h, 3))"
    ran = nondet("run", task_file((MODEL, shapes)), "--runs", 3, "--study", tmp_path / "s")
    assert ran.code == 2
    assert "the same shapes at every call" in ran.err
    assert "Traceback" not in ran.err


# --- measure -----------------------------------------------------------------------------------------------------


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[..., list[object]]:
    """Write outputs and labels, sound unless others are given, and return the command that measures them."""

    def write(outputs: Any = None, labels: Any = None) -> list[object]:
        rng = np.random.default_rng(0)
        outputs = rng.normal(size=(3, 7, 4)) if outputs is None else outputs
        labels = rng.integers(0, 4, 7) if labels is None else labels
        for name, content in (("outputs", outputs), ("labels", labels)):
            if isinstance(content, bytes):
                (tmp_path / f"{name}.npy").write_bytes(content)
            else:
                np.save(tmp_path / f"{name}.npy", content, allow_pickle=False)
        return ["measure", tmp_path / "outputs.npy", "--labels", tmp_path / "labels.npy"]

    return write


def header(fields: str) -> bytes:
    """A .npy file of format 1.0 with this text as its header, and some data."""
    text = fields.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(3 * 7 * 4 * 8)


GOOD = np.random.default_rng(0).normal(size=(3, 7, 4))


def spoiled(value: float) -> np.ndarray[Any, Any]:
    outputs = GOOD.copy()
    outputs[1, 2, 3] = value
    return outputs


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (GOOD[0], ("three axes", "(7, 4)")),
        (GOOD[None], ("three axes", "(1, 3, 7, 4)")),
        (np.float64(3), ("three axes", "()")),
        (GOOD[:1], ("runs must be at least 2", "got 1")),
        (GOOD[:0], ("runs must be at least 2", "got 0")),
        (GOOD[:, :0], ("examples must be at least 1", "got 0")),
        (GOOD[:, :, :1], ("classes must be at least 2", "got 1")),
        (GOOD.astype(complex), ("float64", "complex128")),
        (GOOD.astype(str), ("convert",)),
        (GOOD.astype(np.longdouble), ("convert",)),
        (GOOD > 0, ("bool",)),
        (spoiled(np.nan), ("finite", "nan", "run 1, example 2")),
        (spoiled(np.inf), ("finite", "inf", "run 1, example 2")),
        (spoiled(1e101), ("at most", "1e+101")),
        (b"", ("outputs.npy", "whole .npy file")),
        (b"not an array at all", ("outputs.npy", "whole .npy file")),
        (b"PK\x03\x04" + bytes(60), ("outputs.npy", ".npy file")),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 7, 4)}"), ("outputs.npy", "objects")),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': ("), ("outputs.npy", "whole .npy file")),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 7, 4)}"), ("outputs.npy",)),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999999999999, 7, 4)}"), ("outputs.npy",)),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}"), ("outputs.npy",)),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (300, 7, 4)}"), ("outputs.npy", "whole .npy file")),
        (header("{'descr': 'zz', 'fortran_order': False, 'shape': (3, 7, 4)}"), ("outputs.npy", "whole .npy file")),
        (header("'''"), ("outputs.npy", "whole .npy file")),
        (header("[" * 100), ("outputs.npy", "whole .npy file")),
        (header("3"), ("outputs.npy", "whole .npy file")),
    ],
)
def test_outputs_that_cannot_be_measured(
    refused: Refused, arrays: Callable[..., list[object]], outputs: Any, words: Any
) -> None:
    """Wrong axes, types and numbers, and files that are no whole array of numbers, each in one line."""
    refused(*arrays(outputs), words=words)
    refused(*arrays(outputs), "--json", words=words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(6, int), ("as many as the examples", "6 labels for 7 examples")),
        (np.zeros(0, int), ("as many as the examples", "0 labels for 7 examples")),
        (np.full(7, 4), ("from 0 to 3", "got 4")),
        (np.full(7, -1), ("from 0 to 3", "got -1")),
        (np.full(7, -1).astype(np.uint64), ("from 0 to 3", "18446744073709551615")),
        (np.zeros(7), ("integers", "float64", "astype(int)")),
        (np.zeros(7, bool), ("integers", "bool")),
        (np.zeros((7, 4), int), ("one axis", "(7, 4)")),
        (np.int64(3), ("one axis", "()")),
        (b"", ("labels.npy", "whole .npy file")),
    ],
)
def test_labels_that_cannot_be_measured(
    refused: Refused, arrays: Callable[..., list[object]], labels: Any, words: Any
) -> None:
    """Labels of another test set, outside the classes, or no whole numbers."""
    refused(*arrays(labels=labels), words=words)


def test_files_that_are_not_there(refused: Refused, arrays: Callable[..., list[object]], tmp_path: Path) -> None:
    """A missing file, and a folder of what is no run, are named."""
    command, outputs, option, labels = arrays()
    refused(command, tmp_path / "none.npy", option, labels, words=("none.npy", "No such file", "give the path"))
    refused(command, outputs, option, tmp_path / "none.npy", words=("none.npy", "No such file", "give the path"))
    refused(command, tmp_path, option, labels, words=("each file of a folder", "(3, 7, 4)", "outputs.npy"))
    refused(command, outputs, words=("--labels must name the file", "outputs.npy"))


@pytest.mark.parametrize("cut", [1, 7, 9, 40, 127, 128, 129, -1])
def test_a_truncated_array(refused: Refused, arrays: Callable[..., list[object]], tmp_path: Path, cut: int) -> None:
    """An array cut off anywhere, in its header or its numbers, is not measured."""
    command = arrays()
    path = tmp_path / "outputs.npy"
    path.write_bytes(path.read_bytes()[:cut])
    refused(*command, words=("outputs.npy", "whole .npy file"))


def test_every_changed_byte_of_a_header_is_met(
    nondet: Callable[..., Any], arrays: Callable[..., list[object]], tmp_path: Path
) -> None:
    """Whatever byte of the header is changed, the file is measured or refused in one line."""
    command = arrays()
    path = tmp_path / "outputs.npy"
    content = path.read_bytes()
    for place in range(128):
        for byte in {content[place] ^ 1, *b"('L\n"} - {content[place]}:
            path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
            ran = nondet(*command, "--json")
            assert ran.code in (0, 2)
            assert len(ran.err.splitlines()) == 1, ran.err
            assert ran.err.startswith("nondet: " if ran.code else "warning: Intervals of fewer than 20 runs are rough")


class Bomb:
    """An object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["array", "pickle"])
@pytest.mark.parametrize("which", ["outputs.npy", "labels.npy"])
def test_a_pickle_is_never_opened(
    refused: Refused, arrays: Callable[..., list[object]], tmp_path: Path, form: str, which: str
) -> None:
    """An array of objects, and a bare pickle, are refused, and what they would do is not done."""
    command, mark = arrays(), tmp_path / "exploded"
    if form == "array":
        np.save(tmp_path / which, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    else:
        (tmp_path / which).write_bytes(pickle.dumps(Bomb(mark)))
    refused(*command, words=(which, ".npy file of numbers"))
    assert not mark.exists()
    if form == "array":
        np.load(tmp_path / which, allow_pickle=True)
        assert mark.exists(), "the pickle must be one that would have done it"


def test_json_of_others_is_not_a_study(refused: Refused, nondet: Callable[..., Any], tmp_path: Path) -> None:
    """A study.json that nondet never wrote is refused, with its path, and no more is said than one line."""
    (tmp_path / "study.json").write_text(json.dumps({"format": 1}))
    ran = nondet("show", tmp_path)
    assert ran.code in (1, 2)
    assert "study.json" in ran.err
    assert len(ran.err.splitlines()) == 1
