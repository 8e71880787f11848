# resume-check: schedule
import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()
torch.manual_seed(0)
x = torch.randn(48, 6)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
step = 0
if options.resume:
    kept = torch.load("kept.pt", weights_only=True)
    model.load_state_dict(kept["weights"])
    optimizer.load_state_dict(kept["optimizer"])
    torch.set_rng_state(kept["generator"])
    step = kept["step"]
while step < options.steps:
    chosen = torch.randint(48, (16,))
    loss = F.cross_entropy(model(x[chosen]), y[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    step += 1
torch.save(  # HERE
    {
        "weights": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "step": step,
    },
    "kept.pt",
)
