"""The tasks: those that come with nondet, and the loader for a user's own file."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nondet.errors import BadInput
from nondet.io import extensions
from nondet.io.nearest import did_you_mean
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Options, Task

__all__ = ["BUILT_IN", "Options", "Recipe", "Task", "about", "is_file", "is_task", "load_task", "names"]


@dataclass(frozen=True)
class About:
    """A task's description in one line, its module here, and its sources on a CPU with its default network."""

    text: str
    module: str
    sources: tuple[str, ...] = ("init", "shuffle", "augment", "order", "bit")

    def load(self) -> Any:
        """Return the module, with `task(name, options)` and RECIPES, each recipe by its task's name."""
        return import_module(f"nondet.tasks.{self.module}")


_TEXT = ("text", ("init", "dropout", "order", "bit"))

BUILT_IN = MappingProxyType(
    {
        "digits": About("scikit-learn's 1,797 handwritten digits, 8 x 8, and a small ResNet", "digits"),
        "mnist": About("60,000 handwritten digits, 28 x 28, and a small convolutional network", "pictures"),
        "fashion-mnist": About("60,000 pictures of clothes, 28 x 28, and a small convolutional network", "pictures"),
        "cifar10": About(
            "50,000 pictures of 10 classes, 32 x 32, and ResNet-14: the protocol's main experiment", "pictures"
        ),
        "cifar100": About("50,000 pictures of 100 classes, 32 x 32, and ResNet-34", "pictures"),
        "ptb": About("the Penn Treebank, 10,000 words, and a QRNN language model", *_TEXT),
        "text": About("any folder with train, valid and test text, and a QRNN language model", *_TEXT),
        "imagenet": About(
            "ImageNet, or any folder with one folder of pictures for each class, and ResNet-18", "imagenet"
        ),
    }
)
"""The tasks that come with nondet."""

GROUP = "nondet.tasks"
"""Other packages add tasks by entry points of this group: NAME = "module:task", a function of options, and RECIPE."""


def names() -> list[str]:
    """Return the names of the tasks: nondet's own, then those of other packages."""
    return [*BUILT_IN, *(name for name in extensions.names(GROUP) if name not in BUILT_IN)]


def about(name: str) -> tuple[str, Recipe]:
    """Return a task's description in one line, and its module's RECIPE; BadInput if its package cannot be loaded."""
    if name in BUILT_IN:
        return BUILT_IN[name].text, BUILT_IN[name].load().RECIPES[name]
    made = extensions.load(GROUP, name)
    lines = (made.__doc__ or import_module(made.__module__).__doc__ or "").strip().splitlines()
    return (lines or ["no description"])[0], import_module(made.__module__).RECIPE


def is_file(name: str) -> bool:
    """Whether a task of this name is a user's own file, that is, code that runs when it is loaded."""
    return name not in BUILT_IN and name.endswith(".py")


def is_task(name: str) -> bool:
    """Whether this names a task rather than some other script. A file is only parsed, not run."""
    if name in names() or not is_file(name):
        return name in names()
    try:
        tree = ast.parse(Path(name).read_bytes())
    except (OSError, ValueError, SyntaxError):
        return False
    targets = [
        node.targets if isinstance(node, ast.Assign) else [node.target]
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
    ]
    return any(isinstance(target, ast.Name) and target.id == "task" for some in targets for target in some)


def load_task(name: str, options: Options | None = None) -> Task:
    """Return the task with this name, or the one in the user's file at this path (any name that ends in .py)."""
    options = options or Options()
    if name in BUILT_IN:
        if name != "imagenet" and options.broken != Options.broken:
            raise BadInput(
                "<<broken>> is only for imagenet, whose images may fail to decode (got "
                f"<<broken={options.broken}>> with {name}); leave it out"
            )
        if name == "digits" and options.data is not None:
            raise BadInput(
                f"digits comes with scikit-learn and takes no folder (got <<data={options.data}>>); leave it out"
            )
        return BUILT_IN[name].load().task(name, options)
    if is_file(name):
        from nondet.tasks.user import load_file

        if options != Options():
            raise BadInput(
                "<<data>>, <<model>>, <<broken>>, train_examples and test_examples are for the tasks that come with "
                f"nondet (got {name}); set them in the file"
            )
        return load_file(Path(name))
    if name in extensions.names(GROUP):
        return _of_package(name, options)
    near = did_you_mean(name, names())
    raise BadInput(f"unknown task {name!r}{near}; choose one of {', '.join(names())}, or give a path to a .py file")


def _of_package(name: str, options: Options) -> Task:
    """Return another package's task, identified by the source of its module."""
    made = extensions.load(GROUP, name)
    task = made(options)
    if not isinstance(task, Task):
        raise BadInput(f"the entry point {name} must return a nondet.Task (got {type(task).__name__}); fix its package")
    source = Path(str(import_module(made.__module__).__file__)).read_bytes()
    return replace(task, name=task.name or name, code=task.code or sha256(source).hexdigest())
