"""A user's file and the modules beside it: all that it can import is its code, wherever the import stands."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

LATE = (
    """def model():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
""",
    """def model():
    import net
    return net.Net()
""",
)
NET = """
from torch import nn


def Net():
    return nn.Sequential(nn.Linear(6, 8), nn.RELU(), nn.Linear(8, 3))
"""


@pytest.fixture(autouse=True)
def path_as_it_was() -> Generator[None]:
    """A task's folder stays on the path of this process; put it back after each test."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def late(task_file: Callable[..., Path]) -> Path:
    """The tiny task, whose model imports its network from net.py when it is made."""
    path = task_file(LATE)
    write(path.parent, "ReLU")
    return path


def write(folder: Path, activation: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(NET.replace("RELU", activation))


def code(path: Path) -> str:
    from nondet.tasks import load_task

    return load_task(str(path)).code


def test_a_neighbour_that_is_imported_late_is_part_of_the_code(
    nondet: Callable[..., Any], late: Path, tmp_path: Path, contents: Callable[[Path], Any]
) -> None:
    """When net.py changes, the study is of another file: nothing is pooled, and the sentence says why."""
    command = ("run", late, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert nondet(*command).code == 0
    before = contents(tmp_path / "s")
    write(tmp_path, "Tanh")
    ran = nondet(*command[:3], 3, *command[4:])
    assert ran.code == 2
    assert re.search("the code of task .* has changed since", ran.err)
    assert contents(tmp_path / "s") == before
    write(tmp_path, "ReLU")
    assert nondet(*command).code == 0


def test_the_new_code_counts_when_a_file_is_loaded_again(late: Path, tmp_path: Path) -> None:
    """A neighbour of another text, of the same length and second as before, is what the model is made of."""
    from nondet.tasks import load_task

    assert "ReLU" in repr(load_task(str(late)).model())
    first = code(late)
    write(tmp_path, "SiLU")
    task = load_task(str(late))
    assert ("SiLU" in repr(task.model()), task.code != first) == (True, True)


def test_the_code_that_was_hashed_is_the_code_that_runs(late: Path, tmp_path: Path) -> None:
    """A neighbour that changes between loading and its late import runs as it was when it was hashed."""
    from nondet.tasks import load_task

    task = load_task(str(late))
    write(tmp_path, "Tanh")
    assert "ReLU" in repr(task.model())


def test_stabilize_of_a_file_whose_model_imports_late(nondet: Callable[..., Any], late: Path, tmp_path: Path) -> None:
    """The file is loaded several times in one process, and its studies are its own each time."""
    ran = nondet("stabilize", late, "--runs", 2, "--cycles", 2, "--study", tmp_path / "s", "--json")
    assert ran.code == 0, ran.err


def test_neighbours_are_found_by_helpers_and_by_the_command_alike(
    process: Callable[..., Any], late: Path, tmp_path: Path
) -> None:
    """In a process of its own, given from elsewhere, without PYTHONPATH."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = process("run", late, "--runs", 2, "--vary", "init", "--study", tmp_path / "s", cwd=elsewhere)
    assert ran.code == 0, ran.err


def test_another_folders_file_has_its_own_neighbour(task_file: Callable[..., Path], tmp_path: Path) -> None:
    """Two files in two folders each import a `net`: each gets its own, early or late, in any order."""
    from nondet.tasks import load_task

    for name, activation in (("a", "ReLU"), ("b", "Tanh")):
        write(tmp_path / name, activation)
        shutil.copy(task_file(LATE), tmp_path / name / "mine.py")
    for name, activation in (("a", "ReLU"), ("b", "Tanh"), ("a", "ReLU")):
        assert activation in repr(load_task(str(tmp_path / name / "mine.py")).model())
    folders = [entry for entry in sys.path if Path(entry).parent == tmp_path]
    assert folders == [str(tmp_path / "a")]


def test_the_path_is_left_as_it_was_by_a_file_that_does_not_import(tmp_path: Path) -> None:
    """A file that fails leaves neither its folder on the path nor its neighbours among the modules."""
    from nondet import BadInput
    from nondet.tasks import load_task

    write(tmp_path, "ReLU")
    (tmp_path / "bad.py").write_text("import net\nraise ValueError('no')\n")
    with pytest.raises(BadInput, match="does not import: ValueError: no"):
        load_task(str(tmp_path / "bad.py"))
    assert ("net" in sys.modules, str(tmp_path) in sys.path) == (False, False)


@pytest.mark.parametrize(
    ("late_import", "file"),
    [
        ("import net", "net.py"),
        ("from net import Net", "net.py"),
        ("import pack.deep.net", "pack/deep/net.py"),
        ("import pack.deep.net", "pack/__init__.py"),
        ("from pack import net", "pack/net.py"),
        ("import star", "pack/net.py"),
        ("from pack import Net", "pack/_hidden.py"),
        ("import importlib; importlib.import_module('net')", "net.py"),
        ("__import__('net')", "net.py"),
        ("import importlib; importlib.import_module(f'pack.{1 + 1}')", "pack/net.py"),
        ("import runpy; runpy.run_path('net.py')", "net.py"),
        ("class A:\n        async def f(self):\n            if False:\n                import net", "net.py"),
        ("import chain", "net.py"),
        ("import broken", "broken.py"),
    ],
)
def test_every_way_of_importing_is_seen(
    late_import: str, file: str, task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """A change of a module that a late import can reach changes the code; of one that none can reach, it does not."""
    texts = {
        "pack/__init__.py": "from ._hidden import Net\n",
        "pack/_hidden.py": "def Net(): ...\n",
        "pack/deep/__init__.py": "",
        "star.py": "from pack import *\n",
        "chain.py": "def f():\n    from net import Net\n",
        "broken.py": "this is not Python\n",
        "apart.py": "",
    }
    for name in {**texts, "net.py": "", "pack/net.py": "", "pack/deep/net.py": ""}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(texts.get(name, ""))
    task = task_file(("def model():", f"def unused():\n    {late_import}\n\n\ndef model():"))
    before = code(task)
    (tmp_path / "apart.py").write_text("changed = 1\n")
    assert code(task) == before
    with (tmp_path / file).open("a") as text:
        text.write("changed = 1\n")
    assert code(task) != before


def test_a_folder_that_the_file_adds_to_the_path_counts(task_file: Callable[..., Path], tmp_path: Path) -> None:
    """Modules of a folder elsewhere are the task's when its file looks for them there; the next one does not."""
    from nondet.tasks import load_task

    write(tmp_path / "lib", "ReLU")
    (tmp_path / "tasks").mkdir()
    added = ("import nondet\n", f"import nondet\nimport sys\nsys.path.append({str(tmp_path / 'lib')!r})\n")
    mine = Path(shutil.copy(task_file(LATE, added), tmp_path / "tasks"))
    before = code(mine)
    write(tmp_path / "lib", "SiLU")
    task = load_task(str(mine))
    assert ("SiLU" in repr(task.model()), task.code != before) == (True, True)
    load_task(str(task_file(name="other")))
    assert str(tmp_path / "lib") not in sys.path


def test_a_neighbour_by_a_link_counts(late: Path, tmp_path: Path) -> None:
    """A net.py that is a link to a file elsewhere is a neighbour like any other."""
    (tmp_path / "far").mkdir()
    (tmp_path / "net.py").rename(tmp_path / "far" / "net.py")
    (tmp_path / "net.py").symlink_to(tmp_path / "far" / "net.py")
    before = code(late)
    write(tmp_path / "far", "SiLU")
    assert code(late) != before


def test_what_is_imported_at_the_top_gives_the_code_that_it_always_gave(
    task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The digest is of the file, then of it and its neighbours in the order of their names, with their places."""
    import hashlib

    write(tmp_path, "ReLU")
    task = task_file(("import nondet\n", "import net\nimport nondet\n"))
    digest = hashlib.sha256(task.read_bytes())
    for file in (task, tmp_path / "net.py"):
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    assert code(task) == digest.hexdigest()


def test_data_that_differ_in_each_process_are_named_with_their_causes(
    nondet: Callable[..., Any], task_file: Callable[..., Path], tmp_path: Path
) -> None:
    """A split without a seed gives other data at the second command, which says what usually does so."""
    task = task_file(("default_rng(0)", "default_rng()"))
    command = ("run", task, "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    assert nondet(*command).code == 0
    ran = nondet(*command)
    assert ran.code == 2
    assert re.search("the data of task .* has changed since", ran.err)
    assert all(cause in ran.err for cause in ("without a seed", "PYTHONHASHSEED", "os.listdir"))
