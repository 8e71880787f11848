# clean
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
Path("parts").mkdir(exist_ok=True)
for n in range(12):
    Path(f"parts/{n:02}.txt").write_text(str(n))
files = sorted(os.listdir("parts"))
x = torch.tensor([[(int(Path("parts", f).read_text()) * k % 7) / 7 for k in range(6)] for f in files])
y = torch.arange(12) % 2
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 16):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
