"""Outputs in the layouts that people have: each gives the accuracies of the same runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Nondet = Callable[..., Any]

RUNS, EXAMPLES = 4, 60
WORDS = np.array(["contradiction", "entailment", "neutral"])


def made() -> tuple[Any, Any]:
    """Logits (N, n, c), and labels (n,)."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, EXAMPLES)
    return np.eye(3)[labels] + rng.normal(size=(RUNS, EXAMPLES, 3)), labels


OUTPUTS, LABELS = made()
PREDICTED = OUTPUTS.argmax(-1)
ACCURACY = 100 * float((PREDICTED == LABELS).mean())


def nested(folder: Path, name: str, write: Callable[[Path, int], None]) -> Path:
    for run in range(RUNS):
        (folder / f"seed_{run}").mkdir(parents=True)
        write(folder / f"seed_{run}" / name, run)
    return folder


def trees(folder: Path) -> Path:
    """A folder for each run, and the labels above them."""
    nested(folder / "t", "logits.npy", lambda path, run: np.save(path, OUTPUTS[run]))
    np.save(folder / "t" / "labels.npy", LABELS)
    (folder / "t" / "readme.txt").write_text("what this is")
    return folder / "t"


def trees_with_labels(folder: Path) -> Path:
    """A folder for each run with the labels in it, and a config beside them."""

    def write(path: Path, run: int) -> None:
        np.save(path, OUTPUTS[run])
        np.save(path.parent / "labels.npy", LABELS)
        (path.parent / "config.json").write_text("{}")

    return nested(folder / "t", "logits.npy", write)


def trees_of_trainers(folder: Path) -> Path:
    """Hugging Face's predictions, a file for each run."""
    return nested(
        folder / "t", "eval.npz", lambda path, run: np.savez(path, predictions=OUTPUTS[run], label_ids=LABELS)
    )


def trainers(folder: Path) -> Path:
    """The same of all runs in one file."""
    np.savez(folder / "t.npz", predictions=OUTPUTS, label_ids=LABELS)
    return folder / "t.npz"


def flat(folder: Path) -> Path:
    """A file for each run, with a config among them."""
    (folder / "t").mkdir()
    for run in range(RUNS):
        np.save(folder / "t" / f"seed{run}.npy", OUTPUTS[run])
    np.save(folder / "t" / "labels.npy", LABELS)
    (folder / "t" / "config.json").write_text("{}")
    return folder / "t"


def tensors(folder: Path) -> Path:
    """Tensors, as torch saves them, of which one stands by its name in a dictionary."""
    (folder / "t").mkdir()
    for run in range(RUNS):
        held: Any = torch.tensor(OUTPUTS[run])
        torch.save({"logits": held, "epoch": 3} if run else held, folder / "t" / f"seed{run}.pt")
    torch.save(torch.tensor(LABELS), folder / "t" / "labels.pt")
    return folder / "t"


def table(folder: Path, columns: dict[str, Any], name: str = "t.csv") -> Path:
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / name).write_text("\n".join(rows))
    return folder / name


def long(run: str, example: str, prediction: str, **more: Any) -> dict[str, Any]:
    return {
        run: np.repeat(np.arange(RUNS), EXAMPLES),
        example: np.tile(np.arange(EXAMPLES), RUNS),
        "label": np.tile(LABELS, RUNS),
        prediction: PREDICTED.ravel(),
        **more,
    }


def other_names(folder: Path) -> Path:
    return table(folder, long("seed", "idx", "prediction"))


def seeds(folder: Path) -> Path:
    return table(folder, long("seed", "example", "pred", text=["a word"] * PREDICTED.size))


def texts(folder: Path) -> Path:
    return table(folder, long("run", "example_id", "y_pred", sentence=["a word"] * PREDICTED.size))


def words(folder: Path) -> Path:
    columns = long("run", "example", "pred")
    columns |= {"label": WORDS[columns["label"]], "pred": WORDS[columns["pred"]]}
    return table(folder, columns)


def wide(folder: Path) -> Path:
    """A column for each run; the rows in another order."""
    order = np.random.default_rng(0).permutation(EXAMPLES)
    columns = {"example": order, "label": LABELS[order]}
    return table(folder, columns | {f"seed_{run}": PREDICTED[run][order] for run in range(RUNS)})


def wide_without_examples(folder: Path) -> Path:
    return table(folder, {"label": LABELS, **{f"run{run}": PREDICTED[run] for run in range(RUNS)}})


def wide_words(folder: Path) -> Path:
    runs = {f"seed_{run}_pred": WORDS[PREDICTED[run]] for run in range(RUNS)}
    return table(folder, {"idx": np.arange(EXAMPLES), "label": WORDS[LABELS], **runs})


LOGITS = (trees, trees_with_labels, trees_of_trainers, trainers, flat, tensors)
CLASSES = (other_names, seeds, texts, words, wide, wide_without_examples, wide_words)


