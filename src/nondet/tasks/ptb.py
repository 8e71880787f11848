"""The Penn Treebank (Marcus et al. 1993; Mikolov's version of 10,000 words) and a QRNN language model."""

from __future__ import annotations

from nondet.tasks import text
from nondet.tasks.options import Options
from nondet.tasks.task import Task

RECIPE = text.RECIPE


def task(options: Options) -> Task:
    """929,589 training and 82,430 test words, including line ends; the folder must be given with `--data DIR`."""
    return text.language_task("ptb", RECIPE, options)
