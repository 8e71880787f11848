"""Places that can hold a study: a folder and objects, by the same promises; and a study in a bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_here import s3

import nondet as nd
from nondet.errors import BadInput, Damaged
from nondet.io.files import sealed
from nondet.running.advice import go_on
from nondet.running.scheduler import stacks_of
from nondet.study import mirror, record
from nondet.study.places import Folder
from nondet.study.places import objects as buckets
from nondet.study.places.objects import Leased, Objects
from nondet.study.store import Store

Nondet = Callable[..., Any]
KEY, OTHER = "a" * 64, "b" * 64
BLOB, RECORD = f"runs/{KEY}.safetensors", f"runs/{KEY}.json"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIANAMEOFNOBODY", "AWS_SECRET_ACCESS_KEY": "nobodymayreadthis"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server in a process of its own, with a bucket `studies`."""
    with s3(tmp_path_factory.mktemp("moto") / "log") as address:
        yield address


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket whose objects are in this process's memory; its mirrors are under `tmp_path`."""
    stores = pytest.importorskip("obstore.store", reason="needs obstore")
    memory = stores.MemoryStore()
    monkeypatch.setattr(buckets, "_opened", lambda address: memory)
    monkeypatch.setattr(mirror, "user_cache_path", lambda name: tmp_path / "cache")
    mirror._mirror.cache_clear()
    yield "s3://studies/mine"
    mirror._mirror.cache_clear()


STORES = ["memory", pytest.param("s3", marks=pytest.mark.slow)]


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Folder | Objects]:
    """Opens a place of a kind."""

    def open_one(kind: str) -> Folder | Objects:
        if kind == "folder":
            return Folder(tmp_path)
        if kind == "memory":
            stores = pytest.importorskip("obstore.store", reason="needs obstore")
            return Objects("s3://studies/memory", stores.MemoryStore())
        for name, value in {**SECRETS, "AWS_ENDPOINT_URL": request.getfixturevalue("server")}.items():
            monkeypatch.setenv(name, value)
        return Objects(f"s3://studies/{tmp_path.name}")

    return open_one


@pytest.fixture(params=["folder", *STORES])
def place(request: pytest.FixtureRequest, opened: Any) -> Folder | Objects:
    return opened(request.param)


@pytest.fixture(params=STORES)
def objects(request: pytest.FixtureRequest, opened: Any) -> Objects:
    return opened(request.param)


class TestPlace:
    """What every place promises."""

    def test_the_first_writer_wins(self, place: Folder | Objects) -> None:
        assert place.read(BLOB) is None
        assert place.create(BLOB, b"first")
        assert not place.create(BLOB, b"second")
        assert place.read(BLOB) == b"first"

    def test_one_of_many_writers_wins(self, place: Folder | Objects) -> None:
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n: place.create(BLOB, b"%d" % n), range(8)))
        assert sum(won) == 1
        assert place.read(BLOB) == b"%d" % won.index(True)

    def test_what_is_kept_is_listed(self, place: Folder | Objects) -> None:
        assert place.list("runs") == set()
        place.create(BLOB, b"1")
        place.create(RECORD, b"2")
        place.create(f"evidence/{KEY}.{'0' * 16}.json", b"3")
        assert place.list("runs") == {BLOB, RECORD}

    def test_names_that_are_not_nondets_are_not_listed(self, place: Folder | Objects) -> None:
        place.create(BLOB, b"1")
        for name in ("runs/events.out", f"runs/{KEY}.json.bak", "runs/..safetensors"):
            place.create(name, b"of somebody else")
        assert place.list("runs") == {BLOB}

    def test_a_swap_needs_what_was_read(self, place: Folder | Objects) -> None:
        assert place.swap("study.json", None, b"one")
        assert not place.swap("study.json", None, b"two")
        assert not place.swap("study.json", b"another", b"two")
        assert place.swap("study.json", b"one", b"two")
        assert place.read("study.json") == b"two"

    def test_large_and_empty_contents(self, place: Folder | Objects) -> None:
        large = np.random.default_rng(0).bytes(12 * 2**20)
        assert place.create(BLOB, large)
        assert place.create(RECORD, b"")
        assert place.read(BLOB) == large
        assert place.read(RECORD) == b""


