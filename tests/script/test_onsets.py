"""The bit source of a script from an epoch on: until then a run is the reference run, to the last bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import PLAIN, RECORD

Nondet = Callable[..., Any]
Ran = Callable[..., dict[str, Any]]

SEEN = PLAIN.replace(
    "    def forward(self, x):\n",
    "    def forward(self, x):\n        if self.training: seen.append(self.b.weight.detach().clone())\n",
).replace("\n\nclass Net", "\n\nseen = []\n\n\nclass Net")
"""It keeps the last layer's weights as each step finds them, of 6 steps in each of 2 epochs."""

BIT = {"parameter": "b.weight", "elements": [3, 20, 37]}


@pytest.mark.parametrize("onset", [0, 1])
@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["here", "two workers"])
def test_one_element_moves_at_the_start_of_the_epoch(ran: Ran, onset: int, words: tuple[str, ...]) -> None:
    """Until then nothing differs; then one element by one place; and from there on more."""
    fixed = ran(SEEN, {}, *words, record="outputs=seen, labels=labels")["outputs"].reshape(12, 3, 16)
    run = ran(SEEN, {"bit": 2}, *words, record="outputs=seen, labels=labels", bit=BIT, onset=onset)
    moved, step = run["outputs"].reshape(12, 3, 16), 6 * onset
    assert moved[:step].tobytes() == fixed[:step].tobytes()
    (at,) = np.flatnonzero(moved[step] != fixed[step])
    assert run["bit"] == {"parameter": "b.weight", "element": at}
    assert at in BIT["elements"]
    before, after = fixed[step].ravel()[at], moved[step].ravel()[at]
    assert after in (np.nextafter(before, np.float32("inf")), np.nextafter(before, np.float32("-inf")))
    assert (moved[step + 1 :] != fixed[step + 1 :]).any()


LOADERS = """
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(24, 3)
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)


def loader(**how):
    return DataLoader(TensorDataset(x), 8, shuffle=True, **how)


def train(batch):
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()


def evaluate():
    model.eval()
    with torch.no_grad():
        for batch, in test:
            model(batch)
    model.train()


test, one, other = loader(), loader(), loader()
if sys.argv[1] == "processes":
    one = loader(num_workers=1, persistent_workers=True)
if sys.argv[1] == "a look":
    next(iter(one))
for epoch in range(3):
    if sys.argv[1] == "made anew":
        one = loader()
    if sys.argv[1] in ("made anew", "a look", "processes"):
        for step, (batch,) in enumerate(one):
            train(batch)
            if sys.argv[1] == "made anew" and step == 1:
                break
    elif sys.argv[1] == "two by turns":
        for (batch,), (second,) in zip(one, other):
            train(batch)
            train(second)
    elif sys.argv[1] == "evaluated between":
        ahead = iter(one)  # as trainers do that look for the last batch
        batch, = next(ahead)
        while batch is not None:
            now, batch = batch, next(ahead, (None,))[0]
            train(now)
            evaluate()
    elif sys.argv[1] == "by hand":
        for batch in x.split(8):
            train(batch)
        continue
    evaluate()
model.eval()
logits, labels = model(x), torch.zeros(24, dtype=torch.int64)
"""


@pytest.mark.parametrize("how", ["made anew", "a look", "processes", "two by turns", "evaluated between", "by hand"])
def test_epochs_are_counted(ran: Ran, how: str) -> None:
    """Passes over a loader that is trained on, however it is made and whatever is looked at beside it."""
    assert ran(LOADERS, {}, how)["epochs"] == (3 if how != "by hand" else 0)


@pytest.mark.slow
def test_a_study_with_an_onset(nondet: Nondet, fast: Path) -> None:
    """Its condition is called bit@1; it is resumed, verified and shown; what each run changed is in its record."""
    fast.with_name("net.py").write_text(PLAIN)
    words = ("--vary", "bit", "--workers", 1, "--record", RECORD, "--", sys.executable, "net.py")
    for runs, onsets in ((2, (0, 1)), (3, (1,))):
        given = [word for onset in onsets for word in ("--onset", onset)]
        ran = nondet("run", "--study", "s", "--runs", runs, *given, *words)
        assert ran.code == 0, ran.err
    found = json.loads(nondet("show", "s", "--json").out)
    assert found["control"]["identical"] is True
    named = {one["name"]: (one["vary"], one["onset"], one["runs"]) for one in found["conditions"]}
    assert named == {"bit": (["bit"], 0, 2), "bit@1": (["bit"], 1, 3)}
    assert {path.name for path in Path("s/work").iterdir()} >= {"bit=2", "bit=2@1", "bit=3@1", "reference"}
    records = [json.loads(path.read_text()) for path in Path("s/runs").glob("*.json")]
    late = [one for one in records if one["run"]["onset"] == 1]
    assert [one["facts"]["bit"]["parameter"] for one in late] == ["a.0.weight"] * 2
    assert len({one["facts"]["start"] for one in records}) == 1
    assert nondet("verify", "s").code == nondet("report", "s").code == 0
    for wrong, said in (
        (("--onset", 2), "must be one of its epochs, from 0 to 1 (got --onset 2)"),
        (
            ("--onset", 1, "--vary", "shuffle"),
            "only the source bit can have an onset (got --onset 1 with --vary shuffle)",
        ),
    ):
        ran = nondet("run", "--study", "s", "--runs", 2, *wrong, *words)
        assert (ran.code, said in ran.err) == (2, True), ran.err
    ran = nondet("run", "--study", "s", "--onset", 1, *words[2:])
    assert (ran.code, "with no source); give it with --vary bit" in ran.err) == (2, True), ran.err
