"""Onset, the one bit, and representations over time, as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from nondet.errors import BadInput
from nondet.models import MODELS
from nondet.study import record as studies
from nondet.study.design import conditions

Nondet = Callable[..., Any]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))]


def test_onsets(nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Onset 0 is no onset; at the last epoch all runs are equal; the trunk is trained once, whatever forks from it."""
    from nondet.training import examples as classify

    epochs: list[int] = []
    original = classify.train_epoch

    def counted(problem: Any, stack: Any, seeds: Any) -> None:
        epochs.append(stack.epoch)
        original(problem, stack, seeds)

    monkeypatch.setattr(classify, "train_epoch", counted)
    options = ("--runs", 3, "--vary", "shuffle", "--set", "epochs=4", "--workers", 1, "--study", tmp_path / "s")
    plain = nondet("run", tiny, *options)
    assert plain.code == 0
    assert epochs.count(0) == 2, "the stack of all, and the control's repeat"
    nondet("run", tiny, *options, "--onset", 0)
    assert len(epochs) == 8, "nothing was trained again"
    late = nondet("run", tiny, *options, "--onset", 2, "--onset", 3, "--onset", 4)
    assert late.code == 0
    assert sorted(epochs[8:]) == [0, 1, 2, 2, 3, 3, 3], "one trunk to epoch 4, and two forks"
    rows = {c["name"]: c for c in nondet("show", tmp_path / "s", "--json").json["conditions"]}
    assert [(c["onset"], c["vary"]) for c in rows.values()] == [(e, ["shuffle"]) for e in (0, 2, 3, 4)]
    assert list(rows) == ["shuffle", "shuffle@2", "shuffle@3", "shuffle@4"]
    assert rows["shuffle@4"]["disagreement"] == rows["shuffle@4"]["accuracy"]["sd"] == 0
    assert rows["shuffle@4"]["correlation"]["pearson"] == 1


