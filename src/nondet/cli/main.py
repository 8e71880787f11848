"""The entry point of the `nondet` command. It loads almost nothing until it is ready to handle a stop."""

import sys

from nondet.io import signals as stopping

NOT_READ = 141
"""The exit status when the reader of standard output has gone: 128 plus the number of SIGPIPE, as in other tools."""

OTHERS = {"folder": "study", "recipe": "set", "run_task": "run-task", "metrics": "metric", "new_runs": "new-runs"}
"""Arguments whose option has another name."""


def main(arguments: list[str] | None = None) -> int:
    """Run the `nondet` command and return its exit status.

    arguments: the words after `nondet`. If None, those of this process; the command then also takes over the
    process's signals and standard streams.
    """
    if arguments is not None:
        return _status(arguments)
    stopping.install()
    from nondet.io import streams

    streams.prepare()
    status = stopping.end(_status(sys.argv[1:]))
    streams.silence()
    return status


def _status(arguments: list[str]) -> int:
    """Run a command and return its exit status; every error but a bug in nondet is printed as one sentence."""
    from nondet.io import streams

    streams.replace_what_is_not_there()
    try:
        status = _command(arguments)
        streams.flush()
        return status
    except streams.NotRead as error:
        if isinstance(error.error, BrokenPipeError):
            return NOT_READ
        streams.say(f"nondet: standard output cannot be written ({error}); what the study has saved is intact")
        return 1
    except BaseException as error:
        said = _sentence(error)
        if said is None:
            raise
        sentence, status = said
        streams.say(sentence)
        stopping.told()
        return status


def _command(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from nondet.cli.app import app
    from nondet.cli.commands import marked
    from nondet.cli.console import Volume
    from nondet.errors import BadInput, spelling
    from nondet.io.streams import heard

    try:
        with spelling(option):
            command, given, _ = app.parse_args(marked(arguments), exit_on_error=False, print_error=False)
            with heard(next((one.level for one in given.arguments.values() if isinstance(one, Volume)), 0)):
                status: object = command(*given.args, **given.kwargs)
    except CycloptsError as error:
        if arguments[:1] and arguments[0].startswith("-") and "Unknown command" in str(error):
            raise BadInput(
                f"an option must follow its command (got {arguments[0]} before any); give the command first: "
                "nondet help lists the commands"
            ) from error
        raise BadInput(f"{' '.join(str(error).split())} (see nondet --help)") from error
    return status if isinstance(status, int) else 0


def _sentence(error: BaseException) -> tuple[str, int] | None:
    """Return the sentence to print for an error, and the exit status; None if the error is a bug in nondet."""
    from nondet.errors import BadInput, Damaged, Stopped

    if isinstance(error, Stopped):
        return str(error), stopping.status()
    if isinstance(error, KeyboardInterrupt) or stopping.stopped():  # a stop can surface as any error
        return "Stopped.", stopping.status()
    if isinstance(error, BadInput):
        return f"nondet: {error}", 2
    if isinstance(error, Damaged):
        return f"nondet: {error}", 1
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"nondet: the system refused to read or write{where}: {error.strerror or error}; "
            "half-written files are ignored, so fix the cause and run the same command again",
            1,
        )
    if isinstance(error, SystemExit):
        return f"nondet: the task's code must return, but it calls sys.exit({error.code!r}); remove that call", 2
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"nondet: file names must be valid text (got {error.object!a}, whose bytes are not); rename the file", 2
    if isinstance(error, MemoryError):
        return "nondet: this machine does not have enough memory for this; use a larger one, or ask for less", 1
    return None


def option(name: str, value: str | None) -> str:
    """Return an argument as an option, as a user would type it."""
    words = f"--{OTHERS.get(name, name)}"
    if value is None:
        return words
    return f'{words} "{value}"' if {*"<>() "} & {*value} and '"' not in value else f"{words} {value}"
