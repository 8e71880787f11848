"""The loader of a user's own task file. The file is code, and it runs as such."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import sysconfig
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nondet.errors import BadInput
from nondet.files import NotAFile, read_file
from nondet.tasks.task import Task

MODULE_NAME = "nondet_user_task"

LARGEST = 2**24
"""Bytes of a task's file, which is code that somebody wrote."""


def load_file(path: Path) -> Task:
    """The `task` that a Python file defines, named by the file's bytes as well as by what they define."""
    try:
        source = read_file(path, LARGEST)
    except (OSError, NotAFile) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadInput(f"cannot read {path}: {reason}; give the path of a Python file") from error
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module  # dataclasses and pickling look a class's module up here
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as for any script: its neighbours can be imported
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # the bytes that were hashed, not a cached .pyc
    except (Exception, SystemExit) as error:
        raise BadInput(f"{path} does not import: {_in_one_line(error, path)}; mend the file and try again") from error
    finally:
        with suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(folder)
    task = getattr(module, "task", None)
    if not isinstance(task, Task):
        found = "no `task`" if task is None else f"`task` of type {type(task).__name__}"
        raise BadInput(f"{path} must define `task = nondet.Task(...)` (found {found}); see examples/my_task.py")
    return replace(task, name=task.name or path.stem, code=_code_hash(source, path.resolve().parent))


def _code_hash(source: bytes, folder: Path) -> str:
    """The SHA-256 of the file and of the modules beside it (or below) that it imports."""
    digest = hashlib.sha256(source)
    files = {str(getattr(m, "__file__", None)): name for name, m in list(sys.modules.items()) if name != "__main__"}
    for file, name in sorted(files.items()):
        installed = any(Path(file).is_relative_to(path) for path in sysconfig.get_paths().values())
        local = Path(file).is_relative_to(folder) and not installed and "-packages" not in file
        if local and file.endswith(".py") and name.partition(".")[0] != "nondet":
            digest.update(f"{Path(file).relative_to(folder)}".encode())
            digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()


def _in_one_line(error: BaseException, path: Path) -> str:
    """The error's type, message and, where the file itself is at fault, its line."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line else "")
