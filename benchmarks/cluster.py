"""Kill workers of a study: `python benchmarks/cluster.py --place folder` or `--place objects`.

Studies of a tiny task are trained by waves of `nondet.work`. Each worker is a separate process whose clock is up to ten
minutes wrong. Each is killed (SIGKILL) at a random moment, or before or after an operation of the store: an operation
on a file if the place is a folder, a verb of the place if it is a bucket. The bucket is in moto's S3 server. Each
worker has its own mirror, as on another machine, and its lists are slow, repeat names or lack some. When a study is
complete, the next begins, until enough workers have been killed. Then it prints

    lost       runs that had counted and are gone, and runs that undisturbed workers do not complete
    corrupt    what `nondet verify` finds, and workers that end with an error
    twice      runs that a worker finished although they counted already
    late       those of them by workers whose lease another had taken over: they were paused for longer than it lasts
    different  blobs that differ from those of one process, and evidence of a second result

A lease in a bucket lasts 3 seconds here, so that a killed worker's is soon free.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from crash import CLASSIFIER, Disk, Fault, prepare_once

import nondet as nd
from nondet.study import mirror
from nondet.study.places import objects
from nondet.study.store import Store

VERBS = ("create", "read", "entries", "lease", "swap", "remove")
OPERATIONS = {"folder": 60, "objects": 40}
AT_ONCE = 4
KINDS: dict[str, Any] = {"runs": 12, "vary": ["init", "all"], "stack": 3}
COUNTS = ("lost", "corrupt", "twice", "late", "different")


def stopped(work: object, watch: object) -> None:
    raise KeyboardInterrupt


class Bucket:
    """Counts the requests of this process to a bucket, and makes one the last; lists are as bad as they may be."""

    def __init__(self, fault: Fault | None, rng: random.Random) -> None:
        self.fault, self.rng, self.count = fault, rng, 0
        for verb in VERBS:
            setattr(objects.Objects, verb, self._instead(verb, getattr(objects.Objects, verb)))

    def _instead(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            number, self.count = self.count, self.count + 1
            hit = self.fault is not None and not self.fault.share and number == self.fault.at
            if hit and self.fault and self.fault.how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            found = call(*args, **kwargs)
            if hit:
                os.kill(os.getpid(), signal.SIGKILL)
            if verb == "entries" and self.fault is not None:
                time.sleep(self.rng.random() / 5)
                found = [entry for entry in found if self.rng.random() < 0.8] * 2
            return found

        return instead


def note_keeping(log: Path) -> None:
    """Log each run that this process finishes, whether it counted already, and whether another has its lease."""
    put_all, renew, late = Store.put_all, objects.ObjectLease.renew, list[str]()

    def renewed(self: objects.ObjectLease) -> bool:
        kept = renew(self)
        late.extend([] if kept else [self.name])
        return kept

    objects.ObjectLease.renew = renewed

    def instead(self: Store, runs: Any) -> bool:
        there = mirror.mirror_of(self.folder)
        for key in runs:
            name = f"runs/{key}.json"
            again = self.record_path(key).exists() if there is None else there.place.read(name) is not None
            with log.open("a") as file:
                file.write(f"{key} {int(again)} {int(again and bool(late))}\n")
        return put_all(self, runs)

    Store.put_all = instead


class Campaign:
    def __init__(self, folder: Path, place: str, seed: int) -> None:
        self.folder, self.place, self.rng = folder, place, random.Random(seed)
        self.found, self.killed, self.finished, self.children = Counter[str](), 0, 0, 0
        self.task = folder / "task.py"
        self.task.write_text(CLASSIFIER)
        begin = time.monotonic()
        nd.run(self.task, folder=folder / "whole", executor="local", **KINDS)
        self.seconds = time.monotonic() - begin
        self.right = blobs(folder / "whole")

    def child(self, work: Callable[[], object], fault: Fault | None = None) -> int:
        """Do something in a separate process, which sees the place as a worker on another machine would."""
        self.children += 1
        number, seed, main = self.children, self.rng.random(), os.getpid()
        if child := os.fork():
            return child
        status = 1
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with its main process
            if os.getppid() != main:
                os._exit(1)
            for stream in (1, 2):
                os.dup2(os.open(self.folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
            rng = random.Random(seed)
            skew, clock = rng.uniform(-600, 600), time.time
            time.time = lambda: clock() + skew
            mirror.user_cache_path = lambda name: self.folder / f"machine{number}"
            objects.SECONDS = mirror.SECONDS = 3.0
            mirror.FRESH = 0.5
            if self.place == "objects":
                Bucket(fault, rng)
            elif fault and not fault.share:
                Disk(fault, self.folder / "hit")
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def alone(self, work: Callable[[], object]) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.child(work), 0)[1])

    def study(self, number: int) -> str:
        return f"s3://studies/{number}" if self.place == "objects" else str(self.folder / f"study{number}")

    def one_study(self, number: int, workers: int) -> None:
        study, log = self.study(number), self.folder / f"log{number}"
        log.touch()

        def begin() -> None:
            try:
                nd.run(self.task, folder=study, executor=stopped, **KINDS)
            except nd.Stopped:
                return

        def work() -> None:
            note_keeping(log)
            nd.work(study, run_task=True)

        assert self.alone(begin) == 0, (self.folder / "said").read_text()
        done: set[str] = set()
        while self.killed < workers and len(done) < len(self.right):
            self.wave(work)
            done = self.compare(study, number, done)
        for _ in range(10):
            if len(done) == len(self.right):
                break
            self.found["corrupt"] += self.alone(work) != 0
            done = self.compare(study, number, done)
            time.sleep(1)
        self.found["lost"] += len(self.right) - len(done)
        for line in log.read_text().splitlines():
            _, again, late = line.split()
            self.found["twice"] += int(again)
            self.found["late"] += int(late)
        self.finished += len(done)

    def wave(self, work: Callable[[], object]) -> None:
        moments: list[tuple[float, int]] = []
        for _ in range(AT_ONCE):
            how = self.rng.choice(["moment", "before", "after"])
            share = self.rng.random() + 0.01 if how == "moment" else 0.0
            fault = Fault(how, self.rng.randrange(OPERATIONS[self.place]), share)
            moments.append((share * self.seconds if share else float("inf"), self.child(work, fault)))
        begin = time.monotonic()
        for moment, child in sorted(moments):
            if moment < float("inf"):
                time.sleep(max(0.0, begin + moment - time.monotonic()))
                os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            self.killed += status == -signal.SIGKILL
            self.found["corrupt"] += status not in (0, -signal.SIGKILL)

    def compare(self, study: str, number: int, before: set[str]) -> set[str]:
        """Return what is there by now, as another machine reads it; what was there before must be included."""
        seen = Path(study)
        if self.place == "objects":
            seen = self.folder / f"seen{number}"
            shutil.rmtree(seen, ignore_errors=True)

            def copy() -> None:
                place = objects.Objects(study)
                for part in ("runs", "evidence"):
                    (seen / part).mkdir(parents=True, exist_ok=True)
                    for name in place.list(part):
                        (seen / name).write_bytes(place.read(name) or b"")
                (seen / "study.json").write_bytes(place.read("study.json") or b"")

            assert self.alone(copy) == 0, (self.folder / "said").read_text()
        now = {path.stem for path in (seen / "runs").glob("*.json")}
        self.found["lost"] += len(before - now)
        if now >= {Path(name).stem for name in self.right}:
            self.found["different"] += sum(blob != self.right.get(name) for name, blob in blobs(seen).items())
            self.found["different"] += len(list((seen / "evidence").glob("*.safetensors")))
            self.found["corrupt"] += self.alone(lambda: sound(seen)) != 0
        return now


def sound(study: Path) -> None:
    from nondet.cli import main as cli

    if cli.main(["verify", str(study)]) != 0:
        raise RuntimeError(f"{study} is not sound")


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


def server(folder: Path) -> subprocess.Popen[bytes]:
    """Run an S3 server with a bucket `studies` in a separate process."""
    import boto3

    port = 20_000 + os.getpid() % 20_000
    address = f"http://127.0.0.1:{port}"
    words = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    os.environ.update(words, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=address)
    with (folder / "server").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        child = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(150):
        try:
            boto3.client("s3").create_bucket(Bucket="studies")
            return child
        except Exception:  # it is not up yet
            time.sleep(0.2)
    child.kill()
    raise RuntimeError((folder / "server").read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--place", choices=list(OPERATIONS), default="folder")
    parser.add_argument("--workers", type=int, default=64, help="how many workers are killed")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare_once()
    with tempfile.TemporaryDirectory(prefix="nondet-cluster") as name:
        folder = Path(name)
        bucket = server(folder) if asked.place == "objects" else None
        try:
            campaign, studies = Campaign(folder, asked.place, asked.seed), 0
            while campaign.killed < asked.workers:
                campaign.one_study(studies, asked.workers)
                studies += 1
            if campaign.found["corrupt"]:
                print((folder / "said").read_text()[-4000:], file=sys.stderr)
        finally:
            if bucket is not None:
                bucket.kill()
                bucket.wait()
    found, runs = campaign.found, campaign.finished
    print(f"| place | killed | studies | runs | {' | '.join(COUNTS)} |\n|---|" + "---:|" * (3 + len(COUNTS)))
    row = [asked.place, campaign.killed, studies, runs, *(found[count] for count in COUNTS)]
    print(f"| {' | '.join(map(str, row))} |")
    return int(any(found[name] for name in ("lost", "corrupt", "different")) or found["twice"] > 0.02 * runs)


if __name__ == "__main__":
    sys.exit(main())
