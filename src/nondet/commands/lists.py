"""List what comes with nondet."""

from __future__ import annotations

from json import dumps

from nondet.commands.common import Flag


def tasks() -> int:
    """List the tasks that come with nondet: sources and recipe."""
    from importlib import import_module

    from nondet.tasks import BUILT_IN, module_of

    for name, about in BUILT_IN.items():
        recipe = import_module(module_of(name)).RECIPE.as_dict()
        print(f"{name}: {about.text}")
        print(f"  sources  {', '.join(about.sources)}")
        print(f"  recipe   {', '.join(f'{k}={v}' for k, v in recipe.items())}")
    print("All but digits read official files: --data DIR names their folder. On CUDA each has the source kernels too.")
    print("Your own: nondet run my_task.py, where the file defines `task = nondet.Task(...)`.")
    return 0


def models(*, json: Flag = False) -> int:
    """List the networks that come with nondet, for --model, and their learnable parameters.

    Parameters
    ----------
    json
        As JSON: {name: {"parameters": number}}.
    """
    from nondet.models import MODELS, parameter_counts

    counts = parameter_counts()
    if json:
        print(dumps(counts, indent=2))
        return 0
    width = max(map(len, MODELS))
    for name, about in MODELS.items():
        print(f"{name:<{width}}  {counts[name]['parameters']:>11,}  {about}")
    return 0
