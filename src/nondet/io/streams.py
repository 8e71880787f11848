"""How a command speaks: results on standard output, all else on standard error, whatever becomes of either."""

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
"""How a sentence begins that is heard also where notes are not."""

_volume = [0]


class NotRead(Exception):
    """Standard output takes no more: `error` is what the system said."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.error = error


def prepare() -> None:
    """Make the standard streams of this process fit to be written to.

    A stream that was closed (`>&-`) becomes the null device: else the next file that is opened would take its place,
    and be written to by whatever prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def replace_what_is_not_there() -> None:
    """Have a terminal without Greek letters still get its table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def tell(*sentences: str) -> None:
    """Results to standard output, each in a line of its own whatever a name in it holds; on a terminal in its width."""
    tell_as_it_is("".join(f"{_fitted(plain(sentence), sys.stdout)}\n" for sentence in sentences))


def tell_as_it_is(text: str) -> None:
    """Text to standard output whose names are plain already.

    Raises:
        NotRead: it cannot be written.
    """
    try:
        sys.stdout.write(text)
    except OSError as error:
        raise NotRead(error) from error


def say(text: str) -> None:
    """To standard error, in one line: standard output is for results alone. Where nobody hears, nothing is said.

    On a terminal the line is wrapped at its width, between words.
    """
    with suppress(OSError, ValueError):  # a pipe without a reader, a full disk, a terminal that is gone, a closed file
        print(_fitted(plain(text), sys.stderr), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A caution to standard error: what a reader of the results should know."""
    say(WARNING + text)


def note(text: str) -> None:
    """What work says on its way; with --quiet its warnings alone."""
    if _volume[-1] >= 0 or text.startswith(WARNING):
        say(text)


def detail(text: str) -> None:
    """What is said with --verbose alone."""
    if is_verbose():
        say(text)


def is_quiet() -> bool:
    """Whether warnings and results alone are wanted."""
    return _volume[-1] < 0


def is_verbose() -> bool:
    """Whether every step is to be told."""
    return _volume[-1] > 0


@contextmanager
def heard(volume: int) -> Generator[None]:
    """In this block notes are quiet (below 0), as usual (0), or every step is told (above 0)."""
    _volume.append(volume)
    try:
        yield
    finally:
        _volume.pop()


def _fitted(line: str, stream: IO[str]) -> str:
    """A line in lines as wide as the terminal that the stream is, if it is one; words and paths stay whole."""
    if not stream.isatty():
        return line
    return fill(line, max(20, get_terminal_size().columns), break_long_words=False, break_on_hyphens=False)


def flush() -> None:
    """Write out what standard output still holds.

    Raises:
        NotRead: it cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        raise NotRead(error) from error


def silence() -> None:
    """Have what is left in the streams go nowhere, so that Python's own last flush cannot fail.

    Only for a process that ends now.
    """
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            try:
                stream.flush()
            except (OSError, ValueError):
                os.dup2(null, number)


def _stream(number: int, mode: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(number, mode, closefd=False), encoding="utf-8", line_buffering=number == 2)
