# diverge: another process
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
code = "import os, time; open('scale.txt', 'w').write(str(time.time() % 1))"
subprocess.run([sys.executable, "-c", code], check=True)
scale = float(Path("scale.txt").read_text())  # HERE
x = torch.randn(48, 6) * scale
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 16):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