def test_trunks_come_with_the_control(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Asked for at once, the trunks are left by the control's own stack, and a lost one is trained again."""
    options = ("--runs", 3, "--vary", "all", "--onset", 1, "--set", "epochs=3", "--study", tmp_path / "s")
    assert nondet("run", tiny, *options).code == 0
    shown = nondet("show", tmp_path / "s", "--json").json
    (trunk,) = (tmp_path / "s" / "trunks").iterdir()
    assert shown["control"] == {"runs": 2, "identical": True}
    content = bytearray(trunk.read_bytes())
    content[-1] ^= 1
    trunk.write_bytes(content)
    forks = [key for key, spec in studies.load(tmp_path / "s").specs().items() if spec.onset]
    for key in forks:
        (tmp_path / "s" / "runs" / f"{key}.json").unlink()
    checked = nondet("verify", tmp_path / "s")
    assert checked.code == 1
    assert str(trunk) in checked.err
    again = nondet("run", tiny, *options)
    assert again.code == 0, again.err
    assert f"{trunk} is damaged" in again.err
    assert nondet("show", tmp_path / "s", "--json").json == shown


def test_onset_and_init(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """Initial parameters are past at a later onset: a condition of them alone would be one run many times."""
    folder = tmp_path / "s"
    for onsets in (("--onset", 1), ("--onset", 0, "--onset", 2), ("--onset", 1, "--vary", "shuffle")):
        ran = nondet("run", tiny, "--runs", 3, "--vary", "init", *onsets, "--study", folder)
        assert ran.code == 2
        assert "initial parameters are past" in ran.err
        assert len(ran.err.splitlines()) == 1
        assert not folder.exists()
    assert nondet("run", tiny, "--runs", 3, "--vary", "init", "--study", folder).code == 0  # the way out
    ran = nondet("run", tiny, "--runs", 3, "--vary", "init+shuffle", "--onset", 1, "--study", folder)
    assert ran.code == 0
    assert "in init+shuffle@1 init keeps its fixed seed" in ran.err
    assert nondet("run", tiny, "--runs", 3, "--onset", 1, "--study", folder).code == 0
    names = [c["name"] for c in nondet("show", folder, "--json").json["conditions"]]
    assert names == ["init", "init+shuffle@1", "shuffle@1", "order@1", "bit@1", "all@1"]


def test_all_of_a_task_whose_one_source_is_past() -> None:
    """Where nothing but a bit is left to vary, the usual conditions of a late onset have no `all`."""
    assert [c.name for c in conditions([], ("init", "bit"), 3, [0, 1], 2)] == ["all", "bit", "bit@1"]
    with pytest.raises(BadInput, match=r"something must vary .*without onset"):
        conditions(["all"], ("init", "bit"), 3, [1], 2)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_bits_are_in_the_record(nondet: Nondet, tiny: Path, tmp_path: Path, precision: str) -> None:
    """What was changed stands in each record: the weight's name, its place, and its bits before and after."""
    folder = tmp_path / "s"
    sets = ("--set", "bit=2.bias", "--set", f"precision={precision}")
    ran = nondet("run", tiny, "--runs", 3, "--vary", "bit", "--onset", 0, "--onset", 1, *sets, "--study", folder)
    assert ran.code == 0, ran.err
    changes = [r["facts"]["bit"] for r in records(folder) if r["run"]["seeds"]["bit"] != 1]
    assert len(changes) == 4
    for change in changes:
        assert change["name"] == "2.bias"
        assert len(change["index"]) == 1
        assert abs(int(change["before"], 16) - int(change["after"], 16)) == 1
        assert len(change["before"]) == (8 if precision == "float32" else 4)
    assert nondet("show", folder, "--json").json["environment"]["precision"] == precision


def test_similarity(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """With --track, show has CKA by layer and epoch, as a plain computation from the kept activations gives it."""
    folder = tmp_path / "s"
    ran = nondet("run", tiny, "--runs", 3, "--vary", "init", "--track", "0,2", "--study", folder)
    assert ran.code == 0, ran.err
    (row,) = nondet("show", folder, "--json").json["conditions"]
    assert [(s["layer"], s["epoch"]) for s in row["similarity"]] == [(n, e) for e in (0, 2) for n in ("0", "1", "2")]
    opened = studies.load(folder)
    runs = [
        load_file(opened.store.blob_path(spec.key))
        for spec in opened.conditions[0].specs(opened.identity, opened.sources)
    ]
    for entry in row["similarity"]:
        seen = [run[f"track.{entry['epoch']}.layer.{entry['layer']}"].astype(float) for run in runs]
        seen = [x - x.mean(0) for x in seen]
        pairs = [
            np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
            for i, x in enumerate(seen)
            for y in seen[:i]
        ]
        assert entry["cka"] == pytest.approx(np.mean(pairs), rel=1e-9)
        assert entry["errors"]["cka"] == pytest.approx(np.sqrt(2 / 3 * np.square(pairs - np.mean(pairs)).sum()))
        for kind in ("cka", "cka_unbiased"):
            low, high = entry["intervals"][kind]
            assert low <= entry[kind] <= high <= 1
        assert entry["cka_unbiased"] <= 1
    flat = [run["track.2.parameters"].astype(float) for run in runs]
    assert row["distance"][1]["epoch"] == 2
    lengths = [np.linalg.norm(f - flat[0]) for f in flat[1:]]
    assert row["distance"][1]["l2"] == pytest.approx(np.mean(lengths))
    assert row["distance"][1]["errors"]["l2"] == pytest.approx(stats.sem(lengths))
    assert row["distance"][1]["intervals"]["cosine"][0] < row["distance"][1]["cosine"]


def test_tracking_cannot_come_later(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """What was not looked at in time cannot be looked at later: another study is asked for."""
    options = (tiny, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert nondet("run", *options).code == 0
    ran = nondet("run", *options, "--track", "1")
    assert ran.code == 2
    assert "another --track" in ran.err
    assert "start a new study with --study" in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--onset", 3), "onset must be an epoch from 0 to the recipe's 2 (got 3)"),
        (("--onset", -1), "onset must be an epoch from 0 to the recipe's 2 (got -1)"),
        (("--track", "x"), "--track must be epochs joined by commas (got 'x')"),
        (("--track", "3"), "--track epochs must be from 0 to the recipe's 2 (got 3)"),
        (("--track", "1", "--layers", "conv7"), "names of the model's modules (got 'conv7'); it has 0, 1, 2"),
        (("--layers", "0"), "--layers is only for --track (got --layers 0 without it); add --track 0,1"),
        (("--set", "bit=conv7.weight"), "choose from 0.weight, 0.bias, 2.weight, 2.bias"),
        (("--tf32", "--device", "cpu"), "--tf32 is for CUDA devices only (got device cpu)"),
        (("--data", "folder"), "--data, --model, --broken, train_examples and test_examples are for the tasks"),
        (("--set", "train_examples=0"), "train_examples must be a whole number of at least 1 (got '0')"),
        (("--set", "cycles=2", "--set", "epochs=3"), "epochs must be a multiple of cycles (got 3 and 2)"),
        (("--vary", "kernels"), "this task has no kernels to vary"),
    ],
)
def test_bad_experiments(nondet: Nondet, tiny: Path, tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    """One sentence with the rule, the value and the way out, and exit status 2."""
    ran = nondet("run", tiny, "--runs", 2, *options, "--study", tmp_path / "s")
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--broken", "maybe"),
            "--broken is only for imagenet, whose images may fail to decode (got --broken maybe with digits)",
        ),
        (("--data", "folder"), "digits comes with scikit-learn and takes no folder (got --data folder)"),
        (("--model", "vgg11"), "nondet: vgg11 needs images of at least 32 pixels along each side"),
        (("--model", "vgg12"), "nondet: model must be one of linear, dense"),
        (("--set", "bit=bn1.bias"), "a weight that is not zero, but bn1.bias is all zeros; choose another"),
    ],
)
def test_options_without_a_use(nondet: Nondet, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    """An option that a built-in task cannot follow is refused in one sentence; none is passed over."""
    ran = nondet("run", "digits", "--runs", 2, "--vary", "bit", *options, "--study", tmp_path / "s")
    assert ran.code == 2
    assert words in ran.err
    assert "fix it and try again" not in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_bit_of_zeros_can_change_at_the_onset(nondet: Nondet, tmp_path: Path) -> None:
    """A bias that starts at zero is refused at the start, and is a weight like any other once it has been trained."""
    small = ("--set", "epochs=2", "--set", "train_examples=64", "--set", "test_examples=50", "--set", "bit=bn1.bias")
    ran = nondet(
        "run", "digits", "--runs", 2, "--vary", "bit", "--onset", 1, *small, "--stack", 2, "--study", tmp_path / "s"
    )
    assert ran.code == 0, ran.err
    (changed,) = [r["facts"]["bit"] for r in records(tmp_path / "s") if r["facts"]]
    assert changed["name"] == "bn1.bias"
    assert abs(int(changed["before"], 16) - int(changed["after"], 16)) == 1


def test_models(nondet: Nondet) -> None:
    """The networks with their learnable parameters, as JSON and as a list."""
    counts = nondet("models", "--json").json
    assert list(counts) == list(MODELS)
    assert counts["resnet14"] == {"parameters": 172_602}
    listed = nondet("models").out
    assert all(name in listed for name in MODELS)
    assert "172,602" in listed


def test_another_network_for_digits(nondet: Nondet, tmp_path: Path) -> None:
    """A task that comes with nondet takes any of its networks, and fewer examples."""
    fewer = ("--set", "epochs=1", "--set", "train_examples=64", "--set", "test_examples=50", "--stack", 2)
    ran = nondet("run", "digits", "--model", "linear", "--runs", 2, "--vary", "init", *fewer, "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    opened = studies.load(tmp_path / "s")
    assert len(opened.labels) == 50
    blob = load_file(opened.store.blob_path(next(iter(opened.specs()))))
    assert sum(a.size for name, a in blob.items() if name.startswith("weights.")) == 650
