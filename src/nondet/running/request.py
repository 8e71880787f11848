"""What a command asks to be trained: a task, and everything said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.tasks import load_task
from nondet.tasks.options import Options

if TYPE_CHECKING:
    from nondet.tasks.task import Recipe, Task
    from nondet.training.problem import Problem

EXAMPLES = ("train_examples", "test_examples")
"""What `--set` takes besides the fields of the recipe."""


@dataclass(frozen=True)
class Request:
    """task: a name or a file. assignments: `--set` by field. track, layers: what to look at on the way.

    data, model, broken: of a built-in task, see `Options`. tf32: whether CUDA may round factors to TF32.
    """

    task: str
    assignments: Mapping[str, str] = field(default_factory=dict[str, str])
    device: str = "auto"
    data: str | None = None
    model: str | None = None
    broken: str = "stop"
    track: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    tf32: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Request:
        """The request that `as_dict` wrote, back from JSON. BadInput for anything else: it may be a stranger's."""
        try:
            lists: dict[str, Any] = {name: tuple(fields.get(name, ())) for name in ("track", "layers")}
            request = Request(**(dict(fields) | lists))
            texts = [request.task, request.device, request.broken, *request.layers]
            texts += [text for text in (request.data, request.model) if text is not None]
            texts += [*request.assignments.keys(), *request.assignments.values()]
        except (TypeError, AttributeError, ValueError) as error:
            raise BadInput(_NOT_A_REQUEST) from error
        numbers = all(type(epoch) is int for epoch in request.track) and type(request.tf32) is bool
        if not numbers or not all(type(text) is str for text in texts):
            raise BadInput(_NOT_A_REQUEST)
        return request

    @property
    def name(self) -> str:
        """The task's name as a folder's name."""
        return Path(self.task).stem

    def words(self) -> list[str]:
        """The options of a command that ask for the same."""
        given = [f"--set={name}={value}" for name, value in self.assignments.items()]
        given += [f"--{name}={getattr(self, name)}" for name in ("data", "model") if getattr(self, name) is not None]
        given += [f"--broken={self.broken}"] if self.broken != "stop" else []
        given += [f"--track={','.join(map(str, self.track))}"] if self.track else []
        given += [f"--layers={','.join(self.layers)}"] if self.layers else []
        return [*given, *(["--tf32"] if self.tf32 else []), f"--device={self.device}"]

    def load(self) -> Task:
        """The task itself."""
        counts = {name: _count(name, self.assignments[name]) for name in EXAMPLES if name in self.assignments}
        data = Path(self.data) if self.data is not None else None
        return load_task(self.task, Options(data=data, model=self.model, broken=self.broken, **counts))

    def recipe(self, task: Task | None = None) -> Recipe:
        """The task's recipe with the assignments."""
        fields = {name: text for name, text in self.assignments.items() if name not in EXAMPLES}
        return (task or self.load()).recipe.set(fields)

    def prepare(self) -> Problem:
        """The task with its recipe, ready for training on its device."""
        from nondet.training.problem import choose_device, prepare

        device = choose_device(self.device)
        if self.tf32 and device.type != "cuda":
            raise BadInput(f"--tf32 is a choice of CUDA devices (got device {device}); leave it out")
        task = self.load()
        return prepare(task, self.recipe(task), device, track=self.track, layers=self.layers, tf32=self.tf32)


_NOT_A_REQUEST = "study.json must say what was trained as nondet writes it; give the `nondet run` command again"


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise BadInput(f"{name} must be a whole number of at least 1 (got {text!r}); try --set {name}=1000")
    return int(text)
