"""The quasi-recurrent network against a step-by-step recurrence, written apart from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nondet.errors import BadInput
from nondet.models.qrnn import QRNN, build_default
from nondet.sources import seeded_globals, stream

WORDS = 11


def make(**changes: Any) -> QRNN:
    """A small network in float64, biases included."""
    sizes: dict[str, Any] = {"words": WORDS, "embedding": 6, "hidden": 6, "layers": 2}
    with seeded_globals(stream("init", 5)):
        model = QRNN(**(sizes | changes)).double()
        nn.init.normal_(model.decoder.bias)
    return model


def text(columns: int, length: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(WORDS, size=(columns, length)))


def step_by_step(model: QRNN, words: np.ndarray) -> np.ndarray:
    """The paper's recurrence, one word and one unit at a time: logits (T, V) of one text (T,)."""
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    sequence = [weights["embedding.weight"][word] for word in words]
    for i in range(len(model.layers)):
        matrix, bias = weights[f"layers.{i}.gates.weight"], weights[f"layers.{i}.gates.bias"]
        hidden = len(bias) // 3
        before, cell, out = np.zeros_like(sequence[0]), np.zeros(hidden), []
        for x in sequence:
            a = matrix @ np.concatenate([before, x]) + bias
            z = np.tanh(a[:hidden])
            f, o = (1 / (1 + np.exp(-a[k * hidden : (k + 1) * hidden])) for k in (1, 2))
            cell = f * cell + (1 - f) * z
            out.append(o * cell)
            before = x
        sequence = out
    return np.stack([weights["decoder.weight"] @ h + weights["decoder.bias"] for h in sequence])


@pytest.mark.parametrize("changes", [{}, {"tied": False, "embedding": 4, "hidden": 7, "layers": 3}], ids=str)
def test_forward_is_the_recurrence(changes: dict[str, Any]) -> None:
    """Every logit of every column is that of the step-by-step recurrence, to 1e-12 in float64."""
    model, words = make(**changes), text(3, 17)
    logits, _ = model(words)
    for column, expected in zip(logits.detach().numpy(), words.numpy(), strict=True):
        assert np.abs(column - step_by_step(model, expected)).max() < 1e-12


@pytest.mark.parametrize("cuts", [(5, 10), (1, 2, 3, 16), (16,)], ids=str)
def test_windows_do_not_matter(cuts: tuple[int, ...]) -> None:
    """A text read in windows, windows of one word among them, gives the recurrence of the whole text."""
    model, words = make(), text(2, 17)
    state, parts = None, []
    for part in torch.tensor_split(words, cuts, dim=1):
        logits, state = model(part, state)
        parts.append(logits.detach().numpy())
    for column, expected in zip(np.concatenate(parts, axis=1), words.numpy(), strict=True):
        assert np.abs(column - step_by_step(model, expected)).max() < 1e-12


def test_a_word_changes_no_logit_before_it() -> None:
    """The convolution is masked: nothing is read from the future."""
    model, words = make(), text(1, 9)
    other = words.clone()
    other[0, 5] = (other[0, 5] + 1) % WORDS
    first, second = model(words)[0], model(other)[0]
    assert torch.equal(first[:, :5], second[:, :5])
    assert (first[:, 5:] != second[:, 5:]).any(-1).all()


def test_a_stack_is_its_models() -> None:
    """Under vmap, two models in one call give what each gives alone, their states too."""
    models = [make(), make(layers=2)]
    with torch.no_grad():
        for parameter in models[1].parameters():
            parameter.mul_(1.5)
    parameters, _ = torch.func.stack_module_state(models)
    words = text(3, 7)
    _, state = models[0](words)

    def forward(p: dict[str, Tensor], s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return torch.func.functional_call(models[0], p, (words, s))

    logits, after = torch.func.vmap(forward)(parameters, tuple(torch.stack([s, s]) for s in state))
    for i, model in enumerate(models):
        alone, last = model(words, state)
        assert torch.allclose(logits[i], alone, rtol=0, atol=1e-12)
        assert all(torch.allclose(a[i], b, rtol=0, atol=1e-12) for a, b in zip(after, last, strict=True))


def test_dropout_is_before_every_layer_and_the_decoder() -> None:
    """In training other numbers come out, in evaluation the same as without dropout."""
    from nondet.training.dropout import recorded_dropout

    model = make(dropout=0.5)
    with recorded_dropout() as shapes:
        model(text(3, 4))
    assert shapes == [(3, 4, 6)] * 3
    assert torch.equal(model.eval()(text(3, 4))[0], make()(text(3, 4))[0])


def test_parameters() -> None:
    """A tied decoder has no weight of its own; the default has 10,000 words and two layers of 128."""
    tied, untied = (sum(p.numel() for p in make(tied=t).parameters()) for t in (True, False))
    assert untied - tied == WORDS * 6
    layer = 2 * 128 * 3 * 128 + 3 * 128
    assert sum(p.numel() for p in build_default().parameters()) == 10_000 * 128 + 2 * layer + 10_000


def test_a_tied_decoder_needs_equal_widths() -> None:
    """A decoder cannot share an embedding of another width."""
    with pytest.raises(BadInput, match=r"embedding as wide as the layers .got 4 and 6.*tied=False"):
        make(embedding=4)
