"""The `nondet` command: how it begins and ends. Until it is ready to be stopped, it loads next to nothing."""

import sys

from nondet.io import signals as stopping

NOT_READ = 141
"""The exit status where the reader of standard output is gone: 128 and the number of SIGPIPE, as of other tools."""


def main(arguments: list[str] | None = None) -> int:
    """The `nondet` command; returns its exit status.

    arguments: the words after `nondet`. Without them they are those of this process, which then is the command's own:
    signals and standard streams are taken over.
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
    """What a command answers, and every way in which one ends as one sentence."""
    from nondet.io import streams

    streams.replace_what_is_not_there()
    try:
        status = _command(arguments)
        streams.flush()
        return status
    except streams.NotRead as error:
        if isinstance(error.error, BrokenPipeError):
            return NOT_READ
        streams.say(f"nondet: standard output cannot be written ({error}); what a study holds is as it was left")
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
    from nondet.cli.console import Volume
    from nondet.cli.options import option
    from nondet.cli.run import marked
    from nondet.errors import BadInput, spelling
    from nondet.io.streams import heard

    try:
        with spelling(option):
            command, given, _ = app.parse_args(marked(arguments), exit_on_error=False, print_error=False)
            with heard(next((one.level for one in given.arguments.values() if isinstance(one, Volume)), 0)):
                status: object = command(*given.args, **given.kwargs)
    except CycloptsError as error:
        raise BadInput(f"{' '.join(str(error).split())} (see nondet --help)") from error
    return status if isinstance(status, int) else 0


def _sentence(error: BaseException) -> tuple[str, int] | None:
    """What to say of an error, and the exit status; None of one that is a fault of nondet's own."""
    from nondet.errors import BadInput, Damaged, Stopped

    if isinstance(error, Stopped):
        return str(error), stopping.status()
    if isinstance(error, KeyboardInterrupt) or stopping.stopped():  # a stop may come out as any error at all
        return "Stopped.", stopping.status()
    if isinstance(error, BadInput):
        return f"nondet: {error}", 2
    if isinstance(error, Damaged):
        return f"nondet: {error}", 1
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"nondet: the system refuses to read or write{where}: {error.strerror or error}; "
            "nothing half-written counts, so mend that and give the same command again",
            1,
        )
    if isinstance(error, SystemExit):
        return f"nondet: code of the task must come back, and it calls sys.exit({error.code!r}); take that call out", 2
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"nondet: names of files must be text (got {error.object!a}, whose bytes are none); rename it", 2
    if isinstance(error, MemoryError):
        return "nondet: the memory of this machine does not hold what this takes; give it more, or ask for less", 1
    return None
