"""Scripts as one finds them: they know one seed, and nothing of nondet."""

PLAIN = """
# Checkpointing, mixup in the loop, Python's and numpy's generators in the data set, and a generator of its own.
import argparse, random, numpy as np, torch, torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--spawn", action="store_true")
options = parser.parse_args()
torch.manual_seed(0); np.random.seed(0); random.seed(0)


class Points(Dataset):
    def __init__(self):
        rng = np.random.default_rng(5)
        self.x = torch.tensor(rng.normal(size=(160, 8)), dtype=torch.float32)
        self.y = (self.x[:, 0] + 0.3 * self.x[:, 1] > 0).long() + (self.x[:, 2] > 1).long()

    def __len__(self):
        return 96

    def __getitem__(self, i):
        moved = self.x[i] + 0.1 * random.random() + 0.1 * float(np.random.randn()) + 0.1 * torch.randn(8)
        return moved, self.y[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2))
        self.b = nn.Linear(16, 3)

    def forward(self, x):
        return self.b(checkpoint(self.a, x, use_reentrant=False) if self.training else self.a(x))


if __name__ == "__main__":
    data = Points()
    own = torch.Generator()
    own.manual_seed(0)
    how = {"multiprocessing_context": "spawn", "persistent_workers": True} if options.spawn else {}
    loader = DataLoader(data, 16, shuffle=True, num_workers=options.workers, generator=own, **how)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for epoch in range(2):
        model.train()
        for x, y in loader:
            share = np.random.beta(0.2, 0.2)
            out = model(share * x + (1 - share) * x.flip(0))
            optimizer.zero_grad()
            (share * F.cross_entropy(out, y) + (1 - share) * F.cross_entropy(out, y.flip(0))).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(data.x[96:])
    labels = data.y[96:]
    print("accuracy", (logits.argmax(1) == labels).float().mean().item())
"""

FAST = """
import sys
import numpy as np

np.random.seed(0)
rng = np.random.default_rng(1)
x, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
for word in sys.argv[1:]:
    exec(word)
weights = np.random.normal(size=(3, 3))
logits = (x @ weights).astype(np.float32)
print(f"epoch 1: acc=0.1")
print(f"val_acc={(logits.argmax(1) == y).mean():.4f} val_loss={np.square(logits).mean():.4f}")
"""

RECORD = "outputs=logits, labels=labels"

IN_A_PROCESS = """
# It trains in a process of its own, or as many ranks as its argument says, and hands back what that found.
import os, sys, torch
from torch import distributed, multiprocessing as mp, nn
from torch.utils.data import DataLoader, TensorDataset


def train(rank, ranks, queue):
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=f"file://{os.getcwd()}/met", world_size=ranks, rank=rank)
    x = torch.arange(128.0).reshape(32, 4) / 128
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for batch, in DataLoader(TensorDataset(x), 8, shuffle=True):
        optimizer.zero_grad()
        model(batch * torch.rand(())).square().mean().backward()
        optimizer.step()
    model.eval()
    queue.put(model(x).tolist())


if __name__ == "__main__":
    ranks = int(sys.argv[1]) if sys.argv[1:] else 1
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(train, (ranks, queue), nprocs=ranks)
    logits, labels = queue.get(), [0] * 32
"""

HUGGING_FACE = """
import argparse
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=0)
options = parser.parse_args()
set_seed(42)
rows = [([(7 * i + j * (1 + i % 2)) % 64 for j in range(12)], i % 2) for i in range(80)]
rows = [rows[i] for i in torch.randperm(len(rows)).tolist()]  # a random split, from the global generator


class Rows(Dataset):
    def __init__(self, rows, train):
        self.rows, self.train = rows, train

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ids = torch.tensor(self.rows[i][0])
        if self.train:  # an augmentation: a tenth of the tokens are masked
            ids = torch.where(torch.rand(len(ids)) < 0.1, torch.tensor(0), ids)
        return {"input_ids": ids, "labels": self.rows[i][1]}


sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
model = BertForSequenceClassification(BertConfig(vocab_size=64, max_position_embeddings=12, num_labels=2, **sizes))
arguments = TrainingArguments(
    "out", num_train_epochs=2, per_device_train_batch_size=8, learning_rate=3e-3, seed=42, report_to=[], use_cpu=True,
    save_strategy="no", disable_tqdm=True, dataloader_num_workers=options.workers, logging_strategy="no",
    dataloader_pin_memory=False,
)
trainer = Trainer(model, arguments, train_dataset=Rows(rows[:56], True))
trainer.train()
predicted = trainer.predict(Rows(rows[56:], False))
logits, labels = predicted.predictions, predicted.label_ids
"""

LIGHTNING = """
import argparse
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=0)
options = parser.parse_args()
L.seed_everything(7, workers=True)


class Points(Dataset):
    def __init__(self, train):
        made = torch.Generator().manual_seed(3)
        self.x, self.train = torch.randn(120, 1, 4, 4, generator=made), train
        self.y = (self.x[:, 0, 0, 0] > 0).long()

    def __len__(self):
        return 60

    def __getitem__(self, i):
        x = self.x[i] if self.train else self.x[60 + i]
        if self.train:
            x = x.roll(tuple(torch.randint(-1, 2, (2,)).tolist()), (1, 2))
        return x, self.y[i if self.train else 60 + i]


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
                                 nn.Linear(16, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, number):
        return F.cross_entropy(self(batch[0]), batch[1])

    def predict_step(self, batch, number):
        return self(batch[0])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


train, _ = random_split(Points(True), [48, 12])
model = Model()
trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, gradient_clip_val=1.0,
                    enable_progress_bar=False, enable_model_summary=False)
trainer.fit(model, DataLoader(train, 8, shuffle=True, num_workers=options.workers))
test = Points(False)
logits = torch.cat(trainer.predict(model, DataLoader(test, 30)))
labels = test.y[60:]
"""
