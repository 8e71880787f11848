"""Python runs this before a script that nondet runs, because this folder is the first on that script's path."""

import importlib.util
import os
import sys
from pathlib import Path


def _next_one() -> None:
    """Run the `sitecustomize` that this one hides, if there is one."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    this = sys.modules.pop("sitecustomize")
    spec = importlib.util.find_spec("sitecustomize")
    sys.modules["sitecustomize"] = this
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _begin() -> None:
    """Sort this process's random numbers by source, with the nondet that started it."""
    place = str(Path(__file__).resolve().parents[3])
    sys.path.append(place)
    try:
        from nondet.script.begin import begin
    finally:
        sys.path.remove(place)
    begin(os.environ["NONDET_RUN"])


_next_one()
if "NONDET_RUN" in os.environ:
    _begin()
