"""A helper process: `python -m nondet.running.executors.worker`, started and fed by `executors.processes`."""

import sys
from contextlib import suppress

from nondet.io import signals as stopping

if __name__ == "__main__":
    stopping.install()
    from nondet.running.executors.processes import helper_main

    # Ctrl-C reaches every process of the terminal. Only the main process reports it; helpers just tidy up and end.
    with suppress(KeyboardInterrupt), stopping.unwinding():
        sys.exit(helper_main(sys.stdin.readline))
