"""Decode image files into pixels, with random or central crops.

Importing this module imports neither torch nor Pillow, so that workers start fast and stay small.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nondet.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
LONGEST = 1000
"""The largest ratio of long to short side. Beyond it an image counts as broken: resized, it would fill the memory."""

AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10
DRAWS = 2 * TRIES + 3


def crop_box(draw: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return a random resized crop (Szegedy et al. 2015, sec. 6, as usual): (left, upper, right, lower) in pixels.

    The crop's share of the image's area is uniform in AREA, the logarithm of its aspect ratio is uniform between those
    of RATIO, and each place is equally likely. The first of ten tries that fits is used; if none fits, the largest
    central part with an allowed ratio. draw (DRAWS,), uniform in [0, 1): ten areas, ten ratios, x, y, flip.
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for area, ratio in zip(draw[:TRIES], draw[TRIES : 2 * TRIES], strict=True):
        pixels = width * height * (AREA[0] + area * (AREA[1] - AREA[0]))
        aspect = math.exp(low + ratio * (high - low))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(draw[-3] * (width - w + 1)), int(draw[-2] * (height - h + 1))
            return left, upper, left + w, upper + h
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h


def read_image(path: Path) -> Image:
    """Read the whole image in a file as RGB, ignoring EXIF orientation; a broken image raises an error of any kind.

    Transparency is dropped, and 16-bit greys keep their upper 8 bits. More pixels than Pillow's limit are an error too.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as image:
            if max(image.size) > LONGEST * min(image.size):
                raise ValueError(f"one side is more than {LONGEST} times the other")
            if image.mode.startswith("I;16"):
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")


def training_pixels(image: Image, draw: np.ndarray, size: int) -> np.ndarray:
    """Return the crop for a row of draws, scaled to (size, size, 3), flipped if the row's last number is below 1/2."""
    from PIL.Image import Resampling

    scaled = image.crop(crop_box(draw, *image.size)).resize((size, size), Resampling.BILINEAR)
    pixels = np.asarray(scaled)
    return pixels[:, ::-1] if draw[-1] < 0.5 else pixels


def test_pixels(image: Image, size: int, resize: int) -> np.ndarray:
    """Return the central (size, size, 3) pixels of the image after scaling its short side to `resize`."""
    from PIL.Image import Resampling

    width, height = (side * resize // min(image.size) for side in image.size)
    left, upper = round((width - size) / 2), round((height - size) / 2)
    scaled = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(scaled.crop((left, upper, left + size, upper + size)))


def decode(root: Path, jobs: Sequence[tuple[str, np.ndarray | None]], size: int, resize: int) -> np.ndarray:
    """Return the pixels for each (file, rows of draws), in order: (m, 3, size, size), uint8; None for a test image."""
    pixels: list[np.ndarray] = []
    for name, rows in jobs:
        try:
            image = read_image(root / name)
        except Exception as error:
            raise BadInput(
                f"every image must decode, and {name!r} in {str(root)!r} no longer does ({reason(error)}); restore it"
            ) from error
        if rows is None:
            pixels.append(test_pixels(image, size, resize))
        else:
            pixels += [training_pixels(image, row, size) for row in rows]
    return np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))


def reason(error: Exception) -> str:
    """Say in a few printable words why an image does not decode."""
    if type(error).__name__ == "UnidentifiedImageError":  # its own text contains the whole path
        return "not an image in JPEG, PNG, BMP or WebP"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ascii(" ".join(text.split()))[1:-1][:120] or type(error).__name__


def decoder_version() -> str:
    """Name the libraries that decode images; other versions may round the last bits differently."""
    try:
        import PIL
        from PIL import features
    except ImportError as error:
        raise BadInput(f"images need the library Pillow ({error}); install it with pip install pillow") from error
    turbo = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
    return f"Pillow {PIL.__version__}, JPEG {turbo}"
