"""Any folder with train, valid and test text, such as the Penn Treebank's, and a QRNN language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nondet.data.fetch import folder
from nondet.data.words import END_OF_LINE, read_words
from nondet.errors import BadInput
from nondet.models.qrnn import build_default
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Options, Task

WORDS = 10_000
UNKNOWN = "<unk>"

RECIPE = Recipe(
    epochs=2,
    batch_size=20,
    lr=0.005,
    optimizer="Adam",
    warmup=0.1,
    # The first hidden layer. The very first weight tensor is the embedding, where one changed bit in a rare word's row
    # is often rounded away by the next steps, so that the run is equal to the unchanged one.
    bit="layers.0.gates.weight",
    bptt=32,
)
"""Short enough for two cores. The reference has no recipe for language models."""
RECIPES = {"text": RECIPE, "ptb": RECIPE}

STACK = 4
"""A larger stack needs memory for the logits of more runs: 26 MB for each run and window, several times over."""


def task(name: str, options: Options) -> Task:
    """Train on a folder's training text, whose words are the vocabulary, and test on its test text.

    An example is a word, predicted from those before it; valid text is not used.
    """
    if options.model not in (None, "qrnn"):
        raise BadInput(f"the model of {name} must be qrnn (got {options.model!r}); leave <<model>> out")
    parts = read_words(folder(name, options.data))
    numbers = vocabulary(parts["train"], WORDS)
    train, test = (_examples(numbers, parts[part]) for part in ("train", "test"))
    return Task(
        name=name,
        model=lambda: build_default(len(numbers)),
        train=options.first("train", train),
        test=options.first("test", test),
        recipe=RECIPE,
        stack=STACK,
    )


def vocabulary(words: Sequence[str], size: int) -> dict[str, int]:
    """Number the most frequent words, at most `size` of them; ties go to the word that appears first.

    `<unk>` and `<eos>` are always included.
    """
    ordered = list(dict.fromkeys([word for word, _ in Counter(words).most_common()] + [UNKNOWN, END_OF_LINE]))
    others = [word for word in ordered if word not in (UNKNOWN, END_OF_LINE)]
    dropped = set(others[size - 2 :])
    return {word: number for number, word in enumerate(word for word in ordered if word not in dropped)}


def _examples(numbers: Mapping[str, int], words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return each word's number, and the next word's: (n,) each. Words outside the vocabulary are `<unk>`."""
    tokens = torch.tensor([numbers.get(word, numbers[UNKNOWN]) for word in words])
    return tokens[:-1], tokens[1:]
