"""Image trees: what counts as one, and what happens to broken images in it."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nondet.data import trees
from nondet.data.decoders import Decoders
from nondet.data.streamed import Streamed
from nondet.data.trees import find_broken, list_part, read_tree
from nondet.errors import BadInput
from nondet.sources import seeded_globals
from nondet.tasks import imagenet
from nondet.tasks.task import Options

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NONDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NONDET_DECODERS", "0")
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three classes, four training and two test images in each."""
    folder = tmp_path / "tree"
    for part, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                save(folder / part / name / f"{number}.jpg", 10 * label + number)
    return folder


def save(path: Path, seed: int, width: int = 40, height: int = 30) -> None:
    blocks = np.random.default_rng(seed).integers(256, size=(6, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)


def bomb(path: Path) -> None:
    """A PNG file of a few bytes that says it is 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))


def break_some(folder: Path) -> list[str]:
    """Five broken images among the training images, each broken in another way."""
    train = folder / "train"
    whole = (train / "ant/0.jpg").read_bytes()
    (train / "ant/0.jpg").write_bytes(whole[:-30])
    (train / "bee/note.jpg").write_text("I am no image.")
    (train / "bee/zero.JPEG").write_bytes(b"")
    bomb(train / "cat/bomb.png")
    (train / "cat/gone.jpg").symlink_to(folder / "nowhere.jpg")
    return ["ant/0.jpg", "bee/note.jpg", "bee/zero.JPEG", "cat/bomb.png", "cat/gone.jpg"]


def test_a_tree_lists_its_images_in_turn_by_class(tree: Path) -> None:
    """The first of each class come first, then the second: any beginning holds the classes alike."""
    train, test = read_tree(tree)
    assert train.classes == CLASSES
    assert train.files[:4] == ("ant/0.jpg", "bee/0.jpg", "cat/0.jpg", "ant/1.jpg")
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert (len(train.files), len(test.files)) == (12, 6)
    assert train.sizes.tolist() == [(tree / "train" / name).stat().st_size for name in train.files]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_the_second_part_has_one_of_four_names(tree: Path, name: str) -> None:
    """val, valid, validation or test, whichever is there."""
    (tree / "val").rename(tree / name)
    assert read_tree(tree)[1].root.name == name


def test_suffixes_count_in_any_letter_case_and_the_rest_is_ignored_and_counted(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hidden files, other files, and folders inside a class are no images; their number is said."""
    ant = tree / "train/ant"
    save(ant / "x.JpEg", 50)
    Image.new("RGB", (9, 9)).save(ant / "y.PNG")
    (ant / ".hidden.jpg").write_bytes(b"x")
    (ant / "notes.txt").write_bytes(b"x")
    (ant / "folder.jpg").mkdir()
    os.mkfifo(ant / "pipe.jpg")
    (tree / "train/README").write_bytes(b"x")
    (tree / "train/.git").mkdir()
    train, _ = read_tree(tree)
    assert train.labels.tolist().count(0) == 6
    assert train.ignored == 6
    assert "6 files and folders" in capsys.readouterr().err


def test_links_are_followed_and_cannot_loop(tree: Path, tmp_path: Path) -> None:
    """A class may be a link to a folder elsewhere; a link to the tree itself, or to itself, is no image."""
    (tree / "train/ant").rename(tmp_path / "elsewhere")
    (tree / "train/ant").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tree)
    (tmp_path / "elsewhere/self").symlink_to(tmp_path / "elsewhere/self")
    train, _ = read_tree(tree)
    assert len(train.files) == 12
    assert train.ignored == 2


def test_a_folder_without_two_parts_is_refused(tree: Path) -> None:
    """The sentence says which part is missing."""
    with pytest.raises(BadInput, match=r"which has no train and no val\)"):
        read_tree(tree / "val")
    (tree / "val").rename(tree / "other")
    with pytest.raises(BadInput, match=r"which has no val\)"):
        read_tree(tree)


def test_classes_that_only_one_part_has_are_named(tree: Path) -> None:
    """Both directions in one sentence."""
    (tree / "train/cat").rename(tree / "train/dog")
    with pytest.raises(BadInput, match=r"only train has 'dog', only val has 'cat'"):
        read_tree(tree)


