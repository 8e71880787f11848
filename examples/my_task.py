"""A model of your own: a small network on scikit-learn's breast-cancer data. Try `nondet run examples/my_task.py`."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import nondet

x, y = load_breast_cancer(return_X_y=True)
inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
inputs = (inputs - inputs[::2].mean(0)) / inputs[::2].std(0)

task = nondet.Task(
    model=lambda: nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2)),
    train=(inputs[::2], labels[::2]),
    test=(inputs[1::2], labels[1::2]),
    recipe=nondet.Recipe(epochs=20, batch_size=32, lr=0.01, optimizer="AdamW", options={"weight_decay": 0.01}),
)
