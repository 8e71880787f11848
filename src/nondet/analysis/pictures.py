"""Test examples as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.kinds import kind_of

if TYPE_CHECKING:
    from nondet.study.study import Study
    from nondet.tasks.task import Task
    from nondet.training.problem import Problem

SIDE = 96
"""In pixels. Smaller pictures are enlarged by the largest whole factor that keeps their longer side within this."""

SMALLEST, LARGEST = 8, 1024
"""The sides that a picture may have, in pixels: a smaller input is more likely a row of numbers."""

NO_PICTURE = "the inputs of this task are not pictures with one or three channels"


def picture(example: Any) -> bytes | None:
    """Return one input as the bytes of a PNG file; None if it is not a picture.

    A picture is an array (C, H, W) of 1 or 3 channels, an array (H, W), or a flat vector of length H^2 or 3 H^2, with
    sides from 8 to 1024. Its smallest number becomes black and its largest white, whatever the task's normalisation.
    Each pixel becomes a square of pixels, so that the longer side is close to 96.
    """
    pixels = _channels(np.asarray(example))
    if pixels is None or pixels.dtype.kind not in "fiub" or not np.isfinite(pixels).all():
        return None
    pixels = pixels.astype(np.float64)
    low, high = pixels.min(), pixels.max()
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (pixels - low) / ((high - low) or 1.0)  # all black if all are equal
    if not np.isfinite(scaled).all():
        return None
    factor = max(1, SIDE // max(scaled.shape[1:]))
    large = np.rint(255 * scaled).astype(np.uint8).repeat(factor, axis=1).repeat(factor, axis=2)  # (C, f H, f W)
    return _png(large)


def pictures_of(
    study: Study,
    indices: Sequence[int],
    data: str | None = None,
    *,
    run_task: bool = False,
    task: Task | None = None,
) -> tuple[dict[int, bytes], str]:
    """Return the pictures of these test examples by index, as PNG bytes; and, if there are none, why not.

    The study keeps no inputs, so its task reads them again, from `data` if that is given. Nothing is downloaded: that
    the data set is not on this machine is a reason. A user's task file is code that the study only names, so it runs
    only if `run_task` is true. Nothing is raised, since a report can do without pictures.

    Args:
        study: any study.
        indices: test examples, counted from 0.
        data: the folder of the task's data, as for `nondet run`.
        run_task: whether a task file that the study names may be run. task: the task, if no file defines it.
    """
    from nondet.running.session import problem_of

    if "command" in study.request:
        return {}, "nondet does not see the test inputs of a script"
    kind = kind_of(study.identity)
    if kind.sampled:
        words = kind.example == "token"
        return {}, "a text has words, not pictures" if words else f"a {kind.example} is not a picture"
    try:
        _require_at_hand(study, data)
        inputs = _test_inputs(problem_of(study, "cpu", data, run_task=run_task, task=task), indices)
    except Exception as error:  # whatever a user's file or a damaged data set raises
        known = isinstance(error, BadInput | Damaged)
        return {}, str(error) if known else f"the test inputs cannot be read ({type(error).__name__}: {error})"
    drawn = {index: picture(example) for index, example in zip(indices, inputs, strict=True)}
    found = {index: png for index, png in drawn.items() if png is not None}
    return found, "" if found or not indices else NO_PICTURE


def _channels(example: np.ndarray) -> np.ndarray | None:
    """Return an example as (C, H, W) with 1 or 3 channels and sides in range; None if it cannot be."""
    if example.ndim == 1:
        for channels in (1, 3):
            side = round((example.size / channels) ** 0.5)
            if channels * side * side == example.size:
                example = example.reshape(channels, side, side)
                break
    if example.ndim == 2:
        example = example[None]
    sides = example.shape[1:]
    if example.ndim != 3 or len(example) not in (1, 3) or min(sides) < SMALLEST or max(sides) > LARGEST:
        return None
    return example


def _png(pixels: np.ndarray) -> bytes:
    """Return the PNG file of pixels (C, H, W)."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _require_at_hand(study: Study, data: str | None) -> None:
    """Raise BadInput, with the way out, if reading the inputs would download them."""
    from nondet.data.fetch import SOURCES, is_cached
    from nondet.running.request import Request

    request = Request.of(study.request) if study.request else None
    if request and request.task in SOURCES and not (data or request.data) and not is_cached(request.task):
        raise BadInput(f"the data of {request.task} are not on this machine; give <<data=DIR>>")


def _test_inputs(problem: Problem, indices: Sequence[int]) -> list[np.ndarray]:
    """Return the inputs of these examples as the task has them, in float32 if they are floats."""
    import torch

    inputs: Any = problem.test[0]
    if isinstance(inputs, dict | tuple):
        raise BadInput(f"{NO_PICTURE}; nothing needs to be done")
    if isinstance(inputs, torch.Tensor):
        labels = problem.test[1]
        known = len(problem.kind.known(labels)) == len(labels)
        places = torch.arange(len(labels)) if known else (labels >= 0).nonzero()[:, 0]  # ignored ones have no number
        chosen = inputs[places[list(indices)]]
    else:
        try:
            chosen = inputs.batch(np.asarray(indices, dtype=np.int64), None)
        finally:
            inputs.close()
    return list((chosen.float() if chosen.is_floating_point() else chosen).numpy())
