"""Test examples as pictures: what counts as one, and what is said where there are none."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nondet.analysis.pictures import picture, pictures_of
from nondet.data import decode
from nondet.running.request import Request
from nondet.study import record as studies
from nondet.study.study import Study


def _pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        return np.asarray(image)


def test_enlarged_by_a_whole_factor() -> None:
    """8 x 8 pixels become 96 x 96, each a square of 12 x 12 equal ones; the smallest is black, the largest white."""
    example = np.arange(64.0).reshape(1, 8, 8) - 20
    drawn = _pixels(picture(example))
    assert drawn.shape == (96, 96)
    assert drawn[::12, ::12].tolist() == np.rint(255 * (example[0] + 20) / 63).astype(int).tolist()
    assert (drawn == drawn[::12, ::12].repeat(12, axis=0).repeat(12, axis=1)).all()


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((3, 32, 32), (96, 96, 3)),
        ((28, 28), (84, 84)),
        ((784,), (84, 84)),
        ((3 * 10 * 10,), (90, 90, 3)),
        ((1, 8, 16), (48, 96)),
        ((3, 224, 224), (224, 224, 3)),
    ],
)
def test_what_is_a_picture(shape: tuple[int, ...], drawn: tuple[int, ...]) -> None:
    """Channels first, no channels, and flat vectors of a square are pictures; large ones keep their size."""
    assert _pixels(picture(np.random.default_rng(0).random(shape))).shape == drawn


@pytest.mark.parametrize("shape", [(), (6,), (63,), (65,), (2, 8, 8), (4, 8, 8), (1, 8, 7), (1, 8, 2000), (2, 3, 8, 8)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    """Rows of figures, other channels and sides, and more axes are no pictures."""
    assert picture(np.zeros(shape)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float) -> None:
    """An input that is not finite is no picture."""
    example = np.zeros((8, 8))
    example[0, 0] = value
    assert picture(example) is None


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16, bool])
def test_types_and_equal_pixels(kind: Any) -> None:
    """Any real type will do; an input of equal numbers is black."""
    assert (_pixels(picture(np.ones((8, 8), dtype=kind))) == 0).all()


def test_pictures_of_a_study(study: Path) -> None:
    """A user's task file is code: it runs only where that is allowed, and then its six columns are no pictures."""
    opened = studies.load(study)
    found, why = pictures_of(opened, [0])
    assert found == {}
    assert "is code and was not run" in why
    assert pictures_of(opened, [0, 3], run_task=True) == (
        {},
        "the inputs of this task are not pictures with one or three channels",
    )


def test_reasons(study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing or broken becomes a sentence, never an error."""
    monkeypatch.setenv("NONDET_CACHE", str(tmp_path))
    opened = studies.load(study)
    mnist = replace(opened, request={**opened.request, "task": "mnist"})
    assert "the data of mnist are not on this machine" in pictures_of(mnist, [0])[1]
    gone = replace(opened, request={**opened.request, "task": str(tmp_path / "gone.py")})
    assert "cannot read" in pictures_of(gone, [0], run_task=True)[1]
    assert "does not say what made it" in pictures_of(replace(opened, request={}), [0])[1]
    odd = replace(opened, request={"task": "digits", "hostile": 1})
    assert "must say what was trained, in nondet's own form" in pictures_of(odd, [0])[1]


def untrained(folder: Path, task: str, data: Path | None = None) -> Study:
    """A study of a task as its first command leaves it, before any training."""
    request = Request(task, {"test_examples": "4"} if data else {}, data=str(data) if data else None, model="linear")
    problem = request.prepare()
    labels = problem.test[1].numpy()
    return Study(folder, problem.identity, problem.sources, {}, labels, request=request.as_dict())


def test_digits(tmp_path: Path) -> None:
    """A study of digits has pictures, those of the test examples that were asked for."""
    found, why = pictures_of(untrained(tmp_path, "digits"), [7, 2])
    assert why == ""
    assert list(found) == [7, 2]
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    test = np.ones(len(classes), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(classes == digit)[1::2]] = False
    second = pixels[test][2].reshape(8, 8)
    assert _pixels(found[2])[::12, ::12] == pytest.approx(255 * second / second.max(), abs=1)


def test_streamed_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of test images that stay in their files, only those that were asked for are read."""
    monkeypatch.setenv("NONDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NONDET_DECODERS", "0")
    rng = np.random.default_rng(0)
    for part, name in ((part, name) for part in ("train", "val") for name in ("cat", "dog")):
        (tmp_path / "tree" / part / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 255, size=(40, 52, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tree" / part / name / f"{i}.png")
    opened = untrained(tmp_path / "s", "imagenet", tmp_path / "tree")

    read: list[str] = []
    whole = decode.read_image
    monkeypatch.setattr(decode, "read_image", lambda path: read.append("/".join(path.parts[-3:])) or whole(path))
    assert "which was not read" in pictures_of(opened, [2])[1]  # the study names the folder, and nobody else has
    found, why = pictures_of(opened, [2], str(tmp_path / "tree"))
    assert why == ""
    assert _pixels(found[2]).shape == (224, 224, 3)
    (tested,) = [name for name in read if name.startswith("val")]
    assert tested.split("/")[1] == ("cat", "dog")[opened.labels[2]]
