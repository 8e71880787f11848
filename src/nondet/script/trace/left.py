"""Record the values of a script's own names when it ends, for a training without steps."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nondet.script.inside import PACKAGES, THREADED
from nondet.script.machine import seen
from nondet.script.trace.values import digest

if TYPE_CHECKING:
    from nondet.script.trace.lines import Lines
    from nondet.script.trace.writer import Writer


def at_the_end(writer: Writer, lines: Lines, settle: Sequence[Callable[[], None]], step: Callable[[], int]) -> None:
    """Record the script's arrays when it ends. settle: functions to call before that."""

    def end() -> None:
        sys.settrace(None)
        for one in settle:
            one()
        main = sys.modules.get("__main__")
        for name, value in list(vars(main).items()) if main else []:
            if not name.startswith("__") and _is_data(value):
                writer.write(["end", step(), digest(value), "", name])
        writer.write(["machine", seen()])
        writer.write(["done", step(), lines.left > 0])
        writer.write(["imports", [name for name in sys.modules if name in _SLOW or name in PACKAGES]])
        writer.write(["threaded", any(name in sys.modules for name in THREADED)])
        writer.flush()

    atexit.register(end)


_SLOW = ("torch._dynamo", "torch.utils.data", "sklearn.datasets", "sklearn.model_selection", "numpy.random")
"""Parts of packages that take long to import and are imported late."""


def _is_data(value: Any) -> bool:
    """Whether a value is one that a training makes: an array, a tensor, or a fitted model."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return (
        (numpy is not None and isinstance(value, numpy.ndarray))
        or (torch is not None and isinstance(value, torch.Tensor | torch.nn.Module))
        or type(value).__module__.startswith("sklearn.")
    )
