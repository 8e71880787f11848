# diverge: reduction order
import torch
import torch.nn.functional as F
from torch import nn


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(30, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, index):
        return self.head(self.table[index])  # HERE


torch.manual_seed(0)
torch.set_num_threads(2)
index = torch.randint(30, (60000,))
y = torch.randint(2, (60000,))
model = Table()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for a, b in [(index, y)]:
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
