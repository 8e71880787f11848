"""How far a study is: a live bar on a terminal, one plain line at intervals elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from nondet.study import Progress, Study, count_done

LINE_SECONDS = 10.0


@contextmanager
def shown(study: Study) -> Generator[Callable[[Progress], None]]:
    """Show the progress that the returned function is told of; nothing if nothing is to be trained."""
    done, planned = count_done(study)
    if done == planned:
        yield lambda progress: None
    elif sys.stderr.isatty():
        yield from _bar(planned - done)
    else:
        print(f"{planned - done} of {planned} runs to train, {study.width} at a time", file=sys.stderr, flush=True)
        yield _lines(planned - done)


def _bar(runs: int) -> Iterator[Callable[[Progress], None]]:
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs, left"),
        TimeRemainingColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
    ]
    with Bar(*columns, console=Console(stderr=True), speed_estimate_period=600) as bar:
        task = bar.add_task("training", total=runs)

        def update(progress: Progress) -> None:
            description = "waiting for another process" if progress.waiting else "training"
            share = progress.done / progress.total if progress.total else 1.0
            bar.update(task, completed=round(share * runs, 1), description=description)

        yield update


def _lines(runs: int) -> Callable[[Progress], None]:
    start = last = time.monotonic()
    first: int | None = None

    def update(progress: Progress) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = progress.done if first is None else first
        if now - last < LINE_SECONDS or not progress.total:
            return
        last = now
        trained = progress.done - first
        left = f", about {(progress.total - progress.done) / trained * (now - start):.0f} s left" if trained > 0 else ""
        words = "waiting for another process" if progress.waiting else "training"
        share = progress.done / progress.total
        print(f"{words}: {share:.0%} of {runs} runs after {now - start:.0f} s{left}", file=sys.stderr, flush=True)

    return update
