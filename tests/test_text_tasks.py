"""`nondet run text` and `nondet run ptb`: folders of text as tasks, from words to the study's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from nondet.errors import BadInput
from nondet.measures.language import sample_tokens
from nondet.study import record as studies
from nondet.tasks import Options, load_task
from nondet.tasks.text import vocabulary

Nondet = Callable[..., Any]
SOURCES = ("init", "dropout", "order", "bit")
TEXTS = {"train": "b a a\na c <unk>\n", "valid": "a\n", "test": "a d b\n"}
HOSTILE = ["<script>alert(1)</script>", "[red]", "[/]", "{{7*7}}", "%s%n", "\\input{x}", "|", "\x1b[31m", "\x00", "é"]
"""Words that mean something to a web page, a terminal, a table or a format, if anything lets them."""
SMALL = ("--set", "epochs=2", "--set", "batch_size=4", "--set", "bptt=8", "--stack", 4, "--workers", 1)


def write(path: Path, texts: Mapping[str, str]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for part, words in texts.items():
        (path / f"{part}.txt").write_text(words, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 300 words for training and 350 for testing, more than the sample has; hostile ones are among them, and each
    stands after one of a few others.
    """
    rng = np.random.default_rng(8)
    known = [*HOSTILE, *"abcdefghij"]
    texts: dict[str, str] = {}
    for part, lines in (("train", 40), ("valid", 2), ("test", 50)):
        starts = rng.integers(len(known), size=lines)
        steps = rng.integers(1, 3, size=(lines, 6)).cumsum(axis=1)
        rows = (starts[:, None] + steps) % len(known)
        texts[part] = "".join(" ".join(known[i] for i in row) + "\n" for row in rows)
    return write(tmp_path_factory.mktemp("words"), texts)


@pytest.fixture(scope="module")
def finished(words: Path, tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Any]) -> Path:
    """A finished study of it: each source alone and all together, 3 runs each. Read it only."""
    folder = tmp_path_factory.mktemp("studies") / "text"
    ran = process("run", "text", "--data", words, "--runs", 3, *SMALL, "--study", folder)
    assert ran.code == 0, ran.err
    return folder


def test_a_folder_of_text_is_a_task(tmp_path: Path) -> None:
    """Words take numbers by frequency, then by first appearance; each predicts the next, and line ends are words."""
    task = load_task("text", Options(data=write(tmp_path, TEXTS)))
    a, eos, b, c, unknown = range(5)
    assert task.train[0].tolist() == [b, a, a, eos, a, c, unknown]
    assert task.train[1].tolist() == [a, a, eos, a, c, unknown, eos]
    assert task.test[0].tolist() == [a, unknown, b]
    assert task.test[1].tolist() == [unknown, b, eos]
    logits, _ = task.model()(task.test[0][None])
    assert logits.shape == (1, 3, 5)
    assert task.recipe.bptt > 0
    few = load_task("ptb", Options(data=tmp_path, train_examples=5, test_examples=2))
    assert few.name == "ptb"
    assert [len(part) for part in (*few.train, *few.test)] == [5, 5, 2, 2]


def test_vocabularies_are_cut_at_their_size() -> None:
    """The rarest words fall out, of equal ones the later; never the unknown word and the end of a line."""
    text = ["<eos>", "a", "d", "b", "b", "c", "c", "c"]
    assert vocabulary(text, 10) == {"c": 0, "b": 1, "<eos>": 2, "a": 3, "d": 4, "<unk>": 5}
    assert vocabulary(text, 5) == {"c": 0, "b": 1, "<eos>": 2, "a": 3, "<unk>": 4}
    assert vocabulary(text, 3) == {"c": 0, "<eos>": 1, "<unk>": 2}
    assert vocabulary([*text, *["<unk>"] * 4], 3) == {"<unk>": 0, "c": 1, "<eos>": 2}


def test_texts_that_are_no_task(tmp_path: Path) -> None:
    """No folder, another network, more examples than words."""
    given = Options(data=write(tmp_path, TEXTS))
    for name in ("text", "ptb"):
        with pytest.raises(BadInput, match=f"{name}.*data=DIR"):
            load_task(name, Options())
        with pytest.raises(BadInput, match=rf"model of {name} must be qrnn .got 'resnet14'.*leave model out"):
            load_task(name, replace(given, model="resnet14"))
    load_task("text", replace(given, model="qrnn"))
    for part, count in (("train", 7), ("test", 3)):
        with pytest.raises(BadInput, match=rf"{part}_examples must be from 1 to {count} .got {count + 1}"):
            load_task("text", replace(given, **{f"{part}_examples": count + 1}))


