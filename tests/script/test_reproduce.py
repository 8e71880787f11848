"""Why a script does not reproduce: two runs that part, the line, and the cause, which is tried and not guessed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scripts import HUGGING_FACE, LIGHTNING
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import nondet as nd
from nondet.analysis.reproduce.audit import audit_of, leaks, own_of_task
from nondet.analysis.reproduce.parting import first_line, first_operation, parted
from nondet.analysis.reproduce.resume import differences, resumed_at
from nondet.runners.traced import How, Trace, Traced
from nondet.script.trace.places import asking, caller, own_modules
from nondet.script.trace.values import OPAQUE, digest

Nondet = Callable[..., Any]
PLANTED = Path(__file__).parents[1] / "planted"

FIT = """
weights = np.zeros(3)
for x, y in data:
    weights += 0.1 * (y - x @ weights) * x
weights = weights.copy()
"""
HEAD = "import os, random, time\nimport numpy as np\n"
CAUSES = {
    "random numbers": "data = [(np.random.normal(size=3), 1.0) for _ in range(9)]",
    "time": "data = [(np.full(3, 1 + time.time_ns() % 1000), 1e-6) for _ in range(9)]",
    "set order": "data = [(np.full(3, len(w)), 0.1 * n) for n, w in enumerate({'x' * k for k in range(1, 13)})]",
    "hash": "data = [(np.full(3, hash(w) % 7), 0.1) for w in ('a', 'bcd', 'efghi', 'jk', 'lmnopq')]",
    "process id": "data = [(np.full(3, os.getpid() % 1009), 0.1)]",
}
CLEAN = {
    "seeded": "data = [(np.random.default_rng(n).normal(size=3), 1.0) for n in range(9)]",
    "time that is printed": "print(time.time()); data = [(np.ones(3), 1.0)]",
    "sorted": "data = [(np.full(3, len(w)), 0.1) for w in sorted({'a', 'bcd', 'efghi', 'jk'})]",
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Write a script into the folder in which commands are given; its command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)

    def write(text: str, name: str = "train.py") -> list[str]:
        (tmp_path / name).write_text(text)
        return [sys.executable, name]

    return write


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_and_its_line_are_named(script: Callable[[str], list[str]], nondet: Nondet, cause: str) -> None:
    """An idle clock beside the cause is not accused; the exit status says that something was found."""
    words = script(HEAD + "began = time.time()\n" + CAUSES[cause] + FIT + "print(time.time() - began)\n")
    ran = nondet("diverge", "--json", "--", *words)
    assert ran.code == 1, ran.err
    found = ran.json
    assert (found["verdict"], found["cause"], found["file"], found["line"]) == ("origin", cause, "train.py", 4)


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_script_is_not_accused(script: Callable[[str], list[str]], nondet: Nondet, name: str) -> None:
    ran = nondet("diverge", "--json", "--", *script(HEAD + CLEAN[name] + FIT))
    assert (ran.code, ran.json["verdict"], ran.json["origins"]) == (0, "none", []), ran.err


def test_two_runs_may_be_equal_by_chance(script: Callable[..., list[str]], nondet: Nondet) -> None:
    """Both read a clock that gives them the same; another clock gives another training, and a fix must hold for it."""
    words = script(HEAD + "data = [(np.full(3, 1.0 + (time.time() > 1_700_003_600)), 0.1)]" + FIT)
    found = nondet("diverge", "--json", "--", *words)
    assert (found.code, found.json["verdict"], found.json["cause"]) == (1, "origin", "time"), found.err
    assert (found.json["line"], found.json["chance"]) == (3, True)
    assert "equal by chance" in found.json["finding"]["headline"]
    script(HEAD + "data = [(np.full(3, 1.0), 0.1)]" + FIT, name="fixed.py")
    fixes = {"deterministic": (4, False), f"{sys.executable} fixed.py": (1, True)}
    for fix, (code, holds) in fixes.items():
        ran = nondet("diverge", "--json", "--fix", fix, "--", *words)
        assert (ran.code, ran.json["proof"]["holds"]) == (code, holds), ran.err


def test_an_audit_changes_what_two_runs_have_in_common(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """The order of files is the same twice on one machine; the audit gives another."""
    Path("parts").mkdir()
    for n in range(8):
        Path(f"parts/{n}.txt").write_text(str(n))
    text = HEAD + "data = [(np.full(3, float(name[0])), 0.3) for name in {}]" + FIT
    ran = nondet("audit", "--json", "--", *script(text.format("os.listdir('parts')")))
    assert ran.code == 1, ran.err
    assert [(one["cause"], one["line"]) for one in ran.json["findings"]] == [("listdir", 3)]
    assert {s["name"]: s["reaches"] for s in ran.json["sources"]}["listdir"] is True
    ran = nondet("audit", "--json", "--", *script(text.format("sorted(os.listdir('parts'))")))
    assert (ran.code, ran.json["verdict"], ran.json["unexplained"]) == (0, "clean", None), ran.err


@pytest.mark.parametrize(("mended", "code", "holds"), [("sorted.py", 1, True), ("train.py", 4, False)])
def test_a_mend_is_proved(
    script: Callable[..., list[str]], nondet: Nondet, mended: str, code: int, holds: bool
) -> None:
    """Runs without it part, and runs with it do not; what does not mend leaves the verdict open."""
    script(HEAD + CLEAN["sorted"] + FIT, name="sorted.py")
    words = script(HEAD + CAUSES["set order"] + FIT)
    ran = nondet("diverge", "--json", "--fix", f"{sys.executable} {mended}", "--", *words)
    assert (ran.code, ran.json["proof"]["holds"]) == (code, holds), ran.err


def test_an_audit_of_a_task(task_file: Callable[..., Path], nondet: Nondet) -> None:
    """A fixed seed in the constructor makes init dead; shuffle reaches the outputs."""
    seed = ("def model():\n", "def model():\n    torch.manual_seed(1)\n")
    ran = nondet("audit", "--json", task_file(seed))
    assert ran.code == 1, ran.err
    assert {s["name"]: s["verdict"] for s in ran.json["sources"]}["init"] == "dead"
    assert {s["name"]: s["reaches"] for s in ran.json["sources"]}["shuffle"] is True
    assert nondet("audit", task_file()).code == 0


def test_what_files_are_there_stays(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """A run writes into a folder of its own."""
    words = script(HEAD + "data = [(np.ones(3), 1.0)]\nopen('kept.txt', 'w').write('new')" + FIT)
    before = sorted(Path().iterdir())
    assert nondet("diverge", "--", *words).code == 0
    assert sorted(Path().iterdir()) == before


def test_nothing_to_compare_is_inconclusive(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    words = script("print('no array, no step')\n")
    assert nondet("diverge", "--json", "--", *words).code == 4
    assert nondet("audit", "--json", "--", *words).code == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diverge", "train.py"), "must be given as a command"),
        (("diverge", "--"), "must follow --"),
        (("diverge", "--steps", "0", "--", sys.executable, "train.py"), "--steps must be at least 1 (got 0)"),
        (("diverge", "--", "Rscript", "train.R"), "got 'Rscript'"),
        (("diverge", "--", sys.executable, "nowhere.py"), "got 'nowhere.py', which is not one"),
        (("resume-check", "--steps", "0", "--", sys.executable, "train.py"), "--steps must be at least 1 (got 0)"),
        (("audit", "--", sys.executable, "broken.py"), "ValueError: mine"),
    ],
)
def test_bad_input(script: Callable[..., list[str]], nondet: Nondet, words: tuple[str, ...], said: str) -> None:
    """One sentence, and exit status 2."""
    script("x = 1\n")
    script("raise ValueError('mine')\n", name="broken.py")
    ran = nondet(*words)
    assert ran.code == 2
    assert said in ran.err


def test_digests() -> None:
    """Equal values have equal digests; a bit, a type or an order more is another; a set has no order."""
    assert digest([1, 2.0, "a"]) == digest([1, 2.0, "a"])
    assert len({digest(v) for v in ([1, 2], [2, 1], (1, 2), {1: 2}, "12", 12, 12.0, np.float32(12), None, True)}) == 10
    assert digest({"b", "a", "c"}) == digest({"c", "b", "a"})
    assert digest({"b": 1, "a": 2}) != digest({"a": 2, "b": 1})
    x = np.arange(4.0)
    assert digest(x) != digest(np.nextafter(x, np.inf))
    assert digest(object()) == digest(print) == OPAQUE
    rng = np.random.default_rng(0)
    before = digest(rng)
    rng.random()
    assert digest(rng) != before


def test_digests_of_fitted_models() -> None:
    """A model counts by what it has learned; a seed that it does not use, and how long it took, do not count."""
    x, y = load_iris(return_X_y=True)

    def forest(seed: int, **words: Any) -> RandomForestClassifier:
        return RandomForestClassifier(3, random_state=seed, **words).fit(x, y)

    assert digest(forest(0)) == digest(forest(0)) != digest(forest(1))
    assert OPAQUE not in {digest(RandomForestClassifier()), digest(forest(0))}
    plain: dict[str, Any] = {"bootstrap": False, "max_features": None, "max_depth": 1}
    assert digest(forest(0, **plain)) == digest(forest(0, **plain))
    first, second = (LogisticRegression(C=0.01, random_state=seed).fit(x, y) for seed in (0, 1))
    assert digest(first) == digest(second)
    searches = [GridSearchCV(forest(0), {"max_depth": [1, 2]}, cv=2).fit(x, y) for _ in range(2)]
    assert digest(searches[0]) == digest(searches[1])
    padded = np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True))
    other = padded.copy()
    other.view(np.uint8)[1] = 7  # between the two fields
    assert digest(padded) == digest(other)


LEARNED = {
    "a model at the end": "net = MLPClassifier((4,), max_iter=3{})\nnet.fit(x, y)\n",
    "a model that is fitted in parts": "net = MLPClassifier((4,){})\nfor n in range(0, 90, 30):\n"
    "    net.partial_fit(x[n : n + 30], y[n : n + 30], classes=[0, 1])\n",
    "a model that is local to a function": "def main():\n"
    "    net = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=3{}))\n    net.fit(x, y)\n\nmain()\n",
}
LEARN = """import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x = np.linspace(-1, 1, 360).reshape(90, 4)
y = np.arange(90) % 2
"""


@pytest.mark.parametrize("name", LEARNED)
def test_models_without_torch_are_compared(script: Callable[[str], list[str]], nondet: Nondet, name: str) -> None:
    """An unseeded model is named, whether it is left at the end or not; a seeded one is not."""
    text = LEARNED[name]
    found = nondet("diverge", "--json", "--", *script(LEARN + text.format("")))
    assert (found.code, found.json["cause"]) == (1, "random numbers")
    line = (LEARN + text).splitlines()[found.json["line"] - 1]
    assert "fit(" in line
    clean = nondet("audit", "--json", "--", *script(LEARN + text.format(", random_state=0")))
    assert (clean.code, clean.json["findings"]) == (0, [])


def test_arrays_in_containers_are_compared(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """Weights may be in a dictionary of an object; a time that lies beside them does not count."""
    text = """
