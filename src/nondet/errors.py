"""The errors that users see. Each is one sentence: the rule, the value received, the way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager

_ARGUMENT = re.compile(
    r"<<(against|alpha|arm|better|broken|chance|cluster|columns|cycles|data|dataset|design|device|effect|examples|executor"
    r"|failed|fix|folder|groups|labels|layers|ledger|levels|limit|looks|margin|metrics?|model|name|new_runs|of|onset|outputs"
    r"|paired|recipe|record|run_task|runs|save|sd|seed|stack|steps|tf32|track|until|vary|with)"
    r"(?:=(.*?))?>>"
)
Spelling = Callable[[str, str | None], str]


def _in_python(name: str, value: str | None) -> str:
    if name == "design":
        return "a crossed design"
    if name == "with":
        name = "with_"
    if name == "recipe" and value is not None:
        field, _, value = value.partition("=")
        value = f"{{{field!r}: {value if value[:1].isdigit() else repr(value)}}}"
    if name == "failed" and value is not None:
        value = repr(value)
    return name if value is None else f"{name}={value}"


_spelling: list[Spelling] = [_in_python]


def spelled(sentence: str) -> str:
    """Spell a sentence's arguments the way its reader gives them: `<<runs=20>>` is runs=20 in Python, `<<runs>>` runs.

    `<<recipe=lr=0.1>>` is one field of the recipe. `<<design=crossed>>` is a crossed design, which Python asks for with
    levels.
    """
    return _ARGUMENT.sub(lambda found: _spelling[-1](found[1], found[2]), sentence)


@contextmanager
def spelling(how: Spelling) -> Generator[None]:
    """Spell arguments in another way inside this block: `how` gets an argument's name and value."""
    _spelling.append(how)
    try:
        yield
    finally:
        _spelling.pop()


class _Said(Exception):
    def __init__(self, sentence: object = "") -> None:
        super().__init__(spelled(str(sentence)))


class BadInput(_Said, ValueError):
    """The user asked for something impossible; the command exits with 2."""


class Damaged(_Said, RuntimeError):
    """A file of a study differs from what was written; the command exits with 1."""


class Stopped(_Said):
    """The user stopped the work; the message says what is safe, and how to continue."""
