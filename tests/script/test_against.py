"""A run against another: kept before, with other threads, another command; and a task in the place of a script."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nondet as nd
from nondet.analysis.reproduce.parting import first_module
from nondet.io.files import sealed, unsealed
from nondet.runners.kept_runs import RUN, STEPS, load
from nondet.runners.traced import How, Trace, Traced
from nondet.script.trace.training import tensors_digest

Nondet = Callable[..., Any]

SUM = "import os\nimport numpy as np\nx = np.arange(9.0)\ntotal = np.array(x @ x + {})\n"
NET = """
import torch
from torch import nn
torch.manual_seed(0)
x, y = torch.randn(64, 3, 12, 12), torch.randint(0, 5, (64,))
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 5))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which commands are given, with a script without torch and another that differs from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    (tmp_path / "train.py").write_text(SUM.format(0))
    (tmp_path / "other.py").write_text(SUM.format(1))
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def test_a_kept_run_is_compared_with(here: Path, nondet: Nondet) -> None:
    """The script itself is equal to it; another is not, and what it holds is named."""
    assert nondet("diverge", "--save", "kept", "--", sys.executable, "train.py").code == 0
    same = nondet("diverge", "--json", "--against", "kept", "--", sys.executable, "train.py")
    assert (same.code, same.json["verdict"], same.json["against"]) == (0, "none", {"run": "kept", "differs": {}})
    found = nondet("diverge", "--json", "--against", "kept", "--", sys.executable, "other.py")
    assert (found.code, found.json["verdict"], found.json["cause"]) == (1, "origin", "environment")
    assert found.json["what"] == "what the script holds at its end (total)"
    assert list(found.json["against"]["differs"]) == ["command"]
    assert nondet("diverge", "--save", "kept", "--", sys.executable, "train.py").code == 2


def test_a_kept_run_that_was_changed_is_refused(here: Path) -> None:
    """Its hashes, its records and the names of its files are checked."""
    kept = here / "kept"
    nd.keep_run([sys.executable, "train.py"], kept)
    assert load(kept).steps.of("end")
    sound = {path.name: path.read_bytes() for path in kept.iterdir()}

    def refused(match: str, **changed: bytes) -> None:
        for name, content in {**sound, **{f"{name}.jsonl": text for name, text in changed.items()}}.items():
            (kept / name).write_bytes(content)
        if changed:  # by somebody who knows how to make the hashes right again
            about = unsealed((kept / RUN).read_bytes(), kept / RUN)
            hashes = {name: hashlib.sha256((kept / name).read_bytes()).hexdigest() for name in about["files"]}
            (kept / RUN).write_bytes(sealed({**about, "files": hashes}))
        with pytest.raises(nd.BadInput, match=match):
            load(kept)

    operation = ["op", 0, "", "mm", "", "", [], [], [], [], 1]
    refused("line 1 is not a valid record", steps=b'["end", "first", "a", "", "total"]\n')
    refused("line 1 is not a valid record", steps=b"nothing\n")
    refused("line 1 is not a valid record", operations=json.dumps([*operation, "../train.py"]).encode())
    refused("which is not part of the run", operations=json.dumps([*operation, "op-1.npy"]).encode())
    sound[STEPS] = sound[STEPS].replace(b'"end"', b'"ent"', 1)
    refused("its SHA-256 is not the one in run.json")
    sound[RUN] = sound[RUN].replace(b'"format": 1', b'"format": 9')
    refused("its SHA-256 differs")
    with pytest.raises(nd.BadInput, match=r"must have the file run\.json"):
        load(here)


