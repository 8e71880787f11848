"""A name or a file that is not there is answered with the nearest one that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nondet as nd
from nondet.io.nearest import did_you_mean, nearest, nearest_file

Nondet = Callable[..., Any]


@pytest.mark.parametrize("option", ["-q", "--quiet", "--json", "--runs=3"])
def test_an_option_before_its_command_is_no_misspelt_command(nondet: Nondet, option: str) -> None:
    ran = nondet(option, "show")
    assert ran.code == 2
    assert f"an option must follow its command (got {option} before any)" in ran.err
    assert "Unknown" not in ran.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rnu", "digits"], '"run"'),
        (["run", "digits", "--rusn", 3], "--runs"),
        (["gate", "a.npy", "b.npy", "--ledger", "l", "--better", "hgher"], '"higher"'),
        (["run", "digist"], "digits"),
        (["run", "Fashion-mnits"], "fashion-mnist"),
        (["run", "digits", "--set", "epoch=3"], "epochs"),
        (["run", "digits", "--set", "options.momentm=0.5"], "momentum"),
        (["run", "digits", "--set", "optimizer=Addam"], "Adam"),
        (["run", "digits", "--set", "optimizer=sgd"], "SGD"),
        (["run", "digits", "--set", "schedule=cosin"], "cosine"),
        (["run", "digits", "--set", "schedule=OneCycleLr"], "OneCycleLR"),
        (["run", "digits", "--set", "loss=cross_entrpy"], "cross_entropy"),
        (["run", "digits", "--set", "precision=float46"], "float64"),
        (["run", "digits", "--model", "resnt14"], "resnet14"),
        (["run", "digits", "--vary", "shufle"], "shuffle"),
        (["run", "digits", "--executor", "proceses"], "processes"),
        (["run", "digits", "--until", "acuracy.sd.error<10%"], "accuracy.sd"),
        (["run", "my_tsk.py"], "my_task.py"),
        (["run", "--", "python", "trian.py"], "train.py"),
        (["diverge", "--", "python", "trian.py"], "train.py"),
        (["measure", "output.npy"], "outputs.npy"),
        (["measure", "outptus.npy"], "outputs.npy"),
        (["measure", "socres.csv", "--metric", "accuracy"], "scores.csv"),
        (["compare", "socres.csv", "--of", "a", "--with", "b"], "scores.csv"),
        (["show", "study/digts"], "studies/digits"),
    ],
)
def test_what_is_meant(
    nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], meant: str
) -> None:
    """One sentence on standard error, exit status 2, and nothing is trained or written."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_task.py", "train.py", "scores.csv"):
        (tmp_path / name).write_text("\n")
    _outputs(tmp_path / "outputs.npy")
    (tmp_path / "studies" / "digits").mkdir(parents=True)
    ran = nondet(*words)
    assert (ran.code, ran.out) == (2, "")
    assert f"did you mean {meant}?" in ran.err.replace("Did", "did"), ran.err
    assert len(ran.err.splitlines()) == 1


def _outputs(path: Path) -> None:
    import numpy as np

    np.save(path, np.arange(48.0).reshape(2, 8, 3))


def test_in_python_too() -> None:
    with pytest.raises(nd.BadInput, match=r"did you mean AdamW\?.* try recipe="):
        nd.Recipe(epochs=1, batch_size=1, lr=0.1, optimizer="AdammW").set({"epochs": "2"})
    with pytest.raises(nd.BadInput, match=r"has no field 'epoch' .*did you mean epochs\?"):
        nd.Recipe(epoch=1, batch_size=1, lr=0.1)  # pyright: ignore[reportCallIssue]


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    assert did_you_mean("zzz", ("digits", "mnist")) == ""
    assert did_you_mean("digits2", ()) == ""
    assert nearest("", ("digits",)) == ""


def test_of_equally_near_names_the_one_that_begins_alike_is_meant() -> None:
    assert nearest("resnet15", ("vgg11", "resnet56", "resnet14", "resnet14x2")) == "resnet14"


def test_the_form_is_the_sentence_s() -> None:
    assert did_you_mean("digist", ("digits",)) == " (did you mean digits?)"
    assert did_you_mean("digist", ("digits",), "; {}") == "; did you mean digits?"


def test_of_a_path_each_part_is_looked_for(tmp_path: Path) -> None:
    """Folders too; a path that is there is its own, and an unreadable or missing folder says nothing."""
    (tmp_path / "examples" / "inner").mkdir(parents=True)
    (tmp_path / "examples" / "inner" / "train.py").write_text("")
    right = tmp_path / "examples" / "inner" / "train.py"
    assert nearest_file(tmp_path / "exmaples" / "inner" / "trian.py") == str(right)
    assert nearest_file(right) == ""
    assert nearest_file(tmp_path / "examples" / "else.py") == ""
    assert nearest_file(tmp_path / "nowhere" / "at" / "all") == ""
    assert nearest_file(tmp_path / ("x" * 5000)) == ""
    assert nearest_file(right / "below_a_file") == ""
