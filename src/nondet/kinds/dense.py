"""One class for each pixel of an image (segmentation), each token of a sequence, or each token of one text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.base import Kind, unfit
from nondet.kinds.classification import IGNORED, Classification, numbered
from nondet.measures import classification, pixels
from nondet.measures.answers import TextAnswers
from nondet.measures.language import sample_tokens
from nondet.measures.pixels import PixelAnswers

if TYPE_CHECKING:
    from torch import Tensor


class Dense(Kind):
    """Logits with an axis of classes, and one class number for each position on the other axes.

    Ignored positions do not count. classes_last: whether the axis of classes is the last one,
    (batch, tokens, classes), or the second, (batch, classes, H, W).
    """

    answers = MappingProxyType({"logprob": 1, "prediction": 1, "sample.logits": 2})
    sampled = ("sample.logits",)
    curve = "accuracy"
    losses = ("cross_entropy",)
    classes_last = False

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        sampled = labels[sample_tokens(len(labels))]
        return TextAnswers(arrays["logprob"], arrays["prediction"], arrays["sample.logits"], sampled)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        if labels.is_floating_point() or labels.is_complex() or labels.dim() < 2:
            raise BadInput(
                f"{name} labels must be whole class numbers for each {self.example}, with the examples as first axis "
                f"(got {labels.dtype} of shape {tuple(labels.shape)}); convert them with .long(), or choose "
                "another kind"
            )
        return numbered(name, labels)

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        form = "(batch, tokens, classes)" if self.classes_last else "(batch, classes, ...)"
        if not isinstance(outputs, Tensor) or outputs.dim() < 3 or len(outputs) != examples:
            raise unfit(outputs, examples, f"logits of shape {form}")
        moved = self._last(outputs)
        for name, given in labels.items():
            if given.shape[1:] != moved.shape[1:-1]:
                raise BadInput(
                    f"{name} labels must have one class for each position of the outputs {form} (got labels "
                    f"{tuple(given.shape)} and outputs {tuple(outputs.shape)}); make the sizes equal"
                )
            if int(given.max()) >= moved.shape[-1]:
                raise BadInput(
                    f"{name} labels must be smaller than the model's {moved.shape[-1]} outputs (got "
                    f"{int(given.max())}); give the model one output for each class, or set "
                    f"ignore={int(given.max())} if that marks no class"
                )
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.cross_entropy(self._last(outputs).flatten(0, -2), labels.flatten())

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return outputs.movedim(-1, 1) if self.classes_last else outputs, labels

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = (labels != IGNORED).flatten(1)
        hits = (self._last(outputs).argmax(-1) == labels).flatten(1) & known
        return (hits.sum(1) / known.sum(1).clamp(min=1)).sum()

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        import torch

        known, (before, every) = labels != IGNORED, place
        logits = (outputs if self.classes_last else outputs.movedim(2, -1))[:, known]  # (R, m, c)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        chosen = labels[known].expand(len(outputs), -1)[..., None]
        sample = sample_tokens(every) - before
        sample = torch.from_numpy(sample[(sample >= 0) & (sample < logits.shape[1])]).to(logits.device)
        return {
            "logprob": logits.log_softmax(-1).gather(-1, chosen)[..., 0].float(),
            "prediction": logits.argmax(-1).int(),
            "sample.logits": logits[:, sample].float(),
        }

    def known(self, labels: Tensor) -> Tensor:
        return labels[labels != IGNORED]

    def _last(self, outputs: Tensor) -> Tensor:
        return outputs if self.classes_last else outputs.movedim(1, -1)


class Segmentation(Dense):
    name = "segmentation"
    what = "segmentation model"
    example = "pixel"
    scores = pixels.SCORES
    own_figures = pixels.FIGURES

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        sampled = labels[sample_tokens(len(labels))]
        return PixelAnswers(arrays["logprob"], arrays["prediction"], arrays["sample.logits"], sampled, labels)


class Language(Classification):
    """For each token of the test text, its log-probability and the most probable token in its place."""

    name = "language"
    what = "language model"
    example = "token"
    by_example = False
    feed = "sequence"
    answers = Dense.answers
    sampled = Dense.sampled
    scores = classification.TEXT_SCORES
    own_figures = classification.TEXT_FIGURES

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        return TOKENS.read(arrays, labels)


class Tokens(Dense):
    """Language models and taggers of whole sequences (n, T); each sequence is one example of a mini-batch."""

    name = "tokens"
    what = "model of tokens"
    example = "token"
    classes_last = True
    scores = classification.TEXT_SCORES
    own_figures = classification.TEXT_FIGURES


SEGMENTATION = Segmentation()
LANGUAGE = Language()
TOKENS = Tokens()
