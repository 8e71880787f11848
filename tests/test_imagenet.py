"""`nondet run imagenet` on a small generated tree: streamed, and the same bits whatever the number of decoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nondet.study import record as studies

Nondet = Callable[..., Any]
OPTIONS = ("--model", "linear", "--runs", 2, "--stack", 2, "--set", "epochs=1", "--set", "batch_size=4", "--workers", 1)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of three pictures for training and two for testing, of different sizes."""
    monkeypatch.setenv("NONDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NONDET_DECODERS", "0")
    rng = np.random.default_rng(3)
    for part, count in (("train", 3), ("val", 2)):
        for name, level in (("cat", 60), ("dog", 180)):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(level - 50, level + 50, size=(40 + i, 52, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "tree" / part / name / f"{i}.jpg")
    return tmp_path / "tree"


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "runs").glob("*.safetensors"))}


def test_the_number_of_decoders_does_not_matter(
    nondet: Nondet, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two studies, decoded by this process and by two workers, are the same files; the augmentation varies alone."""
    for decoders in ("0", "2"):
        monkeypatch.setenv("NONDET_DECODERS", decoders)
        ran = nondet("run", "imagenet", "--data", tree, "--vary", "augment", *OPTIONS, "--study", tmp_path / decoders)
        assert ran.code == 0, ran.err
    assert blobs(tmp_path / "0") == blobs(tmp_path / "2")
    shown = nondet("show", tmp_path / "0", "--json").json
    assert shown["control"] == {"runs": 2, "identical": True}
    assert "decoder" in shown["environment"]
    opened = studies.load(tmp_path / "0")
    assert opened.sources == ("init", "shuffle", "augment", "order", "bit")
    runs = [opened.store.get(key).arrays["outputs"] for key in opened.specs()]
    assert not np.array_equal(*runs)


def test_broken_pictures(nondet: Nondet, tree: Path, tmp_path: Path) -> None:
    """A broken picture is named and counted; training stops, unless it is to be skipped."""
    (tree / "train" / "cat" / "bad.jpg").write_bytes(b"no picture")
    (tree / "train" / "cat" / "notes.txt").write_text("ignored")
    options = ("run", "imagenet", "--data", tree, "--vary", "bit", *OPTIONS)
    stopped = nondet(*options, "--study", tmp_path / "s")
    assert stopped.code == 2
    assert "bad.jpg" in stopped.err
    assert stopped.err.count("\n") == 1, "nothing but the refusal"
    assert "--broken skip" in stopped.err
    assert not (tmp_path / "s").exists()
    skipped = nondet(*options, "--broken", "skip", "--study", tmp_path / "s")
    assert skipped.code == 0, skipped.err
    assert "bad.jpg" in skipped.err
    assert "1 files and folders" in skipped.err


def test_data_are_needed(nondet: Nondet, tmp_path: Path) -> None:
    """ImageNet cannot be fetched: a sentence says what --data must name."""
    ran = nondet("run", "imagenet", "--study", tmp_path / "s")
    assert ran.code == 2
    assert "--data" in ran.err
