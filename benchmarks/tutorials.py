"""Scripts of the kinds that tutorials teach, studied as they are: python benchmarks/tutorials.py [TEXT ...].

None of them knows nondet, and their data are small and random instead of downloaded. Each row is a script: what it
draws from, whether trainings with equal seeds are equal to the last bit, and how much two runs disagree, or how far
their score spreads, if everything varies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BEGIN = """
import copy, random, numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
torch.manual_seed(1)
rng = np.random.default_rng(0)
pictures = torch.tensor(rng.normal(size=(200, 1, 14, 14)), dtype=torch.float32)
classes = (pictures.mean((1, 2, 3)) > 0).long() + (pictures[:, 0, :7].mean((1, 2)) > 0).long()
"""
FIT = """
def fit(model, loader, epochs=2, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()


train = DataLoader(TensorDataset(pictures[:160], classes[:160]), batch_size=20, shuffle=True)
"""
END = """
model.eval()
with torch.no_grad():
    outputs = model(pictures[160:])
labels = classes[160:]
"""
NET = "nn.Flatten(), nn.Linear(196, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3)"
SCRIPTS = {
    "quickstart: a multilayer network": BEGIN + FIT + f"model = nn.Sequential({NET})\nfit(model, train)\n" + END,
    "MNIST example: convolutions, dropout, StepLR": BEGIN + FIT + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(200, 32), nn.Linear(32, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = self.dropout1(torch.flatten(x, 1))
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


model = Net()
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
for epoch in range(2):
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        F.nll_loss(model(x), y).backward()
        optimizer.step()
    scheduler.step()
""" + END,
    "CIFAR-10 tutorial: augmentation in a Dataset, two workers": BEGIN + FIT + f"""
class Flipped(Dataset):
    def __len__(self):
        return 160

    def __getitem__(self, i):
        x = pictures[i]
        if random.random() < 0.5:
            x = x.flip(-1)
        return x + 0.1 * torch.randn(1), classes[i]


model = nn.Sequential({NET})
fit(model, DataLoader(Flipped(), batch_size=20, shuffle=True, num_workers=2))
""" + END,
    "transfer learning: a frozen backbone": BEGIN + FIT + f"""
model = nn.Sequential({NET})
for parameter in model[1].parameters():
    parameter.requires_grad = False
model[4] = nn.Linear(32, 3)
fit(model, train, optimizer=torch.optim.SGD(model[4].parameters(), lr=0.05))
""" + END,
    "random_split and early stopping": BEGIN + FIT + f"""
parts = random_split(TensorDataset(pictures[:160], classes[:160]), [120, 40])
model, best, kept = nn.Sequential({NET}), float("inf"), None
for epoch in range(3):
    fit(model, DataLoader(parts[0], batch_size=20, shuffle=True), epochs=1)
    model.eval()
    with torch.no_grad():
        loss = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in DataLoader(parts[1], 20))
    if loss < best:
        best, kept = loss, copy.deepcopy(model.state_dict())
model.load_state_dict(kept)
""" + END,
    "character RNN: an LSTM by name": BEGIN + """
names = ["".join(rng.choice(list("abcd"), 6)) for _ in range(120)]
kinds = torch.tensor([name.count("a") > 1 for name in names]).long()
letters = torch.stack([F.one_hot(torch.tensor([ord(c) - 97 for c in name]), 4).float() for name in names])


class RNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 16, batch_first=True), nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


model = RNN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(150):
    i = random.randint(0, 99)
    loss = F.cross_entropy(model(letters[i : i + 1]), kinds[i : i + 1])
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
model.eval()
outputs, labels = model(letters[100:]).detach(), kinds[100:]
""",
    "language model: nn.Transformer": BEGIN + """
text = torch.tensor(rng.integers(0, 6, 800).cumsum() % 6)


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(6, 16), nn.Linear(16, 6)
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        return self.out(self.encoder(self.embed(x), mask))


model = LM()
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for epoch in range(2):
    model.train()
    for i in range(0, 640, 32):
        x, y = text[i : i + 32].view(4, 8), text[i + 1 : i + 33].view(4, 8)
        optimizer.zero_grad()
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
model.eval()
outputs = model(text[640:768].view(16, 8)).detach().flatten(0, 1)
labels = text[641:769]
""",
    "VAE example: a score": BEGIN + """
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.code, self.mean, self.log = nn.Linear(196, 32), nn.Linear(32, 4), nn.Linear(32, 4)
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 196))

    def forward(self, x):
        h = F.relu(self.code(x.view(-1, 196)))
        mean, log = self.mean(h), self.log(h)
        return self.decode(mean + torch.randn_like(log) * torch.exp(0.5 * log)), mean, log


model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    for (x,) in DataLoader(TensorDataset(pictures), batch_size=20, shuffle=True):
        out, mean, log = model(x)
        loss = F.mse_loss(out, x.view(-1, 196), reduction="sum") - 0.5 * torch.sum(1 + log - mean**2 - log.exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("score", loss.item() / 20)
""",
    "DCGAN: two optimizers, a score": BEGIN + """
maker = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 196))
judge = nn.Sequential(nn.Linear(196, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1))
by_judge, by_maker = (torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (judge, maker))
for epoch in range(2):
    for (x,) in DataLoader(TensorDataset(pictures), batch_size=20, shuffle=True):
        fake = maker(torch.randn(20, 8))
        loss = F.softplus(-judge(x.view(20, 196))).mean() + F.softplus(judge(fake.detach())).mean()
        by_judge.zero_grad()
        loss.backward()
        by_judge.step()
        by_maker.zero_grad()
        F.softplus(-judge(fake)).mean().backward()
        by_maker.step()
print("score", loss.item())
""",
    "DQN: replay memory and an epsilon, a score": BEGIN + """
from collections import deque
net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer, memory = torch.optim.AdamW(net.parameters(), lr=1e-3), deque(maxlen=200)
state, total = torch.zeros(4), 0.0
for step in range(300):
    action = random.randrange(2) if random.random() < 0.3 else int(net(state).argmax())
    after = 0.9 * state + 0.1 * torch.tensor(np.random.normal(size=4), dtype=torch.float32) + 0.1 * (action - 0.5)
    reward = -after.abs().mean().item()
    memory.append((state, action, reward, after))
    state, total = after, total + reward
    if len(memory) >= 32:
        some = random.sample(memory, 32)
        value = net(torch.stack([s for s, *_ in some])).gather(1, torch.tensor([[a] for _, a, *_ in some]))[:, 0]
        with torch.no_grad():
            later = net(torch.stack([n for *_, n in some])).max(1).values
            wanted = torch.tensor([r for *_, r, _ in some]) + 0.9 * later
        optimizer.zero_grad()
        F.smooth_l1_loss(value, wanted).backward()
        optimizer.step()
print("score", total)
""",
}  # fmt: skip


def row(name: str, folder: Path) -> tuple[str, ...]:
    """Study one of these scripts."""
    (folder / "train.py").write_text(SCRIPTS[name])
    left = ["--metric", r"score=score (\S+)"] if "a score" in name else ["--record", "outputs=outputs, labels=labels"]
    study = str(folder / "study")
    command = [sys.executable, "-m", "nondet", "run", "--runs", "4", "--vary", "all", "--study", study, *left]
    done = subprocess.run(
        [*command, "--", sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return name, "", "", f"exit status {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"
    show = [sys.executable, "-m", "nondet", "show", study, "--json"]
    shown = json.loads(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
    (condition,) = shown["conditions"]
    apart = condition.get("disagreement")
    found = f"disagree on {apart:.1f} %" if apart is not None else f"SD of the score {condition['score']['sd']:.3g}"
    return name, ", ".join(condition["vary"]), "equal" if shown["control"]["identical"] else "NOT EQUAL", found


def main(words: list[str]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| script | it draws from | equal seeds | two runs |\n|---|---|---|---|")
    for name in SCRIPTS:
        if not words or any(word in name for word in words):
            with tempfile.TemporaryDirectory() as folder:
                print(f"| {' | '.join(row(name, Path(folder)))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
