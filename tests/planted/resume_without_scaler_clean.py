# clean
import argparse

import torch
import torch.nn.functional as F
from torch import nn


class Loop:
    def __init__(self):
        self.x = torch.linspace(-1, 1, 96).reshape(24, 4)
        self.y = torch.arange(24) % 2
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        self.step = 0

    def train(self, steps):
        while self.step < steps:
            k = self.step % 3 * 8
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(self.model(self.x[k : k + 8]), self.y[k : k + 8])
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.step += 1

    def save(self):
        kept = {"weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        kept["scaler"] = self.scaler.state_dict()
        torch.save(kept, "kept.pt")

    def load(self):
        kept = torch.load("kept.pt", weights_only=True)
        self.model.load_state_dict(kept["weights"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.scaler.load_state_dict(kept["scaler"])
        self.step = kept["step"]


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()
torch.manual_seed(0)
loop = Loop()
if options.resume:
    loop.load()
loop.train(options.steps)
loop.save()
