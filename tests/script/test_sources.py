"""Each source of an unchanged script varies alone, and equal seeds give equal bits, however examples are read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scripts import HUGGING_FACE, IN_A_PROCESS, LIGHTNING, PLAIN

Ran = Callable[..., dict[str, Any]]
SOURCES = ("init", "shuffle", "augment", "dropout", "order", "bit", "other")
FORKED, ANEW = ("--workers", "2"), ("--workers", "2", "--spawn")
"""Examples are read by forked processes; or by processes that are started anew, and stay for all epochs."""


def needs(package: str) -> Any:
    there = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not there, reason=f"needs the package {package}")


SCRIPTS = pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(HUGGING_FACE, id="hugging face", marks=[needs("accelerate"), pytest.mark.slow]),
        pytest.param(LIGHTNING, id="lightning", marks=[needs("lightning"), pytest.mark.slow]),
    ],
)


@SCRIPTS
def test_equal_seeds_give_equal_bits(ran: Ran, text: str) -> None:
    """A run in a process that was started, and one in a process that was forked, are the same to the last bit."""
    first, second = ran(text, {}, started=True), ran(text, {})
    assert first["outputs"].tobytes() == second["outputs"].tobytes()
    assert (first["start"], first["data"], first["draws"]) == (second["start"], second["data"], second["draws"])


@SCRIPTS
@pytest.mark.parametrize("source", SOURCES)
def test_each_source_varies_alone(ran: Ran, text: str, source: str) -> None:
    """Another seed of init changes the weights at the start and no batch; of shuffle, augment or order the batches and
    not the start; of dropout or the bit neither; each changes what comes out."""
    fixed = ran(text, {})
    runs = [ran(text, {source: seed}, bit=fixed["moving"]) for seed in ((2,) if source != "bit" else (2, 3, 4, 5))]
    varied = next((run for run in runs if run["outputs"].tobytes() != fixed["outputs"].tobytes()), None)
    assert varied is not None, "a bit may be rounded away, but not each"
    assert (varied["start"] != fixed["start"]) == (source == "init")
    splits = text is not PLAIN and source == "other"  # which rows are for training is drawn outside all sources
    assert (varied["data"] != fixed["data"]) == (source in ("shuffle", "augment", "order") or splits)
    assert np.array_equal(varied["labels"], fixed["labels"]) or splits
    assert varied["draws"].keys() == fixed["draws"].keys()


@SCRIPTS
@pytest.mark.parametrize("source", ["fixed", "augment"])
def test_who_reads_the_examples_changes_nothing(ran: Ran, text: str, source: str) -> None:
    """The same batches and outputs with no loader process and with two."""
    seeds = {} if source == "fixed" else {source: 2}
    here, there = ran(text, seeds), ran(text, seeds, *FORKED)
    assert here["data"] == there["data"]
    assert here["outputs"].tobytes() == there["outputs"].tobytes()
    assert there["draws"]["augment"] > 0


def test_an_example_that_seeds_itself(ran: Ran) -> None:
    """It draws the same numbers in every pass and process, others than its neighbours, and moves no other stream."""
    text = PLAIN.replace("        moved =", "        np.random.seed(i); random.seed(i)\n        moved =")
    here, there = ran(text, {}), ran(text, {}, *FORKED)
    assert here["data"] == there["data"]
    assert here["outputs"].tobytes() == there["outputs"].tobytes()
    assert here["start"] == ran(PLAIN, {})["start"]
    assert ran(text, {"augment": 2})["data"] != here["data"]


def test_processes_that_are_started_anew_read_the_same(ran: Ran) -> None:
    here, there = ran(PLAIN, {"augment": 2}), ran(PLAIN, {"augment": 2}, *ANEW)
    assert here["data"] == there["data"]
    assert here["outputs"].tobytes() == there["outputs"].tobytes()


def test_the_ledger_says_what_was_drawn(ran: Ran) -> None:
    """Draws by source, the line of those outside all of them, and the generators that the script made itself."""
    ledger = ran(PLAIN, {})
    assert ledger["draws"] == {"init": 1, "shuffle": 2, "augment": 12, "dropout": 12, "other": 12}
    line = next(n for n, text in enumerate(PLAIN.splitlines(), 1) if "beta(" in text)
    assert ledger["sites"] == {f"train.py:{line}": 12}
    named = {name.partition(" ")[0]: times for name, times in ledger["explicit"].items()}
    assert named == {
        "numpy.random.default_rng(5)": 1,
        "DataLoader(generator=...)": 2,
        "RandomSampler(generator=...)": 2,
    }


def test_the_bit_is_one_that_moves(ran: Ran) -> None:
    """One element that has a gradient, moved by one place; each seed another."""
    fixed = ran(PLAIN, {})
    moved = [ran(PLAIN, {"bit": seed}, bit=fixed["moving"])["bit"] for seed in (2, 3)]
    assert all(one["parameter"] == "a.0.weight" and one["element"] in fixed["moving"]["elements"] for one in moved)
    assert moved[0] != moved[1]


SEEDED = """
import random
import numpy as np
import torch

