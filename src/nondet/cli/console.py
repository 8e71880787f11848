"""What the commands share: types of options, and how they speak."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from json import dumps
from typing import Annotated

from cyclopts import Parameter

from nondet.errors import BadInput
from nondet.io.streams import say, tell_as_it_is, warn
from nondet.records import Record

Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[list[str] | None, Parameter(negative="")]
With = Annotated[list[str] | None, Parameter(name="--with", negative="")]
Assignments = Annotated[list[str] | None, Parameter(name="--set", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Volume:
    """How much a command says on its way, on standard error.

    Parameters
    ----------
    quiet
        Say nothing on the way but warnings.
    verbose
        Say more on the way: where runs are made and kept, and a line for every step.
    """

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="")] = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise BadInput("a command takes one of --quiet and --verbose (got both); choose one")

    @property
    def level(self) -> int:
        """What `heard` takes."""
        return self.verbose - self.quiet


USUAL = Volume()


def assignments(texts: list[str]) -> dict[str, str]:
    """`--set field=value` words as a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--set must be given as field=value (got {text!r}); try --set epochs=5")
        pairs[name.strip()] = value.strip()
    return pairs


def answer(found: Record, *, json: bool = False, control: bool | None = None) -> int:
    """Print a record, as text or as JSON; the exit status of its command.

    control: whether a study's control is exactly zero.
    """
    from nondet.reporting.shown import as_text, beside

    if json:
        print_json(found.to_dict())
    else:
        tell_as_it_is(as_text(found, sys.stdout.isatty()))
    for sentence in beside(found):
        say(sentence)
    return answer_control(control)


def answer_control(control: bool | None) -> int:
    """The exit status of a command on a study whose control is zero, not known yet, or not zero, which is said."""
    from nondet.reporting import prose

    if control is False:
        warn(prose.CONTROL_NOT_ZERO)
    return 3 if control is False else 0


def print_sentences(*sentences: str) -> None:
    """Print sentences, each in lines of its own, as plain text."""
    from nondet.reporting.shown import Part, part_as_text

    tell_as_it_is(part_as_text(Part(below=sentences), sys.stdout.isatty()))


def print_json(found: object) -> None:
    """Print what JSON can hold, whose texts are ASCII and so need nothing done to them."""
    tell_as_it_is(dumps(found, indent=2, allow_nan=False) + "\n")
