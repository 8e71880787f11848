"""Watch uninitialised memory."""

from __future__ import annotations

import sys
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.outside import Outside
from nondet.script.trace.places import above, caller


def take_torch_memory(outside: Outside) -> None:
    """Take over the torch functions that return uninitialised memory."""
    torch: Any = sys.modules["torch"]
    for name in ("empty", "empty_like", "empty_strided"):
        _take(outside, torch, name, f"torch.{name}")
    for name in ("new_empty", "resize_"):
        _take(outside, torch.Tensor, name, f"torch.{name}")
    if outside.says(r"torch\.\w*Tensor\("):
        _take_constructors(outside, torch)


def take_numpy_memory(outside: Outside) -> None:
    """Take over the NumPy functions that return uninitialised memory."""
    for name in ("empty", "empty_like"):
        _take(outside, sys.modules["numpy"], name, f"numpy.{name}")


def _take(outside: Outside, home: Any, name: str, what: str) -> None:
    def held(site: str, plain: Any, *args: Any, **words: Any) -> Any:
        before = args[0].numel() if name == "resize_" else 0
        return _filled(outside, site, plain(*args, **words), before)

    outside.take("memory", home, name, held, what, shown=lambda *_, **words: 0)


def _take_constructors(outside: Outside, torch: Any) -> None:
    """Take over `torch.Tensor(3, 4)` and `torch.FloatTensor(3, 4)`, where only sizes are given."""

    def given(found: Any, args: tuple[Any, ...], name: str) -> Any:
        site = caller(above())
        if site and args and all(isinstance(one, int | torch.Size) for one in args):
            outside.note("memory", site, 0, name)
            return _filled(outside, site, found) if outside.pinned else found
        return found

    def typed(name: str) -> None:
        plain = getattr(torch, name)

        class Kind(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, plain)

            def __call__(cls, *args: Any, **words: Any) -> Any:
                return given(plain(*args, **words), args, f"torch.{name}")

        setattr(torch, name, Kind(name, (), {"dtype": plain.dtype}))

    for name in ("FloatTensor", "DoubleTensor", "HalfTensor"):
        typed(name)
    if outside.says(r"torch\.Tensor\(") and not outside.says(r"torch\.compile"):
        new = torch.Tensor.__new__

        @instead_of(torch.Tensor, "__new__")
        def made(cls: Any, *args: Any, **words: Any) -> Any:
            found = new(cls, *args, **words)
            return given(found, args, "torch.Tensor") if cls is torch.Tensor else found


def _filled(outside: Outside, site: str, found: Any, before: int = 0) -> Any:
    """Fill memory with zeros or another number, and return it. before: how many elements keep their values."""
    number = outside.number("memory", site)
    value = (outside.drawn("memory", site) % 1000) / 500 - 1 if number else 0.0
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(found, torch.Tensor):
        if found.numel():
            with torch.no_grad():
                whole = found.detach()
                part = whole.view(-1)[before:] if before else whole
                part.fill_(value if whole.is_floating_point() else bool(number))
    elif found.dtype.kind in "fciub":
        found.fill(value if found.dtype.kind in "fc" else bool(number))
    return found
