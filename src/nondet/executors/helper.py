"""A helper process: `python -m nondet.executors.helper`, started and fed by nondet.executors.helpers."""

import sys
from contextlib import suppress

from nondet import stopping

if __name__ == "__main__":
    stopping.install()
    from nondet.executors.helpers import helper_main

    # Ctrl-C reaches every process of the terminal, and the main process ends its helpers: it speaks, they tidy up
    with suppress(KeyboardInterrupt), stopping.unwinding():
        sys.exit(helper_main(sys.stdin.readline))
