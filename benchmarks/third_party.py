"""Models of other packages, as their users have them: how each trains, and whether a stack trains what a loop trains.

In a separate environment, install next to nondet: `pip install timm transformers torch_geometric`. Weights and data are
random and small. Each row is a model: how wide a stack of three it trains in, or why it does not stack; the largest
difference of a weight or output between a stack and runs alone after 50 steps in float64; and how many times as fast an
epoch of the stack is.

    python benchmarks/third_party.py            all models
    python benchmarks/third_party.py timm bert  those whose names contain one of these texts
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nondet
from nondet.errors import BadInput
from nondet.training.prepare import prepare
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

RUNS, WIDTH, ROUNDS = 3, 3, 5
RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.standard_normal((60, 3, 32, 32)).astype(np.float32))
CLASSES = (IMAGES.mean((1, 2, 3)) > 0).long() + (IMAGES[:, 0].mean((1, 2)) > 0).long()
WORDS = torch.from_numpy(RNG.integers(2, 50, size=(60, 16)))
TRAIN, TEST = slice(0, 40), slice(40, 60)
OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")

Made = tuple[Callable[[], nn.Module], Any, Any, dict[str, Any]]


def pictures(model: Callable[[], nn.Module], **rest: Any) -> Made:
    return model, (IMAGES[TRAIN], CLASSES[TRAIN]), (IMAGES[TEST], CLASSES[TEST]), rest


def texts(model: Callable[[], nn.Module], labels: Tensor, **rest: Any) -> Made:
    parts = [
        {"input_ids": WORDS[rows], "attention_mask": torch.ones_like(WORDS[rows]), "labels": labels[rows]}
        for rows in (TRAIN, TEST)
    ]
    return model, parts[0], parts[1], rest


def timm(name: str, **options: Any) -> Callable[[], Made]:
    return lambda: pictures(lambda: import_module("timm").create_model(name, num_classes=3, **options))


def torchvision(name: str, **options: Any) -> Callable[[], Made]:
    return lambda: pictures(lambda: getattr(import_module("torchvision.models"), name)(num_classes=3, **options))


def hugging_face(model: str, config: str, labels: Tensor, **options: Any) -> Callable[[], Made]:
    def made() -> Made:
        package = import_module("transformers")
        return texts(lambda: getattr(package, model)(getattr(package, config)(**options)), labels)

    return made


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
        self.layers, self.last = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x.mean(1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn, self.last = kind(32, 16, num_layers=2, batch_first=True, dropout=0.1), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rnn(x.mean(1))[0][:, -1])


class Experts(nn.Module):
    """A sparse mixture: each example goes to its best expert."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(32, 4), nn.ModuleList(nn.Linear(32, 3) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((1, 2))
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            here = chosen == number
            if here.any():
                out[here] = weight[here, None] * expert(x[here])
        return out


class Coder(nn.Module):
    """A variational autoencoder of images."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.decode = nn.Linear(3072, 16), nn.Linear(8, 3072)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.code(x.flatten(1)).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log / 2).exp()), mean, log


def elbo(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    made, mean, log = model(x)
    divergence = -0.5 * (1 + log - mean.square() - log.exp()).mean()
    return (made - x.flatten(1)).square().mean() + divergence, made


class Gan(nn.Module):
    """A generator and a discriminator, trained together: the generator's gradient is reversed."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.judge = nn.Linear(8, 3072), nn.Linear(3072, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made = self.make(torch.randn(len(x), 8, dtype=x.dtype))
        return self.judge(x.flatten(1)), self.judge(made - 2 * (made - made.detach()))


def adversarial(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    real, made = model(x)
    return F.softplus(-real).mean() + F.softplus(made).mean(), real


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.low = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x).relu()
        low = self.low(F.max_pool2d(high, 2)).relu()
        return self.last(torch.cat([high, self.up(low)], 1))