def test_one_class_none_or_an_empty_one_are_refused(tree: Path) -> None:
    """At least two classes, each with an image in both parts."""
    (tree / "val/cat/0.jpg").unlink()
    (tree / "val/cat/1.jpg").unlink()
    with pytest.raises(BadInput, match=r"must have an image directly in its folder \(got none in '.*val/cat'\)"):
        read_tree(tree)
    (tree / "one/ant").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"at least 2 classes \(got one folder, 'ant'\)"):
        list_part(tree / "one")
    with pytest.raises(BadInput, match=r"at least 2 classes \(got no folder\)"):
        list_part(tree / "one/ant")


def test_the_official_validation_folder_is_told_how_to_be_arranged(tree: Path) -> None:
    """Images without class folders: the sentence names the file that holds their classes."""
    flat = tree / "flat"
    flat.mkdir()
    for number in range(1, 4):
        save(flat / f"ILSVRC2012_val_{number:08}.JPEG", number)
    with pytest.raises(BadInput, match=r"no folder, only 3 images\); move .*ILSVRC2012_validation_ground_truth\.txt"):
        list_part(flat)


def test_broken_images_stop_with_their_names_and_reasons(tree: Path) -> None:
    """One sentence: how many of how many, which, why, and the way out."""
    names = break_some(tree)
    with pytest.raises(BadInput, match=r"but 5 of 16 in '.*train' do not: .*broken=skip") as caught:
        read_tree(tree)
    text = str(caught.value)
    assert all(repr(name) in text for name in names)
    for why in ("truncated", "not an image", "decompression bomb", "No such file"):
        assert why in text
    assert "\n" not in text


