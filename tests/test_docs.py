"""The docs keep to the product: their commands parse, their links resolve, their code is the code."""

import re
import shlex
from pathlib import Path

import pytest

from nondet import SOURCES
from nondet.cli.app import app
from nondet.cli.commands import marked
from nondet.tasks import load_task

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXIT_STATUSES = ("0", "1", "2", "3", "4", "129", "130", "141", "143")


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def _commands() -> list[str]:
    """Every command in a `bash` block: those blocks are meant to be run."""
    lines = {
        line.partition(" #")[0].strip() for page in PAGES for b in _blocks(page, "bash") for line in b.splitlines()
    }
    return sorted({line.partition(" #")[0].strip() for line in lines} - {""})


COMMANDS = _commands()


@pytest.mark.parametrize("command", [c for c in COMMANDS if "nondet " in c])
def test_commands_parse(command: str) -> None:
    """Each `nondet` command names an existing command, with options that it has and all that it needs."""
    words = shlex.split(command)
    words = marked(words[words.index("nondet") + 1 :])
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    if "set_" in bound.arguments and "digits" in bound.args:
        load_task("digits").recipe.set(dict(pair.split("=") for pair in bound.arguments["set_"]))
    for condition in bound.arguments.get("vary") or ():
        assert {part.partition("=")[0] for part in condition.split("+")} <= {*SOURCES, "all"}


@pytest.mark.parametrize("target", [c.split()[1] for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(target: str) -> None:
    """Each `make` command names a target of the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    """Each link to a file inside the project finds it."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path) -> None:
    """Each `python` block is Python."""
    for block in _blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", ["README.md", "docs/your-model.md"])
def test_example_is_shown_as_it_is(page: str) -> None:
    """The example in the text is the file in `examples/`, but for the file's docstring."""
    code = (ROOT / "examples" / "my_task.py").read_text().partition('"""\n\n')[2]
    assert code in _blocks(ROOT / page, "python")


def test_every_source_is_described() -> None:
    """The protocol's page has a row for each source."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    assert [source for source in SOURCES if f"| `{source}` |" not in text] == []


def test_every_exit_status_is_described() -> None:
    """The JSON page has a row for each exit status, and `--help` knows the same ones."""
    text = (ROOT / "docs" / "json.md").read_text()
    epilogue = str(app.help_epilogue)
    assert tuple(re.findall(r"^\| (\d+) \|", text, re.MULTILINE)) == EXIT_STATUSES
    assert tuple(re.findall(r"(?<![\d.])(\d+) [a-z]", epilogue)) == EXIT_STATUSES
