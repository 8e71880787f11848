"""How a command speaks: results on standard output, all else on standard error, whatever becomes of either."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from nondet.io.plain import plain


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
    """Results to standard output, each in a line of its own whatever a name in it holds."""
    tell_as_it_is("".join(f"{plain(sentence)}\n" for sentence in sentences))


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
    """To standard error, in one line: standard output is for results alone. Where nobody hears, nothing is said."""
    with suppress(OSError, ValueError):  # a pipe without a reader, a full disk, a terminal that is gone, a closed file
        print(plain(text), file=sys.stderr, flush=True)


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
