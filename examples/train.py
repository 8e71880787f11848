"""An ordinary training script, on handwritten digits: it takes one seed, and knows nothing about nondet."""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()
torch.manual_seed(options.seed)

images, classes = load_digits(return_X_y=True)
inputs, labels = torch.tensor(images).float().view(-1, 1, 8, 8) / 8 - 1, torch.tensor(classes)


class Digits(Dataset):
    def __len__(self):
        return 1200

    def __getitem__(self, i):
        shift = torch.randint(-1, 2, (2,)).tolist()
        return inputs[i].roll(shift, (1, 2)), labels[i]


model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(576, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
loader = DataLoader(Digits(), batch_size=32, shuffle=True)
for _ in range(options.epochs):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    logits, labels = model(inputs[1200:]), labels[1200:]
print(f"accuracy {(logits.argmax(1) == labels).float().mean():.4f}")
