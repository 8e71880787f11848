"""Streamed inputs: the same pixels with any number of workers, and the pixels that the recipe's words say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from scipy import integrate, stats

from nondet.data import decode, decoders
from nondet.data.decode import AREA, DRAWS, RATIO, crop_box, read_image, test_pixels, training_pixels
from nondet.data.decoders import Decoders, decoder_count
from nondet.data.streamed import Streamed
from nondet.data.trees import Tree, list_part
from nondet.errors import BadInput

test_pixels.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  # pytest takes its name for a test's

SIZES = ((40, 30), (30, 45), (33, 33), (80, 20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with 10 JPEG images each, of four sizes, smooth and without symmetry."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(1)
    for name in ("left", "right"):
        (root / name).mkdir()
        for number in range(10):
            blocks = Image.fromarray(rng.integers(256, size=(5, 6, 3), dtype=np.uint8))
            image = blocks.resize(SIZES[number % 4], Image.Resampling.BICUBIC)
            image.save(root / name / f"{number}.jpg", quality=90)
    return root


@pytest.fixture(scope="module")
def tree(folder: Path) -> Tree:
    return list_part(folder)


@pytest.fixture(scope="module")
def two(tree: Tree) -> Generator[Streamed]:
    """The tree's images through two workers."""
    inputs = Streamed(tree, Decoders(2), size=16, resize=20)
    yield inputs
    inputs.close()


@pytest.fixture
def alone(tree: Tree) -> Streamed:
    """The same without workers."""
    return Streamed(tree, Decoders(0), size=16, resize=20)


