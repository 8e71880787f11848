"""`nondet report` and `nondet figures` of runs that no study made: outputs and scores of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd

Nondet = Callable[..., Any]


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One training's five runs as people leave them: a folder, an .npz, tables of predictions and of scores."""
    folder = tmp_path_factory.mktemp("brought")
    rng = np.random.Generator(np.random.Philox(3))
    labels = rng.integers(3, size=40)
    logits = rng.normal(size=(5, 40, 3)) + 2 * np.eye(3)[labels]
    (folder / "logits").mkdir()
    np.save(folder / "logits" / "labels.npy", labels)
    for seed, run in enumerate(logits):
        np.save(folder / "logits" / f"seed{seed}.npy", run)
    np.savez(folder / "all.npz", outputs=logits, labels=labels)
    classes = logits.argmax(-1)
    lines = [f"{s},{i},{classes[s, i]},{labels[i]}" for s in range(5) for i in range(40)]
    (folder / "classes.csv").write_text("\n".join(["seed,example,prediction,label", *lines]))
    scores = [f"{name},{s},{90 + v:.3f}" for name in ("a<b", "aug") for s, v in enumerate(rng.normal(size=5))]
    (folder / "scores.csv").write_text("\n".join(["method,seed,accuracy", *scores]))
    return {name: folder / name for name in ("logits", "all.npz", "classes.csv", "scores.csv")}


@pytest.mark.parametrize("name", ["logits", "all.npz", "classes.csv", "scores.csv"])
def test_a_page_and_figures_of_whatever_people_bring(
    nondet: Nondet, tmp_path: Path, brought: dict[str, Path], name: str
) -> None:
    """The page has the SD that `measure` gives; figures are files, of classes also every pair of runs."""
    path, out = brought[name], tmp_path / "page.html"
    ran = nondet("report", path, "--out", out, "--json")
    assert ran.code == 0, ran.err
    text = out.read_text(encoding="utf-8")
    measured = nondet("measure", path, "--json").json
    sd = measured["arms"][0]["sd"] if "arms" in measured else measured["accuracy"]["sd"]
    begin = text[text.index('id="found"') : text.index("<nav")]
    assert re.search(rf"(?:SD of|a&lt;b:) {sd:.2f}", begin.replace("\N{NO-BREAK SPACE}", " "))
    assert 1 < len(ran.json["found"].split()) <= 25
    assert begin.count("<strong>") == begin.count("<figure ") == 1
    assert "The control" not in text
    assert ("a&lt;b" in text) == (name == "scores.csv")
    assert "a<b" not in text
    assert ("within one arm (%)" in text) == (name != "scores.csv")
    drawn = nondet("figures", path, "--out", tmp_path / "figures", "--format", "svg", "--json")
    assert drawn.code == 0, drawn.err
    names = [Path(one["file"]).name for one in drawn.json]
    assert all((tmp_path / "figures" / one).stat().st_size > 1000 for one in names)
    assert {"accuracy.svg", "accuracy-sd.svg"} <= set(names)
    assert ("pairs.svg" in names) == ("Every pair of runs" in text) == (name != "scores.csv")
    assert ("The most unstable examples" in text) == (name != "scores.csv")


def test_several_arms_and_the_api(nondet: Nondet, tmp_path: Path, brought: dict[str, Path]) -> None:
    """Each name is an arm; the program's function writes the same page, and draws the same pictures."""
    two = [brought["logits"], brought["all.npz"]]
    ran = nondet("report", two[0], brought["scores.csv"], "--out", tmp_path / "no.html")
    assert (ran.code, "of one kind" in ran.err) == (2, True)
    assert nondet("report", *two, "--out", tmp_path / "cli.html").code == 0
    page = nd.report(two[0], tmp_path / "api.html", others=two[1:])
    assert page.read_bytes() == (tmp_path / "cli.html").read_bytes()
    assert set(nd.plots({"a": [1.0, 2.0, 4.0], "b": [1.0, 3.0, 2.0]}, metric="accuracy")) == {"accuracy", "accuracy-sd"}
    labels = brought["logits"] / "labels.npy"  # a path, as a program gives it
    assert nd.report(two[1], tmp_path / "labels.html", labels=labels).exists()
    wrong = nondet("report", *two, "--condition", "all", "--out", tmp_path / "no.html")
    assert (wrong.code, "no arm 'all'" in wrong.err) == (2, True)
    assert not (tmp_path / "no.html").exists()


def test_scores_have_no_examples(nondet: Nondet, brought: dict[str, Path]) -> None:
    """One number for each run does not tell which answers flip: a sentence says what does."""
    ran = nondet("examples", brought["scores.csv"])
    assert ran.code == 2
    assert "give logits, predicted classes" in ran.err


@pytest.mark.parametrize(("count", "said"), [(5, "(got a, b, c, d, e);"), (6, "(got a, b, c, d, e and 1 more);")])
def test_a_page_is_of_one_data_set(nondet: Nondet, tmp_path: Path, count: int, said: str) -> None:
    """Of several data sets a refusal names all or says how many more there are, and its way out works."""
    rows = [f"{d},{m},{s},{90 + s % 3}" for d in "abcdef"[:count] for m in ("old", "new") for s in range(4)]
    (tmp_path / "d.csv").write_text("\n".join(["dataset,model,seed,accuracy", *rows]))
    ran = nondet("report", tmp_path / "d.csv", "--out", tmp_path / "page.html")
    assert (ran.code, said in ran.err) == (2, True)
    ran = nondet("report", tmp_path / "d.csv", "--arm", "dataset,model", "--out", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert f"Of {2 * count} arms" in ran.out


def test_labels_by_path(brought: dict[str, Path], tmp_path: Path) -> None:
    """Labels are given to `report` and `plots` as a path or as its text."""
    held = np.load(brought["all.npz"])
    np.save(tmp_path / "o.npy", held["outputs"])
    np.save(tmp_path / "y.npy", held["labels"])
    for labels in (tmp_path / "y.npy", str(tmp_path / "y.npy")):
        assert "accuracy" in nd.plots(tmp_path / "o.npy", labels=labels)