def test_what_is_removed_is_free(objects: Objects) -> None:
    objects.create(BLOB, b"first")
    objects.remove(BLOB)
    objects.remove(BLOB)
    assert objects.create(BLOB, b"second")


def test_a_lease_is_given_back(objects: Objects) -> None:
    first, other = objects.lease(KEY), objects.lease(OTHER)
    assert first is not None
    assert other is not None
    assert first.renew()
    first.release()
    again = objects.lease(KEY)
    assert again is not None
    again.release()
    other.release()


def test_a_lease_of_objects_ends_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is put again is kept; one that is not is taken over, and its holder is told when it comes back."""
    stores = pytest.importorskip("obstore.store", reason="needs obstore")
    here = Objects("s3://studies/a", stores.MemoryStore())
    first = here.lease(KEY)
    assert first is not None
    assert here.lease(KEY) is None
    assert here.leased() == {KEY: Leased()}
    monkeypatch.setattr(buckets, "SECONDS", 0.0)
    (ended,) = (lease.ended for lease in here.leased().values())
    assert ended is not None
    second = here.lease(KEY, ended)
    assert second is not None
    assert here.lease(KEY, ended) is None
    assert not first.renew()
    first.release()  # it is the other's: nothing happens
    assert second.renew()


def test_what_a_dead_worker_had_leased_is_made(
    tiny: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, nondet: Nondet
) -> None:
    """Its leases run out; one of a run that it had kept, which no list tells yet, is not made again."""
    for name, seconds in {"SECONDS": 0.2, "FRESH": 0.0}.items():
        monkeypatch.setattr(mirror, name, seconds)
    monkeypatch.setattr(buckets, "SECONDS", 0.2)
    words = ("run", tiny, "--runs", 3, "--vary", "init", "--workers", 1, "--stack", 2, "--study")
    assert nondet(*words, bucket).code == 0
    place = Objects(bucket)
    keys = sorted(name[5:-5] for name in place.list("runs") if name.endswith(".json"))
    lost, late = keys[0], keys[1]
    place.remove(f"runs/{lost}.json", f"runs/{lost}.safetensors")
    assert place.lease(lost) is not None
    assert place.lease(late) is not None
    for path in sorted(mirror.folder_of(bucket).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    mirror._mirror.cache_clear()
    record_of_late, entries = place.read(f"runs/{late}.json"), Objects.entries
    monkeypatch.setattr(
        Objects, "entries", lambda self, part: [e for e in entries(self, part) if f"runs/{late}" not in e["path"]]
    )
    assert nondet(*words, bucket).code == 0
    assert place.read(f"runs/{lost}.json") is not None
    assert place.read(f"runs/{late}.json") == record_of_late


def test_one_worker_makes_the_only_run_that_a_dead_one_had_leased(
    tiny: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks once for each missing run and leaves; so it must take a lease that it only then sees to have expired."""
    nd.run(tiny, runs=5, vary="init", folder=bucket, executor="local", stack=3)
    place = Objects(bucket)
    stacks = stacks_of(record.load(mirror.folder_of(bucket)))
    lost = max(stacks)
    assert place.lease(stacks[lost]) is not None
    place.remove(f"runs/{lost}.json", f"runs/{lost}.safetensors")
    monkeypatch.setattr(mirror, "user_cache_path", lambda name: tmp_path / "another")
    mirror._mirror.cache_clear()
    assert nd.work(bucket, run_task=True) == 0  # its holder may still be at work
    monkeypatch.setattr(buckets, "SECONDS", 0.0)
    monkeypatch.setattr(mirror, "user_cache_path", lambda name: tmp_path / "a third")
    mirror._mirror.cache_clear()
    assert nd.work(bucket, run_task=True) == 1
    assert place.read(f"runs/{lost}.json") is not None


