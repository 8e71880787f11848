"""What a script draws outside all sources has a stream for each place: one draw more moves no other's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scripts import PLAIN

Ran = Callable[..., dict[str, Any]]

DRAWN = """
import random
import numpy as np
import torch
from torch.utils.data import random_split

random.seed(0); np.random.seed(0); torch.manual_seed(0)


def draw(n):
    return [np.random.rand() for _ in range(n)]


a = [random.random() for _ in range(3)]
b = np.random.normal(size=3).tolist()
c = torch.rand(3).tolist()
d = draw(3)
e = [float(i) for i in random_split(range(30), [3, 27])[0].indices]
f = [random.random(), np.random.random(), torch.rand(()).item()]
logits, labels = [a, b, c, d, e, f], list(range(6))
"""

RECORD = "outputs=logits, labels=labels"


def test_a_draw_more_moves_no_other(ran: Ran) -> None:
    """Lines that draw, put before the others or between them, leave all others' numbers as they were."""
    more = DRAWN.replace("\n\ndef draw", "\nrandom.random(); np.random.rand(4); torch.randperm(9)\n\ndef draw")
    more = more.replace("\nc =", "\nz = torch.rand(5)\nc =").replace("\ne =", "\ny = random.randrange(5)\ne =")
    found, other = (ran(text, {"other": 2})["outputs"] for text in (DRAWN, more))
    assert found.tobytes() == other.tobytes()
    assert len({*found.ravel().tolist()}) == 18
    assert not (ran(DRAWN, {})["outputs"] == found).all(axis=1).any()


def test_places_are_named(ran: Ran) -> None:
    """By file and line, those of torch as well, and how often each has drawn."""
    lines = {text.partition(" = ")[0]: n for n, text in enumerate(DRAWN.splitlines(), 1)}
    inner = next(n for n, text in enumerate(DRAWN.splitlines(), 1) if "return" in text)
    times = {"a": 3, "b": 1, "c": 1, "e": 1, "f": 3}
    expected = {f"train.py:{lines[name]}": count for name, count in times.items()} | {f"train.py:{inner}": 3}
    assert ran(DRAWN, {})["sites"] == expected


AGAIN = """
import random
import numpy as np
import torch

found = []
for seed in (1, 2, 1):
    random.seed(seed); np.random.seed(seed); torch.manual_seed(seed)
    found.append([random.random(), np.random.rand(), torch.rand(()).item()])
random.seed(1); np.random.seed(1); torch.manual_seed(1)
first = [random.random(), np.random.rand(), torch.rand(()).item()]
more = [random.random(), np.random.rand(), torch.rand(()).item()]
states = random.getstate(), np.random.get_state(), torch.get_rng_state()
before = [random.random(), np.random.rand(), torch.rand(()).item()]
random.setstate(states[0]); np.random.set_state(states[1]); torch.set_rng_state(states[2])
after = [random.random(), np.random.rand(), torch.rand(()).item()]
logits, labels = [*found, first, more, before, after], list(range(7))
"""


def test_what_a_script_makes_equal_stays_equal(ran: Ran) -> None:
    """The same seed again, or a state put back, gives the same numbers, on whatever line they are drawn."""
    one, two, again, first, more, before, after = ran(AGAIN, {})["outputs"].tolist()
    assert one == again == first
    assert before == after
    assert len({*one, *two, *more, *before}) == 12


OWN = """
import random
import numpy as np

np.random.RandomState(3).rand(), np.random.default_rng([1, 2]), random.Random("a")
made = {
    "state": np.random.RandomState().rand(),
    "generator": np.random.default_rng().random(),
    "python": random.Random().random(),
    "number": 1.0,
}
assert isinstance(np.random.mtrand._rand, np.random.RandomState)
outputs = [made[name]]
"""


@pytest.mark.parametrize("name", ["state", "generator", "python"])
def test_generators_that_a_script_makes(ran: Ran, name: str) -> None:
    """One that it seeds is named and stays as it is; one that nothing seeds is of other, and equal in equal runs."""
    text = OWN.replace("[name]", f'["{name}"]')
    fixed, again, varied = (
        ran(text, {"other": seed}, record="outputs=outputs", again=n) for n, seed in enumerate((1, 1, 2))
    )
    assert {what.partition(" ")[0] for what in fixed["explicit"]} == {
        "numpy.random.RandomState(3)", "numpy.random.default_rng(...)", "random.Random(...)"
    }  # fmt: skip
    assert fixed["draws"]["other"] > 0
    assert fixed["outputs"].tolist() == again["outputs"].tolist() != varied["outputs"].tolist()


def test_what_a_library_draws_at_its_import(ran: Ran) -> None:
    """It is no draw of the script's, and moves none."""
    library = {"site-packages/library.py": "import numpy as np\ndef draw(): return np.random.rand(3)\ndraw()\n"}
    begin = "import sys; sys.path.insert(0, 'site-packages')\nimport numpy as np\n"
    end = "outputs = np.random.rand(2)\n"
    alone, beside, called = (
        ran(begin + more + end, {}, record="outputs=outputs", files=library)
        for more in ("", "import library\n", "import library; library.draw()\n")
    )
    assert alone["outputs"].tolist() == beside["outputs"].tolist() == called["outputs"].tolist()
    assert [found["draws"].get("other", 0) for found in (alone, beside, called)] == [1, 1, 1]
    assert list(beside["sites"].values()) == [1]


def test_a_batch_that_is_mixed_where_it_is_collated(ran: Ran) -> None:
    """What the script's own function draws for a batch is the same with no loader process and with two."""
    text = PLAIN.replace("generator=own, **how)", "generator=own, collate_fn=mixed, **how)").replace(
        "class Net",
        "def mixed(examples):\n    x, y = torch.utils.data.default_collate(examples)\n"
        "    return x + torch.rand(()) * random.random() * np.random.rand(), y\n\n\nclass Net",
    )
    here, there, plain = ran(text, {}), ran(text, {}, "--workers", "2"), ran(PLAIN, {})
    assert here["data"] == there["data"] != plain["data"]
    assert here["outputs"].tobytes() == there["outputs"].tobytes()
    assert not np.array_equal(ran(text, {"augment": 2})["outputs"], here["outputs"])
    assert ran(text, {"other": 2})["data"] == here["data"]


def test_what_python_draws_for_itself(ran: Ran) -> None:
    """A generator that Python's own library makes, while an example is read, takes no number from the example."""
    text = PLAIN.replace("        moved =", "        import tempfile\n        tempfile.mktemp()\n        moved =")
    assert text != PLAIN
    assert ran(text, {})["data"] == ran(PLAIN, {})["data"]
