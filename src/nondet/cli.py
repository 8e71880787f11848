"""The command line: which commands there are, and what their exit statuses mean."""

from __future__ import annotations

import io
import sys
from typing import Any

from cyclopts import App, CycloptsError

from nondet import __version__
from nondet.commands.alike import alike
from nondet.commands.common import say
from nondet.commands.compare import compare
from nondet.commands.examples import examples
from nondet.commands.figures import figures
from nondet.commands.lists import models, tasks
from nondet.commands.measure import measure
from nondet.commands.plan import plan
from nondet.commands.report import report
from nondet.commands.run import run
from nondet.commands.show import show
from nondet.commands.stabilize import stabilize
from nondet.commands.verify import verify
from nondet.errors import BadInput, Damaged

app = App(
    name="nondet",
    help="Measure how much a neural network's training varies from run to run, and which source causes it.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    help_epilogue=(
        "Exit status: 0 done; 1 a damaged study, or a disk that cannot be written; 2 input that cannot be used; "
        "3 the control is not exactly zero; 130 interrupted."
    ),
)
for command in (run, show, measure, compare, plan, alike, examples, report, figures, stabilize, verify, tasks, models):
    app.command(command)


def main(arguments: list[str] | None = None) -> int:
    """The `nondet` command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters still gets its table
    try:
        status: Any = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return status if isinstance(status, int) else 0
    except CycloptsError as error:
        say(f"nondet: {' '.join(str(error).split())} (see nondet --help)")
        return 2
    except BadInput as error:
        say(f"nondet: {error}")
        return 2
    except Damaged as error:
        say(f"nondet: {error}")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        say(
            f"nondet: the system refuses to read or write{where}: {error.strerror or error}; "
            "nothing half-written counts, so mend that and give the same command again"
        )
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
