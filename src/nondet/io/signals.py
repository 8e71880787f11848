"""How a command stops on request: by Ctrl-C, SIGTERM, or a terminal that is closed (SIGHUP).

A stop ends the process at once, with one line: nothing is at stake while libraries are loaded or a study is read. Code
for which something is (helper processes, a half-written file, a progress bar) runs in a block. Inside `unwinding`, a
stop is raised as a KeyboardInterrupt, so that everything on the way out can clean up. Inside `undisturbed`, it waits
for the end of the block. The exit status is 128 plus the signal's number, as in shells.

This module is loaded before all others and imports next to nothing: until then Python handles signals in its own way.
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
"""Seconds during which a further signal counts as the same request; a later one ends even the cleanup."""

AGAIN = 0.01
"""Seconds after which a stop that was lost in a destructor is raised again."""


class Interrupted(KeyboardInterrupt):
    """A stop on its way out."""


class _State:
    """received, at: the first signal and when it came. unwinding, undisturbed: how many such blocks are open.

    ended: the exit status once the command's work is done. told: whether the stop has been reported to the user.
    """

    received: int | None = None
    at: float = 0.0
    unwinding: int = 0
    undisturbed: int = 0
    ended: int | None = None
    told: bool = False


_state = _State()


def install() -> None:
    """Take over the signals of this process, except those that its parent made it ignore (`nohup`)."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable
    atexit.register(_ignore)  # runs last; after it Python restores its handlers, and a signal would kill the process


def stopped() -> bool:
    """Whether the process has been asked to stop."""
    return _state.received is not None


def status() -> int:
    """Return the exit status of a stopped command; that of Ctrl-C if no signal is known."""
    return 128 + int(_state.received or signal.SIGINT)


def told() -> None:
    """Note that the stop has been reported to the user."""
    _state.told = True


def end(code: int) -> int:
    """Note that the command's work is done, and return its status, which a later signal no longer changes."""
    _state.ended = code
    return code


@contextmanager
def unwinding() -> Generator[None]:
    """Raise a stop inside this block as a KeyboardInterrupt."""
    _state.unwinding += 1
    try:
        yield
    finally:
        _state.unwinding -= 1


def unwind_from_now_on() -> None:
    """Do so until the process ends, because it has children that must not be left behind."""
    _state.unwinding += 1


@contextmanager
def undisturbed() -> Generator[None]:
    """Make a stop wait for the end of this block, which is short."""
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
    """Let a process that is done finish."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _on_unraisable(lost: Any) -> None:
    """Raise again a stop that came inside a destructor, where Python drops it; after a stop, ignore other errors."""
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
