"""Progress of a study on standard error: a live bar on a terminal, a plain line at intervals elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nondet.io import signals as stopping
from nondet.io.streams import detail, is_quiet, is_verbose, note
from nondet.running.scheduler import Watcher
from nondet.study.record import count_done
from nondet.study.study import Study

LINE_SECONDS = 10.0


class Watch:
    """Progress of a study that this process trains, perhaps with others. Says nothing if all its runs are there.

    The time left is estimated from the rate since the beginning.

    others: returns the run-epochs done of the stacks that other processes are training. when_long: gets the seconds
    that are left.
    """

    def __init__(self, study: Study, epochs: int) -> None:
        self.study, self.epochs = study, epochs
        self.begin_done, self.planned = count_done(study)
        self.runs, self.next_look = self.begin_done, 0.0
        self.begin = self.last_line = time.monotonic()
        self.own = 0
        self.first: int | None = None  # run-epochs that were done before this process began
        self.others: Callable[[], int] = lambda: 0
        self.when_long: Callable[[float], None] = lambda seconds: None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=_no_bar() or self.begin_done == self.planned,
        )
        self.total = self.planned * epochs
        self.furthest = 0
        self.task = self.bar.add_task("training", total=self.total, said="")

    @property
    def watcher(self) -> Watcher:
        """The watcher that a scheduler reports to."""
        return Watcher(self.on_epoch, self.on_wait)

    def __enter__(self) -> Self:
        self.bar.start()
        if self.bar.disable and self.begin_done < self.planned:
            together = f", {self.study.width} at a time" if self.study.width > 1 else ""
            note(f"{self.planned - self.begin_done} of {self.planned} runs to train{together}")
            detail(f"They go into {self.study.folder}, trained with {_words(self.study.environment)}.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None and self.first is not None:
            self.runs, _ = count_done(self.study)
            self._tell("training", 0.0, self._done())
        self.bar.stop()

    def on_epoch(self, run_epochs: int) -> None:
        """Report how far this process's stack is."""
        kept = self.own > 0 and run_epochs == 0
        self.own = run_epochs
        if kept and is_verbose():
            self.next_look, self.last_line = 0.0, -LINE_SECONDS  # a line for every stack
        self._show("training")

    def on_wait(self) -> None:
        """Report that nothing is left for this process, and that others are training the last runs."""
        self.own = 0
        self._show("waiting for the last stacks")

    def _look(self, now: float) -> None:
        """Count the runs that are there, so rarely that it takes a hundredth of the time."""
        if now >= self.next_look:
            self.runs, _ = count_done(self.study)
            self.next_look = now + max(0.2, 100 * (time.monotonic() - now))

    def _show(self, what: str) -> None:
        self._look(time.monotonic())
        done, now = self._done(), time.monotonic()
        if self.first is None:
            self.first, self.begin = done, now
        left = 0.0
        if done > self.first:
            left = (self.total - done) * (now - self.begin) / (done - self.first)
            self.when_long(left)
        self._tell(what, left, done)

    def _done(self) -> int:
        """Return the run-epochs done: never fewer than before, and not all of them until all runs are kept."""
        done = self.runs * self.epochs + self.own + self.others()
        most = self.total if self.runs == self.planned else self.total - 1
        self.furthest = min(most, max(done, self.furthest))
        return self.furthest

    def _tell(self, what: str, left: float, done: int) -> None:
        """Move the bar, or print a line if one is due."""
        said = f"{100 * done // max(1, self.total)} %, {self.runs} of {self.planned} runs done"
        said += f", about {_time(left)} left" if left else ""
        self.bar.update(self.task, completed=done, description=what, said=said)
        now = time.monotonic()
        if self.bar.disable and (left or is_verbose()) and now - self.last_line >= LINE_SECONDS:
            self.last_line = now
            note(f"{what}: {said}")


@contextmanager
def steps() -> Generator[Callable[[str, int, int], None]]:
    """Show the progress of counted steps during the block, through a function (what, done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=_no_bar(),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    last = time.monotonic()

    def on_progress(what: str, done: int, total: int) -> None:
        nonlocal last
        if what not in tasks:
            bar.start()
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done)
        if bar.disable and time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            note(f"{what}: {done} of {total}")

    with stopping.unwinding():  # a bar hides the cursor
        try:
            yield on_progress
        finally:
            bar.stop()


def _no_bar() -> bool:
    """Whether to print lines instead of a bar, or nothing at all."""
    return is_quiet() or is_verbose() or not sys.stderr.isatty()


def _words(environment: Mapping[str, Any]) -> str:
    """Describe where runs are made, in a few words."""
    return ", ".join(
        f"{name} {environment[name]}" for name in ("device", "threads", "torch", "numpy") if name in environment
    )


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
