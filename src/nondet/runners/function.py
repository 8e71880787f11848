"""Runs of the user's own function: `train(seeds)` returns what a run leaves."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.errors import BadInput
from nondet.runners.observed import Made, Observed, described
from nondet.script.left import as_array
from nondet.sources import FIXED_SEED, is_name, stream

if TYPE_CHECKING:
    import torch


class Seeds(Mapping[str, int]):
    """The seeds of a run, one for each source that the function asks for by name.

    `seeds["init"]` is 1 if that source does not vary, and otherwise the number of the run.
    """

    def __init__(self, seeds: Mapping[str, int]) -> None:
        self._seeds = dict(seeds)
        self.asked: dict[str, None] = {}

    def __getitem__(self, source: str) -> int:
        if not is_name(source) or source == "all":
            raise BadInput(
                f"a source's name must be letters, digits, _, . and -, but not 'all' (got {source!r}); choose another"
            )
        self.asked[source] = None
        return self._seeds.get(source, FIXED_SEED)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)

    def numpy(self, source: str, *place: int) -> np.random.Generator:
        """Return a NumPy generator for this source. place: numbers that tell its uses apart, such as the epoch."""
        return stream(source, self[source], *place)

    def number(self, source: str, *place: int) -> int:
        """Return 63 bits for a library that takes a seed. place: as for `numpy`."""
        return int(self.numpy(source, *place).integers(2**63))

    def generator(self, source: str, *place: int) -> torch.Generator:
        """Return a torch generator on the CPU, for samplers, loaders and initializers."""
        import torch

        return torch.Generator().manual_seed(self.number(source, *place))

    def jax(self, source: str, *place: int) -> Any:
        """Return a JAX key."""
        jax: Any = import_module("jax.random")
        return jax.PRNGKey(self.number(source, *place) & 0xFFFFFFFF)


@dataclass(frozen=True)
class Function:
    """A training as a function: `nondet.run(nondet.Function(train), runs=20)`.

    Args:
        train: called as `train(seeds)`, see `Seeds`. It returns the test set's outputs and labels as a pair, a score,
            or a dictionary of outputs, labels, and scores by name.
        name: of the study; the function's if left out.
        here: whether runs are made in this process. Otherwise each has its own, forked from this one.
    """

    train: Callable[[Seeds], Any]
    name: str = ""
    here: bool = False

    @property
    def title(self) -> str:
        """The name of its study."""
        return self.name or str(getattr(_defined(self.train), "__name__", "function")).strip("<>")

    def seeds(self, seeds: Mapping[str, int]) -> Seeds:
        """Return what `train` gets in a run with these seeds; all other seeds are 1."""
        return Seeds(seeds)

    @property
    def code(self) -> str:
        """The SHA-256 of its source text, or of its compiled form if there is no text."""
        defined = _defined(self.train)
        try:
            text = inspect.getsource(defined)
        except (OSError, TypeError):
            code = getattr(defined if inspect.isroutine(defined) else defined.__call__, "__code__", None)
            text = _compiled(code) if code is not None else defined.__qualname__
        return hashlib.sha256(text.encode()).hexdigest()


def _defined(train: Any) -> Any:
    """Return what has a definition: the function inside a partial, or the class of a callable object."""
    while isinstance(train, functools.partial):
        train = train.func
    return train if inspect.isroutine(train) or inspect.isclass(train) else type(train)


def _compiled(code: CodeType) -> str:
    """Return a function's compiled form as a text that is the same in every process."""
    constants = [_compiled(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code, constants, code.co_names))


class FunctionRunner(Observed):
    """Makes the runs of a function. Created by `of_function`."""

    resumes = "a function keeps no states that nondet can start from"

    def __init__(self, function: Function, *given: Any, **more: Any) -> None:
        super().__init__(function.title, *given, **more)
        self.function = function

    def make(self, seeds: Mapping[str, int], folder: Path | None, onset: int = 0) -> Made:
        return made(self.function, seeds)


def of_function(function: Function) -> FunctionRunner:
    """Return the runner of a function, after a first run with all seeds fixed.

    That run shows which sources the function asks for, and what it leaves.
    """
    if not callable(function.train):
        raise BadInput(
            f"the training must be a function (got {type(function.train).__name__}); give one, as in Function(train)"
        )
    found = made(function, {})
    if found.failure:
        raise BadInput(f"the function must return, but in its first run it did not: {found.failure}; fix it")
    way_out = "return outputs and labels, a score, or a dictionary of them"
    recipe = {"epochs": 1, "function": function.title}
    identity, labels = described(function.title, recipe, function.code, found, way_out)
    sources = list(found.ledger["asked"])
    if not sources:
        raise BadInput('a function must ask for a seed (got one that asks for none); use seeds["init"] in it')
    known = {"reference": found}
    return FunctionRunner(function, identity, sources, labels, device=found.ledger["device"], known=known)


def made(function: Function, seeds: Mapping[str, int]) -> Made:
    """Make one run, in its own process if possible: a process that has used CUDA cannot be forked."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    if function.here or used or not hasattr(os, "fork"):
        return _call(function, seeds)
    with tempfile.TemporaryDirectory() as place:
        return _forked(function, seeds, Path(place) / "left.npz")


def _call(function: Function, seeds: Mapping[str, int]) -> Made:
    given = function.seeds(seeds)
    try:
        left = function.train(given)
        arrays, scores = _left(left)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({Path(place.filename).name}:{place.lineno})"
        return Made({}, {}, {"asked": list(given.asked)}, f"{type(error).__name__}: {error}{where}")
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_initialized()
    return Made(arrays, scores, {"asked": list(given.asked), "device": "cuda" if cuda else "cpu"})


def _left(left: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Split what a function returned into arrays and scores."""
    if isinstance(left, tuple):
        outputs, labels = left
        return {"outputs": as_array(outputs), "labels": as_array(labels)}, {}
    given: dict[Any, Any] = dict(left) if isinstance(left, Mapping) else {} if left is None else {"score": left}
    arrays = {name: as_array(given.pop(name)) for name in ("outputs", "labels") if name in given}
    return arrays, {str(name): float(value) for name, value in given.items()}


def _forked(function: Function, seeds: Mapping[str, int], file: Path) -> Made:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # the warning that this process has threads, as in a notebook
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            found = _call(function, seeds)
            head = {"scores": found.scores, "ledger": found.ledger, "failure": found.failure}
            every: dict[str, Any] = {"": np.array(json.dumps(head)), **found.arrays}
            np.savez(file, **every)
            status = 0
        finally:
            for stream_ in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream_.flush()
            os._exit(status)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    if status:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Made({}, {}, {"asked": []}, f"its process ended with {how}")
    with np.load(file, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files if name}
        head = json.loads(str(held[""]))
    return Made(arrays, head["scores"], head["ledger"], head["failure"])
