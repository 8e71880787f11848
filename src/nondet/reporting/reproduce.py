"""What is said of trainings that do not reproduce: where they part, why, and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nondet.analysis.reproduce.diverge import Diverged
    from nondet.analysis.reproduce.ladder import Origin


def diverged_words(found: Diverged) -> str:
    """The verdict in a few sentences."""
    looked = _window(found)
    if found.verdict == "none":
        return (
            f"None found: {found.runs} runs of {found.script} are equal to the last bit in {looked}. Nothing is known "
            "of what comes after."
            if not found.whole
            else f"None found: {found.runs} runs of {found.script} are equal to the last bit in {looked}."
        )
    if not found.what:
        return (
            f"Inconclusive: {found.script} takes no training step that can be seen and holds no array at its end, so "
            "there is nothing to compare."
        )
    begin = f"Two runs of {found.script} part {_where(found)}: {found.what} differ first."
    if not found.origins:
        held = "With all that comes from outside held, no two runs parted, and nothing alone parts them."
        return f"Inconclusive. {begin} {held}"
    return " ".join([begin, *(_origin(origin, first=not n) for n, origin in enumerate(found.origins))])


def _where(found: Diverged) -> str:
    if found.window is None:
        return "at the end"
    if found.step is not None and found.step > found.window[1]:
        return "after the last step"
    return f"at step {found.step}"


def _window(found: Diverged) -> str:
    if found.window is None:
        return "all that the script holds at its end"
    steps = f"steps {found.window[0]} to {found.window[1]}"
    return steps + (f" and {found.evaluations} evaluations" if found.evaluations else "")


def _origin(origin: Origin, first: bool) -> str:
    """One cause, its line and its mend."""
    cause, operation = origin.cause, origin.operation
    begin = "The origin" if first else "Another one"
    said = f"{begin} is {origin.site}: {cause.what} ({cause.name})."
    if operation is not None:
        back = f", in the backward pass ({operation.backward})" if operation.backward else ""
        module = f" of {operation.module}" if operation.module else ""
        said += f" There {operation.name}{module}{back} gives another result for the same inputs"
        if operation.ulps is not None:
            said += f", by up to {operation.ulps:.3g} units in the last place ({operation.difference:.2g})"
        said += "."
    elif origin.call:
        call = origin.call if "\n" not in origin.call else origin.call.splitlines()[0] + " ..."
        said += f" It calls {call}." if origin.kind and "." in call and " " not in call else f" The line is: {call}."
    if origin.names:
        said += f" After it {', '.join(origin.names)} {'differs' if len(origin.names) == 1 else 'differ'}."
    return f"{said} The mend: {cause.mend}."
