"""Kill studies at every possible moment: `python benchmarks/crash.py --kills 1000` prints the table of docs/store.md.

Studies of every kind are killed (SIGKILL) before, after and, for a write, in the middle of every single operation on a
file, and at random moments. Or the system answers one of these operations, or all from there on, with ENOSPC, EIO or
EDQUOT. Then the same command is run again, perhaps killed once or twice more, until it completes the study. The result
is compared bit by bit with an uninterrupted study:

    lost        a run that was done is no longer there, or the command cannot complete the study
    corrupt     `nondet verify` finds something, or some file is left over
    retrained   a run that was done was trained again
    different   a blob, a record or the table differs from the uninterrupted study's

Each child is forked from a process that has imported torch, so a try takes a fraction of a second. Tries are recorded
in FOLDER/tried.jsonl, so that the same command continues where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nondet.cli import main as cli
from nondet.io.files import unsealed
from nondet.running.executors import processes
from nondet.running.request import Request, runner_of
from nondet.running.scheduler import make_missing
from nondet.study.checks import unsound_runs, wrong_beside
from nondet.study.disk import left_by_killed
from nondet.study.record import load
from nondet.training.train import train_stack

CLASSIFIER = """
import numpy as np
import torch
from torch import nn

import nondet

rng = np.random.default_rng(0)
inputs = torch.from_numpy(rng.standard_normal((48, 6), dtype=np.float32))
labels = torch.from_numpy((rng.standard_normal(48) + inputs[:, 0].numpy() > 0).astype(np.int64))

task = nondet.Task(
    model=lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)),
    train=(inputs[:32], labels[:32]),
    test=(inputs[32:], labels[32:]),
    recipe=nondet.Recipe(epochs=2, batch_size=16, lr=0.1),
    stack=3,
)
"""

LANGUAGE = """
import numpy as np
import torch
from torch import nn

import nondet

words = torch.from_numpy(np.random.default_rng(0).integers(3, size=81).cumsum() % 8)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.step, self.decoder = nn.Embedding(8, 5), nn.Linear(10, 5), nn.Linear(5, 8)

    def forward(self, numbers, state=None):
        hidden = numbers.new_zeros(len(numbers), 5, dtype=torch.float32) if state is None else state
        answers = []
        for word in self.embedding(numbers).unbind(1):
            hidden = torch.tanh(self.step(torch.cat([word, hidden], dim=1)))
            answers.append(self.decoder(hidden))
        return torch.stack(answers, dim=1), hidden


