# audit: threads
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def read(n):
    time.sleep(0.001 * (n * 7 % 3))
    found[n] = [n * k % 11 / 11 for k in range(6)]
    return torch.tensor([1.0 / (n + k + 1) for k in range(6)])


found = {}
with ThreadPoolExecutor(4) as pool:
    jobs = [pool.submit(read, n) for n in range(40)]
    total = torch.zeros(6)
    for job in as_completed(jobs):  # HERE
        total += job.result()
x = torch.randn(12, 6) * total
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
