"""A helper process: `python -m nondet.executors.helper`, started and fed by nondet.executors.helpers."""

import sys
from contextlib import suppress

from nondet.executors.helpers import helper_main

if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches every process of the terminal; the main one speaks
        sys.exit(helper_main(sys.stdin.readline))
