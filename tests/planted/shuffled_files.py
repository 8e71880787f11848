# diverge: random numbers
import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
files = [f"part-{n}.txt" for n in range(12)]
random.shuffle(files)  # HERE
x = torch.tensor([[float(len(f) + k * int(f[5:-4])) for k in range(6)] for f in files]) / 30
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
