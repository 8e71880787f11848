"""The quasi-recurrent network as a language model (Bradbury et al. 2016), the protocol's network for text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nondet.errors import BadInput

State = tuple[Tensor, ...]


class QRNNLayer(nn.Module):
    """A convolution of width 2 over time, masked from the future, with fo-pooling (Bradbury et al. 2016, section 2.1).

    z_t, f_t, o_t = tanh, sigma, sigma of W [x_{t-1}, x_t] + b;  c_t = f_t c_{t-1} + (1 - f_t) z_t;  h_t = o_t c_t.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * inputs, 3 * hidden)

    def forward(self, x: Tensor, before: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, I), the input before its first step (B, I), the last cell (B, H) -> h (B, T, H), the new cell."""
        pairs = torch.cat([torch.cat([before[:, None], x[:, :-1]], dim=1), x], dim=2)  # (B, T, 2 I)
        z, f, o = self.gates(pairs).chunk(3, dim=2)
        f, o = _sigma(f), _sigma(o)
        news = (1 - f) * torch.tanh(z)
        cells: list[Tensor] = []
        for keep, new in zip(f.unbind(1), news.unbind(1), strict=True):
            cell = keep * cell + new
            cells.append(cell)
        return o * torch.stack(cells, dim=1), cell


class QRNN(nn.Module):
    """Takes word numbers and returns logits of each next word, with dropout before every layer and the decoder.

    tied: the decoder shares the embedding's weight (Press & Wolf 2017), which must then be as wide as the layers.
    """

    def __init__(
        self, words: int, embedding: int, hidden: int, layers: int, dropout: float = 0.0, tied: bool = True
    ) -> None:
        super().__init__()
        if tied and embedding != hidden:
            raise BadInput(
                f"a tied decoder needs an embedding as wide as the layers (got {embedding} and {hidden}); "
                "make them equal, or pass tied=False"
            )
        self.embedding = nn.Embedding(words, embedding)
        self.layers = nn.ModuleList(QRNNLayer(hidden if i else embedding, hidden) for i in range(layers))
        self.decoder = nn.Linear(hidden, words)
        self.dropout = nn.Dropout(dropout)
        # Small, so that the first predictions are nearly uniform, whether or not the decoder shares it.
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if tied:
            self.decoder.weight = self.embedding.weight

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Words (B, T) and the state after the preceding words -> logits (B, T, words) and the new state.

        The state contains each layer's last input and last cell, so that reading a text in windows gives the same
        logits as reading it at once. None means the start of a text: all zeros.
        """
        h = self.dropout(self.embedding(x))  # (B, T, I)
        start = len(h), self.decoder.in_features
        after: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            before, cell = state[2 * i : 2 * i + 2] if state else (torch.zeros_like(h[:, 0]), h.new_zeros(start))
            last = h[:, -1]
            h, cell = layer(h, before, cell)
            h = self.dropout(h)
            after += [last, cell]
        return self.decoder(h), tuple(after)


def build_default(words: int = 10_000) -> QRNN:
    """The language model of the tasks `ptb` and `text`: two layers of 128, tied."""
    return QRNN(words, embedding=128, hidden=128, layers=2, dropout=0.3)


def _sigma(x: Tensor) -> Tensor:
    """Compute the logistic function with tanh: on the CPU, torch.sigmoid rounds by an element's place in memory, so a
    run would depend on its slot in the stack.
    """
    return 0.5 + 0.5 * torch.tanh(0.5 * x)
