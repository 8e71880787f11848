"""What a study in a bucket costs at scale: python benchmarks/cluster_scale.py [--runs 10000] [--workers 1000].

The workers' own code (`nondet.study.mirror`) works on a simulated bucket in simulated time. Requests take `--latency`
milliseconds, a guess for a store in the same region, not a measurement. Lists have 1,000 names a page and omit
everything younger than `--lag` seconds. Stacks of 8 take 120 seconds, give or take a tenth, and workers start within 10
seconds. One worker in a hundred dies in the middle of its first stack. A worker that finds nothing free leaves, as
`nondet work` does; the first one stays until everything is there, as `nondet run` does. Renewals of leases are counted,
not made.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nondet.study import mirror as mirrors
from nondet.study.mirror import Mirror
from nondet.study.places.objects import MARKED, Leased

WIDTH, TRAINING, PAGE = 8, 120.0, 1000
BLOB, RECORD = 40_000, 3_000
"""Bytes of a run with the outputs of 900 examples and 10 classes."""


class Turns:
    """Threads in simulated time: one runs at a time, the one that is due next."""

    def __init__(self) -> None:
        self.clock, self.waiting = 0.0, list[tuple[float, int, threading.Semaphore]]()
        self.count, self.ended = itertools.count(), threading.Semaphore(0)

    def start(self, at: float, work: Callable[[], None]) -> None:
        turn = threading.Semaphore(0)

        def run() -> None:
            turn.acquire()
            work()
            self._next()

        heapq.heappush(self.waiting, (at, next(self.count), turn))
        threading.Thread(target=run, daemon=True).start()

    def sleep(self, seconds: float) -> None:
        turn = threading.Semaphore(0)
        heapq.heappush(self.waiting, (self.clock + seconds, next(self.count), turn))
        self._next()
        turn.acquire()

    def run(self) -> None:
        """Run until all have ended."""
        self._next()
        self.ended.acquire()

    def _next(self) -> None:
        if not self.waiting:
            self.ended.release()
            return
        self.clock, _, turn = heapq.heappop(self.waiting)
        turn.release()


@dataclass
class Bucket:
    """Objects of which only the names are kept, with the time at which each was put.

    kept: for each lease, until when its holder puts it again. done: the leases that are marks.
    """

    latency: float
    lag: float
    turns: Turns
    put: dict[str, float] = field(default_factory=dict[str, float])
    kept: dict[str, float] = field(default_factory=dict[str, float])
    done: set[str] = field(default_factory=set[str])
    asked: Counter[str] = field(default_factory=Counter[str])

    @property
    def clock(self) -> float:
        return self.turns.clock

    def _took(self, kind: str, requests: int = 1) -> None:
        self.asked[kind] += requests
        self.turns.sleep(self.latency * requests)

    def create(self, name: str, content: bytes) -> bool:
        self._took("put")
        if name in self.put:
            return False
        self.put[name] = self.clock
        return True

    def mark(self, name: str) -> None:
        """Replace a lease by a mark."""
        self._took("put")
        self.kept[name] = self.clock
        self.done.add(name)

    def read(self, name: str) -> bytes | None:
        self._took("get")
        return b"" if name in self.put else None

    def list(self, part: str) -> set[str]:
        found = {name for name, at in self.put.items() if name.startswith(part) and self.clock - at >= self.lag}
        self._took("list", 1 + len(found) // PAGE)
        return found

    def lease(self, key: str, ended: str | None = None) -> Lease | None:
        name = f"leases/{key}"
        self._took("lease")
        if (ended is None) != (name not in self.put) or (ended and ended != str(self.put[name])):
            self.asked.update({"lease": -1, "lease in vain": 1})
            return None
        self.put[name] = self.clock
        return Lease(self, name)

    def leased(self, *, exact: bool = False) -> dict[str, Leased]:
        if exact:
            self._took("clock")
        names = self.list("leases")
        last = {
            name: max(self.put[name], min(self.clock, self.kept.get(name, 0.0))) for name in names & self.put.keys()
        }
        now = self.clock if exact else max(last.values(), default=0.0)
        return {
            name[7:]: Leased(str(self.put[name]) if now - at > mirrors.SECONDS * MARKED**done else None, done)
            for name, at in last.items()
            for done in [name in self.done]
        }

    def remove(self, *names: str) -> None:
        self._took("remove")
        for name in names:
            self.put.pop(name, None)


@dataclass
class Lease:
    bucket: Bucket
    name: str

    def renew(self) -> bool:
        return True

    def release(self) -> None:
        self.bucket.remove(self.name)

    def end(self) -> None:
        self.bucket.mark(self.name)


class Simulated(Mirror):
    bucket: Bucket

    @property
    def place(self) -> Bucket:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.bucket

    def keep(self, key: str, blob: bytes, record: bytes) -> bool:
        self.bucket.create(f"runs/{key}.safetensors", blob)
        first = self.bucket.create(f"runs/{key}.json", record)
        self.known.add(key)
        return first


def work(
    mirror: Simulated, keys: list[str], stack_of: dict[str, str], rng: random.Random, dies: bool, waits: bool
) -> Counter[str]:
    """One worker, from its start to its end."""
    bucket, out = mirror.bucket, Counter[str]()
    mirror.keys()
    place = {name: n for n, name in enumerate(mirrors.own_order(set(stack_of.values()), str(rng.random())))}
    left = sorted(keys, key=lambda key: place[stack_of[key]])
    while True:
        with ExitStack() as held:
            take = held.enter_context(mirror.leasing(stack_of))
            asked, chosen = bucket.clock, list[str]()
            for key in left:
                if len(chosen) == WIDTH:
                    break
                if key not in mirror.known and take(key):
                    chosen.append(key)
            out["leasing"] += round(1000 * (bucket.clock - asked))
            if chosen:
                seconds = rng.uniform(0.9, 1.1) * TRAINING
                names = {stack_of[key] for key in chosen}
                if dies:
                    held.pop_all()
                    return out
                bucket.kept |= {f"leases/{name}": bucket.clock + seconds for name in names}
                bucket.asked["renewal"] += int(seconds / (mirrors.SECONDS / 3)) * len(names)
                bucket.turns.sleep(seconds)
                for key in chosen:
                    out["twice"] += not mirror.keep(key, b"", b"")
            elif not waits or not set(keys) - mirror.keys():
                return out
        left = [key for key in left if key not in mirror.known]
        if not chosen:
            out["waiting"] += 5000
            bucket.turns.sleep(5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=30.0, help="milliseconds of a request")
    parser.add_argument("--lag", type=float, default=2.0, help="seconds by which lists are late")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    keys = [f"{n:064x}" for n in range(given.runs)]
    stack_of = {key: keys[n - n % WIDTH] for n, key in enumerate(keys)}
    turns, out = Turns(), Counter[str]()
    bucket = Bucket(given.latency / 1000, given.lag, turns)

    class Time:
        @staticmethod
        def monotonic() -> float:
            return turns.clock

    class Keeper:
        """Renewals are only counted, so they need no thread in real time."""

        def __init__(self, **words: object) -> None: ...

        def start(self) -> None: ...

        def join(self) -> None: ...

    mirrors.time = Time  # pyright: ignore[reportAttributeAccessIssue]
    module: Any = mirrors
    module.threading = SimpleNamespace(Event=threading.Event, Thread=Keeper)
    module.in_parallel = lambda work, items: [work(item) for item in items]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.workers):
            mirror = Simulated(Path(folder), "s3://made/up")
            mirror.bucket = bucket
            own = random.Random(given.seed * 10**6 + number)
            words = mirror, keys, stack_of, own, number % 100 == 99, number == 0
            turns.start(rng.uniform(0, 10), lambda words=words: out.update(work(*words)))
        turns.run()
    end = turns.clock
    done = sum(name.endswith(".json") for name in bucket.put)
    requests = sum(bucket.asked.values())
    ideal = given.runs / WIDTH / given.workers * TRAINING
    print(
        f"{done:,} of {given.runs:,} runs by {given.workers:,} workers, {given.latency:g} ms a request, "
        f"lists {given.lag:g} s late\n"
    )
    print("| requests | in all | a run |\n|---|---:|---:|")
    for name, count in bucket.asked.most_common():
        print(f"| {name} | {count:,} | {count / done:.2f} |")
    print(f"| all | {requests:,} | {requests / done:.2f} |\n")
    print(
        f"{done * (BLOB + RECORD) / 1e9:.2f} GB put; {out['twice']} runs made twice; {end:.0f} s, "
        f"compared to {ideal:.0f} s of training"
    )
    print(f"without any loss; a worker spends {out['leasing'] / 1000 / given.workers:.1f} s on leases, and")
    print(f"the first one waits {out['waiting'] / 1000:.0f} s for others.")


if __name__ == "__main__":
    main()