def test_broken_images_are_left_out_on_demand(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are named, the list is that of a tree without them, and the data has another identity than before."""
    before = Streamed(read_tree(tree)[0], Decoders(0)).identity
    names = break_some(tree)
    train, test = read_tree(tree, "skip")
    assert "5 of 16 images" in capsys.readouterr().err
    assert sorted(train.files) == sorted(set(list_part(tree / "train").files) - set(names))
    assert len(test.files) == 6
    assert Streamed(train, Decoders(0)).identity != before


def test_only_ten_of_many_broken_images_are_named(tree: Path) -> None:
    """The rest are counted."""
    for number in range(13):
        (tree / f"val/ant/bad{number:02}.jpg").write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"13 of 19 .*'ant/bad09\.jpg' \([^)]*\) and 3 more;") as caught:
        read_tree(tree)
    assert "bad10" not in str(caught.value)


def test_a_class_of_which_nothing_decodes_is_refused(tree: Path) -> None:
    """Leaving out must not leave a class without examples."""
    for path in (tree / "val/bee").iterdir():
        path.write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"must have an image that decodes \(got none in 'bee' of '.*val'\)"):
        read_tree(tree, "skip")


def test_a_cut_takes_the_first_images_that_decode(tree: Path) -> None:
    """So many, all classes among them, whatever was left out before; no other image is tried."""
    (tree / "train/bee/0.jpg").write_bytes(b"bad")
    (tree / "train/cat/3.jpg").write_bytes(b"bad, but never needed")
    train, test = read_tree(tree, "skip", (4, 3))
    assert train.files == ("ant/0.jpg", "cat/0.jpg", "ant/1.jpg", "bee/1.jpg")
    assert test.labels.tolist() == [0, 1, 2]
    with pytest.raises(BadInput, match=r"1 of 4 .*'bee/0\.jpg'"):
        read_tree(tree, "stop", (4, 3))


@pytest.mark.parametrize("examples", [(0, None), (13, None), (None, 7), (None, -1)])
def test_a_cut_out_of_range_is_refused(tree: Path, examples: tuple[int | None, int | None]) -> None:
    """The sentence has the largest number."""
    with pytest.raises(BadInput, match=r"(train_examples must be from 1 to 12|test_examples must be from 1 to 6), "):
        read_tree(tree, "stop", examples)


def test_a_cut_above_what_decodes_is_refused(tree: Path) -> None:
    """12 images are listed, 11 decode."""
    (tree / "train/bee/0.jpg").write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"train_examples must be from 1 to 11, .*\(got 12\)"):
        read_tree(tree, "skip", (12, None))


def test_another_choice_about_broken_images_is_refused(tree: Path) -> None:
    """It is stop or skip."""
    with pytest.raises(BadInput, match=r"broken must be stop or skip \(got 'mend'\)"):
        read_tree(tree, "mend")


def test_the_check_is_kept_and_tries_only_the_broken_again(
    tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second check opens the broken images alone; a changed file, or a damaged record, starts anew."""
    names = break_some(tree)
    part = list_part(tree / "train")
    first = find_broken(part, Decoders(0))
    assert {part.files[place] for place in first} == set(names)

    tried: list[str] = []
    real = trees.read_image

    def noted(path: Path) -> Image.Image:
        tried.append(f"{path.parent.name}/{path.name}")
        return real(path)

    monkeypatch.setattr(trees, "read_image", noted)
    assert find_broken(part, Decoders(0)) == first
    assert sorted(tried) == sorted(names)

    (record,) = (cache / "checked").iterdir()
    record.write_bytes(record.read_bytes()[:-20])
    tried.clear()
    assert find_broken(part, Decoders(0)) == first
    assert len(tried) == 16

    os.utime(tree / "train/bee/1.jpg", ns=(1, 1))
    tried.clear()
    find_broken(list_part(tree / "train"), Decoders(0))
    assert len(tried) == 16


def test_a_mended_image_that_left_no_trace_is_found_whole(tree: Path) -> None:
    """Equal size and time, but the record of an earlier check does not condemn it."""
    path = tree / "train/ant/0.jpg"
    whole, info = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    with pytest.raises(BadInput, match=r"1 of 12 .*'ant/0\.jpg'"):
        read_tree(tree)
    path.write_bytes(whole)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert len(read_tree(tree)[0].files) == 12


def test_a_cache_that_cannot_be_written_is_done_without(tree: Path, cache: Path) -> None:
    """The check is only not remembered."""
    cache.write_text("a file where the folder should be")
    assert len(read_tree(tree)[0].files) == 12


def test_there_is_one_cache_folder(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried out is remembered where fetched files are: in the system's cache folder."""
    monkeypatch.delenv("NONDET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    read_tree(tree)
    assert not (tmp_path / "home").exists()
    assert len(list((tmp_path / "system" / "nondet" / "checked").iterdir())) == 2


def test_workers_find_the_same_broken_images(tree: Path, cache: Path) -> None:
    """Places and reasons are equal with none and with two."""
    break_some(tree)
    part = list_part(tree / "train")
    here = find_broken(part, Decoders(0))
    for record in (cache / "checked").iterdir():
        record.unlink()
    decoders = Decoders(2)
    assert find_broken(part, decoders) == here
    decoders.close()


@pytest.mark.parametrize("name", [b"new\nline", b"[bold]<b>&", b"\xff\xfe", b"\x1b[31m", b"--broken", b"'; rm"])
def test_hostile_names_are_names(tree: Path, name: bytes) -> None:
    """Newlines, markup and bytes that are no text: as class and file they work, and in a sentence they are escaped."""
    for part in ("train", "val"):
        folder = (tree / part / "ant").rename(tree / part / os.fsdecode(name))
        (folder / "0.jpg").rename(folder / os.fsdecode(name + b".jpg"))
    train, test = read_tree(tree)
    assert name in [os.fsencode(c) for c in train.classes]
    inputs = Streamed(train, Decoders(0), size=8, resize=9)
    assert inputs.batch(np.arange(12), None).shape == (12, 3, 8, 8)
    assert inputs.identity != Streamed(test, Decoders(0), size=8, resize=9).identity

    (tree / "train" / os.fsdecode(name) / os.fsdecode(name + b".jpg")).write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"1 of 12 ") as caught:
        read_tree(tree)
    assert str(caught.value).isprintable()


def test_imagenet_needs_a_folder() -> None:
    """There is nothing to fetch: the sentence says what the folder holds."""
    with pytest.raises(BadInput, match=r"no free download.*give data=DIR, where DIR contains train/CLASS"):
        imagenet.task("imagenet", Options())


def test_imagenet_is_the_tree_with_its_classes(tree: Path) -> None:
    """224 pixels, an output for each class, the sizes of the cut, and no augmentation outside the stream."""
    options = Options(data=tree, model="linear", train_examples=7, test_examples=5)
    task = imagenet.task("imagenet", options)
    inputs, labels = task.train
    assert isinstance(inputs, Streamed)
    assert inputs.shape == (7, 3, 224, 224)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(task.test[0]) == len(task.test[1]) == 5
    assert task.augment == ()
    with seeded_globals(np.random.default_rng(0)):
        assert task.model()(inputs.batch(np.arange(2), None)).shape == (2, 3)


def test_imagenet_passes_on_what_to_do_about_broken_images(tree: Path) -> None:
    """stop by default, skip on demand."""
    (tree / "train/bee/0.jpg").write_bytes(b"bad")
    with pytest.raises(BadInput, match=r"1 of 12 .*broken=skip"):
        imagenet.task("imagenet", Options(data=tree))
    assert len(imagenet.task("imagenet", Options(data=tree, broken="skip")).train[0]) == 11
