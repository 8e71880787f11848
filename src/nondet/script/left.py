"""What a script leaves of a run: through `nondet.record(...)`, or through expressions in its names when it ends."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROCESS: list[Any] = []
"""The run that this process belongs to, as `begin` set it up; empty outside of nondet."""

_arrays: dict[str, Any] = {}
_scores: dict[str, float] = {}
_curves: dict[str, dict[float, float]] = {}


def record(*, outputs: Any = None, labels: Any = None, epoch: Any = None, **scores: Any) -> None:
    """Keep what a run leaves: a line to add to a training script. It does nothing unless nondet makes the run.

    Args:
        outputs: the test set's logits `(n, c)` or predicted classes `(n,)`. labels: the test set's, `(n,)`.
        scores: numbers by name, such as accuracy=93.1. If one is reported again and again, such as once an epoch, the
            last value counts, and all values are its curve. epoch: of the scores, if they are not reported in order or
            some are left out.
    """
    if not PROCESS or PROCESS[-1].is_worker:
        return
    for name, given in (("outputs", outputs), ("labels", labels)):
        if given is not None:
            _arrays[name] = as_array(given)
    for name, given in scores.items():
        _scores[name], curve = float(given), _curves.setdefault(name, {})
        curve[float(len(curve) if epoch is None else epoch)] = float(given)


def evaluate(text: str, names: Mapping[str, Any]) -> str:
    """Evaluate expressions in these names, such as `"outputs=logits, labels=y"`, and keep their values.

    Returns what went wrong, in words, or an empty text.
    """
    scope = dict(names)
    for name, expression in keywords(text).items():
        try:
            value = eval(expression, scope)
            record(**{name: value})
        except BaseException as error:  # a user's expression may raise anything
            return f"{name}={expression}: {type(error).__name__}: {error}"
    return ""


def keywords(text: str) -> dict[str, str]:
    """Return the expressions of `"outputs=f(a, b), labels=y"` by name; ValueError or SyntaxError if it is not that."""
    call = ast.parse(f"f({text})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args or not call.keywords or not all(one.arg for one in call.keywords):
        raise ValueError("not name=expression")
    return {str(one.arg): ast.unparse(one.value) for one in call.keywords}


def write(folder: Path, ledger: Mapping[str, Any]) -> None:
    """Write this process's arrays, scores and ledger into the run's folder, the ledger last."""
    stem = folder / f"left-{os.getpid()}"
    if _arrays:
        import numpy as np

        with Path(f"{stem}.npz").open("wb") as file:
            np.savez(file, **_arrays)
    content = {**ledger, "argv": sys.argv, "arrays": sorted(_arrays), "scores": _scores}
    content["curves"] = {name: [curve[at] for at in sorted(curve)] for name, curve in _curves.items() if len(curve) > 1}
    writing = Path(f"{stem}.writing")
    writing.write_text(json.dumps(content), encoding="utf-8")
    writing.replace(f"{stem}.json")


def as_array(value: Any) -> Any:
    """Return numbers as a NumPy array, from a tensor of any device and type, a list, or a JAX array.

    In a list of arrays each one is a batch, or a single example if it is a number or a row of logits.
    """
    import numpy as np

    torch = sys.modules.get("torch")
    if isinstance(value, list | tuple) and value and all(hasattr(one, "shape") for one in value):
        parts = [as_array(one) for one in value]
        single = parts[0].ndim == 0 or (parts[0].ndim == 1 and parts[0].dtype.kind == "f")
        return np.stack(parts) if single else np.concatenate(parts)
    if torch is not None and isinstance(value, torch.Tensor):
        whole: Any = value
        tensor = whole.detach().cpu()
        found = (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
    else:
        found = np.asarray(value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"an array must contain numbers (got {found.dtype}); give logits, or class numbers")
    return found
