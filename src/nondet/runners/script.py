"""A script or a command as it is: what a user says about it, and what can be seen before it runs."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.io.files import NotAFile, misfit, read_file
from nondet.io.nearest import did_you_mean_file
from nondet.runners.machine import MACHINE, read_values, written
from nondet.runners.process import environment_of
from nondet.script.left import keywords

LARGEST = 16 * 2**20
"""The most bytes that a file may have to be read as one of a script's own."""

NOT_OURS = "study.json must say what was trained, in nondet's own form; give the `nondet run` command again"

_SHAPE = {
    "command": [str],
    "metrics?": [str],
    **dict.fromkeys(("record?", "outputs?", "labels?", "name?", "machine?"), str),
}
"""What `Script.as_dict` returns."""


@dataclass(frozen=True)
class Script:
    """A training as it is: `nondet.Script("train.py", ["--epochs", "3"], record="outputs=logits, labels=y_test")`.

    A Python script's random numbers are sorted by source. Any command can take seeds in its words: `{init}` stands for
    the seed of that source, `{seed}` for a single seed, and `{out}` for the run's folder. It can also read seeds from
    variables that its files name, such as NONDET_SEED_INIT.

    Args:
        command: the path of a Python file, or all words of a command.
        arguments: of the Python file.
        record: what to keep when the script ends, as expressions in its names, such as "outputs=logits, labels=y".
        metrics: regular expressions for what it prints, each with one group, the number: `acc=([0-9.]+)`; the last
            match counts.
        outputs: the file of predictions that it writes. labels: a file of the test labels.
        name: of the study; the file's if left out.
        machine: the machine's sources, each with its values: `{"threads": ["1", "2"]}`; the first is the usual one.
    """

    command: str | Path | Sequence[str]
    arguments: Sequence[str] = ()
    record: str = ""
    metrics: Sequence[str] = ()
    outputs: str = ""
    labels: str = ""
    name: str = ""
    machine: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def words(self) -> list[str]:
        """The words of the command."""
        if isinstance(self.command, str | Path):
            return [sys.executable, str(self.command), *map(str, self.arguments)]
        return [*map(str, self.command), *map(str, self.arguments)]

    @property
    def recipe(self) -> dict[str, Any]:
        """What a reader should know about the training: the command, and what is kept of it."""
        kept = {name: getattr(self, name) for name in ("record", "outputs", "labels") if getattr(self, name)}
        metrics = {"metrics": " ".join(map(shlex.quote, self.metrics))} if self.metrics else {}
        machine = {MACHINE: written(self.machine)} if self.machine else {}
        return {"epochs": 1, "command": shlex.join(self.words), **kept, **metrics, **machine}

    @property
    def title(self) -> str:
        """The name of its study: its own name, or that of its file."""
        files = [word for word in self.words if re.fullmatch(r".*\.(py|ipynb|R|jl|sh|m)", word)]
        modules = [word for before, word in zip(self.words, self.words[1:], strict=False) if before == "-m"]
        chosen = [self.name, *(Path(file).stem for file in files), *modules, Path(self.words[0]).name]
        return re.sub(r"[^A-Za-z0-9_.-]", "_", next(name for name in chosen if name))

    def as_dict(self) -> dict[str, Any]:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("command", "arguments")}
        return {**given, "metrics": list(self.metrics), "command": self.words, "machine": written(self.machine)}

    @staticmethod
    def of(given: Mapping[str, Any]) -> Script:
        """Read back the script that `as_dict` wrote. BadInput for anything else: it may come from a stranger."""
        if misfit(given, _SHAPE) or not given["command"]:
            raise BadInput(NOT_OURS)
        texts = {name: given[name] for name in ("record", "outputs", "labels", "name") if name in given}
        machine, metrics = read_values(given.get("machine", "")), tuple(given.get("metrics", ()))
        return Script(tuple(given["command"]), metrics=metrics, machine=machine, **texts)

    def options(self) -> list[str]:
        """Return the options of a command that asks for the same script."""
        given = [f"--metric={text}" for text in self.metrics]
        return given + [
            f"--{name}={getattr(self, name)}" for name in ("outputs", "labels", "record") if getattr(self, name)
        ]

    def command_words(self, asked: Sequence[str], width: int) -> list[str]:
        """Return the command that asks for the same script and these runs."""
        return ["nondet", "run", *map(self._with_values, asked), *self.options(), "--", *self.words]

    def _with_values(self, word: str) -> str:
        """Add the values of threads to `--vary=threads`."""
        option, _, vary = word.partition("=")
        if option != "--vary" or not self.machine:
            return word
        parts = [f"{p}={','.join(self.machine[p])}" if p in self.machine else p for p in vary.split("+")]
        return f"{option}={'+'.join(parts)}"

    def check(self) -> None:
        """Raise BadInput for anything that is plainly wrong before the script runs."""
        for name in ("arguments", "metrics"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise BadInput(f"{name} must be a list of strings (got the string {given!r}); give {[given]}")
        words = self.words
        program = self.started[0]
        if shutil.which(program, path=environment_of({}, Path())["PATH"]) is None:
            way = f"put python before it: python {program}" if Path(program).suffix == ".py" else "give another"
            raise BadInput(f"a command must begin with a program that is installed here (got {program!r}); {way}")
        if self.is_python and len(words) > 1 and words[1].endswith((".py", ".ipynb")) and not Path(words[1]).is_file():
            near = did_you_mean_file(words[1])
            raise BadInput(f"the script must be a file (got {words[1]!r}, which is not one{near}); give its path")
        for text in self.metrics:
            try:
                groups = re.compile(text).groups
            except re.error as error:
                raise BadInput(f"<<metrics>> must be a regular expression (got {text!r}: {error}); fix it") from None
            if groups != 1:
                raise BadInput(
                    f"<<metrics>> must have one group, for the number (got {text!r}, which has {groups}); try "
                    "<<metrics=acc=([0-9.]+)>>"
                )
        if self.record:
            try:
                names = keywords(self.record)
            except (SyntaxError, ValueError) as error:
                raise BadInput(
                    f"<<record>> must be names and expressions (got {self.record!r}: {error}); try "
                    "<<record=outputs=logits, labels=y_test>>"
                ) from None
            if "outputs" in names and "labels" not in names and not self.labels:
                raise BadInput(
                    f"outputs need labels (got <<record={self.record}>> alone); add labels=EXPRESSION to it, or "
                    "<<labels>>"
                )
        if self.outputs and not self.labels and "labels" not in self.record:
            raise BadInput(f"outputs need labels (got <<outputs={self.outputs}>> alone); add <<labels>>")

    @property
    def is_python(self) -> bool:
        """Whether its first word is Python, starts a Python script, or is a notebook."""
        return bool(re.fullmatch(r"python[0-9.]*|torchrun|accelerate|jupyter|.*\.ipynb", Path(self.words[0]).name))

    @property
    def started(self) -> list[str]:
        """The words that are run. A notebook is run by nbconvert, whose output includes that of the cells."""
        place = next((at for at, word in enumerate(self.words[:2]) if word.endswith(".ipynb")), None)
        if place is None or (place and not re.fullmatch(r"python[0-9.]*", Path(self.words[0]).name)):
            return self.words
        convert = ["-m", "nbconvert", "--execute", "--to", "markdown", "--stdout"]
        return [sys.executable, *convert, *self.words[place:]]

    @property
    def asked(self) -> list[str]:
        """The seeds that it asks for: init for `{init}` in its words, or for NONDET_SEED_INIT in its words or files."""
        words = " ".join(self.words)
        found = re.findall(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", words)
        found += _variables(words.encode()) + [name for path in self.files for name in variables_in(path)]
        return [name for name in dict.fromkeys(found) if name != "out"]

    @property
    def files(self) -> list[Path]:
        """The files that its words name, also as `--config=FILE`; the program too if it is the user's own."""
        found: list[Path] = []
        for at, word in enumerate(self.words):
            path = Path(word.rpartition("=")[2])
            with suppress(OSError):
                own = at or (len(path.parts) > 1 and path.absolute().is_relative_to(Path.cwd()))
                if own and path.is_file() and path.stat().st_size <= LARGEST:
                    found.append(path)
        return found


def _variables(text: bytes) -> list[str]:
    """Return the sources whose seed variables a text names."""
    return [name.decode().lower() for name in re.findall(rb"NONDET_SEED_([A-Z][A-Z0-9_]*)", text)]


def variables_in(path: Path) -> list[str]:
    try:
        return _variables(read_file(path, LARGEST))
    except (OSError, NotAFile):
        return []