class Net:
    def __init__(self):
        self.params = {{"w": {}, "b": 0.0}}
        self.began = time.time()

net = Net()
net.params["w"] -= 0.1
"""
    found = nondet("diverge", "--json", "--", *script(HEAD + text.format("np.random.randn(3)")))
    assert (found.code, found.json["cause"], found.json["line"]) == (1, "random numbers", 6)
    assert nondet("diverge", "--json", "--", *script(HEAD + text.format("np.ones(3)"))).code == 0


@pytest.mark.parametrize("name", ["f'{uuid.uuid4().hex}-{time.time():.0f}'", "'out'"])
def test_a_folder_that_a_run_makes_for_itself(script: Callable[[str], list[str]], nondet: Nondet, name: str) -> None:
    """The same time and the same random numbers give it the same name; that is no failure of the script."""
    words = script(f"import uuid\n{HEAD}os.mkdir({name})\nw = np.ones(3)\nnp.save(os.listdir()[0] + '.npy', w)\n")
    assert nondet("audit", "--json", "--", *words).code == 0
    assert nondet("diverge", "--json", "--", *words).code == 0


def test_a_seeded_generator_of_numpy_is_not_called_unseeded(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    found = nondet("audit", "--json", "--", *script("import numpy as np\nw = np.random.RandomState(3).randn(4)\n"))
    assert found.code == 0
    assert not [one for one in found.json["sources"] if one["name"].startswith("unseeded")]


def test_an_unseeded_generator_of_the_users_own_class(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    text = "class Picker(random.Random):\n    pass\n\npicker = Picker({})\nw = np.array([picker.random()])\n"
    found = nondet("diverge", "--json", "--", *script(HEAD + text.format("")))
    assert (found.code, found.json["cause"], found.json["line"]) == (1, "random numbers", 6)
    assert nondet("diverge", "--json", "--", *script(HEAD + text.format(5))).code == 0


QUEUES = """
import queue, threading
import numpy as np