class Graphs(nn.Module):
    """Two graph convolutions of PyG: the rows of an image are nodes of a ring."""

    def __init__(self) -> None:
        super().__init__()
        made = import_module("torch_geometric.nn").DenseGCNConv
        self.first, self.second, self.last = made(32, 16), made(16, 16), nn.Linear(16, 3)
        self.register_buffer("ring", torch.eye(32).roll(1, 0) + torch.eye(32).roll(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.mean(1), self.ring).relu()
        return self.last(F.dropout(self.second(x, self.ring).relu(), 0.2, self.training).mean(1))


class TabM(nn.Module):
    """Like TabM (Gorishniy et al. 2025): members share their weights, except for factors of inputs and outputs."""

    def __init__(self, members: int = 4) -> None:
        super().__init__()
        self.scale, self.line = nn.Parameter(torch.randn(members, 32).sign()), nn.Linear(32, 32)
        self.heads = nn.Parameter(torch.randn(members, 32, 3) / 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.line(x.mean((1, 2))[:, None] * self.scale).relu()  # (B, members, 32)
        return torch.einsum("bmi,mio->bo", x, self.heads) / len(self.heads)


def segments() -> Made:
    mask = (IMAGES[:, 0] > 0).long()
    return UNet, (IMAGES[TRAIN], mask[TRAIN]), (IMAGES[TEST], mask[TEST]), {}


SMALL = {"vocab_size": 50, "num_labels": 2}
TWO = (WORDS[:, 0] > 25).long()
MODELS: dict[str, Callable[[], Made]] = {
    "timm resnet10t": timm("resnet10t"),
    "timm convnext_atto": timm("convnext_atto"),
    "timm vit_tiny": timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2),
    "timm mobilenetv3_small_050": timm("mobilenetv3_small_050"),
    "timm efficientnet_b0, drop path 0.2": timm("efficientnet_b0", drop_path_rate=0.2),
    "timm swin_tiny": timm("swin_tiny_patch4_window7_224", img_size=32, window_size=2, embed_dim=24, depths=(1, 1)),
    "timm mixer_s32": timm("mixer_s32_224", img_size=32),
    "timm regnetx_002": timm("regnetx_002"),
    "torchvision densenet": torchvision("DenseNet", growth_rate=4, block_config=(2, 2), num_init_features=8),
    "torchvision googlenet, auxiliary outputs": torchvision("googlenet", aux_logits=True, init_weights=False),
    "torchvision vit": lambda: pictures(
        lambda: import_module("torchvision.models").VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3
        )
    ),
    "Hugging Face BERT": hugging_face(
        "BertForSequenceClassification",
        "BertConfig",
        TWO,
        **SMALL,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    ),
    "Hugging Face DistilBERT": hugging_face(
        "DistilBertForSequenceClassification", "DistilBertConfig", TWO, **SMALL, dim=32, n_layers=2, n_heads=2
    ),
    "Hugging Face GPT-2": hugging_face(
        "GPT2LMHeadModel", "GPT2Config", WORDS, vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=32
    ),
    "Hugging Face T5": hugging_face(
        "T5ForConditionalGeneration",
        "T5Config",
        WORDS,
        vocab_size=50,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    ),
    "Hugging Face ViT": lambda: pictures(
        lambda: import_module("transformers").ViTForImageClassification(
            import_module("transformers").ViTConfig(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                image_size=32,
                patch_size=8,
                num_labels=3,
            )
        )
    ),
    "torch LSTM, dropout 0.1": lambda: pictures(lambda: Recurrent(nn.LSTM)),
    "torch GRU, dropout 0.1": lambda: pictures(lambda: Recurrent(nn.GRU)),
    "torch TransformerEncoder, dropout 0.1": lambda: pictures(Encoder),
    "a sparse mixture of experts": lambda: pictures(Experts),
    "a VAE": lambda: (Coder, IMAGES[TRAIN], IMAGES[TEST], {"loss": elbo}),
    "a GAN": lambda: (Gan, IMAGES[TRAIN], IMAGES[TEST], {"loss": adversarial}),
    "a U-Net": segments,
    "PyG DenseGCNConv": lambda: pictures(Graphs),
    "a TabM": lambda: pictures(TabM),
}


def stand_in() -> None:
    """Let torchvision load with a torch without CUDA, for which it has no build: define the missing operators."""
    try:
        library = torch.library.Library("torchvision", "DEF")
    except RuntimeError:  # it is there
        return
    for name in OPERATORS:
        for form in (name, f"_{name}_backward"):
            library.define(f"{form}(Tensor a) -> Tensor")
    globals()["_kept"] = library


def row(name: str) -> tuple[str, ...]:
    """Return how one model trains: its kind, the stack, the difference and the gain; or why it does not."""
    try:
        model, train, test, rest = MODELS[name]()
        recipe = nondet.Recipe(epochs=1, batch_size=8, lr=0.001, optimizer="AdamW")
        task = nondet.Task(model=model, train=train, test=test, recipe=recipe, name="model", **rest)
        problem = prepare(task, recipe, torch.device("cpu"))
        width, why = fitting_width(problem, WIDTH)
        fifty = replace(recipe.computed_in("float64"), epochs=10)  # of 5 steps each
        exact = problem if width == 1 else prepare(task, fifty, torch.device("cpu"))
    except ImportError as error:
        return name, "", "", "", f"not installed: {error.name}"
    except BadInput as error:
        return name, "", "", "", f"refused: {error}"
    seeds = [dict.fromkeys(problem.sources, 1) | {"init": seed} for seed in range(1, RUNS + 1)]
    if width == 1:
        train_stack(problem, seeds[:1])
        return name, problem.kind.name, "one at a time", "", why
    together, alone = train_stack(exact, seeds), [train_stack(exact, [run])[0] for run in seeds]
    apart = max(
        float(np.abs(a.arrays[key].astype(np.float64) - b.arrays[key]).max())
        for a, b in zip(together, alone, strict=True)
        for key in a.arrays
        if key.startswith(("weights.", "outputs", "logprob"))
    )
    gains: list[float] = []
    for _ in range(ROUNDS):  # by turns
        stacked, single = (_seconds(problem, parts) for parts in ([seeds], [[run] for run in seeds]))
        gains.append(single / stacked)
    return name, problem.kind.name, f"of {width}", f"{apart:.0e}", f"{median(gains):.1f} times as fast"


def _seconds(problem: Any, parts: list[list[dict[str, int]]]) -> float:
    begin = time.perf_counter()
    for runs in parts:
        train_stack(problem, runs)
    return time.perf_counter() - begin


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    stand_in()
    print("| model | kind | stack | largest difference | |\n|---|---|---|---|---|")
    for name in MODELS:
        if not words or any(word in name for word in words):
            cells = [" ".join(cell.split()).replace("|", "/") for cell in row(name)]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
