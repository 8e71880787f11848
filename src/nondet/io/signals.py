"""How a command stops when it is told to: Ctrl-C, SIGTERM, or a terminal that is closed (SIGHUP).

A stop ends the process where it stands, with one line: nothing is at stake while libraries are loaded or a study is
read. Where something is (helper processes, a file half written, a progress bar), a block says so: `unwinding` has the
stop raised there as a KeyboardInterrupt, so that everything on the way out is put in order; `undisturbed` has it wait
for the end of the block. The exit status is 128 plus the signal's number, as shells have it.

This module is loaded before all others, and imports next to nothing: until it is there, Python answers in its own way.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

PATIENCE = 5.0
"""Seconds for which a further signal is taken for the same wish; after them it ends what puts things in order."""

AGAIN = 0.01
"""Seconds after which a stop that was lost in a destructor is raised once more."""


class Interrupted(KeyboardInterrupt):
    """A stop on its way out."""


class _State:
    """received, at: the first signal and when it came. unwinding, undisturbed: how many such blocks are open.

    ended: the exit status once the command's work is done. told: whether the user has been told of the stop.
    """

    received: int | None = None
    at: float = 0.0
    unwinding: int = 0
    undisturbed: int = 0
    ended: int | None = None
    told: bool = False


_state = _State()


def install() -> None:
    """Take over the signals of this process, but for those that its parent has it ignore (`nohup`)."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable
    atexit.register(_ignore)  # runs last: then Python takes the handlers back, and a signal would kill it


def stopped() -> bool:
    """Whether the process was told to stop."""
    return _state.received is not None


def status() -> int:
    """The exit status of a stopped command; that of Ctrl-C if no signal is known."""
    return 128 + int(_state.received or signal.SIGINT)


def told() -> None:
    """Note that the user has been told of the stop."""
    _state.told = True


def end(code: int) -> int:
    """Note that the command's work is done with this status, which a later signal no longer changes; the status."""
    _state.ended = code
    return code


@contextmanager
def unwinding() -> Generator[None]:
    """Have a stop inside this block raised as a KeyboardInterrupt."""
    _state.unwinding += 1
    try:
        yield
    finally:
        _state.unwinding -= 1


def unwind_from_now_on() -> None:
    """Likewise until the process ends: it has children that must not be left alone."""
    _state.unwinding += 1


@contextmanager
def undisturbed() -> Generator[None]:
    """Have a stop wait for the end of this block, which is short."""
    _state.undisturbed += 1
    try:
        yield
    finally:
        _state.undisturbed -= 1
    if stopped() and not _state.undisturbed:
        _stop()


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.ended is not None:
        os._exit(_state.ended)
    if stopped():
        if time.monotonic() - _state.at > PATIENCE:
            _leave()
        return
    _state.received, _state.at = number, time.monotonic()
    if not _state.undisturbed:
        _stop()


def _stop() -> NoReturn:
    if _state.unwinding:
        raise Interrupted
    _leave()


def _leave() -> NoReturn:
    """End the process here and now."""
    if not _state.told:
        with suppress(OSError):
            os.write(2, b"Stopped.\n")
    os._exit(status())


def _ignore() -> None:
    """Let a process that is done come to its end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _on_unraisable(lost: Any) -> None:
    """Raise a stop again that came inside a destructor, where Python drops it; after a stop, drop all else."""
    if isinstance(lost.exc_value, Interrupted):
        from threading import Timer

        timer = Timer(AGAIN, _again, [_state.received])
        timer.daemon = True
        timer.start()
    elif not stopped():
        sys.__unraisablehook__(lost)


def _again(number: int) -> None:
    from _thread import interrupt_main

    _state.received = None
    interrupt_main(signal.Signals(number))
