# audit: uninitialised memory
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.empty(6))  # HERE

    def forward(self, x):
        return x * (1 + self.scale.nan_to_num(0, 0, 0).clamp(-1, 1))


torch.manual_seed(0)
x = torch.randn(48, 6)
y = (x[:, 0] > 0).long()
model = nn.Sequential(Scale(), nn.Linear(6, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 16):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