def test_the_study_of_a_language_model(nondet: Nondet, finished: Path) -> None:
    """Perplexity in place of accuracy, the sources of a text, and a control of exactly zero."""
    shown = nondet("show", finished, "--json")
    assert shown.code == 0, shown.err
    assert shown.json["control"]["identical"] is True
    assert studies.load(finished).sources == SOURCES
    assert [c["vary"] for c in shown.json["conditions"][:4]] == [[source] for source in SOURCES]
    for condition in shown.json["conditions"]:
        assert (condition["runs"], condition["failed"]) == (3, 0)
        assert "accuracy" not in condition
        assert condition["perplexity"]["mean"] > 1
        assert set(condition["ensemble_delta"]) == {"perplexity", "cross_entropy"}
        assert condition["cross_entropy"]["sd"] > 0
    table = nondet("show", finished).out
    assert "perplexity" in table
    assert "accuracy" not in table


def test_an_onset(nondet: Nondet, words: Path, tmp_path: Path) -> None:
    """Masks that vary from epoch 1 on make other runs; from the last epoch's end on, the same run."""
    options = ("--vary", "dropout", "--onset", 1, "--onset", 2, "--runs", 2, *SMALL, "--study", tmp_path / "study")
    ran = nondet("run", "text", "--data", words, *options)
    assert ran.code == 0, ran.err
    late, never = nondet("show", tmp_path / "study", "--json").json["conditions"]
    assert (late["onset"], never["onset"]) == (1, 2)
    assert late["perplexity"]["sd"] > 0
    assert never["perplexity"]["sd"] == never["disagreement"] == 0


def test_what_a_run_keeps(nondet: Nondet, finished: Path, words: Path) -> None:
    """Log-probabilities, predictions, the sample's logits the bit; perplexity is exp of the mean loss."""
    opened = studies.load(finished)
    labels = load_task("text", Options(data=words)).test[1].numpy()
    kept = sample_tokens(len(labels))
    shown = nondet("show", finished, "--json").json["conditions"]
    for condition, record in zip(opened.conditions, shown, strict=True):
        specs = condition.specs(opened.identity, opened.sources)
        runs = [opened.store.get(spec.key).arrays for spec in specs]
        if condition.vary == ("bit",):
            names = [opened.store.get(spec.key).record["facts"].get("bit", {}).get("name") for spec in specs]
            assert names == [None, "layers.0.gates.weight", "layers.0.gates.weight"]
        for run in runs:
            outputs = {name for name in run if not name.startswith(("weights.", "curves."))}
            assert outputs == {"logprob", "prediction", "sample.logits"}
            logits = run["sample.logits"].astype(np.float64)
            assert np.array_equal(run["prediction"][kept], logits.argmax(-1))
            exact = special.log_softmax(logits, -1)[np.arange(len(kept)), labels[kept]]
            assert np.abs(exact - run["logprob"][kept]).max() < 1e-5
        perplexities = [np.exp(-run["logprob"].mean(dtype=np.float64)) for run in runs]
        assert record["perplexity"]["mean"] == pytest.approx(np.mean(perplexities), rel=1e-9)
        assert record["perplexity"]["sd"] == pytest.approx(np.std(perplexities), rel=1e-6)


def test_nothing_of_the_text_reaches_the_terminal(nondet: Nondet, finished: Path) -> None:
    """The table, the JSON, Markdown and LaTeX hold no word of the text."""
    for form in ((), ("--json",), ("--markdown",), ("--latex",)):
        ran = nondet("show", finished, *form)
        assert ran.code == 0, ran.err
        assert not any(word in ran.out + ran.err for word in HOSTILE if word not in ("|", "é"))


@pytest.mark.parametrize(
    ("texts", "options", "sentence"),
    [
        (None, (), "--data DIR"),
        ({"train": ""}, (), "must contain words (got none)"),
        ({"train": "a b"}, (), "a token for each of the 4 columns (got 2)"),
        ({"test": "a b"}, (), "a token for each of the 4 columns (got 2)"),
        ({"test": None}, (), "'test' in its name"),
        ({}, ("--model", "resnet14"), "must be qrnn (got 'resnet14')"),
        ({}, ("--set", "train_examples=100000"), "train_examples must be from 1 to"),
    ],
)
def test_one_sentence_of_what_is_wrong(
    nondet: Nondet, tmp_path: Path, texts: dict[str, str | None] | None, options: tuple[str, ...], sentence: str
) -> None:
    """Missing, empty and short texts end in one sentence, exit status 2 and no study, whatever the folder is called."""
    place = tmp_path / "[red]{0}"
    if texts is not None:
        good = dict.fromkeys(TEXTS, "a b c d e f g h\n")
        write(place, {part: words for part, words in (good | texts).items() if words is not None})
        options = ("--data", str(place), *options)
    ran = nondet("run", "text", *options, *SMALL, "--study", tmp_path / "study")
    assert ran.code == 2
    assert sentence in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (tmp_path / "study").exists()
