"""Watch uninitialised memory."""

from __future__ import annotations

import functools
import sys
from typing import Any

from nondet.script.trace.outside import Outside
from nondet.script.trace.places import above, caller


def take_torch_memory(outside: Outside) -> None:
    """Take over the torch functions that return uninitialised memory."""
    torch: Any = sys.modules["torch"]
    for home, name in (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch, "empty_strided"),
        (torch.Tensor, "new_empty"),
        (torch.Tensor, "resize_"),
    ):
        _wrap(outside, home, name, f"torch.{name}")
    if outside.says(r"torch\.\w*Tensor\("):
        _take_constructors(outside, torch)


def take_numpy_memory(outside: Outside) -> None:
    """Take over the NumPy functions that return uninitialised memory."""
    numpy: Any = sys.modules["numpy"]
    for name in ("empty", "empty_like"):
        _wrap(outside, numpy, name, f"numpy.{name}")


def _wrap(outside: Outside, home: Any, name: str, what: str) -> None:
    plain = getattr(home, name)

    @functools.wraps(plain)
    def unwritten(*args: Any, **words: Any) -> Any:
        before = args[0].numel() if name == "resize_" else 0
        found = plain(*args, **words)
        site = caller(above())
        if site:
            _fill(outside, site, found, before)
            outside.note("memory", site, 0, what)
        return found

    setattr(home, name, unwritten)


def _take_constructors(outside: Outside, torch: Any) -> None:
    """Take over `torch.Tensor(3, 4)` and `torch.FloatTensor(3, 4)`, where only sizes are given."""

    def given(found: Any, args: tuple[Any, ...], site: str, name: str) -> Any:
        if site and args and all(isinstance(one, int | torch.Size) for one in args):
            _fill(outside, site, found, 0)
            outside.note("memory", site, 0, name)
        return found

    def typed(name: str) -> None:
        plain = getattr(torch, name)

        class Kind(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, plain)

            def __call__(cls, *args: Any, **words: Any) -> Any:
                return given(plain(*args, **words), args, caller(above()), f"torch.{name}")

        setattr(torch, name, Kind(name, (), {"dtype": plain.dtype}))

    for name in ("FloatTensor", "DoubleTensor", "HalfTensor"):
        typed(name)
    if outside.says(r"torch\.Tensor\(") and not outside.says(r"torch\.compile"):
        new = torch.Tensor.__new__

        @functools.wraps(new)
        def made(cls: Any, *args: Any, **words: Any) -> Any:
            found = new(cls, *args, **words)
            return given(found, args, caller(above()), "torch.Tensor") if cls is torch.Tensor else found

        torch.Tensor.__new__ = made


def _fill(outside: Outside, site: str, found: Any, before: int) -> None:
    """If memory is pinned, fill it with zeros or another number. before: how many elements keep their values."""
    if not outside.pinned:
        return
    number = outside.number("memory", site)
    value = (outside.drawn("memory", site) % 1000) / 500 - 1 if number else 0.0
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(found, torch.Tensor):
        if not found.numel():
            return
        with torch.no_grad():
            whole = found.detach()
            (whole.view(-1)[before:] if before else whole).fill_(value if whole.is_floating_point() else bool(number))
    elif found.dtype.kind in "fc":
        found.fill(value)
    elif found.dtype.kind in "iub":
        found.fill(bool(number))
