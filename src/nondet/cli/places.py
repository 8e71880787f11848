"""Copy studies between folders and buckets, and test what a place can do."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import USUAL, Form, Json, Volume, answer
from nondet.io.streams import detail, say, tell
from nondet.running.copying import Copied


def pull(source: str, folder: Path, /, *, json: Json = False, volume: Volume = USUAL) -> int:
    """Copy a study from a bucket or a folder into a folder; run it again to continue an interrupted copy.

    Parameters
    ----------
    source
        s3://bucket/path, gs://bucket/path, az://container/path, or a folder.
    folder
        A new folder, or one that has part of the same study.
    """
    import nondet

    return _copied(nondet.pull(source, folder, say=detail), json)


def push(folder: Path, target: str, /, *, json: Json = False, volume: Volume = USUAL) -> int:
    """Copy a study from a folder into a bucket or another folder; run it again to continue an interrupted copy.

    Parameters
    ----------
    folder
        A study's folder.
    target
        s3://bucket/path, gs://bucket/path, az://container/path, or a folder.
    """
    import nondet

    return _copied(nondet.push(folder, target, say=detail), json)


def doctor(place: str, /, *, json: Json = False) -> int:
    """Test whether a folder or a bucket can hold a study that many machines work on.

    Exits with 1 if something fails that every study needs.

    Parameters
    ----------
    place
        A folder, or an address such as s3://bucket/path.
    """
    import nondet

    found = nondet.doctor(place)
    answer(found, Form(json=json))
    if not found.sound:
        say(f"{found.place} cannot hold a study; see the lines that say NO")
    return 0 if found.sound else 1


def _copied(found: Copied, json: bool) -> int:
    if json:
        return answer(found, Form(json=True))
    tell(
        f"{found.runs} runs and {found.others} other files ({found.bytes:,} bytes) copied from {found.source} to "
        f"{found.target}; {found.present} runs were already there."
    )
    return 0
