"""The list of commands, and what their exit statuses mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter
from cyclopts.completion import ShellDetectionError, detect_shell
from rich.console import Console

from nondet.cli.arms import alike, compare, measure
from nondet.cli.decisions import floor, gate, plan
from nondet.cli.lists import models, tasks
from nondet.cli.pictures import examples, figures, report
from nondet.cli.places import doctor, pull, push
from nondet.cli.reproduce import audit, diverge, resume_check
from nondet.cli.run import run, stabilize
from nondet.cli.studies import show, status, verify, work
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.io.streams import NotRead, tell
from nondet.version import __version__


class _Console(Console):
    """The console on which help is printed."""

    def on_broken_pipe(self) -> None:
        raise NotRead(BrokenPipeError())


def _shown(default: object) -> str | None:
    """Return a default as help shows it; None if it is off or empty."""
    return str(default) if default else None


app = App(
    name="nondet",
    help="Measure how much a neural network's training varies from run to run, and which source causes it.",
    version=__version__,
    console=_Console(),
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(show_default=_shown),
    help_epilogue=(
        "Exit status: 0 done; 1 a damaged study, or a disk that cannot be written; 2 input that cannot be used; "
        "3 the control is not exactly zero; 4 inconclusive, or run again; "
        "129 the terminal closed (SIGHUP); 130 interrupted (Ctrl-C); "
        "141 nobody read the output; 143 terminated (SIGTERM). "
        "For gate, zero means keep and one means discard; for diverge, audit and resume-check, one means a finding."
    ),
)
COMMANDS = (
    run,
    work,
    status,
    show,
    measure,
    compare,
    plan,
    floor,
    gate,
    alike,
    audit,
    diverge,
    resume_check,
    examples,
    report,
    figures,
    stabilize,
    verify,
    pull,
    push,
    doctor,
    tasks,
    models,
)
for command in COMMANDS:
    app.command(command, help_epilogue="")


@app.command(name="help", help_epilogue="")
def help_(command: str = "", /) -> None:
    """Print what nondet can do, or what a command does and which options it has.

    Parameters
    ----------
    command
        The name of a command; all commands if left out.
    """
    known = [name for name in app if not name.startswith("-")]
    if command and command not in known:
        raise BadInput(f"there is no command {command!r}{did_you_mean(command, known)}; choose from {', '.join(known)}")
    app.help_print([command] if command else [])


@app.command(name="--install-completion", help_epilogue="")
def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None, output: Path | None = None) -> None:
    """Make the shell complete commands, options and file names.

    Parameters
    ----------
    shell
        The shell; the one you are in if left out.
    output
        Only write the script to this file. If left out, write it where the shell looks for it, and add a line to the
        shell's startup file.
    """
    name = shell or _shell()
    path = app.install_completion(shell=name, output=output, add_to_startup=output is None)
    path.write_text(_with_files(path.read_text(), name))
    tell(f"Completion for {name} is in {path}." + ("" if output else f" Start a new {name} to use it."))


def _shell() -> Literal["bash", "zsh", "fish"]:
    """Return the name of the shell that this runs in."""
    try:
        found = detect_shell()
    except ShellDetectionError:
        found = None
    if found not in ("bash", "zsh", "fish"):
        raise BadInput(f"the shell must be bash, zsh or fish (got {found or 'an unknown one'}); add --shell bash")
    return found


def _with_files(script: str, shell: str) -> str:
    """Make a completion script offer files where it has nothing else to offer; fish's already does."""
    if shell == "bash":
        return script.replace("complete -F ", "complete -o default -F ")
    if shell == "zsh":
        return re.sub(r"^( +'(?:\d+|\*):(?:[^:\n]|\\:)*)' \\$", r"\1:_files' \\", script, flags=re.MULTILINE)
    return script
