"""nondet measures how much a neural network's training varies from run to run, and which source causes it."""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; the module typing takes longer to load than all else here
if TYPE_CHECKING:
    from nondet.analysis.copies import measure
    from nondet.errors import BadInput, Damaged
    from nondet.measures import Measures
    from nondet.sources import SOURCES
    from nondet.study.design import Condition
    from nondet.tasks.augment import Crop, Flip
    from nondet.tasks.task import Recipe, Task

__version__ = "0.2.0"

__all__ = [
    "SOURCES",
    "BadInput",
    "Condition",
    "Crop",
    "Damaged",
    "Flip",
    "Measures",
    "Recipe",
    "Task",
    "measure",
]

_HOMES = (
    ("errors", ("BadInput", "Damaged")),
    ("measures", ("Measures",)),
    ("analysis.copies", ("measure",)),
    ("study.design", ("Condition",)),
    ("sources", ("SOURCES",)),
    ("tasks.task", ("Recipe", "Task")),
    ("tasks.augment", ("Crop", "Flip")),
)


def __getattr__(name: str) -> object:
    """Each public name is imported when it is first asked for, so that `import nondet` costs nothing."""
    for module, names in _HOMES:
        if name in names:
            found = globals()[name] = getattr(import_module(f"nondet.{module}"), name)
            return found
    raise AttributeError(f"module 'nondet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names alone: modules of the package that happen to be loaded are no part of the API."""
    return sorted([*__all__, "__version__", "__doc__", "__name__", "__path__", "__file__"])