def asked(seed: int, m: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """An index with many repeats, and rows of draws for it."""
    rng = np.random.default_rng(seed)
    return rng.integers(20, size=m), rng.random((m, DRAWS))


def test_pixels_are_the_same_with_any_number_of_workers(tree: Tree, alone: Streamed, two: Streamed) -> None:
    """None, one and two: equal to the last bit, in training and in evaluation, with repeats in the index."""
    one = Streamed(tree, Decoders(1), size=16, resize=20)
    index, draws = asked(2)
    for rows in (draws, None):
        expected = alone.batch(index, rows)
        assert expected.shape == (50, 3, 16, 16)
        assert expected.dtype == torch.float32
        assert expected.is_contiguous()
        assert torch.equal(one.batch(index, rows), expected)
        assert torch.equal(two.batch(index, rows), expected)
    one.close()


def test_an_example_depends_on_its_own_row_alone(alone: Streamed) -> None:
    """Each of a batch, asked for by itself, is the same; the order is that of the index."""
    index, draws = asked(3, 12)
    together = alone.batch(index, draws)
    for place in range(12):
        assert torch.equal(alone.batch(index[[place]], draws[[place]])[0], together[place])
    assert torch.equal(alone.batch(index[::-1], draws[::-1]), together.flip(0))


def test_an_image_is_decoded_once_for_a_batch(alone: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several runs of a stack may ask for the same image with other crops."""
    opened: list[str] = []

    def noted(path: Path) -> Image.Image:
        opened.append(str(path))
        return read_image(path)

    monkeypatch.setattr(decode, "read_image", noted)
    _, draws = asked(4, 6)
    alone.batch(np.array([7, 3, 7, 7, 3, 0]), draws)
    assert len(opened) == len(set(opened)) == 3


def test_what_was_asked_for_ahead_is_taken(alone: Streamed, two: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of equal arguments starts nothing anew; another batch is right all the same, and so is no workers."""
    index, draws = asked(5)
    other, others = asked(6)
    expected = alone.batch(index, draws)
    two.prefetch(index, draws)
    assert torch.equal(two.batch(other, others), alone.batch(other, others))
    assert torch.equal(two.batch(index, None), alone.batch(index, None))
    with monkeypatch.context() as patch:
        patch.setattr(two, "_start", None)  # whoever starts a batch now fails
        assert torch.equal(two.batch(index.copy(), draws.copy()), expected)
    assert torch.equal(two.batch(index, draws), expected)
    alone.prefetch(index, draws)
    assert torch.equal(alone.batch(index, draws), expected)


def test_arrays_may_change_after_a_prefetch(alone: Streamed, two: Streamed) -> None:
    """The wish is that of the moment it was made: changed arrays are another wish."""
    index, draws = asked(7)
    two.prefetch(index, draws)
    index[:], draws[:] = asked(8)
    assert torch.equal(two.batch(index, draws), alone.batch(index, draws))


def test_draws_belong_to_the_generator(alone: Streamed) -> None:
    """One row for each example, uniform in [0, 1), the same from an equal generator, an example's own."""
    draws = alone.draw(np.random.default_rng(9), 20)
    assert draws.shape == (20, DRAWS)
    assert draws.dtype == np.float64
    assert np.array_equal(draws, alone.draw(np.random.default_rng(9), 20))
    assert np.array_equal(draws[:5], alone.draw(np.random.default_rng(9), 5))
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3


def test_a_test_image_is_the_recipes_central_crop(tree: Tree) -> None:
    """Against Pillow, by ImageOps.fit's rounding-free sizes: 40 x 30 to 80 x 60, and its central 48 x 48."""
    place = tree.files.index("left/0.jpg")
    inputs = Streamed(tree, Decoders(0), size=48, resize=60)
    with Image.open(tree.root / "left/0.jpg") as image:
        scaled = np.asarray(ImageOps.scale(image, 2.0, Image.Resampling.BILINEAR), dtype=np.float64)
    expected = (scaled[6:54, 16:64] / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = inputs.batch(np.array([place]), None)[0].permute(1, 2, 0).double().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def smoothly(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """torch's own antialiased bilinear scaling of (H, W, 3)."""
    planes = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    scaled = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shape", SIZES)
def test_pixels_agree_with_torchs_scaling(shape: tuple[int, int]) -> None:
    """An independent implementation, within the rounding to whole levels: test images, training images, both flips."""
    rng = np.random.default_rng(10)
    blocks = Image.fromarray(rng.integers(256, size=(5, 6, 3), dtype=np.uint8))
    image = blocks.resize(shape, Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    width, height = shape
    short = min(shape)
    scaled = smoothly(pixels, 20 * height // short, 20 * width // short)
    upper, left = round((scaled.shape[0] - 16) / 2), round((scaled.shape[1] - 16) / 2)
    found = test_pixels(image, 16, 20).astype(float)
    np.testing.assert_allclose(found, scaled[upper : upper + 16, left : left + 16], atol=1.01)
    for flip in (0.0, 0.499, 0.5, 0.999):
        row = rng.random(DRAWS)
        row[-1] = flip
        left, upper, right, lower = crop_box(row, width, height)
        expected = smoothly(pixels[upper:lower, left:right], 16, 16)
        expected = expected[:, ::-1] if flip < 0.5 else expected
        np.testing.assert_allclose(training_pixels(image, row, 16).astype(float), expected, atol=1.01)


def boxes(width: int, height: int, n: int = 20_000) -> np.ndarray:
    draws = np.random.default_rng(11).random((n, DRAWS))
    return np.array([crop_box(row, width, height) for row in draws])


@pytest.mark.parametrize(("width", "height"), [(40_000, 30_000), (30_000, 30_000)])
def test_crops_have_the_distribution_of_theory(width: int, height: int) -> None:
    """Area and log ratio are uniform on their rectangle, given that the crop fits: both marginals, and the place.

    A crop of area share a and log ratio l fits when a <= exp(-|l - l0|), where l0 is the image's own log ratio.
    """
    left, upper, right, lower = boxes(width, height).T
    w, h = right - left, lower - upper
    area, ratio = w * h / (width * height), np.log(w / h)
    low, high = np.log(RATIO)
    own = np.log(width / height)
    assert AREA[0] - 1e-3 <= area.min() < 0.09
    assert area.max() <= 1
    assert low - 1e-3 <= ratio.min() < ratio.max() <= high + 1e-3

    l = np.linspace(low, high, 4001)  # noqa: E741  # the name in the formula
    a = np.linspace(*AREA, 4001)
    of_ratio = np.exp(-np.abs(l - own)) - AREA[0]
    of_area = np.clip(np.minimum(high, own - np.log(a)) - np.maximum(low, own + np.log(a)), 0, None)
    for values, grid, density in ((ratio, l, of_ratio), (area, a, of_area)):
        cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
        assert stats.kstest(values, lambda x, g=grid, c=cdf: np.interp(x, g, c / c[-1])).pvalue > 1e-3
    for start, room in ((left, width - w), (upper, height - h)):
        inside = room > 100
        assert stats.kstest(start[inside] / room[inside], "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 900), (900, 1), (2, 3), (500, 375)])
def test_crops_lie_inside_every_image(width: int, height: int) -> None:
    """Where no try fits, the largest central part of an allowed ratio: of 1 x 900 pixels one pixel."""
    left, upper, right, lower = boxes(width, height, 300).T
    assert (left >= 0).all()
    assert (left < right).all()
    assert (right <= width).all()
    assert (upper >= 0).all()
    assert (upper < lower).all()
    assert (lower <= height).all()


def test_a_crop_that_never_fits_is_central() -> None:
    """Whole area, ten times: of 100 x 300 pixels the central 100 x 133, of 300 x 100 the central 133 x 100."""
    row = np.full(DRAWS, 0.999)
    assert crop_box(row, 100, 300) == (0, 83, 100, 216)
    assert crop_box(row, 300, 100) == (83, 0, 216, 100)


def test_half_of_the_images_are_flipped(alone: Streamed) -> None:
    """A coin of 1/2 in 4,000 throws, within four standard deviations."""
    image = Image.fromarray(np.tile(np.arange(8, dtype=np.uint8)[None, :, None] * 30, (8, 1, 3)))  # bright on the right
    rows = alone.draw(np.random.default_rng(12), 4000)
    pixels = [training_pixels(image, row, 4)[0] for row in rows]
    flipped = sum(int(p[0, 0]) > int(p[-1, 0]) for p in pixels)
    assert abs(flipped - 2000) < 4 * np.sqrt(1000)


def test_every_kind_of_image_becomes_rgb(tmp_path: Path) -> None:
    """Grey, 16-bit grey, palette with transparency, RGBA, CMYK, one bit: three channels, grey ones equal."""
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "alpha.webp", lossless=True)
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "four.jpg", quality=100)
    Image.fromarray(grey).convert("1").save(tmp_path / "one.bmp")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png", transparency=bytes(range(256)))
    for path in sorted(tmp_path.iterdir()):
        image = read_image(path)
        pixels = np.asarray(image)
        assert (image.mode, pixels.shape) == ("RGB", (8, 8, 3)), path.name
        assert (pixels == pixels[:, :, :1]).all(), path.name
        if path.name != "one.bmp":
            np.testing.assert_allclose(pixels[:, :, 0].astype(int), grey, atol=3)


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    """The pixels stay as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (20, 10)


def test_a_thread_of_an_image_is_broken(tmp_path: Path) -> None:
    """2,001 x 2 pixels would be 256,000 wide in evaluation."""
    Image.new("RGB", (2001, 2)).save(tmp_path / "thread.png")
    with pytest.raises(ValueError, match="one side is more than 1000 times the other"):
        read_image(tmp_path / "thread.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_later_is_one_sentence(folder: Path, tmp_path: Path, workers: int) -> None:
    """It is named, from a worker as from this process, and the workers live on."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes((folder / "left/0.jpg").read_bytes())
    inputs = Streamed(list_part(tmp_path), Decoders(workers), size=16, resize=20)
    (tmp_path / "b/0.jpg").write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"every image must decode, and 'b/0\.jpg' in .* no longer does \(not an image"):
        inputs.batch(np.array([0, 1]), None)
    assert len(inputs.batch(np.array([0]), None)) == 1
    inputs.close()


def test_a_killed_worker_is_one_sentence_and_the_next_call_works(alone: Streamed, two: Streamed) -> None:
    """No waiting for what will never come."""
    index, draws = asked(13)
    with pytest.raises(BadInput, match=r"all of the 2 decoding processes must stay alive.*NONDET_DECODERS=1"):
        two.decoders.submit(os._exit, 1)()
    assert torch.equal(two.batch(index, draws), alone.batch(index, draws))


def test_a_batch_that_lost_its_workers_is_one_sentence(tree: Tree) -> None:
    """Asked for ahead, then the workers of both parts are closed by the other part."""
    decoders = Decoders(1)
    train, test = (Streamed(tree, decoders, size=16, resize=20) for _ in range(2))
    train.prefetch(np.arange(20), None)  # three jobs: the last cannot begin before the one worker has started
    test.close()
    with pytest.raises(BadInput, match=r"one did not start or was killed"):
        train.batch(np.arange(20), None)


def test_workers_end_when_closed(tree: Tree) -> None:
    """Their process is gone after `close`."""
    decoders = Decoders(1)
    worker = decoders.submit(os.getpid)()
    assert worker != os.getpid()
    decoders.close()
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(worker, 0)
    decoders.close()


def test_workers_end_with_a_killed_main_process() -> None:
    """The pipe that they inherit is closed only when the last of them is gone."""
    script = (
        "import os; from nondet.data.decoders import Decoders; "
        "d = Decoders(2); print(d.submit(os.getpid)() != os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == -9
    assert ran.stdout == "True\n"


def test_a_worker_needs_no_torch() -> None:
    """What a worker imports is small."""
    script = "import sys, nondet.data.streamed; print('torch' in sys.modules, 'PIL' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One less than the cores, none for few images, or what NONDET_DECODERS says, which must be a number."""
    monkeypatch.delenv("NONDET_DECODERS", raising=False)
    monkeypatch.setattr(decoders, "available_cores", lambda: 8)
    assert decoder_count(1_000_000) == 7
    assert decoder_count(20) == 0
    monkeypatch.setenv("NONDET_DECODERS", "3")
    assert decoder_count(20) == 3
    for text in ("", "-1", "two", "1.5", "513", "9" * 5000, "²"):
        monkeypatch.setenv("NONDET_DECODERS", text)
        with pytest.raises(BadInput, match="NONDET_DECODERS must be a whole number from 0 to 512"):
            decoder_count(20)


def test_the_identity_names_list_and_settings(tree: Tree) -> None:
    """Equal for an equal tree elsewhere; another for other files, order, sizes of files, and settings."""
    base = Streamed(tree, Decoders(0)).identity
    assert len(base) == 64
    assert Streamed(list_part(tree.root), Decoders(2)).identity == base
    others = [
        Streamed(tree.take(np.arange(19)), Decoders(0)).identity,
        Streamed(tree.take(np.arange(20)[::-1]), Decoders(0)).identity,
        Streamed(tree, Decoders(0), size=192).identity,
        Streamed(tree, Decoders(0), resize=300).identity,
        Streamed(tree, Decoders(0), mean=(0.5, 0.5, 0.5)).identity,
        Streamed(tree, Decoders(0), std=(0.5, 0.5, 0.5)).identity,
    ]
    assert len({base, *others}) == 7


def test_shape_and_length(alone: Streamed) -> None:
    """Those of what `batch` returns for all examples."""
    assert len(alone) == 20
    assert alone.shape == (20, 3, 16, 16) == tuple(alone.batch(np.arange(20), None).shape)
    assert tuple(alone.batch(np.arange(0), None).shape) == (0, 3, 16, 16)
    assert tuple(alone.batch(np.arange(0), np.empty((0, DRAWS))).shape) == (0, 3, 16, 16)
