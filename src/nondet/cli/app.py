"""Which commands there are, and what their exit statuses mean."""

from __future__ import annotations

from cyclopts import App
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
from nondet.io.streams import NotRead
from nondet.version import __version__


class _Console(Console):
    """Where help is printed."""

    def on_broken_pipe(self) -> None:
        raise NotRead(BrokenPipeError())


app = App(
    name="nondet",
    help="Measure how much a neural network's training varies from run to run, and which source causes it.",
    version=__version__,
    console=_Console(),
    suppress_keyboard_interrupt=False,
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
    app.command(command)