work, done = queue.Queue(), queue.Queue()
for i in range(12):
    work.put(i)

def worker():
    while not work.empty():
        done.put(work.get())

threads = [threading.Thread(target=worker) for _ in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
w = np.array({}(done.get() for _ in range(12)))
"""


def test_results_that_threads_put_into_a_queue(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    found = nondet("audit", "--json", "--", *script(QUEUES.format("list")))
    assert found.code == 1
    assert {one["cause"] for one in found.json["findings"]} == {"threads"}
    assert nondet("audit", "--json", "--", *script(QUEUES.format("sorted"))).code == 0


BUDGET = """
import time
import torch

torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
began = time.perf_counter()
for step in range({}):
    loss = net(torch.ones(4, 2)).pow(2).mean()
    loss.backward()
    optimizer.step()
    if time.perf_counter() - began > {}:
        break
"""


def test_a_budget_of_time(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """A duration differs though all clocks are shifted alike; one that is not used up changes nothing."""
    found = nondet("audit", "--json", "--", *script(BUDGET.format(2000, 0.02)))
    assert found.code == 1
    assert {"cause": "time", "file": "train.py", "line": 13}.items() <= found.json["findings"][0].items()
    assert nondet("audit", "--json", "--", *script(BUDGET.format(5, 60))).code == 0


LEFT = """
from pathlib import Path
import torch

torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
x = torch.ones(4, 2)
if Path("kept.pt").exists():
    x = torch.load("kept.pt") + 1
else:
    torch.save(x, "kept.pt")
for _ in range(3):
    net(x).sum().backward()
    optimizer.step()
"""


def test_a_file_of_an_earlier_run(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """The third run differs at its first step; those with all held are made again for as many steps."""
    found = nondet("diverge", "--json", "--", *script(LEFT))
    assert (found.code, found.json["cause"], found.json["line"]) == (1, "cached data", 9), found.json


RESUMED = """
import copy, sys
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
average = copy.deepcopy(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
x, first = torch.randn(8, 2), 0
if "--resume" in sys.argv:
    first, weights, means = torch.load("kept.pt")
    average.load_state_dict(means)
    {}
for step in range(first, int(sys.argv[1])):
    loss = net(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for mine, other in zip(average.parameters(), net.parameters()):
            mine.lerp_(other, 0.1)
torch.save((step + 1, net.state_dict(), average.state_dict()), "kept.pt")
"""


@pytest.mark.parametrize(
    ("load", "state"),
    [
        ("net.load_state_dict(weights)", None),
        ("other = copy.deepcopy(net); other.load_state_dict(weights); net.load_state_dict(other.state_dict())", None),
        ("net.load_state_dict(weights); average.load_state_dict(weights)", "averages"),
        ("net.load_state_dict({k: v for k, v in weights.items() if 'running' not in k}, strict=False)", "averages"),
    ],
)
def test_averages_that_a_resumed_training_loses(
    script: Callable[[str], list[str]], nondet: Nondet, load: str, state: str | None
) -> None:
    """Averages of the weights and running statistics do not change the weights, but they are what is evaluated."""
    words = script(RESUMED.replace("{}", load))
    found = nondet("resume-check", "--json", "--", *words, "{steps}", "{resume}")
    assert (found.code, found.json["state"]) == (int(state is not None), state)


def trace(*records: list[Any], folder: Path = Path(), **others: list[Any]) -> Trace:
    return Trace({"main": records, **others}, "", folder)


def test_the_first_thing_that_differs() -> None:
    """By what is trained, not by what is noted beside it."""
    a = trace(
        ["o", "clock", "t.py:1", "1", "time.time"], ["loss", 0, "aa", "t.py:3", ""], ["weights", 0, "bb", "t.py:4"]
    )
    b = trace(
        ["o", "clock", "t.py:1", "2", "time.time"], ["loss", 0, "aa", "t.py:3", ""], ["weights", 0, "cc", "t.py:4"]
    )
    found = parted(a, b)
    assert found is not None
    assert (found.kind, found.step, found.site) == ("weights", 0, "t.py:4")
    assert parted(a, a) is None
    assert parted(a, trace(*map(list, a.main[:2]))) is not None


def test_a_line_is_the_origin_where_its_inputs_are_equal() -> None:
    """A worker that was handed what differs is a receiver; one that was not is where it begins."""
    line = ["l", "t.py", 5, "f", {"x": "1", "y": "2"}, 0, ""]
    other = ["l", "t.py", 5, "f", {"x": "1", "y": "3"}, 0, ""]
    call, called = (["c", "t.py", 2, "__getitem__", {"i": i}, 0, ""] for i in "12")
    found = first_line(trace(line), trace(other))
    assert found is not None
    assert (found.site, found.names) == ("t.py:5", ("y",))
    received = first_line(trace(line, w=[call]), trace(other, w=[called]))
    assert received is not None
    assert received.role == "main"
    own = first_line(trace(line, w=[call, line]), trace(other, w=[call, other]))
    assert own is not None
    assert own.role == "w"


def test_an_operation_is_the_origin_where_its_inputs_are_equal(tmp_path: Path) -> None:
    """Aligned by module, name and call; memory that nothing was written to is traced to what asked for it."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, value in zip(folders, (1.0, np.nextafter(np.float32(1), np.float32(2))), strict=True):
        folder.mkdir()
        np.save(folder / "op-2.npy", np.array([value, 3.0]))

    def op(name: str, given: str, came: str, number: int, waiting: tuple[int, ...] = (), kept: str = "") -> list[Any]:
        return ["op", 0, "net", name, "t.py:7", "", [given], [came], [[2]], list(waiting), number, kept]

    a = trace(
        op("mul", "1", "2", 1), op("sum", "2", "3", 2, kept="op-2.npy"), op("exp", "3", "4", 3), folder=folders[0]
    )
    b = trace(
        op("mul", "1", "2", 1), op("sum", "2", "9", 2, kept="op-2.npy"), op("exp", "9", "8", 3), folder=folders[1]
    )
    found = first_operation(a, b)
    assert found is not None
    assert (found.name, found.ulps, found.near) == ("sum", 1.0, True)
    a = trace(op("empty", "-", "-", 1), op("add", "1", "2", 2, (1,)))
    b = trace(op("empty", "-", "-", 1), op("add", "5", "6", 2, (1,)))
    found = first_operation(a, b)
    assert found is not None
    assert (found.name, found.unwritten) == ("empty", True)


def test_a_loop_that_waits_is_no_other_way() -> None:
    """Lines that come again and change nothing count once; how long another process is waited for is not the cause."""
    wait = [["l", "t.py", 4, "f", {}, 0, ""], ["l", "t.py", 5, "f", {}, 0, ""]]
    read = [["l", "t.py", 6, "f", {"rows": digest}, 0, ""] for digest in "12"]
    alone = first_line(trace(*wait * 3, read[0]), trace(*wait * 9, read[0]))
    assert alone is not None, "nothing else differs"
    assert alone.site == "t.py:5"
    found = first_line(trace(*wait * 3, read[0]), trace(*wait * 9, read[1]))
    assert found is not None
    assert (found.site, found.names) == ("t.py:6", ("rows",))
    again = first_line(trace(read[0], worker=wait), trace(read[0], worker=wait[:1]))
    assert again is None, "another process ends when it is ended"


def test_the_state_that_a_resumed_training_lacks() -> None:
    """Weights at the end decide; the first state in time, then in order, is the cause."""
    names = ("weights", "optimizer", "schedule", "generator")

    def run(*steps: str, batches: str = "abcd", first: int = 0) -> Trace:
        records: list[list[Any]] = []
        for n, values in enumerate(steps):
            records += [["batch", n, batches[first + n], "t.py:1", ""]]
            records += [["states", n, dict(zip(names, values, strict=True))], ["weights", n, values[0] + "+", "t.py:2"]]
        return trace(*records)

    whole = run("1111", "2222", "3333", "4444")
    assert differences(whole, run("3333", "4444", first=2), 2) == []
    lost = differences(whole, run("3033", "5444", first=2), 2)
    assert [(one.state, one.step) for one in lost] == [("optimizer", 2)]
    again = differences(whole, run("3333", "5444"), 2)
    assert again[0].state == "sampler position"
    ordered = differences(whole, run("3330", "5444", batches="xyz"), 2)
    assert [one.state for one in ordered[:2]] == ["generator", "order of data"]


def test_a_state_that_does_not_show_yet() -> None:
    """A lost scale is a power of two, so the weights are equal; it is named. Another place of a generator is not."""

    def run(*steps: str, begin: int = 0) -> Trace:
        records: list[list[Any]] = []
        for n, (weights, scaler, generator) in enumerate(steps, begin):
            state = {"weights": weights, "scaler": scaler, "generator": generator}
            records += [["batch", n, "same", "t.py:1", ""], ["states", n, state], ["weights", n, weights + "+", ""]]
        return trace(*records)

    whole = run("111", "222", "333", "444")
    assert [(one.state, one.step) for one in differences(whole, run("303", "404"), 2)] == [("scaler", 2)]
    assert differences(whole, run("330", "440"), 2) == []


def test_a_training_that_resumes_before_its_stop() -> None:
    """As after a crash: it begins with the weights of an earlier step, and is compared from there on."""

    def run(*weights: str) -> Trace:
        records = [[["states", n, {"weights": w}], ["weights", n, w + "+", ""]] for n, w in enumerate(weights)]
        return trace(*(one for pair in records for one in pair))

    whole = run(*"abcdefgh")
    assert resumed_at(whole, run(*"efgh"), 4) == 4
    assert resumed_at(whole, run(*"defgh"), 4) == 3
    assert differences(whole, run(*"defgh"), 3) == []
    assert resumed_at(whole, run(*"xyz"), 4) == 4, "its weights are lost"
    assert resumed_at(whole, run(*"abcdefgh"), 4) == 4, "it begins anew, which is not to resume"


def test_lines_that_have_a_seed_set(tmp_path: Path) -> None:
    """Of a helper it is the line that calls it; what a library calls has none to ask."""
    path = tmp_path / "own.py"
    text = "def fix_seeds(ask):\n    return ask()\n\ndef main(ask):\n    return fix_seeds(ask)\n"
    own: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), own)

    def ask() -> str:
        frame: Any = asking(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        return caller(frame)

    assert own["main"](ask).endswith("own.py:5")


def test_modules_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, what stands beside it, and in folders there; not what is hidden or installed."""
    for name in ("code/train.py", "code/net.py", "code/parts/layer.py", "code/.venv/x.py", "other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    names = [str(path) for path in own_modules(["python", "code/train.py"])]
    assert names == ["code/train.py", "code/net.py", "code/parts/layer.py"]
    assert own_modules(["python", "-m", "net"])[0] == Path("other.py")


def test_a_bit_that_is_rounded_away_is_no_finding() -> None:
    """Another source that reaches nothing is one."""

    def audited(dead: str) -> Any:
        rows = [
            SimpleNamespace(condition=SimpleNamespace(name=name, vary=(name,)), dead=name == dead)
            for name in ("init", "bit")
        ]
        study = SimpleNamespace(identity={"name": "mine", "recipe": {"epochs": 1}})
        results: Any = SimpleNamespace(conditions=rows, control=SimpleNamespace(identical=True), study=study)
        return audit_of(results)

    assert [row.verdict for row in audited("bit").sources] == ["reaches", "harmless"]
    assert audited("bit").clean
    assert [row.verdict for row in audited("init").sources] == ["dead", "reaches"]
    assert not audited("init").clean


def test_what_leaks_in_a_task() -> None:
    """The first weights are of init, the batches of what draws them: another source that changes them leaks."""
    names = ["init", "shuffle", "augment", "dropout", "bit"]

    def run(weights: str, batch: str) -> Trace:
        return trace(["start", 0, weights, "t.py:1", "Net"], ["batch", 0, batch, "t.py:2", "Net"])

    plain, batches = run("a", "b"), run("a", "c")
    own = own_of_task(names)
    assert leaks("init", plain, batches, own) == ("augment",)
    assert leaks("init", plain, batches, own_of_task(["init", "shuffle"])) == ("shuffle",)
    assert leaks("shuffle", plain, batches, own) == ()
    assert leaks("dropout", plain, run("z", "c"), own) == ("init", "augment")
    assert leaks("bit", plain, run("z", "b"), own) == ()


def test_what_leaks_into_what() -> None:
    """The initial weights are of init, the order of shuffle: another source that changes them leaks."""
    control = trace(["start", 0, "aa", "t.py:1", "Net"], ["order", 3, "bb", "t.py:2", "0.0", []])
    weights = trace(["start", 0, "cc", "t.py:1", "Net"], ["order", 3, "bb", "t.py:2", "0.0", []])
    order = trace(["start", 0, "aa", "t.py:1", "Net"], ["order", 3, "dd", "t.py:2", "0.0", []])
    assert leaks("shuffle", control, weights) == ("init",)
    assert leaks("shuffle", control, order) == ()
    assert leaks("init", control, order) == ("shuffle",)
    assert leaks("dropout", control, control) == ()
    assert leaks("seed", control, weights) == (), "one seed for all is no source of its own"
    late = [trace(*map(list, control.main), ["start", 9, digest, "t.py:5", "AveragedModel"]) for digest in "xy"]
    assert leaks("shuffle", *late) == (), "an average of trained weights is no first weight"


LOOP = """
import sys, torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(int(sys.argv[1]))
x, y = torch.ones(24, 4).cumsum(0) / 24, torch.arange(24) % 2
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), 8, shuffle=True):
        loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