def test_two_runs_here_that_part_are_told_apart_from_another_machine(here: Path, nondet: Nondet) -> None:
    """An address of memory is held by nothing: without --against it is found."""
    (here / "train.py").write_text(SUM.format("id(object()) * 0 + os.stat(os.getcwd()).st_mtime_ns"))
    ran = nondet("diverge", "--json", "--against", f"{sys.executable} other.py", "--", sys.executable, "train.py")
    assert (ran.code, ran.json["verdict"]) == (4, "inconclusive")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "nowhere"), "got 'nowhere'"),
        (("--against", "threads=none"), "threads must be a whole number"),
        (("--against", "isa=mmx"), "isa must be one of"),
        (("--against", "precision=low"), "precision must be one of"),
        (("--against", "versions=/nowhere/python"), "must be paths of Pythons"),
        (("--against", "threads=2", "--fix", "deterministic"), "--fix deterministic with --against threads=2"),
        (("--save", "new", "--against", "compile"), "--save keeps a run and compares none"),
    ],
)
def test_bad_input(here: Path, nondet: Nondet, words: tuple[str, ...], said: str) -> None:
    """One sentence, and exit status 2."""
    ran = nondet("diverge", *words, "--", sys.executable, "train.py")
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not (here / "new").exists()


def test_a_digest_of_a_large_tensor_is_the_same_with_any_threads() -> None:
    """Its sum is of whole numbers; a bit more anywhere is another, and half-precision and odd sizes count too."""
    large = torch.randn(300_001, generator=torch.Generator().manual_seed(1))
    threads = torch.get_num_threads()
    found: list[str] = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(tensors_digest(torch, [large]))
    torch.set_num_threads(threads)
    assert len(set(found)) == 1
    for place in (0, 150_001, 300_000):
        other = large.clone()
        other.view(torch.int32)[place] += 1
        assert tensors_digest(torch, [other]) != found[0]
    assert tensors_digest(torch, [large[1:]]) == tensors_digest(torch, [large[1:].clone()])
    assert tensors_digest(torch, [large.bfloat16()]) != tensors_digest(torch, [large.half()])


def test_the_first_module_is_the_inner_one(here: Path) -> None:
    """Of modules with equal inputs and unequal outputs; one whose inputs differ only receives."""
    traced = Traced(nd.Script("net.py"))
    run = traced.run(How("modules", pins={}, hash=0, until=0))
    traced.close()
    calls = run.of("module")
    assert [one[2] for one in calls] == ["0", "1", "2", "3", "Sequential"]
    assert [one[6] for one in calls[:3]] == [one[5] for one in calls[1:4]]

    def changed(*places: int) -> Trace:
        records = [[*one[:6], "other"] if n in places else one for n, one in enumerate(calls)]
        return Trace({"main": records}, "", here)

    first = first_module(changed(), changed(3, 4), 0)
    assert first is not None
    assert (first.module, first.site) == ("3", "net.py:10")
    assert first_module(changed(), changed(), 0) is None


@pytest.mark.slow
def test_other_threads_and_instructions_and_a_compiled_model(here: Path, nondet: Nondet) -> None:
    """The operation, its line, and what the two environments differ in."""
    ran = nondet("diverge", "--json", "--against", "isa=baseline", "--", sys.executable, "net.py")
    assert (ran.code, ran.json["verdict"], ran.json["file"]) == (1, "origin", "net.py")
    assert ran.json["line"] in (5, 6, 10)  # the draws of randn, the initial weights, or the model's operations
    assert {"instructions", "variables.ATEN_CPU_CAPABILITY"} <= {*ran.json["against"]["differs"]}
    ran = nondet("diverge", "--json", "--against", "threads=1", "--", sys.executable, "net.py")
    assert ran.code in (0, 1)
    assert ran.json["against"]["run"] == "threads=1"
    ran = nondet("diverge", "--json", "--against", "compile", "--", sys.executable, "net.py")
    assert (ran.code, ran.json["against"]["differs"]) == (ran.code, {"compiled": [False, True]})


@pytest.mark.slow
def test_a_task(task_file: Callable[..., Path], nondet: Nondet) -> None:
    """A clean one is not accused; a clock that reaches its model is named with its line."""
    assert nondet("diverge", task_file()).code == 0
    clock = ("def model():\n", "def model():\n    torch.manual_seed(__import__('time').time_ns())\n")
    ran = nondet("diverge", "--json", task_file(clock))
    assert (ran.code, ran.json["cause"], ran.json["line"]) == (1, "time", 14)
