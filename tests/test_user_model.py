"""It is the user's model that is trained: whatever its code does, its runs are those of a plain PyTorch loop."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file
from torch import Tensor, nn

from nondet.sources import seeded_globals, stream

FILE = """
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import nondet

rng = np.random.default_rng(0)
inputs = torch.from_numpy(rng.standard_normal((60, 6)))
labels = torch.from_numpy((rng.standard_normal(60) + inputs[:, 0].numpy() > 0).astype(np.int64))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        MORE

    def forward(self, x):
        x = self.a(x).tanh()
        FORWARD
        return self.c(x)


def model():
    net = Net()
    AFTER
    return net


task = nondet.Task(
    model=model,
    train=(inputs[:40], labels[:40]),
    test=(inputs[40:], labels[40:]),
    recipe=nondet.Recipe(EXTRA epochs=3, batch_size=16, lr=0.1, precision="float64", schedule="constant"),
    stack=3,
)
"""
"""A network in float64 on 40 examples, 3 epochs of mini-batches of 16, 16 and 8."""

PLAIN = "x = self.b(x).tanh()"
CODE: dict[str, dict[str, str]] = {
    "nothing special": {},
    "a checkpoint": {"FORWARD": "x = checkpoint(lambda z: self.b(z).tanh(), x, use_reentrant=False)"},
    "a checkpoint of the older kind": {"FORWARD": "x = checkpoint(lambda z: self.b(z).tanh(), x, use_reentrant=True)"},
    "dropout in a checkpoint": {
        "FORWARD": "x = checkpoint(lambda z: F.dropout(self.b(z).tanh(), 0.3, self.training), x, use_reentrant=False)"
    },
    "hooks of parameters": {"AFTER": "[p.register_hook(lambda g: g.clamp(-0.003, 0.003)) for p in net.parameters()]"},
    "a hook after the gradient": {
        "AFTER": "for p in net.parameters(): p.register_post_accumulate_grad_hook(lambda p: exec('p.grad *= 0.1'))"
    },
    "a full backward hook": {
        "AFTER": "net.b.register_full_backward_hook(lambda m, given, out: tuple(g * 0.1 for g in given))"
    },
    "a hook of a tensor": {
        "FORWARD": PLAIN + "\n        if x.requires_grad: x.register_hook(lambda g: g.clamp(-1e-3, 1e-3))"
    },
    "a complex weight": {
        "MORE": "self.w = nn.Parameter(torch.randn(16, 16, dtype=torch.complex64) / 4)",
        "FORWARD": "x = (x.to(self.w.dtype) @ self.w).abs()",
    },
    "training switched on in the forward pass": {
        "AFTER": "net.b.requires_grad_(False)",
        "FORWARD": "self.b.requires_grad_(self.training)\n        " + PLAIN,
    },
    "training switched off in the forward pass": {"FORWARD": "self.b.requires_grad_(False)\n        " + PLAIN},
    "dropout in place": {"FORWARD": "x = self.b(x)\n        F.dropout(x, 0.5, self.training, inplace=True)"},
    "dropout of channels in place": {
        "FORWARD": "x = self.b(x)\n        F.dropout1d(x.unflatten(1, (4, 4)), 0.5, self.training, inplace=True)"
    },
    "parameters in a list": {
        "MORE": "self.pair = [self.b.weight, self.b.bias]",
        "FORWARD": "x = F.linear(x, *self.pair).tanh()",
    },
    "a buffer that is replaced": {
        "MORE": "self.register_buffer('mean', torch.zeros(16))",
        "FORWARD": PLAIN
        + "\n        if self.training: self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)"
        + "\n        x = x - self.mean",
    },
    "control flow by values": {"FORWARD": "x = self.b(x).tanh() if x.sum() > 0 else -self.b(x).tanh()"},
    "a number that counts": {
        "MORE": "self.count = 0",
        "FORWARD": "self.count += self.training\n        x = self.b(x).tanh() * (1 + self.count / 10)",
    },
    "a spectral norm": {"AFTER": "torch.nn.utils.parametrizations.spectral_norm(net.b)"},
    "an optimizer that looks at whole tensors": {"EXTRA": "optimizer='Adafactor',"},
    "an optimizer that looks at axes": {
        "MORE": "",
        "EXTRA": "optimizer=Shaped,",
        "AFTER": "",
    },
}
SHAPED = """
class Shaped(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() > 1 and p.grad is not None:
                    p.grad.add_(p.detach(), alpha=0.1)
        return super().step(closure)


"""


def source(kind: str) -> str:
    """The file of a task of this kind."""
    pieces = {"MORE": "", "FORWARD": PLAIN, "AFTER": "", "EXTRA": ""} | CODE[kind]
    text = FILE.replace("class Net", SHAPED + "class Net") if "Shaped" in pieces["EXTRA"] else FILE
    for name, piece in pieces.items():
        text = text.replace(name, piece or ("pass" if name == "AFTER" else ""))
    return text


class Masks:
    """F.dropout by given numbers, in the order of the calls; what runs again backward takes its numbers again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng, self.drawn, self.at = np.random.default_rng(), list[np.ndarray](), 0
        monkeypatch.setattr(F, "dropout", self.whole)
        monkeypatch.setattr(F, "dropout1d", self.channels)

    def whole(self, x: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
        return self.drop(x, tuple(x.shape), p, training, inplace)

    def channels(self, x: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
        return self.drop(x, (*x.shape[:2], 1), p, training, inplace)

    def drop(self, x: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
        if not training:
            return x
        if self.at == len(self.drawn):
            self.drawn.append(self.rng.random(shape, dtype=np.float32))
        mask = torch.from_numpy(self.drawn[self.at] >= p).to(x.dtype) / (1 - p)
        self.at += 1
        return x.mul_(mask) if inplace else x * mask


def plain_loop(task: Any, seed: int, masks: Masks) -> np.ndarray:
    """The answers of the run with this init seed, trained by a loop that anyone would write."""
    with seeded_globals(stream("init", seed)):
        model: nn.Module = task.model()

    def double(t: Tensor) -> Tensor:
        return (
            t.to(torch.complex128 if t.is_complex() else torch.float64)
            if t.is_floating_point() or t.is_complex()
            else t
        )

    model._apply(double)
    kind = task.recipe.optimizer
    optimizer = (getattr(torch.optim, kind) if isinstance(kind, str) else kind)(model.parameters(), lr=0.1)
    inputs, labels = task.train
    model.train()
    for epoch in range(3):
        order, masks.rng = stream("shuffle", 1, epoch).permutation(40), stream("dropout", 1, epoch)
        for start in range(0, 40, 16):
            batch = order[start : start + 16]
            masks.drawn, masks.at = [], 0
            loss = F.cross_entropy(model(inputs[batch]), labels[batch])
            masks.at = 0  # what runs again in the backward pass is the only dropout of such a model
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()(task.test[0]).detach().numpy()


def outputs(study: Path) -> Mapping[int, np.ndarray]:
    """The stored answers by init seed."""
    found: dict[int, np.ndarray] = {}
    for path in (study / "runs").glob("*.json"):
        run = json.loads(path.read_text())["run"]
        found[run["seeds"]["init"]] = load_file(path.with_suffix(".safetensors"))["outputs"]
    return found


@pytest.mark.parametrize("width", [3, 1])
@pytest.mark.parametrize("kind", CODE)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_the_runs_are_those_of_a_plain_loop(
    nondet: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, width: int
) -> None:
    """In float64, to 1e-9, at the stack's width and one at a time; what does not stack says so, and is trained."""
    path = tmp_path / "mine.py"
    path.write_text(source(kind))
    ran = nondet("run", path, "--runs", 3, "--vary", "init", "--stack", width, "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    scope: dict[str, Any] = {}
    exec(compile(source(kind), "mine.py", "exec"), scope)
    masks = Masks(monkeypatch)
    stored = outputs(tmp_path / "s")
    assert sorted(stored) == [1, 2, 3]
    for seed, answers in stored.items():
        assert np.abs(answers - plain_loop(scope["task"], seed, masks)).max() < 1e-9
    record = next((tmp_path / "s" / "runs").glob("*.json")).read_text()
    alone = json.loads(record)["environment"]["stack"] == 1
    assert ("one at a time, because" in ran.err) == (alone and width > 1)


@pytest.mark.parametrize("switch", ["self.b.weight.requires_grad = False", "self.b.requires_grad_(False)"])
def test_training_that_is_switched_off_late(nondet: Callable[..., Any], tmp_path: Path, switch: str) -> None:
    """A layer that is frozen after the trial's steps stops a stack, with a way out; and that way out works."""
    path = tmp_path / "mine.py"
    text = source("nothing special").replace(
        "super().__init__()", "super().__init__()\n        self.seen = torch.zeros(1)"
    )
    text = text.replace(PLAIN, f"self.seen += self.training\n        if self.seen == 25: {switch}\n        {PLAIN}")
    path.write_text(text)
    given = ("run", path, "--runs", 3, "--vary", "init", "--set", "epochs=12", "--study")
    ran = nondet(*given, tmp_path / "s")
    assert ran.code == 2
    assert "--stack 1 and a new --study" in ran.err
    assert nondet(*given, tmp_path / "alone", "--stack", 1).code == 0


def test_compiled_code_is_run(nondet: Callable[..., Any], tmp_path: Path) -> None:
    """A model that torch compiles is trained as it is: its compiled code is called at every step and every answer."""
    path, log = tmp_path / "mine.py", tmp_path / "calls"
    backend = textwrap.dedent(
        f"""
        def backend(graph, example_inputs):
            def run(*values):
                with open({str(log)!r}, "a") as file:
                    file.write("called\\n")
                return graph.forward(*values)

            return run
        """
    )
    text = source("nothing special").replace("class Net", backend + "\n\nclass Net")
    text = text.replace("x = self.b(x).tanh()", "x = F.dropout(self.b(x).tanh(), 0.2, self.training)")
    path.write_text(text.replace("    return net\n", "    return torch.compile(net, backend=backend)\n"))
    ran = nondet("run", path, "--runs", 2, "--vary", "init", "--study", tmp_path / "compiled")
    assert ran.code == 0, ran.err
    assert "torch.compile" in ran.err
    calls = len(log.read_text().splitlines())
    assert calls >= 3 * (3 * 3 + 1)  # two runs and the control's repeat; 3 epochs of 3 steps, and the test set
    path.write_text(text)
    assert nondet("run", path, "--runs", 2, "--vary", "init", "--study", tmp_path / "eager").code == 0
    assert len(log.read_text().splitlines()) == calls
    eager, compiled = outputs(tmp_path / "eager"), outputs(tmp_path / "compiled")
    assert all(np.abs(compiled[seed] - eager[seed]).max() < 1e-9 for seed in eager)


@pytest.mark.parametrize("count", ["0", "torch.zeros(1)"])
def test_a_model_that_counts_is_not_resumed_half_way(nondet: Callable[..., Any], tmp_path: Path, count: str) -> None:
    """A number that counts steps is in no stored state: an onset is refused, with the way out, which works."""
    path = tmp_path / "mine.py"
    path.write_text(source("a number that counts").replace("self.count = 0", f"self.count = {count}"))
    given = ("run", path, "--runs", 2, "--vary", "shuffle", "--onset", 1, "--study", tmp_path / "s")
    ran = nondet(*given)
    assert ran.code == 2
    assert "counts in count, a number" in ran.err
    text = source("a number that counts").replace("self.count = 0", "self.register_buffer('count', torch.zeros(()))")
    path.write_text(text.replace("self.count += self.training", "self.count += float(self.training)"))
    assert nondet(*given).code == 0


@pytest.mark.parametrize(
    ("name", "why"), [("first", "changed"), ("emb.weight", "changed"), ("unused.weight", "no element of unused.weight")]
)
def test_the_bit_is_one_that_reaches_the_loss(nondet: Callable[..., Any], tmp_path: Path, name: str, why: str) -> None:
    """Of an embedding of 5,000 words a row that the examples use is changed; a layer that nothing uses is refused."""
    path = tmp_path / "words.py"
    path.write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn
            import nondet

            words = torch.arange(400).reshape(40, 10) * 7 % 50 + 4900
            labels = (words[:, 0] > 4925).long()

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.emb, self.out, self.unused = nn.Embedding(5000, 4), nn.Linear(4, 2), nn.Linear(4, 4)
                def forward(self, x):
                    return self.out(self.emb(x).mean(1))

            task = nondet.Task(model=Net, train=(words[:30], labels[:30]), test=(words[30:], labels[30:]),
                recipe=nondet.Recipe(epochs=2, batch_size=10, lr=0.1), stack=4)
            """
        )
    )
    ran = nondet("run", path, "--runs", 8, "--vary", "bit", "--set", f"bit={name}", "--study", tmp_path / "s")
    if why != "changed":
        assert ran.code == 2
        assert why in ran.err
        return
    assert ran.code == 0, ran.err
    for record in (tmp_path / "s" / "runs").glob("*.json"):
        facts = json.loads(record.read_text())["facts"]
        if facts:
            assert facts["bit"]["name"] == "emb.weight"
            assert 4900 <= facts["bit"]["index"][0] < 4950


def test_a_change_that_no_code_shows(nondet: Callable[..., Any], tmp_path: Path) -> None:
    """A model that reads what it does from a file beside it: changed, its runs are not pooled with the old ones."""
    path, kind = tmp_path / "mine.py", tmp_path / "kind.txt"
    read = f"x = getattr(torch, __import__('pathlib').Path({str(kind)!r}).read_text())(self.b(x))"
    path.write_text(source("nothing special").replace(PLAIN, read))
    given = ("run", path, "--vary", "init", "--study", tmp_path / "s", "--runs")
    kind.write_text("tanh")
    assert nondet(*given, 2).code == 0
    before = outputs(tmp_path / "s")
    kind.write_text("relu")
    refused = nondet(*given, 4)
    assert refused.code == 2
    assert "trial steps" in refused.err
    assert "new study with --study" in refused.err
    assert outputs(tmp_path / "s").keys() == before.keys()
    kind.write_text("tanh")
    assert nondet(*given, 4).code == 0