@pytest.mark.slow
def test_a_seed_of_the_order_that_changes_the_weights(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """The script seeds all with what it calls the seed of the shuffle."""
    ran = nondet("audit", "--json", "--", *script(LOOP), "{shuffle}")
    assert ran.code == 1, ran.err
    rows = {row["name"]: row for row in ran.json["sources"]}
    assert (rows["shuffle"]["verdict"], rows["shuffle"]["leaks_into"]) == ("leaks", ["init"])
    assert ran.json["unexplained"] is None
    assert (rows["init"]["verdict"], rows["init"]["leaks_into"]) == ("reaches", [])


LEAKY = """
import numpy as np
import torch
from torch import nn

import nondet

x, y = torch.linspace(0, 1, 400).reshape(100, 4), torch.arange(100) % 2
made = {}


def model():
    made["noise"] = torch.randn(4)  # with the seed of init
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2))


class Noise:
    def draw(self, rng, n):
        return rng.integers(2, size=(n, 1))

    def apply(self, inputs, draws):
        return inputs + draws * made["noise"]


task = nondet.Task(
    model=model, train=(x[::2], y[::2]), test=(x[1::2], y[1::2]), augment=(Noise(),),
    recipe=nondet.Recipe(epochs=2, batch_size=10, lr=0.5), stack=1,
)
"""


@pytest.mark.slow
def test_a_task_whose_augmentation_is_made_with_the_model(
    tmp_path: Path, nondet: Nondet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its noise is drawn with the seed of init, which so leaks into the augmentation."""
    monkeypatch.chdir(tmp_path)
    Path("leaky.py").write_text(LEAKY)
    ran = nondet("audit", "--json", "leaky.py")
    assert ran.code == 1, ran.err
    rows = {row["name"]: (row["verdict"], row["leaks_into"]) for row in ran.json["sources"]}
    assert rows["init"] == ("leaks", ["augment"])
    assert (rows["shuffle"], rows["augment"]) == (("reaches", []), ("reaches", []))


@pytest.mark.slow
def test_deterministic_algorithms_are_proved(
    script: Callable[[str], list[str]], nondet: Nondet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums under threads part without them, and not with them."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = script((PLANTED / "index_under_threads.py").read_text())
    ran = nondet("diverge", "--json", "--fix", "deterministic", "--", *words)
    assert (ran.code, ran.json["cause"], ran.json["line"]) == (1, "reduction order", 14), ran.err
    assert ran.json["proof"] == {"fix": "deterministic", "unmended": True, "mended": False, "runs": 4, "holds": True}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "name"), [(LIGHTNING, "lightning"), (HUGGING_FACE, "transformers")])
def test_trainers_of_libraries(script: Callable[[str], list[str]], nondet: Nondet, text: str, name: str) -> None:
    """A script of Lightning, and one of Hugging Face's Trainer, are clean; a time in the seed is found on its line."""
    pytest.importorskip(name)
    ran = nondet("audit", "--json", "--", *script(text))
    assert (ran.code, ran.json["verdict"], ran.json["findings"]) == (0, "clean", []), ran.err
    rows = {row["name"]: row["verdict"] for row in ran.json["sources"]}
    assert [rows[name] for name in ("init", "shuffle", "augment")] == ["reaches"] * 3
    seed = next(line for line in text.splitlines() if line.startswith(("L.seed", "set_seed(")))
    timed = text.replace(seed, seed.replace("7", "time.time_ns() % 997").replace("42", "time.time_ns() % 997"))
    ran = nondet("diverge", "--json", "--", *script("import time\n" + timed.lstrip()))
    line = text.lstrip().splitlines().index(seed) + 2
    assert (ran.code, ran.json["cause"], ran.json["line"]) == (1, "time", line), ran.err


@pytest.mark.slow
def test_a_generator_that_workers_copy(script: Callable[[str], list[str]], nondet: Nondet) -> None:
    """A loop of one's own: two runs are equal, and the noise of each worker and each epoch is the same."""
    text = (
        LOOP.replace("import sys, torch", "import sys, numpy as np, torch")
        .replace("int(sys.argv[1])", "0")
        .replace(
            "x, y =",
            "rng = np.random.default_rng(0)\n\n\n"
            "class Jitter(torch.utils.data.Dataset):\n"
            "    def __len__(self):\n        return 24\n\n"
            "    def __getitem__(self, i):\n"
            "        return x[i] + torch.from_numpy(rng.normal(size=4)).float(), int(y[i])\n\n\n"
            "x, y =",
        )
    )
    words = script(text.replace("TensorDataset(x, y), 8, shuffle=True", "Jitter(), 8, shuffle=True, num_workers=2"))
    ran = nondet("audit", "--json", "--", *words)
    assert ran.code == 1, ran.err
    assert [(one["cause"], one["line"]) for one in ran.json["findings"]] == [("generator in workers", 7)]
    assert nondet("diverge", "--json", "--", *words).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["index_under_threads", "set_epoch", "dropout_in_evaluation", "batch_norm_of_generator", "resume_without_scaler"],
)
def test_planted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause and the line that a planted script names in its text; the mended one is clean."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS")
    for stem in (name, f"{name}_clean"):
        lines = (PLANTED / f"{stem}.py").read_text().splitlines()
        Path("train.py").write_text("\n".join(lines) + "\n")
        command, _, cause = lines[0].removeprefix("# ").partition(": ")
        line = next((n for n, text in enumerate(lines, 1) if text.endswith("# HERE")), None)
        words = [sys.executable, "train.py"]
        if "resume" in name:
            checked = nd.resume_check([*words, "--steps", "{steps}", "{resume}"], resume="--resume").to_dict()
            found = [(checked["state"], checked["line"])] if checked["verdict"] == "differs" else []
        elif command == "audit":
            found = [(one["cause"], one["line"]) for one in nd.audit(words).to_dict()["findings"]]
        else:
            found = [(one["cause"], one["line"]) for one in nd.diverge(words).to_dict()["origins"]]
        assert found == ([(cause, line)] if line else []), stem


def test_what_is_held_leaves_the_sources_apart(script: Callable[[str], list[str]]) -> None:
    """With all that comes from outside held, the process's number too, dropout is still drawn by dropout."""
    words = script(
        "import torch\n"
        "from torch import nn\n"
        "torch.manual_seed(0)\n"
        "model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for _ in range(3):\n"
        "    optimizer.zero_grad()\n"
        "    model(torch.ones(5, 4)).sum().backward()\n"
        "    optimizer.step()\n"
    )
    traced = Traced(nd.Script(words))
    try:
        ledger = traced.run(How(pins={}, seeds={})).ledger
    finally:
        traced.close()
    assert ledger["draws"] == {"init": 2, "dropout": 3}
    assert ledger["steps"] == 3
