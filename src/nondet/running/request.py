"""What a command asks to train: a task, and everything said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.runners.script import NOT_OURS
from nondet.tasks import is_file, load_task, names
from nondet.tasks.task import Options

if TYPE_CHECKING:
    from nondet.runners.stack import StackRunner
    from nondet.tasks.recipe import Recipe
    from nondet.tasks.task import Task
    from nondet.training.problem import Problem

EXAMPLES = ("train_examples", "test_examples")
"""What `--set` takes besides the fields of the recipe."""


@dataclass(frozen=True)
class Request:
    """A request for a task.

    task: a name or a file. assignments: `--set` by field. track, layers: what to look at during training.
    data, model, broken: of a built-in task, see `Options`. tf32: whether CUDA may round factors to TF32.
    given: the task itself, if a program gave it; then `task` is its name, and no other process can load it.
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
    given: Task | None = None

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "given"}

    @property
    def is_task(self) -> bool:
        """Whether this names a task, which can be trained; if not, it may be a study's folder."""
        return self.given is not None or self.task in names() or is_file(self.task)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Request:
        """Read back the request that `as_dict` wrote, whose types `study.form` checks; BadInput for other fields."""
        try:
            lists: dict[str, Any] = {name: tuple(fields.get(name, ())) for name in ("track", "layers")}
            return Request(**(dict(fields) | lists))
        except TypeError as error:
            raise BadInput(NOT_OURS) from error

    @property
    def name(self) -> str:
        """The task's name, fit for a folder."""
        return self.task if self.given is not None else Path(self.task).stem

    def words(self) -> list[str]:
        """Return the options of a command that ask for the same task."""
        given = [f"--set={name}={value}" for name, value in self.assignments.items()]
        given += [f"--{name}={getattr(self, name)}" for name in ("data", "model") if getattr(self, name) is not None]
        given += [f"--broken={self.broken}"] if self.broken != "stop" else []
        given += [f"--track={','.join(map(str, self.track))}"] if self.track else []
        given += [f"--layers={','.join(self.layers)}"] if self.layers else []
        return [*given, *(["--tf32"] if self.tf32 else []), f"--device={self.device}"]

    def command_words(self, asked: Sequence[str], width: int) -> list[str]:
        """Return the command that asks for the same task and these runs."""
        task = f"./{self.task}" if self.task.startswith("-") else self.task
        return ["nondet", "run", task, *asked, f"--stack={width}", *self.words()]

    def load(self) -> Task:
        """Load the task itself."""
        if self.given is not None:
            from nondet.training.described import own_code

            return replace(self.given, name=self.task, code=self.given.code or own_code(self.given.model))
        counts = {name: _count(name, self.assignments[name]) for name in EXAMPLES if name in self.assignments}
        data = Path(self.data) if self.data is not None else None
        return load_task(self.task, Options(data=data, model=self.model, broken=self.broken, **counts))

    def recipe(self, task: Task | None = None) -> Recipe:
        """Return the task's recipe with the assignments."""
        fields = {name: text for name, text in self.assignments.items() if name not in EXAMPLES}
        return (task or self.load()).recipe.set(fields)

    def runner(self, say: Callable[[str], None] = lambda sentence: None) -> StackRunner:
        """Return the runner of this task. say: gets what a user should know about the training."""
        from nondet.runners.stack import StackRunner

        alone = self.given is not None  # which no other process can load
        order = {"runner": f"{__name__}:runner_of", "arguments": {"request": self.as_dict()}}
        return StackRunner(self.prepare(), {} if alone else order, say)

    def prepare(self) -> Problem:
        """Prepare the task with its recipe for training on its device."""
        from nondet.training.prepare import prepare
        from nondet.training.problem import choose_device

        device = choose_device(self.device)
        if self.tf32 and device.type != "cuda":
            raise BadInput(f"<<tf32>> is for CUDA devices only (got device {device}); leave it out")
        task = self.load()
        return prepare(task, self.recipe(task), device, track=self.track, layers=self.layers, tf32=self.tf32)


def request_of(task: object, **options: Any) -> Request:
    """Return the request for a task that a program gives: a `Task`, a name or a path. BadInput for anything else."""
    from nondet.tasks.task import Task

    if isinstance(task, Task):
        return Request(task.name or "task", given=task, **options)
    if isinstance(task, str | Path):
        return Request(str(task), **options)
    raise BadInput(
        f"a task must be a nondet.Task, the name of one, or the path of a file (got {type(task).__name__}); give one"
    )


def runner_of(request: Mapping[str, Any]) -> StackRunner:
    """Return the runner of a request that another process wrote."""
    return Request.of(request).runner()


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise BadInput(f"{name} must be a whole number of at least 1 (got {text!r}); try <<recipe={name}=1000>>")
    return int(text)