def test_what_an_old_list_lacks_is_not_trained_again(
    tiny: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was told of no run, and finds no lease, asks for one run of a stack, and then for all."""
    nd.run(tiny, runs=5, vary="init", folder=bucket, executor="local", stack=3)
    place = Objects(bucket)
    assert place.list("leases") == set()
    there, entries, trained = place.list("runs"), Objects.entries, list[int]()
    monkeypatch.setattr(mirror, "user_cache_path", lambda name: tmp_path / "another")
    mirror._mirror.cache_clear()
    monkeypatch.setattr(Objects, "entries", lambda self, part: [] if part == "runs" else entries(self, part))
    monkeypatch.setattr(Store, "put_all", lambda self, runs: trained.append(len(runs)))
    assert nd.work(bucket, run_task=True) == 0
    assert trained == []
    monkeypatch.undo()
    assert place.list("runs") == there


def test_a_run_that_is_lost_behind_a_mark_is_made_again(
    tiny: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark says that a stack is done, and that holds for a while, not for good."""
    nd.run(tiny, runs=5, vary="init", folder=bucket, executor="local", stack=3)
    place = Objects(bucket)
    lost = sorted(name for name in place.list("runs") if name.endswith(".json"))
    kept = {name: place.read(name.replace(".json", ".safetensors")) for name in lost}
    for name in lost:
        held = place.lease(name[5:-5])
        assert held is not None
        held.end()
        place.remove(name, name.replace(".json", ".safetensors"))
    for module in (mirror, buckets):
        monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(mirror, "FRESH", 0.0)
    monkeypatch.setattr(mirror, "user_cache_path", lambda name: tmp_path / "another")
    mirror._mirror.cache_clear()
    nd.run(tiny, runs=5, vary="init", folder=bucket, executor="local", stack=3)
    assert {name: place.read(name.replace(".json", ".safetensors")) for name in lost} == kept


def test_status_counts_what_is_leased(tiny: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, nondet: Nondet) -> None:
    """The runs of a stack that anybody holds, while it is held; with the rights of a reader too."""

    def stopped(work: object, watch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(nd.Stopped, match="0 of 7 runs are safe"):
        nd.run(tiny, runs=6, vary="init", folder=bucket, executor=stopped, stack=3)
    study = record.load(mirror.folder_of(bucket))
    stacks = stacks_of(study)
    name = next(iter(stacks.values()))
    place = Objects(bucket)
    held = place.lease(name)
    assert held is not None
    found = nondet("status", bucket, "--json").json
    size = list(stacks.values()).count(name)
    assert size > 1
    assert (found["in_hand"], found["missing"]) == (size, found["planned"] - size)
    with monkeypatch.context() as patched:
        patched.setattr(Objects, "put", lambda *words: (_ for _ in ()).throw(BadInput("reading only")))
        assert nd.status(bucket).in_hand == size
    with monkeypatch.context() as patched:
        patched.setattr(buckets, "SECONDS", 0.0)
        assert nd.status(bucket).in_hand == 0
    held.end()
    assert nd.status(bucket).in_hand == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [(("lr=0.1", "lr=0.2"), "lr is different"), (("nn.ReLU()", "nn.Tanh()"), "code"), (("[:40]", "[:39]"), "code")],
)
def test_a_worker_whose_checkout_is_another_is_refused(
    task_file: Any, bucket: str, nondet: Nondet, change: tuple[str, str], named: str
) -> None:
    """A worker trains with the code of its own machine, whose hash must be the study's; it adds nothing else."""

    def stopped(work: object, watch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(nd.Stopped, match="0 of 4 runs are safe"):
        nd.run(task_file(), runs=3, vary="init", folder=bucket, executor=stopped)
    task_file(change)
    ran = nondet("work", bucket, "--run-task")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert named in ran.err
    assert Objects(bucket).list("runs") == set()


def test_a_study_in_a_bucket_is_that_of_a_folder(tiny: Path, tmp_path: Path, nondet: Nondet, bucket: str) -> None:
    """Equal blobs, byte for byte; a cache that is lost costs nothing; what is there is not trained again."""
    words = ("run", tiny, "--runs", 3, "--vary", "init", "--vary", "all", "--workers", 1)
    assert nondet(*words, "--study", tmp_path / "here").code == 0
    ran = nondet(*words, "--study", bucket)
    assert ran.code == 0, ran.err
    copied = nondet("pull", bucket, tmp_path / "copy")
    assert copied.code == 0, copied.err
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "runs").glob("*.safetensors")}
        for name in ("here", "copy")
    )
    assert here == there
    shown = nondet("show", tmp_path / "copy", "--json").json
    places_before = set(Objects(bucket).list("runs"))
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    mirror._mirror.cache_clear()
    assert nondet("show", bucket, "--json").json == shown
    assert nondet(*words, "--study", bucket).code == 0
    assert set(Objects(bucket).list("runs")) == places_before
    assert Objects(bucket).list("leases") == set()
    assert nondet("status", bucket, "--json").json["missing"] == 0
    assert nondet("verify", bucket).code == 0
    more = nd.run(tiny, runs=4, vary="init", folder=bucket, executor="local")
    assert len(more["init"].outputs) == 4
    assert go_on(record.load(mirror.folder_of(bucket))).endswith(f"--study {bucket}")


