"""The tasks: one file per data set, and the loader of a user's own file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from nondet.errors import BadInput
from nondet.tasks.task import Recipe, Task

__all__ = ["BUILT_IN", "Recipe", "Task", "load_task"]

BUILT_IN = {"digits": "scikit-learn's 1,797 handwritten digits, 8 x 8, and a small ResNet"}
"""The tasks that come with nondet; each is the function `task` of the module `nondet.tasks.NAME`."""


def load_task(name: str) -> Task:
    """The task of this name, or of the user's file at this path (any name that ends in .py)."""
    if name in BUILT_IN:
        return import_module(f"nondet.tasks.{name}").task()
    if name.endswith(".py"):
        from nondet.tasks.user import load_file

        return load_file(Path(name))
    raise BadInput(f"unknown task {name!r}; choose {', '.join(BUILT_IN)}, or give the path of your own .py file")
