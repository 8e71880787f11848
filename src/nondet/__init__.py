"""nondet measures how much a neural network's training varies from run to run, and which source causes it."""

from importlib import import_module

from nondet.version import __version__ as __version__

TYPE_CHECKING = False  # the name that type checkers know; importing typing would take longer than all else
if TYPE_CHECKING:
    from nondet.analysis.measuring import measure
    from nondet.analysis.opened import OpenStudy
    from nondet.analysis.runs import Runs
    from nondet.api import (
        alike,
        audit,
        compare,
        diverge,
        doctor,
        floor,
        gate,
        keep_run,
        open,
        plan,
        plots,
        pull,
        push,
        report,
        resume_check,
        run,
        show,
        stabilize,
        status,
        unstable,
        work,
    )
    from nondet.errors import BadInput, Damaged, Stopped
    from nondet.io.extensions import register
    from nondet.kinds import Kind
    from nondet.measures.figure import Figure, Score
    from nondet.measures.measured import Measures
    from nondet.reporting.trackers import to_mlflow, to_tensorboard, to_wandb
    from nondet.runners.base import Runner
    from nondet.runners.function import Function
    from nondet.runners.recorded import record_run
    from nondet.runners.script import Script
    from nondet.script.left import record
    from nondet.sources import SOURCES, Source, stream
    from nondet.stats.estimate import Estimate
    from nondet.study.design import Condition
    from nondet.study.spec import Outcome
    from nondet.tasks.augment import Crop, Flip
    from nondet.tasks.recipe import Recipe
    from nondet.tasks.task import Task
    from nondet.tasks.transforms import Mixup

_HOMES = {
    "analysis.opened": ("OpenStudy",),
    "analysis.runs": ("Runs",),
    "analysis.measuring": ("measure",),
    "api": (
        "alike",
        "audit",
        "compare",
        "diverge",
        "doctor",
        "floor",
        "gate",
        "keep_run",
        "open",
        "plan",
        "plots",
        "pull",
        "push",
        "report",
        "resume_check",
        "run",
        "show",
        "stabilize",
        "status",
        "unstable",
        "work",
    ),
    "errors": ("BadInput", "Damaged", "Stopped"),
    "io.extensions": ("register",),
    "kinds": ("Kind",),
    "measures.figure": ("Figure", "Score"),
    "measures.measured": ("Measures",),
    "reporting.trackers": ("to_mlflow", "to_tensorboard", "to_wandb"),
    "runners.base": ("Runner",),
    "runners.function": ("Function",),
    "runners.recorded": ("record_run",),
    "runners.script": ("Script",),
    "script.left": ("record",),
    "sources": ("SOURCES", "Source", "stream"),
    "stats.estimate": ("Estimate",),
    "study.design": ("Condition",),
    "study.spec": ("Outcome",),
    "tasks.augment": ("Crop", "Flip"),
    "tasks.recipe": ("Recipe",),
    "tasks.task": ("Task",),
    "tasks.transforms": ("Mixup",),
}
__all__ = [
    "SOURCES",
    "BadInput",
    "Condition",
    "Crop",
    "Damaged",
    "Estimate",
    "Figure",
    "Flip",
    "Function",
    "Kind",
    "Measures",
    "Mixup",
    "OpenStudy",
    "Outcome",
    "Recipe",
    "Runner",
    "Runs",
    "Score",
    "Script",
    "Source",
    "Stopped",
    "Task",
    "alike",
    "audit",
    "compare",
    "diverge",
    "doctor",
    "floor",
    "gate",
    "keep_run",
    "measure",
    "open",
    "plan",
    "plots",
    "pull",
    "push",
    "record",
    "record_run",
    "register",
    "report",
    "resume_check",
    "run",
    "show",
    "stabilize",
    "status",
    "stream",
    "to_mlflow",
    "to_tensorboard",
    "to_wandb",
    "unstable",
    "work",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import nondet` costs nothing."""
    for module, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"nondet.{module}"), name)
            return found
    raise AttributeError(f"module 'nondet' has no attribute {name!r}")


def _say_how_records_print() -> None:
    """Tell records how to print: they are far below the reports, and only this file knows both."""
    forms = import_module("nondet.records").FORMS
    for form, name in {"text": "by_itself", "html": "as_html", "finding": "finding_of"}.items():
        forms[form] = lambda found, name=name: getattr(import_module("nondet.reporting.shown"), name)(found)


_say_how_records_print()


def __dir__() -> list[str]:
    """List only the public names; modules of the package that happen to be loaded are not part of the API."""
    return sorted([*__all__, "__version__", "__doc__", "__name__", "__path__", "__file__"])
