"""The init and dropout sources of torch's modules: what builds them, and what they draw in training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

from nondet.script.bit import Start
from nondet.script.inside import Inside
from nondet.script.instead import below, instead_of

_MARK = "_nondet"


class Building:
    """The init source: the outermost call that builds a module or resets its parameters.

    steps: makes a training step of a class's own `forward`, for scripts that call that instead of the module.
    """

    METHODS = ("__init__", "reset_parameters", "apply", "init_weights", "_init_weights", "_initialize_missing_keys")

    def __init__(self, here: Inside, torch: Any, depth: list[int], steps: Callable[[Callable[..., Any]], Any]) -> None:
        self.here, self.depth, self.inside, self.steps = here, depth, False, steps
        self.tracing, module, building = _tracing(torch), torch.nn.Module, self
        for one in (module, *below(module)):
            self.wrap(one)

        def init_subclass(cls: type, **words: Any) -> None:
            super(module, cls).__init_subclass__(**words)
            building.wrap(cls)

        module.__init_subclass__ = classmethod(init_subclass)
        for name in dir(torch.nn.init):
            if name.endswith("_") and not name.startswith("_"):
                setattr(torch.nn.init, name, self.builds(getattr(torch.nn.init, name)))

    def wrap(self, cls: type) -> None:
        for name in self.METHODS:
            method = cls.__dict__.get(name)
            if callable(method) and not hasattr(method, _MARK):
                setattr(cls, name, self.builds(method))
        forward = cls.__dict__.get("forward")
        own = not cls.__module__.startswith("torch.") or cls.__name__ == "Sequential"
        if own and isinstance(forward, FunctionType) and not hasattr(forward, _MARK):
            setattr(cls, "forward", self.steps(forward))  # noqa: B010 - the type of the class is not known

    def builds(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(*args: Any, **words: Any) -> Any:
            if self.inside or self.depth[0] or self.here.is_worker or self.tracing():
                return method(*args, **words)
            self.inside = True
            try:
                with self.here.streams.source("init"):
                    self.here.ledger["built"] += 1
                    return method(*args, **words)
            finally:
                self.inside = False

        setattr(wrapped, _MARK, True)
        return wrapped


def forwards(here: Inside, torch: Any, depth: list[int]) -> Callable[[Callable[..., Any]], Any]:
    """The dropout source: the outermost forward pass of a module with parameters, in training. It is called a step.

    A checkpoint's second forward pass comes inside a backward pass, where it has the random numbers of the first.
    Returns a function that makes a method a step.
    """
    module, stubs = torch.nn.Module, torch.jit._recursive
    compiling, tracing = torch.compiler.is_compiling, _tracing(torch)
    in_backward = torch._C._current_graph_task_id
    start = Start(here, torch)

    def steps(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **words: Any) -> Any:
            if (
                compiling()
                or depth[0]
                or not self.training
                or not torch.is_grad_enabled()
                or in_backward() != -1
                or tracing()
                or next(self.parameters(), None) is None
            ):
                return method(self, *args, **words)
            if here.is_worker:
                here.tell("trained")
                return method(self, *args, **words)
            start.step(self)
            step = here.ledger["steps"]
            here.ledger["steps"] += 1
            depth[0] += 1
            try:
                with here.streams.source("dropout", step):
                    return method(self, *args, **words)
            finally:
                depth[0] -= 1

        setattr(call, _MARK, True)
        return call

    module.__call__ = steps(module.__call__)
    stub = stubs.make_stub  # TorchScript reads a method's text, and the names around it
    stubs.make_stub = lambda method, name: stub(_as_written(method), name)
    return steps


def compiled(here: Inside, torch: Any, depth: list[int]) -> None:
    """The dropout source of a function that is compiled together with its model: the graph calls no module."""
    plain, module, compiling = torch.compile, torch.nn.Module, torch.compiler.is_compiling
    count = iter(range(1 << 62))

    @instead_of(torch, "compile")
    def compile_it(model: Any = None, *args: Any, **words: Any) -> Any:
        if model is None:
            return functools.partial(compile_it, *args, **words)
        made = plain(model, *args, **words)
        if isinstance(model, module):
            return made

        @functools.wraps(made)
        def call(*args: Any, **words: Any) -> Any:
            outside = not compiling() and not depth[0] and here.streams.inside == "other" and not here.is_worker
            if not outside or not torch.is_grad_enabled():
                return made(*args, **words)
            with here.streams.source("dropout", "compiled", next(count)):
                return made(*args, **words)

        return call


def _tracing(torch: Any) -> Callable[[], bool]:
    """Return a check for whether operations only go into a graph, as while a backend or torch.export traces them."""
    modes, keys = torch._C._len_torch_dispatch_stack, torch._C._TorchDispatchModeKey
    return lambda: bool(modes()) and any(torch._C._get_dispatch_mode(key) for key in (keys.FAKE, keys.PROXY))


def _as_written(method: Any) -> Any:
    """Return a method without nondet's wrapper."""
    return method.__wrapped__.__get__(method.__self__) if hasattr(method, _MARK) else method
