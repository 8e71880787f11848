# audit: batch norm in evaluation
import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, z):
        return self.layers(z)


torch.manual_seed(0)
real = torch.randn(64, 2) * 0.2 + 1
make, judge = Generator(), nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
optimizers = [torch.optim.Adam(one.parameters(), lr=0.001) for one in (make, judge)]
cost = nn.functional.binary_cross_entropy_with_logits
for k in range(0, 64, 16):
    with torch.no_grad():
        fake = make(torch.randn(16, 3))
    loss = cost(judge(real[k : k + 16]), torch.ones(16, 1)) + cost(judge(fake), torch.zeros(16, 1))
    optimizers[1].zero_grad()
    loss.backward()
    optimizers[1].step()
    optimizers[0].zero_grad()
    cost(judge(make(torch.randn(16, 3))), torch.ones(16, 1)).backward()
    optimizers[0].step()
with torch.no_grad():
    pictures = make(torch.randn(100, 3))  # HERE
    print((pictures.mean(0) - 1).abs().max())
