"""Stacks of language models: truncated back-propagation, and the same promises as for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from measuring import measure_language
from torch import Tensor, nn

from nondet import Recipe, Task
from nondet.errors import BadInput
from nondet.kinds import LANGUAGE
from nondet.measures.language import sample_tokens
from nondet.models.qrnn import QRNN
from nondet.sources import stream
from nondet.training import sequences as text
from nondet.training.dropout import given_dropout
from nondet.training.new_stack import new_stack
from nondet.training.objective import Objective
from nondet.training.perturb import change_bit
from nondet.training.prepare import prepare
from nondet.training.problem import Problem, Seen, build_model
from nondet.training.recipes import lr_factor
from nondet.training.settings import kernels
from nondet.training.stack import Stack
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

WORDS, BATCH, BPTT = 16, 5, 7
SOURCES = ("init", "dropout", "order", "bit")
Arrays = dict[str, np.ndarray]


class Explosive(QRNN):
    """Its init decides: with about one seed in three its loss overflows."""

    def __init__(self) -> None:
        super().__init__(WORDS, 8, 8, 1, 0.4)
        with torch.no_grad():
            self.decoder.bias.mul_(0).add_(torch.arange(WORDS) * (3e37 if torch.rand(()) < 1 / 3 else 0))


def small() -> nn.Module:
    return QRNN(WORDS, 8, 8, 2, 0.4)


def tokens(n: int) -> tuple[Tensor, Tensor]:
    words = torch.from_numpy(np.random.default_rng(n).integers(WORDS, size=n + 1))
    return words[:-1], words[1:]


def problem(model: Any = small, **recipe: Any) -> Problem:
    """185 training tokens in 5 columns of 37, read in windows of 7 and a last one of 2; 301 test tokens."""
    fields: dict[str, Any] = {
        "epochs": 2,
        "batch_size": BATCH,
        "bptt": BPTT,
        "lr": 0.05,
        "optimizer": "SGD",
        "options": {"momentum": 0.9},
    }
    made = Recipe(**(fields | recipe))
    task = Task(name="small", model=model, train=tokens(188), test=tokens(301), recipe=made)
    dropout = text.try_out(build_model(task, made, 1), *task.train, made, Seen())
    return Problem(task, made, torch.device("cpu"), task.train, task.test, dropout, SOURCES, {}, Objective(LANGUAGE))


def seeds(number: int, *vary: str) -> dict[str, int]:
    return {source: number if source in (vary or SOURCES) else 1 for source in SOURCES}


def train(p: Problem, runs: Sequence[Mapping[str, int]]) -> list[Arrays]:
    """Each run's curves, weights, outputs and whether they are finite."""
    with kernels():
        stack = new_stack(p, runs)
        for _ in range(p.recipe.epochs):
            text.train_epoch(p, stack, runs)
        left, finite = text.outputs(p, stack)
    left = left | stack.curves | stack.weights | {"failed": stack.failed, "finite": finite}
    return [{name: value[run].detach().numpy() for name, value in left.items()} for run in range(len(runs))]


