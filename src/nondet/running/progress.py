"""How far a study is: a live bar on a terminal, one plain line at intervals elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nondet.io import signals as stopping
from nondet.io.streams import say
from nondet.running.scheduler import Watcher
from nondet.study.record import count_done
from nondet.study.study import Study

LINE_SECONDS = 10.0


class Watch:
    """Progress of a study that this process makes, perhaps with others; says nothing if all its runs are there.

    The time left is what is left to make, at the rate seen since the beginning.

    others: the run-epochs done of stacks in other processes' hands. when_long: is told the seconds that are left.
    """

    def __init__(self, study: Study, epochs: int) -> None:
        self.study, self.epochs = study, epochs
        self.begin_done, self.planned = count_done(study)
        self.runs, self.next_look = self.begin_done, 0.0
        self.begin = self.last_line = time.monotonic()
        self.own = 0
        self.first: int | None = None  # run-epochs that a snapshot had already
        self.others: Callable[[], int] = lambda: 0
        self.when_long: Callable[[float], None] = lambda seconds: None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty() or self.begin_done == self.planned,
        )
        self.task = self.bar.add_task("training", total=self.planned * epochs, said="")

    @property
    def watcher(self) -> Watcher:
        """What a scheduler tells how far it is."""
        return Watcher(self.on_epoch, self.on_wait)

    def __enter__(self) -> Self:
        self.bar.start()
        if self.bar.disable and self.begin_done < self.planned:
            together = f", {self.study.width} at a time" if self.study.width > 1 else ""
            say(f"{self.planned - self.begin_done} of {self.planned} runs to train{together}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.bar.stop()

    def on_epoch(self, run_epochs: int) -> None:
        """The stack in this process's hands has come so far."""
        self.own = run_epochs
        self._show("training")

    def on_wait(self) -> None:
        """Nothing is left for this process: others train the last runs."""
        self.own = 0
        self._show("waiting for the last stacks")

    def _look(self, now: float) -> None:
        """Count the runs that are there; so seldom that it takes a hundredth of the time, however many there are."""
        if now >= self.next_look:
            self.runs, _ = count_done(self.study)
            self.next_look = now + max(0.2, 100 * (time.monotonic() - now))

    def _show(self, what: str) -> None:
        self._look(time.monotonic())
        runs = self.runs
        done = runs * self.epochs + self.own + self.others()
        if self.first is None:
            self.first, self.begin = done, time.monotonic()
            return
        now = time.monotonic()
        left = 0.0
        if done > self.first:
            left = (self.planned * self.epochs - done) * (now - self.begin) / (done - self.first)
            self.when_long(left)
        said = f"{runs} of {self.planned} runs done, about {_time(left)} left"
        self.bar.update(self.task, completed=done, description=what, said=said)
        if self.bar.disable and now - self.last_line >= LINE_SECONDS:
            self.last_line = now
            percent = min(99, 100 * done // (self.planned * self.epochs))  # not all, before all is kept
            say(f"{what}: {percent} %, {said}")


@contextmanager
def steps() -> Generator[Callable[[str, int, int], None]]:
    """Progress of work in counted steps: a function (what, done, of how many) for the time of the block."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
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
            say(f"{what}: {done} of {total}")

    with stopping.unwinding():  # a bar hides the cursor
        try:
            yield on_progress
        finally:
            bar.stop()


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
