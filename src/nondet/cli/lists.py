"""List what comes with nondet."""

from __future__ import annotations

from nondet.cli.console import Flag, print_json
from nondet.io.streams import tell


def tasks() -> int:
    """List the tasks that come with nondet, with their sources and recipes."""
    from nondet.errors import BadInput
    from nondet.tasks import BUILT_IN, about, names

    for name in names():
        try:
            text, recipe = about(name)
        except BadInput as error:
            tell(f"{name}: {error}")
            continue
        sources = [f"  sources  {', '.join(BUILT_IN[name].sources)}"] if name in BUILT_IN else []
        fields = ", ".join(f"{k}={v}" for k, v in recipe.as_dict().items())
        tell(f"{name}: {text}", *sources, f"  recipe   {fields}")
    tell(
        "All tasks but digits read official files; --data DIR names their folder. On CUDA each also "
        "has the source kernels.",
        "Your own: nondet run my_task.py, where the file defines `task = nondet.Task(...)`.",
    )
    return 0


def models(*, json: Flag = False) -> int:
    """List the networks that come with nondet, for --model, and how many learnable parameters they have.

    Parameters
    ----------
    json
        Print JSON: {name: {"parameters": number}}.
    """
    from nondet.models import MODELS, parameter_counts

    counts = parameter_counts()
    if json:
        print_json(counts)
        return 0
    width = max(map(len, MODELS))
    for name, about in MODELS.items():
        tell(f"{name:<{width}}  {counts[name]['parameters']:>11,}  {about}")
    return 0