task = nondet.Task(
    model=Network,
    train=(words[:50], words[1:51]),
    test=(words[51:80], words[52:81]),
    recipe=nondet.Recipe(epochs=2, batch_size=4, lr=0.5, bptt=5),
    stack=3,
)
"""

PLAIN = ["--vary=init", "--vary=shuffle"]
KINDS: dict[str, tuple[list[str], list[str]]] = {
    "plain": (PLAIN, ["--runs=3"]),
    "onset": (["--vary=shuffle", "--onset=1", "--onset=2"], ["--runs=3"]),
    "crossed": (["--design=crossed", *PLAIN], ["--levels=2"]),
    "until": (["--vary=init", "--until=accuracy.sd.error<1%", "--runs=2"], ["--limit=6"]),
    "cycles": (["--vary=init", "--set=cycles=2"], ["--runs=4"]),
    "averages": (["--vary=shuffle", "--set=ema=0.9", "--set=swa=1"], ["--runs=4"]),
    "track": (["--vary=init", "--track=0,1"], ["--runs=4"]),
    "text": (["--vary=init"], ["--runs=4"]),
    "workers": (PLAIN, ["--runs=3", "--workers=2"]),
}
"""The options of each kind, and smaller ones for a study to which runs are added."""

SMALLER = {"--runs=3": "--runs=2", "--runs=4": "--runs=2", "--levels=2": "--levels=2", "--limit=6": "--limit=3"}

CALLS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "fchmod")
ERRORS = ("ENOSPC", "EIO", "EDQUOT")
COUNTS = ("lost", "corrupt", "retrained", "different")


@dataclass(frozen=True)
class Fault:
    """What happens to one command: at operation number `at`, or after a share of its time if that is not 0.

    how: before, after, half (of a write), the name of an error, or an error and " on" for this one and all later ones.
    helper: whether it happens in the helper process instead of the main one.
    """

    how: str
    at: int = 0
    share: float = 0.0
    helper: bool = False

    @property
    def kills(self) -> bool:
        return self.how in ("before", "after", "half", "moment")


@dataclass(frozen=True)
class Try:
    """A study of a kind, new or added to, and what happens to it at first and each time that it is resumed."""

    kind: str
    grown: bool
    fault: Fault
    again: tuple[Fault, ...] = ()


class Disk:
    """Counts the operations of this process on files, and makes one of them the last, or fail."""

    def __init__(self, fault: Fault | None, hit: Path, seen: Path | None = None) -> None:
        self.fault, self.hit, self.seen, self.count = fault, hit, seen, 0
        self.real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._instead(name))

    def _instead(self, name: str) -> Callable[..., Any]:
        call = self.real[name]

        def instead(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return call(*args, **kwargs)
            number, self.count = self.count, self.count + 1
            if self.seen is not None:
                self._note(self.seen, f"{name}\n")
            fault = self.fault
            if fault is None or fault.share or number < fault.at or (number > fault.at and " on" not in fault.how):
                return call(*args, **kwargs)
            self._note(self.hit, f"{name} {number}\n")
            if not fault.kills:
                code = getattr(errno, fault.how.split()[0])
                raise OSError(code, os.strerror(code), *[a for a in args[:1] if isinstance(a, (str, os.PathLike))])
            if fault.how == "half" and name == "write":
                call(args[0], args[1][: len(args[1]) // 2])
            elif fault.how == "after":
                call(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return instead

    def _note(self, path: Path, text: str) -> None:
        handle = self.real["open"](path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.real["write"](handle, text.encode())
        os.close(handle)


class ForkedHelpers(processes.Helpers):
    """Fork helpers instead of starting them: they do what a helper does from its order on, without its imports."""

    fault: tuple[Fault, Path] | None = None

    def start(self, seconds_left: float) -> None:
        if self.current:
            return
        for number in range(self.count):
            self.current[number] = 0
            main, child = os.getpid(), os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with its main process
                    if self.fault:
                        Disk(*self.fault)
                    study = load(Path(self.order["folder"]))
                    if os.getppid() == main:
                        make_missing(study, runner_of(**self.order["arguments"]))
                os._exit(0)
            self.children.append(child)

    def __enter__(self) -> ForkedHelpers:
        self.children: list[int] = []
        return self

    def __exit__(self, *error: object) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def prepare_once() -> None:
    """Prepare each request once, in this process, so that the children forked from it have it already."""
    prepared: dict[str, Any] = {}
    prepare = Request.prepare

    def instead(request: Request) -> Any:
        name = json.dumps(request.as_dict())
        if name not in prepared:
            prepared[name] = prepare(request)
        return prepared[name]

    Request.prepare = instead


class Campaign:
    """The studies in a folder: for each kind an uninterrupted one, a smaller one, and those that are tried."""

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self.folder = folder
        for name, text in (("classifier", CLASSIFIER), ("language", LANGUAGE)):
            (folder / f"{name}.py").write_text(text)
        self.files = {kind: folder / ("language.py" if kind == "text" else "classifier.py") for kind in kinds}
        self.tables: dict[str, str] = {}
        self.operations: dict[tuple[str, bool], list[str]] = {}
        self.seconds: dict[str, float] = {}
        for kind in kinds:
            for name in ("whole", "small", "counted", "added"):
                shutil.rmtree(folder / f"{kind}.{name}", ignore_errors=True)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for name in ("whole", "small"):  # in this process, so that torch loads everything only once
                    assert cli.main(self.words(kind, folder / f"{kind}.{name}", small=name == "small")) == 0
            for grown, name in ((False, "counted"), (True, "added")):
                seen, place = folder / "seen", folder / f"{kind}.{name}"
                seen.unlink(missing_ok=True)
                if grown:
                    shutil.copytree(folder / f"{kind}.small", place)
                begin = time.monotonic()
                assert self.child(kind, place, None, seen=seen) == 0
                self.seconds[kind] = time.monotonic() - begin
                self.operations[kind, grown] = seen.read_text().split()
            self.tables[kind] = (folder / "out").read_text()

    def words(self, kind: str, place: Path, *, small: bool = False) -> list[str]:
        fixed, size = KINDS[kind]
        options = [SMALLER.get(word, word) if small else word for word in size]
        alone = [] if "--workers=2" in options else ["--workers=1"]
        return ["run", str(self.files[kind]), *fixed, *options, *alone, "--study", str(place)]

    def child(
        self, kind: str, place: Path, fault: Fault | None, *, often: bool = False, seen: Path | None = None
    ) -> int:
        """Run the command in a child process; return its exit status, or minus the signal that ended it."""
        child = os.fork()
        if child:
            if fault and fault.share:
                time.sleep(fault.share * self.seconds[kind])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        status = 99
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if often:
                train_stack.__kwdefaults__["snapshot_seconds"] = -1.0
            words = self.words(kind, place)
            sys.argv = ["nondet", *words]
            processes.Helpers = ForkedHelpers
            helper = fault is not None and fault.helper
            ForkedHelpers.fault = (fault, self.folder / "hit") if fault and helper else None
            Disk(None if helper else fault, self.folder / "hit", seen)
            status = cli.main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def attempt(self, tried: Try, often: bool) -> dict[str, Any]:
        """Make one try and return its outcome."""
        place, hit = self.folder / "study", self.folder / "hit"
        shutil.rmtree(place, ignore_errors=True)
        if tried.grown:
            shutil.copytree(self.folder / f"{tried.kind}.small", place)
        found: dict[str, Any] = {"kills": 0, "errors": 0, **dict.fromkeys(COUNTS, 0)}
        done: dict[str, tuple[bytes, int]] = finished(place)
        for fault in (tried.fault, *tried.again):
            hit.unlink(missing_ok=True)
            status = self.child(tried.kind, place, fault, often=often)
            if status == -signal.SIGKILL or hit.exists():
                found["kills" if fault.kills else "errors"] += 1
            if status not in (0, 1, -signal.SIGKILL) or "Traceback" in (self.folder / "err").read_text():
                found["corrupt"] += 1
            self._compare_done(found, done, place)
            done = finished(place)
        if self.child(tried.kind, place, None) != 0:
            found["lost"] += 1
        self._compare_done(found, done, place)
        self._compare_whole(found, tried.kind, place)
        return found

    def _compare_done(self, found: dict[str, Any], done: dict[str, tuple[bytes, int]], place: Path) -> None:
        now = finished(place)
        found["lost"] += sum(name not in now for name in done)
        found["retrained"] += sum(name in now and now[name] != file for name, file in done.items())

    def _compare_whole(self, found: dict[str, Any], kind: str, place: Path) -> None:
        whole = self.folder / f"{kind}.whole"
        try:
            study = load(place)
            bad = [*unsound_runs(study, study.store.keys()), *wrong_beside(study)]
            left = [*left_by_killed(place), *place.glob("evidence/*"), *place.glob("partial/*")]
            found["corrupt"] += len(bad) + len(left)
        except Exception:
            found["corrupt"] += 1
        found["different"] += contents(place) != contents(whole)
        found["different"] += (self.folder / "out").read_text() != self.tables[kind]


def finished(place: Path) -> dict[str, tuple[bytes, int]]:
    """Return the files of the runs that are done, with their bytes and times."""
    files = [p for r in place.glob("runs/*.json") for p in (r, r.with_suffix(".safetensors")) if p.exists()]
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def contents(place: Path) -> dict[str, Any]:
    """Return what each run left, what its record says (without times and the like), and the trunks."""
    blobs = {p.name: p.read_bytes() for p in (*place.glob("runs/*.safetensors"), *place.glob("trunks/*"))}
    said = ("run", "failed", "facts", "environment", "blob")
    try:
        records = {p.name: {n: unsealed(p.read_bytes(), p)[n] for n in said} for p in place.glob("runs/*.json")}
    except Exception as error:
        records = {"error": str(error)}
    return {**blobs, **records}


def tries(campaign: Campaign, seed: int) -> Iterator[Try]:
    """List every operation of every kind, before, after and in the middle, as many random moments, and errors."""
    rng = random.Random(seed)
    everything: list[Try] = []
    for (kind, grown), operations in campaign.operations.items():
        for at, call in enumerate(operations):
            hows = ["before", "after", *(["half"] if call == "write" else [])]
            error = rng.choice(ERRORS) + rng.choice(["", " on"])
            everything += [Try(kind, grown, Fault(how, at)) for how in (*hows, error)]
            if rng.random() < 0.3:
                everything.append(Try(kind, grown, Fault("moment", share=rng.random())))
            if kind == "workers":
                everything.append(Try(kind, grown, Fault(rng.choice(hows), at // 2, helper=True)))
    rng.shuffle(everything)
    for tried in everything:
        most = len(campaign.operations[tried.kind, tried.grown])
        hows = rng.choices(["before", "after", "half"], k=rng.choice([0, 1, 2]))
        again = tuple(Fault(how, rng.randrange(most)) for how in hows)
        yield Try(tried.kind, tried.grown, tried.fault, again)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Print what was tried and the outcomes, kind by kind."""
    head = ("kills", "errors", *COUNTS)
    kinds = list(dict.fromkeys(r["kind"] for r in sorted(results, key=lambda r: list(KINDS).index(r["kind"]))))
    sums = {kind: [sum(r[name] for r in results if r["kind"] == kind) for name in head] for kind in kinds}
    rows = [*sums.items(), ("all", [sum(column) for column in zip(*sums.values(), strict=True)])]
    lines = ["| kind | tried: kills | tried: errors | lost | corrupt | retrained | different |", "|---|" + "---:|" * 6]
    return "\n".join([*lines, *(f"| {kind} | {' | '.join(map(str, numbers))} |" for kind, numbers in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many processes are killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nondet-crash")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of studies, joined by commas")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    asked.folder.mkdir(parents=True, exist_ok=True)
    prepare_once()
    campaign = Campaign(asked.folder, asked.kinds.split(","))
    log = asked.folder / "tried.jsonl"
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known, begin = {r["try"] for r in results}, time.monotonic()
    for number, tried in enumerate(tries(campaign, asked.seed)):
        if sum(r["kills"] for r in results) >= asked.kills:
            break
        name = json.dumps(asdict(tried))
        if name in known:
            continue
        found = {"try": name, "kind": tried.kind, **campaign.attempt(tried, often=number % 2 == 0)}
        results.append(found)
        with log.open("a") as file:
            file.write(json.dumps(found) + "\n")
        if any(found[count] for count in COUNTS):
            shutil.copytree(asked.folder / "study", asked.folder / f"failed{number}", dirs_exist_ok=True)
            print(f"failed{number}: {found}", file=sys.stderr)
    print(table(results))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    return int(any(r[count] for r in results for count in COUNTS))


if __name__ == "__main__":
    sys.exit(main())
