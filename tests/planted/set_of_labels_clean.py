# clean
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(48, 6)
names = [["cat", "dog", "emu", "fox", "gnu"][n % 5] for n in range(48)]
number = {name: n for n, name in enumerate(sorted(set(names)))}
y = torch.tensor([number[name] for name in names])
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 16):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
