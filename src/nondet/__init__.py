"""nondet measures how much a neural network's training varies from run to run, and which source causes it."""

from importlib import import_module

from nondet.version import __version__ as __version__

TYPE_CHECKING = False  # the name that type checkers know; importing typing would take longer than all else
if TYPE_CHECKING:
    from nondet.analysis.measuring import measure as measure
    from nondet.analysis.opened import OpenStudy as OpenStudy
    from nondet.analysis.runs import Runs as Runs
    from nondet.api.decisions import alike as alike
    from nondet.api.decisions import compare as compare
    from nondet.api.decisions import floor as floor
    from nondet.api.decisions import gate as gate
    from nondet.api.decisions import plan as plan
    from nondet.api.pictures import plots as plots
    from nondet.api.pictures import report as report
    from nondet.api.pictures import unstable as unstable
    from nondet.api.remedies import stabilize as stabilize
    from nondet.api.reproduce import audit as audit
    from nondet.api.reproduce import diverge as diverge
    from nondet.api.reproduce import keep_run as keep_run
    from nondet.api.reproduce import resume_check as resume_check
    from nondet.api.studies import doctor as doctor
    from nondet.api.studies import open as open
    from nondet.api.studies import pull as pull
    from nondet.api.studies import push as push
    from nondet.api.studies import run as run
    from nondet.api.studies import show as show
    from nondet.api.studies import status as status
    from nondet.api.studies import work as work
    from nondet.errors import BadInput as BadInput
    from nondet.errors import Damaged as Damaged
    from nondet.errors import Stopped as Stopped
    from nondet.io.extensions import register as register
    from nondet.kinds import Kind as Kind
    from nondet.measures.figure import Figure as Figure
    from nondet.measures.figure import Score as Score
    from nondet.measures.measured import Measures as Measures
    from nondet.reporting.trackers import to_mlflow as to_mlflow
    from nondet.reporting.trackers import to_tensorboard as to_tensorboard
    from nondet.reporting.trackers import to_wandb as to_wandb
    from nondet.runners.base import Runner as Runner
    from nondet.runners.function import Function as Function
    from nondet.runners.recorded import record_run as record_run
    from nondet.runners.script import Script as Script
    from nondet.script.left import record as record
    from nondet.sources import SOURCES as SOURCES
    from nondet.sources import Source as Source
    from nondet.sources import stream as stream
    from nondet.stats.estimate import Estimate as Estimate
    from nondet.study.design import Condition as Condition
    from nondet.study.spec import Outcome as Outcome
    from nondet.tasks.augment import Crop as Crop
    from nondet.tasks.augment import Flip as Flip
    from nondet.tasks.recipe import Recipe as Recipe
    from nondet.tasks.task import Task as Task
    from nondet.tasks.transforms import Mixup as Mixup

_HOMES = {
    "analysis.measuring": ("measure",),
    "analysis.opened": ("OpenStudy",),
    "analysis.runs": ("Runs",),
    "api.decisions": ("alike", "compare", "floor", "gate", "plan"),
    "api.pictures": ("plots", "report", "unstable"),
    "api.remedies": ("stabilize",),
    "api.reproduce": ("audit", "diverge", "keep_run", "resume_check"),
    "api.studies": ("doctor", "open", "pull", "push", "run", "show", "status", "work"),
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
__all__ = sorted(name for names in _HOMES.values() for name in names)  # pyright: ignore[reportUnsupportedDunderAll]


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
