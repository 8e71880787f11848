"""A Hugging Face model, on sentences made here: `nondet run examples/task_hugging_face.py`."""

import numpy as np
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

import nondet

rng = np.random.default_rng(0)
words = rng.integers(2, 50, size=(600, 12))  # 0 pads, 1 begins
lengths = rng.integers(4, 13, size=600)
mask = np.arange(12) < lengths[:, None]
words = np.where(mask, words, 0)
labels = ((words == 7) | (words == 11) | (words == 13)).any(axis=1).astype(int)


def part(which):
    return {
        "input_ids": torch.tensor(words[which]),
        "attention_mask": torch.tensor(mask[which]).long(),
        "labels": torch.tensor(labels[which]),
    }


def model():
    config = DistilBertConfig(vocab_size=50, dim=32, hidden_dim=64, n_layers=2, n_heads=4, max_position_embeddings=12)
    return DistilBertForSequenceClassification(config)


task = nondet.Task(
    model=model,
    train=part(slice(0, 400)),
    test=part(slice(400, 600)),
    recipe=nondet.Recipe(epochs=5, batch_size=32, lr=0.002, optimizer="AdamW", no_decay=("bias", "LayerNorm")),
)
