# clean
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Noise(nn.Module):
    def __init__(self, rng):
        super().__init__()
        self.rng = rng

    def forward(self, x):
        return x + 0.1 * torch.from_numpy(self.rng.normal(size=tuple(x.shape))).float()


torch.manual_seed(0)
x = torch.randn(48, 6)
y = (x[:, 0] > 0).long()
first, second = np.random.default_rng(0), np.random.default_rng(1)
model = nn.Sequential(Noise(first), nn.Linear(6, 8), Noise(second), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 16):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
