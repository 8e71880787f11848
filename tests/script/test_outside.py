"""Each way in which a script asks the world outside is held, and changed where that is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import nondet as nd
from nondet.analysis.reproduce.causes import BY_KIND
from nondet.analysis.reproduce.habits import habits, ignored
from nondet.analysis.reproduce.parting import sites_of
from nondet.runners.traced import How, Trace, Traced

ASKED = {
    "clock": [
        "time.time() % 60",
        "time.time_ns() // 1000 % 2",
        "time.perf_counter()",
        "time.localtime().tm_sec",
        "time.localtime(None).tm_sec",
        "int(time.strftime('%S'))",
        "time.clock_gettime(time.CLOCK_REALTIME)",
        "datetime.datetime.now().microsecond",
        "datetime.datetime.today().microsecond",
        "datetime.datetime.utcnow().microsecond",
        "datetime.datetime.now(tz=datetime.timezone.utc).microsecond",
        "uuid.uuid1().time_low",
    ],
    "process": ["os.getpid()", "threading.get_native_id()"],
    "urandom": ["uuid.uuid4().int % 1e9", "secrets.randbits(30)", "random.SystemRandom().random()", "os.urandom(3)[0]"],
    "python": ["random.random()", "random.sample(range(99), 9)"],
    "numpy": ["np.random.rand()", "np.random.permutation(99)"],
    "generator": [
        "np.random.default_rng().random()",
        "np.random.RandomState().rand()",
        "np.random.Generator(np.random.PCG64()).random()",
        "np.random.default_rng(np.random.SeedSequence()).random()",
        "random.Random().random()",
    ],
    "listing": [
        "[int(n) for n in os.listdir('parts')]",
        "[int(e.name) for e in os.scandir('parts')]",
        "[int(p.name) for p in Path('parts').iterdir()]",
        "[int(p.name) for p in Path().rglob('parts/*')]",
        "[int(n[6:]) for n in glob.glob('parts/*')]",
        "[int(n) for _, _, names in os.walk('parts') for n in names]",
    ],
    "threads": [
        "list(pool.imap_unordered(abs, range(9)))",
        "in_threads()",
        "[job.result() for job in as_completed([executor.submit(abs, n) for n in range(9)])]",
    ],
    "cores": ["os.cpu_count()", "len(os.sched_getaffinity(0))"],
    "memory": ["np.empty(5)", "np.empty_like(np.ones(5, np.float32))"],
    "address": ["id(os)"],
}

SCRIPT = """
import datetime, glob, os, random, secrets, threading, time, uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.pool import ThreadPool
from pathlib import Path
import numpy as np
def in_threads():
    found, threads = [], [threading.Thread(target=lambda n=n: found.append(n)) for n in range(9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found
Path("parts").mkdir()
for n in range(9):
    Path(f"parts/{n}").touch()
pool, executor = ThreadPool(3), ThreadPoolExecutor(3)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    """One script that asks in all these ways: as it is, twice held, and with another number of each kind."""
    lines = [f"asked_{kind}_{n} = np.array({text})" for kind, texts in ASKED.items() for n, text in enumerate(texts)]
    folder = tmp_path_factory.mktemp("outside")
    (folder / "train.py").write_text(SCRIPT + "\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        traced = Traced(nd.Script([sys.executable, "train.py"]))
        hows = [How(), *[How(pins={}, hash=0)] * 2, How(pins=dict.fromkeys(BY_KIND, 1), hash=0)]
        found = [traced.run(how) for how in hows]
        traced.close()
    assert not any(trace.failure for trace in found), [trace.failure for trace in found]
    return found


def held(trace: Trace) -> dict[str, str]:
    return {record[4]: record[2] for record in trace.of("end") if record[4].startswith("asked_")}


DATES = """
import ctypes, datetime, pickle
now = datetime.datetime.now()
assert pickle.loads(pickle.dumps(now)) == now
assert type(now) is datetime.datetime is type(datetime.datetime.fromtimestamp(0)), type(now)
assert datetime.datetime.utcnow().tzinfo is None and datetime.datetime.now(datetime.timezone.utc).tzinfo
capsule = ctypes.pythonapi.PyCapsule_Import
capsule.restype, capsule.argtypes = ctypes.POINTER(ctypes.py_object), [ctypes.c_char_p, ctypes.c_int]
assert capsule(b"datetime.datetime_CAPI", 0)[1] is datetime.datetime, "compiled code has another class"
Early = type("Early", (datetime.datetime,), {})
assert type(Early.now()) is Early
"""


@pytest.mark.parametrize("how", [How(), How(pins={}, hash=0)])
def test_the_class_of_dates_stays_that_of_compiled_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    """A class in its place breaks `pickle`, and crashes pandas as it is imported."""
    (tmp_path / "train.py").write_text(DATES)
    monkeypatch.chdir(tmp_path)
    traced = Traced(nd.Script([sys.executable, "train.py"]))
    found = traced.run(how)
    traced.close()
    assert not found.failure
    assert len([record for record in found.of("o") if record[1] == "clock"]) == 4


def test_each_way_to_ask_is_held(runs: list[Trace]) -> None:
    assert len(held(runs[1])) == sum(map(len, ASKED.values()))
    assert held(runs[1]) == held(runs[2])


@pytest.mark.parametrize("kind", ASKED)
def test_each_way_to_ask_is_noted_and_changed(runs: list[Trace], kind: str) -> None:
    """With another number each value is another one, and its line is noted."""
    one, other = held(runs[1]), held(runs[3])
    names = [f"asked_{kind}_{n}" for n in range(len(ASKED[kind]))]
    assert [name for name in names if one[name] == other[name]] == []
    asked = [*(text for texts in ASKED.values() for text in texts)]
    first = SCRIPT.count("\n") + 1
    lines = {f"train.py:{first + asked.index(text)}" for text in ASKED[kind]}
    if kind == "threads":  # those in a function have its line
        lines.discard(f"train.py:{first + asked.index('in_threads()')}")
    assert lines <= {*sites_of(runs[1], kind)}
    assert kind != "address" or lines == {*sites_of(runs[1], kind)}, "what libraries ask does not count"


HABITS = """
import functools, os, random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

os.environ["PYTHONHASHSEED"] = "0"  # ignored setting
os.environ["OMP_NUM_THREADS"] = "61"  # ignored setting
torch.backends.cudnn.deterministic = True
torch.use_deterministic_algorithms(True, warn_only=True)
np.random.rand()
np.random.seed(0)  # seed too late
torch.manual_seed(0)
RNG = random.Random(0)  # shared generator


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * RNG.random()


class Scale(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.1) * (1 + 0.1 * RNG.random())  # dropout in evaluation


def build():
    torch.manual_seed(1234)  # dead seed
    return nn.Sequential(nn.Linear(4, 4), Noise(), nn.BatchNorm1d(4), Scale(), nn.Dropout(0.1), nn.Linear(4, 2))


class Points(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.read(i), i % 2

    @functools.cache  # cached data
    def read(self, i):
        return torch.randn(4)


def augment(a):
    rng = np.random.RandomState(3)  # fixed augmentation
    return a + rng.rand()


model = build()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = Points()
for epoch in range(3):
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))  # same order
    for a, b in DataLoader(data, 4):
        loss = F.cross_entropy(model(augment(a)), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
peaks, where = F.max_pool1d(torch.ones(1, 1, 4), 2, return_indices=True)
F.max_unpool1d(peaks, where, 2)  # ignored setting
with torch.no_grad():
    model(torch.ones(2, 4))
    answers = model(torch.ones(2, 4))  # batch norm in evaluation
print(model(torch.ones(2, 4)))  # dropout in evaluation
"""


def test_what_one_run_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each habit is found on its line, and nothing else; what is ignored and changes nothing is told apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    Path("train.py").write_text(HABITS)
    traced = Traced(nd.Script([sys.executable, "train.py"]))
    trace = traced.run(How())
    traced.close()
    assert not trace.failure
    matters, harmless = ignored(trace, hashes=True)
    found = {(one.cause.name, one.site) for one in [*habits(trace), *matters]}
    marks = [(text.partition("  # ")[2], f"train.py:{n}") for n, text in enumerate(HABITS.splitlines(), 1)]
    expected = {mark for mark in marks if mark[0]}
    last = [site for cause, site in marks if cause.endswith("in evaluation")][-2:]
    expected |= {(f"{cause} in evaluation", site) for cause in ("dropout", "batch norm") for site in last}
    assert found == expected
    assert [one.cause.what for one in harmless] == [
        "torch.backends.cudnn.deterministic is set, but there is no CUDA device"
    ]
    without, more = ignored(trace, hashes=False)
    assert (len(without), len(more)) == (2, 2), "a seed for hashes matters to none who has no sets"
