"""What a command prints: results on standard output, everything else on standard error, even if either breaks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from shutil import get_terminal_size
from textwrap import fill
from typing import IO

from nondet.io.plain import plain

WARNING = "warning: "
"""The beginning of a sentence that is printed even if notes are not."""

_volume = [0]


class NotRead(Exception):
    """Standard output can no longer be written to; `error` is the system's error."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.error = error


def prepare() -> None:
    """Make sure that the standard streams of this process can be written to.

    A stream that was closed (`>&-`) becomes the null device. Otherwise the next file that is opened would take its
    place, and whatever prints would write to that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, name) is None:
            raw = io.FileIO(number, "w" if number else "r", closefd=False)
            setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", line_buffering=number == 2))


def replace_what_is_not_there() -> None:
    """Let a terminal without Greek letters still show its tables."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def tell(*sentences: str) -> None:
    """Print results to standard output, each on a line of its own, wrapped at a terminal's width."""
    tell_as_it_is("".join(f"{_fitted(plain(sentence), sys.stdout)}\n" for sentence in sentences))


def tell_as_it_is(text: str) -> None:
    """Print text to standard output, or raise NotRead; its names must be plain already."""
    try:
        sys.stdout.write(text)
    except OSError as error:
        raise NotRead(error) from error


def say(text: str) -> None:
    """Print a line to standard error, since standard output is for results only; if nobody can read it, do nothing.

    On a terminal the line is wrapped between words.
    """
    with suppress(OSError, ValueError):  # a pipe without a reader, a full disk, a lost terminal, a closed file
        print(_fitted(plain(text), sys.stderr), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to standard error: something that a reader of the results should know."""
    say(WARNING + text)


def note(text: str) -> None:
    """Print a note on the progress of work; with --quiet only if it is a warning."""
    if _volume[-1] >= 0 or text.startswith(WARNING):
        say(text)


def detail(text: str) -> None:
    """Print a detail, only with --verbose."""
    if is_verbose():
        say(text)


def is_quiet() -> bool:
    """Whether only warnings and results are wanted."""
    return _volume[-1] < 0


def is_verbose() -> bool:
    """Whether every step should be reported."""
    return _volume[-1] > 0


@contextmanager
def heard(volume: int) -> Generator[None]:
    """Set the volume inside this block: warnings only (below 0), notes as usual (0), or every step (above 0)."""
    _volume.append(volume)
    try:
        yield
    finally:
        _volume.pop()


def _fitted(line: str, stream: IO[str]) -> str:
    """Wrap a line at the width of the stream's terminal, if it is one; words and paths stay whole."""
    if not stream.isatty():
        return line
    return fill(line, max(20, get_terminal_size().columns), break_long_words=False, break_on_hyphens=False)


def flush() -> None:
    """Write out what is still buffered for standard output, or raise NotRead."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise NotRead(error) from error


def silence() -> None:
    """Discard what is left in the streams of a process that ends, so that Python's own last flush cannot fail."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            try:
                stream.flush()
            except (OSError, ValueError):
                os.dup2(null, number)
