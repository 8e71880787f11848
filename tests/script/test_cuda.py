"""A script that trains on a CUDA device: its control is zero, and each source varies alone. Run with -m gpu."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nondet as nd

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
drawn = torch.Generator().manual_seed(1)
x, y = torch.randn(640, 3, 12, 12, generator=drawn), torch.randint(4, (640,), generator=drawn)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
    nn.Dropout(0.3), nn.Linear(1600, 4),
).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(2):
    model.train()
    for a, b in DataLoader(TensorDataset(x[:512], y[:512]), batch_size=32, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(a.cuda()), b.cuda()).backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    logits, labels = model(x[512:].cuda()).cpu(), y[512:]
"""


def test_a_script_on_a_gpu(nondet: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds, equal bits; init, shuffle and dropout change the outputs; kernels is a source there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    sources = ("init", "shuffle", "dropout", "kernels")
    vary = [word for source in sources for word in ("--vary", source)]
    record = ("--record", "outputs=logits, labels=labels", "--", sys.executable, "train.py")
    ran = nondet("run", "--study", "s", "--runs", 2, *vary, *record)
    assert ran.code == 0, ran.err
    found = json.loads(nondet("show", "s", "--json").out)
    assert found["control"]["identical"] is True
    study = nd.open("s")
    for source in ("init", "shuffle", "dropout"):
        outputs = study[source].outputs
        assert not np.array_equal(outputs[0], outputs[1]), source
    assert len(study["kernels"].outputs) == 2