def same(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.fixture(scope="module")
def four() -> list[Arrays]:
    """Runs 1 to 4, trained together."""
    return train(problem(), [seeds(n) for n in (1, 2, 3, 4)])


def plain_loop(p: Problem, run: Mapping[str, int]) -> tuple[nn.Module, list[float]]:
    """The same training as a plain PyTorch loop over one model, the columns never permuted."""
    model = build_model(p.task, p.recipe, run["init"])
    change_bit(dict(model.named_parameters()), run["bit"])
    options: dict[str, Any] = dict(p.recipe.options)
    optimizer = getattr(torch.optim, str(p.recipe.optimizer))(model.parameters(), lr=p.recipe.lr, **options)
    x, y = (torch.stack(part[:185].split(37)) for part in p.train)  # (5, 37)
    curve: list[float] = []
    for epoch in range(p.recipe.epochs):
        state, losses = None, 0.0
        rng = stream("dropout", run["dropout"], epoch)
        for step, start in enumerate(range(0, 37, BPTT)):
            window, target = x[:, start : start + BPTT], y[:, start : start + BPTT]
            masks = [torch.from_numpy(rng.random((*window.shape, 8), dtype=np.float32)) for _ in range(3)]
            with given_dropout(masks):
                logits, state = model(window, state)
            state = tuple(s.detach() for s in state)
            for group in optimizer.param_groups:
                group["lr"] = p.recipe.lr * lr_factor(p.recipe, epoch + step / 6)
            loss = F.cross_entropy(logits.transpose(1, 2), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * target.numel()
        curve.append(losses / 185)
    return model.eval(), curve


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("width", [1, 3])
def test_a_stacked_run_is_a_plain_run(optimizer: str, width: int) -> None:
    """In float64 a run of a stack, all its sources varied, equals a plain loop that trains it alone, to 1e-9."""
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    p = problem(optimizer=optimizer, options=options, lr=0.02, epochs=3, precision="float64", warmup=1.0)
    run = train(p, [seeds(n) for n in (3, 1, 2)[:width]])[0]
    alone, curve = plain_loop(p, seeds(3))
    assert np.abs(run["loss"] - curve).max() < 1e-9
    for name, value in alone.named_parameters():
        assert np.abs(run[name] - value.detach().numpy()).max() < 1e-9, name


def test_outputs_are_those_of_the_whole_test_text() -> None:
    """Log-probabilities, predictions and the sample's logits are those of 16 columns, each read at once."""
    p = problem(precision="float64")
    run = train(p, [seeds(1), seeds(2)])[1]
    model = build_model(p.task, p.recipe, 1).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.from_numpy(run[name]))
        columns = p.test[0].split(19)  # 301 tokens in 16 columns: the last has 16
        logits = torch.cat([model(column[None])[0][0] for column in columns])  # (n, V)
    expected = F.log_softmax(logits, 1).numpy()[np.arange(301), p.test[1].numpy()]
    assert run["logprob"].dtype == np.float32
    assert np.abs(run["logprob"] - expected).max() < 1e-6
    assert run["prediction"].dtype == np.int32
    assert np.array_equal(run["prediction"], logits.argmax(1).numpy())
    assert run["sample.logits"].shape == (256, WORDS)
    assert np.abs(run["sample.logits"] - logits.numpy()[sample_tokens(301)]).max() < 1e-5
    assert bool(run["finite"])


@pytest.mark.parametrize("n", [1, 3, 16, 17, 40])
def test_short_texts_are_read_whole(n: int) -> None:
    """However few test tokens there are, each has its log-probability, and all are in the sample."""
    p = problem(epochs=1)
    with kernels():
        left, finite = text.outputs(p, new_stack(p, [seeds(1), seeds(2)]), first=n)
    assert left["logprob"].shape == left["prediction"].shape == (2, n)
    assert left["sample.logits"].shape == (2, n, WORDS)
    exact = left["sample.logits"].log_softmax(-1).gather(-1, p.test[1][:n].expand(2, -1)[..., None])[..., 0]
    assert torch.allclose(exact, left["logprob"], atol=1e-6)
    assert finite.all()


def test_slots_and_neighbours_do_not_matter(four: list[Arrays]) -> None:
    """A run gives the same bits in every slot and beside any neighbours."""
    p = problem()
    assert not any(same(four[0], other) for other in four[1:])
    for numbers in ([3, 1, 4, 2], [9, 2, 8, 3], [4, 4, 4, 4]):
        for number, run in zip(numbers, train(p, [seeds(n) for n in numbers]), strict=True):
            assert number > 4 or same(run, four[number - 1])


def test_a_neighbour_that_diverges_does_not_matter() -> None:
    """A run beside runs that go to NaN gives the same bits as beside sound ones; those are marked as failed."""
    p = problem(Explosive)
    runs = dict(zip(range(1, 9), train(p, [seeds(n) for n in range(1, 9)]), strict=True))
    failed = [n for n, run in runs.items() if run["failed"]]
    sound = [n for n in runs if n not in failed]
    assert failed
    assert len(sound) >= 4
    assert all(runs[n]["failed"] == 1 and not runs[n]["finite"] for n in failed)
    quiet = (sound * 8)[:8]
    assert all(same(run, runs[n]) for n, run in zip(quiet, train(p, [seeds(n) for n in quiet]), strict=True))


def test_the_order_source_changes_rounding_only() -> None:
    """Under the order source a run is mathematically the same run, masks and states included."""
    p = problem(precision="float64")
    first, *others = train(p, [seeds(n, "order") for n in (1, 2, 3)])
    for run in others:
        assert np.abs(run["embedding.weight"] - first["embedding.weight"]).max() < 1e-12
        assert np.abs(run["sample.logits"] - first["sample.logits"]).max() < 1e-5
        assert not np.array_equal(run["embedding.weight"], first["embedding.weight"])


def test_sources_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One source's seed changes no number of another's: not the masks, the columns' order, nor the first weights."""
    p = problem(epochs=1)
    drawn: list[dict[str, bytes]] = []

    def watch(stack: Stack, x: Tensor, y: Tensor, state: Any, uniforms: Sequence[Tensor]) -> Any:
        if state is None:
            weights = {name: w[0].detach().clone() for name, w in stack.weights.items()}
            drawn[-1]["weights"] = b"".join(w.numpy().tobytes() for w in weights.values())
        order = [row.tolist() for row in x[0]]
        drawn[-1]["order"] = drawn[-1].get("order", b"") + repr(order).encode()
        back = np.argsort(text.column_order(runs[0], BATCH, 0))
        drawn[-1]["dropout"] = drawn[-1].get("dropout", b"") + b"".join(u[0].numpy()[back].tobytes() for u in uniforms)
        return plain(stack, x, y, state, uniforms)

    plain = text.train_window
    monkeypatch.setattr(text, "train_window", watch)
    for source in ("none", *SOURCES):
        runs = [seeds(2, source), seeds(1, "init")]
        drawn.append({})
        train(p, runs)
    none, *rest = drawn
    for source, numbers in zip(SOURCES, rest, strict=True):
        changed = {name for name, value in numbers.items() if value != none[name]}
        assert changed == {"weights" if source in ("init", "bit") else source}


def test_every_source_makes_another_run() -> None:
    """Each source by itself, in float32, ends in other weights than the run with all seeds fixed."""
    runs = train(problem(), [seeds(2, source) for source in SOURCES] + [seeds(1)])
    assert not any(np.array_equal(run["embedding.weight"], runs[-1]["embedding.weight"]) for run in runs[:-1])


def test_dropout_shapes_of_every_window() -> None:
    """Windows of 7 and a last one of 2: three masks of each."""
    assert problem().dropout == {7: [(5, 7, 8)] * 3, 2: [(5, 2, 8)] * 3}
    assert problem(bptt=64).dropout == {37: [(5, 37, 8)] * 3}


class Answers(nn.Module):
    """Returns what a function makes of the words."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.linear, self.answer = nn.Linear(1, WORDS), answer

    def forward(self, x: Tensor, state: Any = None) -> Any:
        logits = self.linear(x[..., None].float())
        return self.answer(logits, logits[:, -1])


WRONG = {
    r"must return logits .batch, time, words.": lambda logits, state: (logits.flatten(0, 1), state),
    "state must be a tensor.*batch as first axis": lambda logits, state: (logits, state.T),
    "smaller than the model's 4 outputs": lambda logits, state: (logits[..., :4], state),
    "fails on words of shape.*ZeroDivisionError": lambda logits, state: 1 // 0,
    "random numbers in evaluation": lambda logits, state: (logits + torch.rand(()), state),
    "cannot be trained": lambda logits, state: (logits.detach(), state),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_models_that_are_no_language_models(sentence: str) -> None:
    """What else a model may return or do is refused in one sentence."""
    with pytest.raises(BadInput, match=sentence):
        problem(lambda: Answers(WRONG[sentence]))


def test_an_embedding_that_is_too_small() -> None:
    """Words that the model has no place for are refused before training."""
    with pytest.raises(BadInput, match=r"fails on word numbers up to 15.*its embedding a row for each word"):
        problem(lambda: QRNN(4, 6, 6, 1))


def test_texts_that_cannot_be_read() -> None:
    """Too few tokens for the columns, numbers that are no words, and inputs that are no text."""
    recipe, model = Recipe(epochs=1, batch_size=5, lr=0.1, bptt=7), small()
    for inputs, sentence in (
        (torch.arange(3), "a token for each of the 5 columns .got 3.*batch_size': 3"),
        (torch.arange(10) - 2, "at least 0 .got -2."),
        (torch.zeros(10, 2), "int64 word numbers of shape .n,. .got torch.float32 of shape .10, 2."),
    ):
        with pytest.raises(BadInput, match=sentence):
            text.try_out(model, inputs, inputs, recipe, Seen())


def test_the_trial_takes_windows_of_every_length() -> None:
    """The first windows and the last, shorter one, each with its labels, one token ahead."""
    parts = text.trial_batches(problem(), seeds(1), 3, None)
    assert [inputs.shape for inputs, _, _ in parts] == [(BATCH, BPTT), (BATCH, BPTT), (BATCH, 37 % BPTT)]
    assert all(torch.equal(inputs[:, 1:], labels[:, :-1]) for inputs, labels, _ in parts)


def test_the_plain_loop_of_a_closure_carries_the_state() -> None:
    """LBFGS, which evaluates the loss itself, reads a text as others do: each window after the one before."""
    made = Recipe(epochs=1, batch_size=BATCH, bptt=BPTT, lr=0.5, optimizer="LBFGS")
    task = Task(name="small", model=small, train=tokens(188), test=tokens(301), recipe=made)
    width, why = fitting_width(prepare(task, made, torch.device("cpu")), 2)
    assert width == 1
    assert "LBFGS" in why


def test_measures_of_trained_runs() -> None:
    """What runs leave is what the measures take: losses of their own logits, and a control of exactly zero."""
    p = problem()
    for runs in ([seeds(1), seeds(2), seeds(3)], [seeds(2)] * 3):
        left = train(p, runs)
        arrays = [np.stack([run[name] for run in left]) for name in ("logprob", "prediction", "sample.logits")]
        record = measure_language(*arrays, p.test[1].numpy()[sample_tokens(301)])
        assert record["perplexity.mean"].value == pytest.approx(np.exp(-arrays[0].mean(1, dtype=np.float64)).mean())
        assert 0 < record["perplexity.mean"].value < 2 * WORDS
        same_runs = runs[0] is runs[1]
        assert (record["perplexity.sd"].value == 0) == (record["ensemble_delta.perplexity"].value == 0) == same_runs


class Normed(nn.Module):
    """A language model with batch norm, whose running statistics are buffers, and without a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm, self.decoder = (
            nn.Embedding(WORDS, 8),
            nn.BatchNorm1d(8, momentum=1.0),
            nn.Linear(8, WORDS),
        )

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        hidden = self.embedding(x)
        hidden = self.norm(hidden.flatten(0, 1)).unflatten(0, x.shape)
        carried = hidden[:, -1] if state is None else state
        return self.decoder(hidden), carried


def test_averaged_weights_have_statistics_of_their_own() -> None:
    """SWA of a model with batch norm: with a momentum of 1 they are those of the text's last window."""
    p = problem(Normed, swa=2, precision="float64")
    with kernels():
        outcomes = train_stack(p, [seeds(1), seeds(2, "init")])
        (alone,) = train_stack(p, [seeds(1)])
    outcome = outcomes[0]
    for name, array in alone.arrays.items():
        assert np.allclose(outcome.arrays[name], array, rtol=0, atol=1e-9), name
    model = Normed().double()
    model.load_state_dict({n: torch.from_numpy(outcome.arrays[f"swa.weights.{n}"]) for n in model.state_dict()})
    columns = text.columns(p.train[0], BATCH)
    *_, last = text.windows(columns.shape[1], BPTT)
    with torch.no_grad():
        hidden = model.embedding(columns[:, last]).flatten(0, 1)
    assert np.allclose(model.norm.running_mean, hidden.mean(0), rtol=0, atol=1e-12)
    assert np.allclose(model.norm.running_var, hidden.var(0), rtol=0, atol=1e-12)
