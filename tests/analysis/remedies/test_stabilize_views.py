"""Which copies of the test images a task gets, and that they are the copies they claim to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nondet import Crop, Flip
from nondet.analysis.remedies.tta import View, margin, padded_batches, seen, view_sets
from nondet.data.decoders import Decoders
from nondet.data.streamed import Streamed
from nondet.data.trees import Tree
from nondet.training.problem import Problem

CIFAR = {"flip": 2, "crop25": 25, "crop81": 81, "flip+crop25": 50, "flip+crop81": 162}


@pytest.mark.parametrize(
    ("augment", "channels", "images"),
    [
        ((Crop(4), Flip()), 3, CIFAR),
        ((Crop(4),), 3, {"crop25": 25, "crop81": 81}),
        ((Crop(1),), 1, {"crop9": 9}),
        ((Crop(1), Flip()), 1, {"flip": 2, "crop9": 9, "flip+crop9": 18}),
        ((Crop(3),), 3, {"crop49": 49}),
        ((Flip(),), 3, {"flip": 2}),
        ((), 1, {"crop9": 9}),
        ((Crop(0),), 1, {}),
        ((), 3, {}),
    ],
)
def test_kinds_and_their_numbers_of_images(
    problem_like: Callable[..., Problem], augment: tuple[object, ...], channels: int, images: dict[str, int]
) -> None:
    """Training's own crop and flip decide, in the protocol's order; one-channel images get nine crops in any case."""
    sets = view_sets(problem_like(augment, channels))
    assert {name: len(set(views)) for name, views in sets.items()} == images
    assert list(sets) == list(images)


def test_other_inputs_have_none(problem_like: Callable[..., Problem]) -> None:
    """Points that are no images are not cropped."""
    problem = problem_like((Flip(),))
    flat = problem.test[0].flatten(1)  # type: ignore[union-attr]
    assert view_sets(replace(problem, test=(flat, problem.test[1]))) == {}


@pytest.mark.parametrize("augment", [(Crop(4, (-1.0, 0.5, 2.0)), Flip()), (Crop(1),), (Flip(),)])
@pytest.mark.usefixtures("narrow")
def test_every_kind_holds_the_unchanged_image(
    problem_like: Callable[..., Problem], augment: tuple[object, ...]
) -> None:
    """One view of each kind is the image itself, to the last bit, and a copy: a model may change its input."""
    problem = problem_like(augment)
    p = margin(problem)
    padded = list(padded_batches(problem))
    assert [len(batch) for batch in padded] == [8, 8, 4]
    images = torch.cat([seen(batch, View(p, p), p) for batch in padded])
    assert torch.equal(images, problem.test[0])  # type: ignore[arg-type]
    assert images.data_ptr() != problem.test[0].data_ptr()  # type: ignore[union-attr]
    assert all(View(p, p) in views for views in view_sets(problem).values())


def test_crops_are_cut_from_the_fill_of_training(problem_like: Callable[..., Problem]) -> None:
    """Outside the image every channel has the value that training pads with."""
    fill = (-1.0, 0.5, 2.0)
    problem = problem_like((Crop(4, fill), Flip()))
    images = problem.test[0].numpy()  # type: ignore[union-attr]
    padded = np.stack([np.pad(images[:, c], ((0, 0), (4, 4), (4, 4)), constant_values=fill[c]) for c in range(3)], 1)
    (ours,) = padded_batches(problem)
    for view in view_sets(problem)["flip+crop81"]:
        cut = padded[:, :, view.row : view.row + 5, view.column : view.column + 6]
        assert np.array_equal(seen(ours, view, 4), cut[..., ::-1] if view.flipped else cut)


def test_one_channel_without_a_crop_is_padded_with_its_darkest_value(problem_like: Callable[..., Problem]) -> None:
    """Handwritten digits stand on black, which is the smallest value of normalised pixels."""
    problem = problem_like((), channels=1)
    (padded,) = padded_batches(problem)
    assert bool((padded[:, :, 0] == problem.test[0].min()).all())  # type: ignore[union-attr]


@pytest.fixture
def streamed(tmp_path: Path, problem_like: Callable[..., Problem]) -> Callable[[int], Problem]:
    """A problem whose test images, of several shapes, stay in their files, resized to so many pixels for crops of 8."""
    image = pytest.importorskip("PIL.Image", reason="streamed images need Pillow")
    rng = np.random.default_rng(5)
    for number, size in enumerate([(20, 31), (24, 24), (37, 22)]):
        pixels = rng.integers(256, size=(*size, 3), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{number}.png")
    files = tuple(f"{number}.png" for number in range(3))
    zeros = np.zeros(3, dtype=np.int64)
    tree = Tree(tmp_path, ("one",), files, zeros, zeros, zeros)

    def make(resize: int) -> Problem:
        inputs = Streamed(tree, Decoders(0), size=8, resize=resize)
        return replace(problem_like(precision="float32"), test=(inputs, torch.zeros(3, dtype=torch.int64)))

    return make


def test_streamed_images_get_nine_crops_and_flips(streamed: Callable[[int], Problem]) -> None:
    """Crops of 8 from 16: corners, edges and the middle of the square, which is the usual test image."""
    problem = streamed(16)
    sets = view_sets(problem)
    assert {name: len(views) for name, views in sets.items()} == {"flip": 2, "crop9": 9, "flip+crop9": 18}
    assert {(v.row, v.column) for v in sets["crop9"]} == {(r, c) for r in (0, 4, 8) for c in (0, 4, 8)}
    (padded,) = padded_batches(problem)
    assert padded.shape == (3, 3, 16, 16)
    inputs = problem.test[0]
    assert torch.equal(seen(padded, View(4, 4), 4), inputs.batch(np.arange(3), None))  # type: ignore[union-attr]


def test_streamed_images_without_an_exact_middle_are_only_flipped(streamed: Callable[[int], Problem]) -> None:
    """Where rounding would put the central crop elsewhere, the unchanged image would not be among the crops."""
    assert {name: len(views) for name, views in view_sets(streamed(11)).items()} == {"flip": 2}