def test_a_run_takes_four_requests(tiny: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease, a look whether it is there, its blob and its record; what else a command asks does not grow."""
    asked, ask = list[int](), Objects._asked
    monkeypatch.setattr(Objects, "_asked", lambda self, *words: (asked.append(1), ask(self, *words))[1])
    counts: list[int] = []
    for runs in (4, 24):
        asked.clear()
        nd.run(tiny, runs=runs, vary="init", folder=f"{bucket}/{runs}", executor="local")
        counts.append(len(asked))
    assert counts[1] - counts[0] <= 4 * 20


def test_a_second_result_that_differs_is_evidence(tmp_path: Path, bucket: str) -> None:
    """The first writer wins, whatever the folder that mirrors the bucket held; an equal second changes nothing."""
    first, second = (Store(mirror.folder_of(f"{bucket}/{n}")) for n in "ab")
    assert first.folder != second.folder
    store = Store(mirror.folder_of(bucket))
    zeros, ones = {"outputs": np.zeros((2, 2))}, {"outputs": np.ones((2, 2))}
    assert store.put(KEY, zeros, {"host": "a"})
    assert store.put(KEY, zeros, {"host": "b"})
    assert not store.put(KEY, ones, {"host": "c"})
    assert store.record(KEY)["host"] == "a"
    assert np.array_equal(store.get(KEY).arrays["outputs"], zeros["outputs"])
    assert len(Objects(bucket).list("evidence")) == 2


def test_a_run_that_is_damaged_in_the_bucket_is_set_aside(bucket: str) -> None:
    store, place = Store(mirror.folder_of(bucket)), Objects(bucket)
    store.put(KEY, {"outputs": np.zeros((2, 2))}, {})
    assert place.swap(BLOB, place.read(BLOB), b"other bytes")
    for path in (store.blob_path(KEY), store.record_path(KEY)):
        path.unlink()
    with pytest.raises(Damaged, match=r"s3://studies/mine/runs/.* is damaged"):
        store.get(KEY)
    store.set_aside(KEY)
    assert place.list("runs") == set()
    assert len(place.list("evidence")) == 2
    assert store.put(KEY, {"outputs": np.zeros((2, 2))}, {})


def test_a_change_of_the_study_that_another_made_first_is_kept(tiny: Path, bucket: str) -> None:
    """Two that add conditions at one moment both do."""
    nd.run(tiny, runs=2, vary="init", folder=bucket, executor="local")
    folder, swap, other = mirror.folder_of(bucket), Objects.swap, [True]

    def raced(self: Objects, name: str, before: bytes | None, content: bytes) -> bool:
        if other.pop() if other else False:
            held = self.read(name)
            assert held is not None
            changed = json.loads(held)
            changed.pop("sha256")
            changed["finished"] = [*changed["finished"], OTHER]
            assert swap(self, name, held, sealed(changed))
        return swap(self, name, before, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Objects, "swap", raced)
        nd.run(tiny, runs=2, vary="shuffle", folder=bucket, executor="local")
    assert OTHER in record.load(folder).finished
    assert [c.name for c in record.load(folder).conditions] == ["init", "shuffle"]


def test_copies_are_checked_and_go_on(tiny: Path, study: Path, tmp_path: Path, nondet: Nondet, bucket: str) -> None:
    """A copy that is not whole goes on where it was; a damaged run is named, and the others are copied."""
    blobs = sorted((study / "runs").glob("*.safetensors"))
    kept = blobs[0].read_bytes()
    blobs[0].write_bytes(b"damaged")
    pushed = nondet("push", study, bucket)
    assert pushed.code == 1
    assert f"{blobs[0].name} is damaged (1 of {len(blobs)} runs" in pushed.err
    assert Objects(bucket).read("study.json") is None
    blobs[0].write_bytes(kept)
    again = nondet("push", study, bucket, "--json")
    assert (again.json["runs"], again.json["present"]) == (1, len(blobs) - 1)
    assert nondet("pull", bucket, tmp_path / "back").code == 0
    assert nondet("show", tmp_path / "back", "--json").json == nondet("show", study, "--json").json
    nd.run(tiny, runs=2, vary="init", recipe={"epochs": 1}, folder=tmp_path / "else", executor="local")
    refused = nondet("push", tmp_path / "else", bucket)
    assert refused.code == 2
    assert "its task differs" in refused.err


def test_the_doctor(tmp_path: Path, nondet: Nondet, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that is relied on, tried; nothing is left; what cannot do the needed is said, with 1."""
    for place in (tmp_path / "cache", bucket):
        (tmp_path / "cache").mkdir(exist_ok=True)
        found = nondet("doctor", place, "--json")
        assert (found.code, found.json["sound"]) == (0, True)
        assert all(probe["works"] for probe in found.json["probes"])
    assert list((tmp_path / "cache").iterdir()) == []
    assert Objects(bucket).list("evidence") == set()
    monkeypatch.setattr(Objects, "create", lambda self, name, content: True)
    broken = nondet("doctor", bucket)
    assert broken.code == 1
    assert "NO" in broken.out
    assert nondet("doctor", tmp_path / "nowhere").code == 2


@pytest.mark.slow
def test_workers_at_a_real_server(tiny: Path, tmp_path: Path, server: str) -> None:
    """Three processes, each with a cache of its own, make the bits of one; no credential is kept anywhere."""
    alone = tmp_path / "alone"
    words = ["--runs", "6", "--vary", "init", "--vary", "all", "--stack", "3"]
    whole = {**os.environ, **SECRETS, "AWS_ENDPOINT_URL": server}

    def start(cache: str, *command: object) -> subprocess.Popen[str]:
        given = [sys.executable, "-m", "nondet", *map(str, command)]
        environment = {**whole, "XDG_CACHE_HOME": str(tmp_path / cache)}
        return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    address = f"s3://studies/{tmp_path.name}"
    start("0", "run", tiny, *words, "--study", alone).communicate()
    first = [start(str(n), "run", tiny, *words, "--study", address) for n in range(2)]
    ends = [child.communicate() for child in first]
    assert [child.returncode for child in first] == [0, 0], ends
    child = start("3", "pull", address, tmp_path / "copy")
    said = child.communicate()
    assert child.returncode == 0, said
    here, there = (
        {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}
        for folder in (alone, tmp_path / "copy")
    )
    assert here == there
    told = [start("4", *words).communicate() for words in (("status", address), ("show", address, "--json"))]
    told.append(start("4", "report", address, "--out", tmp_path / "page.html").communicate())
    assert (tmp_path / "page.html").exists(), told
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything += "".join(map(str, [*ends, said, *told])).encode()
    assert not any(secret.encode() in everything for secret in SECRETS.values())


@pytest.mark.slow
@pytest.mark.parametrize("address", ["s3://no-such-bucket/a", "s3://studies/nothing"])
def test_what_is_not_there_is_said(server: str, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**SECRETS, "AWS_ENDPOINT_URL": server, "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=r"no such bucket|is not a study"):
        nd.show(address)