np.random.seed(7)
first = [np.random.rand(), np.random.rand()]
torch.manual_seed(3)
a = torch.rand(2).tolist()
np.random.seed(7)
again = [np.random.rand(), np.random.rand()]
torch.manual_seed(3)
b = torch.rand(2).tolist()
torch.manual_seed(4)
c = torch.rand(2).tolist()
layers = [torch.nn.Linear(3, 3).weight.detach() for seed in (3, 3) if torch.manual_seed(seed)]
random.seed(3)
d = random.random()
e = np.random.default_rng().random()
logits, labels = [first, again, a, b, c, layers[0][0].tolist()[:2], layers[1][0].tolist()[:2], [d, e]], list(range(8))
"""


def test_what_a_script_seeds_begins_anew(ran: Ran) -> None:
    """The same seed twice gives the same numbers, as without nondet; no two sources ever have the same ones."""
    first, again, a, b, c, one, other, (d, e) = ran(SEEDED, {})["outputs"].tolist()
    assert first == again
    assert a == b != c
    assert one == other
    assert len({*first, *a, *c, *one, d}) == 9
    varied = ran(SEEDED, {"other": 2})["outputs"].tolist()
    assert not {*first, *a, *c, d, e} & {*varied[0], *varied[2], *varied[4], *varied[7]}
    assert varied[5] == one


def test_a_sampler_of_its_own(ran: Ran) -> None:
    """What it draws is of shuffle, when it begins and when it is asked for a batch, whoever reads the examples."""
    text = PLAIN.replace("class Net", f"{OWN_SAMPLER}\n\nclass Net").replace(
        "16, shuffle=True", "16, sampler=Own(data)"
    )
    here, there = ran(text, {}), ran(text, {}, *FORKED)
    assert here["outputs"].tobytes() == there["outputs"].tobytes()
    assert here["draws"]["shuffle"] == there["draws"]["shuffle"] == 12
    assert len(here["sites"]) == 1, "mixup alone"
    assert ran(text, {"shuffle": 2})["data"] != here["data"]


OWN_SAMPLER = """
class Own(torch.utils.data.Sampler):
    def __init__(self, data):
        self.n = len(data)

    def __len__(self):
        return self.n

    def __iter__(self):
        random.shuffle(places := np.random.permutation(self.n).tolist())
        yield from (places[i] for i in range(self.n) if torch.rand(()) < 2)
"""


def test_a_forward_that_is_called_by_itself(ran: Ran) -> None:
    """`model.forward(x)` draws what `model(x)` does: it is a step, however its modules call each other."""
    text = PLAIN.replace("out = model(", "out = model.forward(").replace(
        "self.b(checkpoint", "self.b.forward(checkpoint"
    )
    plain, direct = ran(PLAIN, {}), ran(text, {})
    assert direct["outputs"].tobytes() == plain["outputs"].tobytes()
    assert (direct["draws"], direct["steps"], direct["start"]) == (plain["draws"], 12, plain["start"])


def test_a_process_that_the_script_starts_to_train(ran: Ran) -> None:
    """By torch.multiprocessing.spawn: it is sorted as the script itself is, and what is handed back is kept."""
    ledger = ran(IN_A_PROCESS, {})
    assert ledger["draws"] == {"init": 2, "shuffle": 1, "augment": 0, "dropout": 4, "other": 4}
    assert (ledger["steps"], ledger["outputs"].shape) == (4, (32, 2))
    assert ledger["moving"]["parameter"] == "0.weight"
    assert not ledger["elsewhere"]


def test_a_process_that_the_script_forks_to_train(ran: Ran) -> None:
    """It is not sorted, and that is known."""
    fork = 'mp.get_context("fork").Process(target=train, args=(0, 1, queue)).start()'
    ledger = ran(IN_A_PROCESS.replace("mp.spawn(train, (ranks, queue), nprocs=ranks)", fork), {})
    assert (ledger["elsewhere"], ledger["steps"], ledger["outputs"].shape) == (True, 0, (32, 2))


COMPILED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3))
        self.outer = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(x)) + nothing(x)


def nothing(x: torch.Tensor) -> torch.Tensor:
    return 0 * x.sum()


def loss_of(x):
    return model(x).square().mean()


torch.manual_seed(0)
x = torch.arange(20.0).reshape(5, 4)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.01)
HERE
for _ in range(3):
    optimizer.zero_grad()
    loss_of(x).backward()
    optimizer.step()
logits, labels = model.outer.weight, [0] * 2
"""


@pytest.mark.parametrize(
    "line",
    [
        "model = torch.jit.script(model)",
        *(
            pytest.param(line, marks=pytest.mark.slow)
            for line in (
                'model = torch.compile(model, backend="aot_eager", fullgraph=True)',
                'model.forward = torch.compile(model.forward, backend="aot_eager")',
                'loss_of = torch.compile(loss_of, backend="aot_eager")',
                'loss_of = torch.compile(backend="aot_eager")(lambda x: model.forward(x).square().mean())',
                "model = torch.export.export(model, (x,)).module()",
                "model = torch.fx.symbolic_trace(model)",
            )
        ),
    ],
)
def test_models_that_are_compiled(ran: Ran, line: str) -> None:
    """Dropout is drawn by dropout, and the initial weights are those of init alone, whatever is compiled."""
    text = COMPILED.replace("HERE", line)
    fixed, varied = ran(text, {}), ran(text, {"dropout": 2})
    assert fixed["draws"]["dropout"] >= 3
    assert "other" not in fixed["draws"]
    assert varied["outputs"].tobytes() != fixed["outputs"].tobytes()