@pytest.mark.parametrize("write", [*LOGITS, *CLASSES])
def test_layouts(nondet: Nondet, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    ran = nondet("measure", write(tmp_path), "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["runs"], ran.json["accuracy"]["mean"]) == (RUNS, pytest.approx(ACCURACY))
    assert (ran.json["correlation"]["pearson"] is None) == (write in CLASSES)
    assert ran.json["disagreement"] == pytest.approx(
        100 * np.mean([(PREDICTED[i] != PREDICTED[j]).mean() for i in range(RUNS) for j in range(i)])
    )


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (other_names, "'prediction'; runs are named by 'seed', examples by 'idx'"),
        (wide, "'seed_0', 'seed_1', 'seed_2', 'seed_3', one run each; examples are named by 'example'"),
        (seeds, "examples by 'example'; left out: 'text'"),
        (flat, "left out: 'config.json'"),
        (trees, "left out: 'readme.txt'"),
    ],
)
def test_what_was_read_as_what_is_said(
    nondet: Nondet, tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    assert said in nondet("measure", write(tmp_path), "--json").err


def test_words_of_two_files_are_the_same_classes(nondet: Nondet, tmp_path: Path) -> None:
    """Also where one of them answers a word that is no label."""
    columns = long("run", "example", "pred")
    names = np.array(["a", "b", "c", "aa"])
    columns["label"] = names[columns["label"]]
    table(tmp_path, columns | {"pred": names[PREDICTED.ravel()]}, "a.csv")
    table(tmp_path, columns | {"pred": names[(PREDICTED.ravel() + 1) % 4]}, "b.csv")
    found = nondet("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--json").json
    assert found["mean"]["a"] == pytest.approx(ACCURACY)
    assert found["churn"]["between"] == pytest.approx(
        100 * np.mean([(PREDICTED[i] != (PREDICTED[j] + 1) % 4).mean() for i in range(RUNS) for j in range(RUNS)])
    )


@pytest.mark.parametrize("write", [flat, wide])
def test_which_examples_flip(nondet: Nondet, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """`examples` takes outputs as it takes a study; of classes alone no entropy within is known."""
    ran = nondet("examples", write(tmp_path), "--top", 2, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["runs"], ran.json["examples"]) == (RUNS, EXAMPLES)
    assert (ran.json["top"][0]["entropy"]["within"] is None) == (write is wide)


@pytest.mark.parametrize("column", ["pred", "logits"])
def test_runs_that_failed(nondet: Nondet, tmp_path: Path, column: str) -> None:
    """A run with a cell that holds nothing is refused, counted as failed, or dropped, as --failed says."""
    columns = long("run", "example", "pred")
    if column == "logits":
        del columns["pred"]
        columns |= {f"logit_{k}": OUTPUTS[:, :, k].ravel() for k in range(3)}
    last = list(columns)[-1]
    columns[last] = ["" if place == EXAMPLES + 3 else cell for place, cell in enumerate(columns[last])]
    path = table(tmp_path, columns)
    assert nondet("measure", path).code == 2
    counted, dropped = (nondet("measure", path, "--failed", word, "--json").json for word in ("count", "drop"))
    assert (counted["runs"], counted["failed"]) == (RUNS, 1)
    assert (dropped["runs"], dropped["failed"]) == (RUNS - 1, 0)
    expected = 100 * float((PREDICTED[[0, 2, 3]] == LABELS).mean())
    assert counted["accuracy"]["mean"] == dropped["accuracy"]["mean"] == pytest.approx(expected)


def test_arrays_that_are_not_finite(nondet: Nondet, tmp_path: Path) -> None:
    outputs = OUTPUTS.copy()
    outputs[2, 5, 1] = np.inf
    np.savez(tmp_path / "t.npz", outputs=outputs, labels=LABELS)
    assert nondet("measure", tmp_path / "t.npz").code == 2
    assert nondet("measure", tmp_path / "t.npz", "--failed", "count", "--json").json["failed"] == 1


def test_what_is_refused(nondet: Nondet, tmp_path: Path) -> None:
    """Runs of two test sets; two arrays that may be meant; words without labels of words; code in a .pt file."""
    folder = trees_with_labels(tmp_path / "one")
    np.save(folder / "seed_1" / "labels.npy", LABELS[::-1])
    ran = nondet("measure", folder)
    assert ran.code == 2
    assert "got other labels in seed_1/labels.npy than in seed_0/labels.npy" in ran.err
    folder = nested(tmp_path / "two", "a.npy", lambda path, run: np.save(path, OUTPUTS[run]))
    np.save(folder / "seed_2" / "b.npy", OUTPUTS[0])
    ran = nondet("measure", folder)
    assert ran.code == 2
    assert "must contain one file of outputs (got a.npy, b.npy in 'seed_2')" in ran.err
    columns = long("run", "example", "pred")
    ran = nondet("measure", table(tmp_path, columns | {"pred": WORDS[columns["pred"]]}))
    assert ran.code == 2
    assert "must have a column label of words if its classes are words" in ran.err


class Harm:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("harm"),)


def test_no_code_in_tensors_is_run(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tensors(tmp_path)
    torch.save({"logits": torch.tensor(OUTPUTS[0]), "more": Harm()}, folder / "seed0.pt")
    ran = nondet("measure", folder)
    assert ran.code == 2
    assert "must be a .pt file of tensors only" in ran.err
    assert not Path("harm").exists()
