"""Which commands there are, and what their exit statuses mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter
from cyclopts.completion import ShellDetectionError, detect_shell
from rich.console import Console

from nondet.cli.alike import alike
from nondet.cli.audit import audit
from nondet.cli.compare import compare
from nondet.cli.diverge import diverge
from nondet.cli.examples import examples
from nondet.cli.figures import figures
from nondet.cli.floor import floor
from nondet.cli.gate import gate
from nondet.cli.lists import models, tasks
from nondet.cli.measure import measure
from nondet.cli.places import doctor, pull, push
from nondet.cli.plan import plan
from nondet.cli.report import report
from nondet.cli.resume_check import resume_check
from nondet.cli.run import run
from nondet.cli.show import show
from nondet.cli.stabilize import stabilize
from nondet.cli.verify import verify
from nondet.cli.work import status, work
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.io.streams import NotRead, tell
from nondet.version import __version__


class _Console(Console):
    """Where help is printed."""

    def on_broken_pipe(self) -> None:
        raise NotRead(BrokenPipeError())


def _shown(default: object) -> str | None:
    """A default as help shows it; nothing of what is off, or empty."""
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
        "129 ended with its terminal (SIGHUP); 130 interrupted (Ctrl-C); "
        "141 nobody read the output; 143 ended (SIGTERM). "
        "Of gate zero is keep and one is discard; of diverge, audit and resume-check one is a finding."
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
    """Print what nondet can do, or what a command does and takes.

    Parameters
    ----------
    command
        A command by its name; all of them if left out.
    """
    known = [name for name in app if not name.startswith("-")]
    if command and command not in known:
        raise BadInput(f"there is no command {command!r}{did_you_mean(command, known)}; choose from {', '.join(known)}")
    app.help_print([command] if command else [])


@app.command(name="--install-completion", help_epilogue="")
def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None, output: Path | None = None) -> None:
    """Have the shell complete commands, options and the names of files.

    Parameters
    ----------
    shell
        The shell; the one that this runs in if left out.
    output
        Only write the script to this file; the shell's own place, and a line in its start file, if left out.
    """
    name = shell or _shell()
    path = app.install_completion(shell=name, output=output, add_to_startup=output is None)
    path.write_text(_with_files(path.read_text(), name))
    tell(f"Completion for {name} is in {path}." + ("" if output else f" It begins with the next {name}."))


def _shell() -> Literal["bash", "zsh", "fish"]:
    """The shell that this runs in."""
    try:
        found = detect_shell()
    except ShellDetectionError:
        found = None
    if found not in ("bash", "zsh", "fish"):
        raise BadInput(f"the shell must be bash, zsh or fish (got {found or 'none that is known'}); add --shell bash")
    return found


def _with_files(script: str, shell: str) -> str:
    """A script of completion that offers files wherever it knows nothing else; that of fish does already."""
    if shell == "bash":
        return script.replace("complete -F ", "complete -o default -F ")
    if shell == "zsh":
        return re.sub(r"^( +'(?:\d+|\*):(?:[^:\n]|\\:)*)' \\$", r"\1:_files' \\", script, flags=re.MULTILINE)
    return script
