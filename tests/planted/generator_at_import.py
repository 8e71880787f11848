# audit: generator in workers
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

RNG = np.random.default_rng(0)  # HERE


class Points(Dataset):
    def __init__(self):
        self.x = torch.linspace(-1, 1, 48 * 6).reshape(48, 6)
        self.y = (self.x[:, 0].mul(40).sin() > 0).long()

    def __len__(self):
        return 48

    def __getitem__(self, i):
        return self.x[i] + 0.1 * torch.from_numpy(RNG.normal(size=6)).float(), self.y[i]


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for a, b in DataLoader(Points(), 16, num_workers=2):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print("loss", loss.item())
