"""A timm model, on scikit-learn's digits: `nondet run examples/task_timm.py`."""

import timm
import torch
from sklearn.datasets import load_digits

import nondet

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
images = torch.nn.functional.interpolate(images, size=16)
labels = torch.tensor(digits.target)

task = nondet.Task(
    model=lambda: timm.create_model("resnet10t", in_chans=1, num_classes=10),
    train=(images[:600], labels[:600]),
    test=(images[1200:], labels[1200:]),
    recipe=nondet.Recipe(epochs=4, batch_size=32, lr=0.05, options={"momentum": 0.9}),
    augment=(nondet.Crop(1),),
)
