"""One run of a task in its own process, so that it can be traced.

`python -m nondet.running.one_run TASK init=2` uses the fixed seed for each source that is not named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nondet.errors import BadInput
from nondet.runners.script import Script
from nondet.script.trace.training import unseen
from nondet.sources import FIXED_SEED


def command_of(task: str, sources: Sequence[str] = ()) -> Script:
    """Return the command that trains a task once. sources: those whose seeds it takes, as `{init}` in a word."""
    return Script([sys.executable, "-m", __name__, task, *(f"{n}={{{n}}}" for n in sources)], name=Path(task).stem)


def main(words: list[str]) -> int:
    from nondet.running.request import Request
    from nondet.study.provenance import set_up_process
    from nondet.training.train import train_stack

    set_up_process()
    try:
        with unseen():  # its trial steps are not training steps
            problem = Request(words[0]).prepare()
        given = {name: int(seed) for name, _, seed in (word.partition("=") for word in words[1:])}
        train_stack(problem, [{**dict.fromkeys(problem.sources, FIXED_SEED), **given}])
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
