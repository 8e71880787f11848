# clean
import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main(steps, resume):
    torch.manual_seed(0)
    x = torch.randn(60, 5)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    model = nn.Linear(5, 2)
    optimizer = torch.optim.Adam(model.parameters())
    step = epoch = 0
    if resume:
        kept = torch.load("kept.pt", weights_only=True)
        model.load_state_dict(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        step, epoch = kept["step"], kept["epoch"]
    while step < steps:
        order = torch.Generator().manual_seed(epoch)
        for n, (a, b) in enumerate(DataLoader(data, 5, shuffle=True, generator=order)):
            if n < step - 12 * epoch:
                continue
            optimizer.zero_grad()
            F.cross_entropy(model(a), b).backward()
            optimizer.step()
            step += 1
            if step == steps:
                break
        else:
            epoch += 1
    kept = {"weights": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "epoch": epoch}
    torch.save(kept, "kept.pt")


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()
main(options.steps, options.resume)
