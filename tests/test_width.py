"""How many runs train together: measured where asked for, and halved where the memory ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import nondet as nd
from nondet.errors import BadInput
from nondet.runners import stack as runners
from nondet.runners.stack import StackRunner
from nondet.running.request import Request
from nondet.study import record
from nondet.study.study import Study
from nondet.training import trial, width
from nondet.training.train import train_stack

Nondet = Callable[..., Any]
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def runner(tiny: Path, *, width_free: bool = False, recorded: bool = False) -> tuple[StackRunner, list[str]]:
    """A runner that says that no bit depends on the width, perhaps in its environment too: on a CPU they do."""
    said: list[str] = []
    made = Request(str(tiny)).runner(said.append)
    door: Any = SimpleNamespace(
        width_free=True,
        refused="only says so",
        serves=lambda _: False,
        as_dict=lambda: {"width_free": True} if recorded else {},
    )
    made.problem = replace(made.problem, door=door if width_free else None)
    return made, said


def fits(most: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, out of memory for more than so many runs."""

    def limited(problem: object, runs: Sequence[object], *rest: Any, **options: Any) -> Any:
        if len(runs) > most:
            raise FULL
        return function(problem, runs, *rest, **options)

    return limited


def test_a_width_that_does_not_fit_is_halved_at_the_start(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = runner(tiny)
    monkeypatch.setattr(trial, "new_stack", fits(2, trial.new_stack))
    assert made.width(8) == (2, "")
    assert said == ["warning: A stack of 8 does not fit into the memory of cpu; 2 train together."]


def test_a_model_that_does_not_fit_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = runner(tiny)
    monkeypatch.setattr(trial, "new_stack", fits(0, trial.new_stack))
    with pytest.raises(BadInput, match=r"must fit into the memory of cpu .*try recipe"):
        made.width(2)
    assert not said


@pytest.mark.parametrize("onset", [0, 1])
def test_a_stack_is_halved_in_the_middle_of_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onset: int
) -> None:
    """Where the bits are free of the width: no run is lost, and every run is that of a full stack."""
    whole, _ = runner(tiny, width_free=True)
    nd.run(whole, 6, vary="all", onset=onset, stack=4, folder=tmp_path / "whole")
    made, said = runner(tiny, width_free=True)
    monkeypatch.setattr(runners, "train_stack", fits(2, train_stack))
    nd.run(made, 6, vary="all", onset=onset, stack=4, folder=tmp_path / "halved")
    assert said == ["warning: A stack of 4 does not fit into the memory of cpu; 2 train together."]
    one, other = record.load(tmp_path / "whole"), record.load(tmp_path / "halved")
    assert record.count_done(other) == record.count_done(one)
    assert all(outputs(one, key) == outputs(other, key) for key in one.specs())
    assert not list((tmp_path / "halved" / "partial").glob("*.snapshot"))


def test_a_width_that_no_bit_depends_on_is_free(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study goes on at another width, and no stack is filled up with copies."""
    pytest.importorskip("triton")
    widths: list[int] = []

    def counted(problem: object, runs: Sequence[object], *rest: Any, **options: Any) -> Any:
        widths.append(len(runs))
        return train_stack(problem, runs, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runners, "train_stack", counted)
    nd.run(runner(tiny, width_free=True, recorded=True)[0], 3, vary="init", stack=4, folder=tmp_path / "s")
    assert widths == [3, 1]  # three runs of init, one of which is the control's, and its repeat
    nd.run(runner(tiny, width_free=True, recorded=True)[0], 4, vary="init", stack=2, folder=tmp_path / "s")
    assert record.load(tmp_path / "s").width == 4
    with pytest.raises(BadInput, match="environment"):
        nd.run(runner(tiny)[0], 5, vary="init", stack=4, folder=tmp_path / "s")


def outputs(study: Study, key: str) -> bytes:
    return study.store.get(key).arrays["outputs"].tobytes()


def test_a_stack_whose_bits_are_its_widths_is_not_halved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = runner(tiny)
    monkeypatch.setattr(runners, "train_stack", fits(2, train_stack))
    with pytest.raises(BadInput, match=r"a stack of 4 must fit into the memory of cpu .*try stack=2"):
        nd.run(made, 6, vary="init", stack=4, folder=tmp_path / "s")


@pytest.mark.parametrize(
    ("seconds", "most", "chosen", "sentence"),
    [
        ({4: 1.0, 8: 0.6, 16: 0.59}, 100, 8, "A stack of 8: 600 ms a model-step (4: 1000, 16: 590)."),
        ({4: 1.0, 8: 0.6, 16: None}, 100, 8, "A stack of 8: 600 ms a model-step (4: 1000, 16: out of memory)."),
        ({4: 1.0, 8: 0.6, 10: 0.5}, 10, 10, "A stack of 10: 500 ms a model-step (4: 1000, 8: 600)."),
        ({4: None, 2: None, 1: 0.002}, 100, 1, "A stack of 1: 2 ms a model-step (4: out of memory, 2: out of memory)."),
        ({4: 0.001, 8: 0.002}, 100, 4, "A stack of 4: 1 ms a model-step (8: 2)."),
    ],
)
def test_the_width_that_is_chosen(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[int, float | None],
    most: int,
    chosen: int,
    sentence: str,
) -> None:
    """The narrowest of the fastest, as far as widths gain, fit and are needed."""
    monkeypatch.setattr(width, "_seconds", lambda problem, width, budget: seconds[width])
    assert width.fastest(runner(tiny)[0].problem, 4, most) == (chosen, sentence)


def test_widths_are_measured(tiny: Path) -> None:
    chosen, sentence = width.fastest(runner(tiny)[0].problem, 2, 8, seconds=0.001)
    assert chosen in (2, 4, 8)
    assert sentence.startswith(f"A stack of {chosen}: ")


def test_the_memory_that_ends_while_it_is_measured(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width, "new_stack", fits(2, width.new_stack))
    chosen, sentence = width.fastest(runner(tiny)[0].problem, 2, 8, seconds=0.001)
    assert chosen == 2
    assert "4: out of memory" in sentence


def test_a_command_chooses_its_width_once(
    nondet: Nondet, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it measured, and a study that exists keeps its own width."""
    monkeypatch.setattr(runners, "fastest", partial(width.fastest, seconds=0.001))
    words = ("run", tiny, "--runs", 3, "--vary", "init", "--study", tmp_path / "s", "--stack", "auto")
    first = nondet(*words)
    assert first.code == 0
    assert "ms a model-step" in first.err
    chosen = record.load(tmp_path / "s").width
    assert chosen in (3, 4)
    again = nondet(*words)
    assert again.code == 0
    assert "ms a model-step" not in again.err
    assert f"--stack={chosen}" in json.loads((tmp_path / "s" / "study.json").read_text())["command"]


@pytest.mark.parametrize("word", ["wide", "4x", "Auto"])
def test_other_words_are_refused(nondet: Nondet, tiny: Path, tmp_path: Path, word: str) -> None:
    ran = nondet("run", tiny, "--study", tmp_path / "s", "--stack", word)
    assert ran.code == 2
    assert f"stack must be a whole number of at least 1, or auto (got '{word}'); try --stack auto" in ran.err
