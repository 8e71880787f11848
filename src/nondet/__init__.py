"""nondet measures how much a neural network's training varies from run to run, and which source causes it."""

from typing import TYPE_CHECKING

from nondet.errors import BadInput, Damaged
from nondet.measures import Measures
from nondet.measures.copies import measure
from nondet.protocol import Condition
from nondet.sources import SOURCES
from nondet.tasks.task import Recipe, Task

if TYPE_CHECKING:
    from nondet.training.augment import Crop, Flip

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


def __getattr__(name: str) -> object:
    """Crop and Flip work on torch tensors: they are imported when they are asked for."""
    if name in ("Crop", "Flip"):
        from nondet.training import augment

        return getattr(augment, name)
    raise AttributeError(f"module 'nondet' has no attribute {name!r}")
