"""Runs of a script or a command as it is, each a process of its own in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, read_file
from nondet.io.outputs import read_labels, read_outputs
from nondet.runners import outside
from nondet.runners.machine import MACHINE, declared, of_seeds, read_values, values_of, written
from nondet.runners.observed import Made, Observed, described, varied
from nondet.runners.process import Process, environment_of
from nondet.script.left import keywords
from nondet.sources import FIXED_SEED, SOURCES
from nondet.study.mirror import shown
from nondet.study.study import EPOCHS, Study

_LARGEST = 16 * 2**20
_LAST_LINES = 5
_FEW = 4
"""Generators of a script's own that are named."""


@dataclass(frozen=True)
class Script:
    """A training as it is: `nondet.Script("train.py", ["--epochs", "3"], record="outputs=logits, labels=y_test")`.

    A Python script's random numbers are sorted by source. Any command takes seeds in its words: `{init}` stands for the
    seed of that source, `{seed}` for one of all, `{out}` for the run's folder; and in variables that are written out in
    its files, NONDET_SEED_INIT.

    Args:
        command: the path of a Python file, or all words of a command.
        arguments: of the Python file.
        record: what to keep at its end, as expressions in the script's names, such as "outputs=logits, labels=y".
        metrics: regular expressions of what it prints, each with one group, a number: `acc=([0-9.]+)`; the last counts.
        outputs: a file of its predictions that it writes. labels: a file of the test labels.
        name: of the study; the file's if left out.
        machine: the machine's sources, each with its values: `{"threads": ["1", "2"]}`; the first one is the usual.
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
        """What a reader should know of the training: the command, and what is kept of it."""
        kept = {name: getattr(self, name) for name in ("record", "outputs", "labels") if getattr(self, name)}
        metrics = {"metrics": " ".join(map(shlex.quote, self.metrics))} if self.metrics else {}
        machine = {MACHINE: written(self.machine)} if self.machine else {}
        return {"epochs": 1, "command": shlex.join(self.words), **kept, **metrics, **machine}

    @property
    def title(self) -> str:
        """The name of a study of it: its own, or that of its file."""
        files = [word for word in self.words if re.fullmatch(r".*\.(py|ipynb|R|jl|sh|m)", word)]
        modules = [word for before, word in zip(self.words, self.words[1:], strict=False) if before == "-m"]
        chosen = [self.name, *(Path(file).stem for file in files), *modules, Path(self.words[0]).name]
        return re.sub(r"[^A-Za-z0-9_.-]", "_", next(name for name in chosen if name))

    def as_dict(self) -> dict[str, Any]:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("command", "arguments")}
        return {**given, "metrics": list(self.metrics), "command": self.words, "machine": written(self.machine)}

    @staticmethod
    def of(given: Mapping[str, Any]) -> Script:
        """The script that `as_dict` wrote, back from JSON. BadInput for anything else: it may be a stranger's."""
        texts = [given.get(name, "") for name in ("record", "outputs", "labels", "name", "machine")]
        lists = [given.get(name, []) for name in ("command", "metrics")]
        sound = all(type(text) is str for text in texts) and all(type(one) is list for one in lists)
        if not sound or not lists[0] or not all(type(word) is str for one in lists for word in one):
            raise BadInput(
                "study.json must say what was trained as nondet writes it; give the `nondet run` command again"
            )
        machine = read_values(texts[4])
        return Script(tuple(lists[0]), (), texts[0], tuple(lists[1]), texts[1], texts[2], texts[3], machine)

    def options(self) -> list[str]:
        """The options of a command that asks for the same."""
        given = [f"--metric={text}" for text in self.metrics]
        return given + [
            f"--{name}={getattr(self, name)}" for name in ("outputs", "labels", "record") if getattr(self, name)
        ]

    def command_words(self, asked: Sequence[str], width: int) -> list[str]:
        """The command that asks for the same script, and for these runs."""
        return ["nondet", "run", *map(self._with_values, asked), *self.options(), "--", *self.words]

    def _with_values(self, word: str) -> str:
        """`--vary=threads` with the values of threads."""
        option, _, vary = word.partition("=")
        if option != "--vary" or not self.machine:
            return word
        parts = [f"{p}={','.join(self.machine[p])}" if p in self.machine else p for p in vary.split("+")]
        return f"{option}={'+'.join(parts)}"

    def check(self) -> None:
        """BadInput for what can be seen to be wrong before anything runs."""
        for name in ("arguments", "metrics"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise BadInput(f"{name} must be a list of texts (got the text {given!r}); give {[given]}")
        words = self.words
        program = self.started[0]
        if shutil.which(program, path=environment_of({}, Path())["PATH"]) is None:
            way = f"put python before it: python {program}" if Path(program).suffix == ".py" else "give another"
            raise BadInput(f"a command must begin with a program that is here (got {program!r}); {way}")
        if self.is_python and len(words) > 1 and words[1].endswith((".py", ".ipynb")) and not Path(words[1]).is_file():
            raise BadInput(f"the script must be a file (got {words[1]!r}, which is none); give its path")
        for text in self.metrics:
            try:
                groups = re.compile(text).groups
            except re.error as error:
                raise BadInput(f"<<metrics>> must be a regular expression (got {text!r}: {error}); mend it") from None
            if groups != 1:
                raise BadInput(
                    f"<<metrics>> must have one group, the number (got {text!r}, which has {groups}); try "
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
                    f"labels are needed beside outputs (got <<record={self.record}>> alone); add labels=EXPRESSION to "
                    "it, or <<labels>>"
                )
        if self.outputs and not self.labels and "labels" not in self.record:
            raise BadInput(f"labels are needed beside outputs (got <<outputs={self.outputs}>> alone); add <<labels>>")

    @property
    def is_python(self) -> bool:
        """Whether its first word is Python's, or starts a Python script, or is a notebook."""
        return bool(re.fullmatch(r"python[0-9.]*|torchrun|accelerate|jupyter|.*\.ipynb", Path(self.words[0]).name))

    @property
    def started(self) -> list[str]:
        """The words that are run: of a notebook those of nbconvert, whose output has that of the cells."""
        place = next((at for at, word in enumerate(self.words[:2]) if word.endswith(".ipynb")), None)
        if place is None or (place and not re.fullmatch(r"python[0-9.]*", Path(self.words[0]).name)):
            return self.words
        convert = ["-m", "nbconvert", "--execute", "--to", "markdown", "--stdout"]
        return [sys.executable, *convert, *self.words[place:]]

    @property
    def asked(self) -> list[str]:
        """The seeds that its words ask for, such as init of `{init}`, or it and its files: of NONDET_SEED_INIT."""
        words = " ".join(self.words)
        found = re.findall(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", words)
        found += _variables(words.encode()) + [name for path in self.files for name in _variables_in(path)]
        return [name for name in dict.fromkeys(found) if name != "out"]

    @property
    def files(self) -> list[Path]:
        """Those that its words name, as `--config=FILE` too, but for the program where that is not the user's own."""
        found: list[Path] = []
        for at, word in enumerate(self.words):
            path = Path(word.rpartition("=")[2])
            with suppress(OSError):
                own = at or (len(path.parts) > 1 and path.absolute().is_relative_to(Path.cwd()))
                if own and path.is_file() and path.stat().st_size <= _LARGEST:
                    found.append(path)
        return found


def _variables(text: bytes) -> list[str]:
    """The sources whose seeds a text takes from variables that are written out in it."""
    return [name.decode().lower() for name in re.findall(rb"NONDET_SEED_([A-Z][A-Z0-9_]*)", text)]


def _variables_in(path: Path) -> list[str]:
    try:
        return _variables(read_file(path, _LARGEST))
    except (OSError, NotAFile):
        return []


class ScriptRunner(Observed):
    """Runs of a script. See `first` and `again` for how it comes to be.

    folder: the study's, where other processes may help; none if runs would meet in a file.
    """

    resumes = ""  # each run is made from its beginning, whatever its onset

    def __init__(
        self, script: Script, *given: Any, process: Process | None = None, folder: Path | None = None, **more: Any
    ) -> None:
        super().__init__(script.title, *given, **more)
        self.epochs = max(1, self._identity.get(EPOCHS, 1))
        self.script, self.process = script, process or Process()
        self.levels = {name: len(values) for name, values in script.machine.items()}
        arguments = {"script": script.as_dict(), "folder": shown(folder)} if folder is not None else {}
        self.order = {"runner": f"{__name__}:helping", "arguments": arguments} if arguments else {}

    def check_onsets(self, vary: Sequence[str], onsets: Sequence[int]) -> None:
        late = next((onset for onset in onsets if onset), None)
        if late is None:
            return
        given = next((name for name in vary if name != "bit"), None)
        if given is not None or not vary:
            raise BadInput(
                f"a script's onset is for the source bit alone (got <<onset={late}>> with "
                f"{f'<<vary={given}>>' if given else 'no source'}); give it with <<vary=bit>>, and others without it"
            )
        last = self._identity.get(EPOCHS, 0) - 1
        if "bit" in self.sources and last < 1:
            raise BadInput(
                f"an onset needs epochs, passes over a loader of torch's that is trained on (got <<onset={late}>>, and "
                f"{self.name} makes {'one' if last == 0 else 'none'}); leave it out"
            )
        wrong = next((onset for onset in onsets if not 0 <= onset <= last), None)
        if "bit" in self.sources and wrong is not None:
            raise BadInput(
                f"a script's onset must be one of its epochs, from 0 to {last} (got <<onset={wrong}>>); choose another"
            )

    def make(self, seeds: Mapping[str, int], folder: Path | None, onset: int = 0) -> Made:
        return make(self.script, seeds, folder, self._identity.get("bit"), self.process, onset)


def of_machine(script: Script, vary: Sequence[str], study: Study | None) -> tuple[Script, list[str]]:
    """The script with the sources of the machine that `vary` declares, and `vary` without their values.

    study: that is there, which keeps the values that it began with.

    Raises:
        BadInput: a value is none, or the study has others.
    """
    names, found = declared([text for text in vary if text.partition("=")[0] not in script.asked])
    names = [*names, *(text for text in vary if text.partition("=")[0] in script.asked)]
    given = {name: values_of(name, values) for name, values in found.items() if values}
    if study is None:
        return replace(script, machine={name: given.get(name) or values_of(name, ()) for name in found}), names
    known = read_values(str(study.identity["recipe"].get(MACHINE, "")))
    for name in found:
        if name not in known or (name in given and given[name] != known[name]):
            raise BadInput(
                f"a study keeps the values of the machine that it began with (got {written({name: found[name]})} where "
                f"it has {written(known) or 'none'}); start a new one with <<folder>>"
            )
    if "versions" in known and "versions" not in given:
        raise BadInput(
            f"a study of versions runs other Pythons only where they are named (got none); add <<vary=versions="
            f"{','.join(known['versions'][1:])}>>"
        )
    return replace(script, machine={name: values_of(name, values) for name, values in known.items()}), names


def first(script: Script, folder: Path, say: Callable[[str], None]) -> ScriptRunner:
    """The runner of a new study: its first run, all seeds fixed, shows what the script draws and leaves.

    Raises:
        BadInput: the script fails, or leaves nothing that can be measured.
    """
    say(f"The first run of {script.title} shows what it draws and leaves.")
    process, here = Process(), Path.cwd()
    before = outside.seen(here, script.words, folder)
    made = make(script, dict.fromkeys(script.asked, FIXED_SEED), folder, None, process)
    changed = outside.changed(before, outside.seen(here, script.words, folder))
    if made.failure:
        for line in made.last:
            say(line)
        see = f" (see {folder / made.log})"
        raise BadInput(f"the script must come to its end, and its first run did not: {made.failure}{see}; mend it")
    if made.ledger.get("elsewhere"):
        say("It trains in a process that it forks, whose random numbers are not sorted; let it start that by spawn.")
    written = list(made.ledger.get("outside", ()))
    changed = [name for name in changed if name not in written]
    ledger: dict[str, Any] = {**made.ledger, "outside": written + changed}
    made = replace(made, ledger=ledger)
    identity, labels = described(script.title, script.recipe, code_of(script, ledger.get("modules", {})), made, _LEAVE)
    if ledger.get("moving"):
        identity["bit"] = ledger["moving"]
    if ledger.get("epochs"):
        identity[EPOCHS] = ledger["epochs"]
    sources, known = sources_of(script, ledger), {"reference": made}
    if "other" in sources and "labels" in made.arrays and ledger.get("early"):
        known["other=2"] = split = make(script, {"other": 2}, folder, None, process)
        if not split.failure and not np.array_equal(split.arrays.get("labels", labels), labels):
            sources.remove("other")
            if not sources:
                raise BadInput(
                    "a script must draw more than its test labels from the global generators (got one in which nothing "
                    "else varies); draw those from numpy.random.default_rng(0)"
                )
            say("What it draws outside every named source splits the data: with another test set, other is left out.")
    for sentence in (*_seen(made.ledger), *_met(written, changed)):
        say(sentence)
    side_by_side = None if ledger.get("outside") else folder
    device = "cuda" if ledger.get("cuda") else "cpu"
    return ScriptRunner(
        script, identity, sources, labels, device=device, known=known, process=process, folder=side_by_side
    )


_LEAVE = (
    "add <<record=outputs=logits, labels=y>>, <<metrics=acc=([0-9.]+)>>, <<outputs=FILE>>, or a line "
    "nondet.record(...) to it"
)


def _seen(ledger: Mapping[str, Any]) -> Iterator[str]:
    """What a user should know of a script's random numbers and files, in sentences."""
    drawn = {name: n for name, n in ledger.get("draws", {}).items() if n}
    if drawn:
        yield f"It draws from {', '.join(f'{name} ({n:,})' for name, n in sorted(drawn.items()))}."
    own = [f"{name}, {times} times" if times > 1 else name for name, times in ledger.get("explicit", {}).items()]
    yield from (f"A generator of its own: {name}." for name in own[:_FEW])
    if len(own) > _FEW:
        yield f"And {len(own) - _FEW} more."
    if ledger.get("sites"):
        lines = [f"{line} ({times:,})" for line, times in ledger["sites"].items()]
        yield f"Drawn outside every named source, and so of other: {_few(lines)}."


def _met(written: Sequence[str], changed: Sequence[str]) -> Iterator[str]:
    """That runs are made one at a time, since they may meet in a file; if that is so."""
    what = f"It writes outside its folder ({_few(written)})" if written else ""
    also = f"{_few(changed)} changed while it ran" if changed else ""
    if what or also:
        yield (
            f"{'; '.join(filter(None, (what, also)))}: runs side by side would meet there, so they are made one at a "
            "time. Let it write to {out}, which stands for the folder of a run."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def again(script: Script, study: Study, *, repeats: bool = True) -> ScriptRunner:
    """The runner of a study that is there, with the script's files as they are now."""
    identity = {**study.identity, "code": {name: _hash(Path(name)) for name in study.identity.get("code", {})}}
    identity["recipe"] = script.recipe
    device = str(study.environment.get("device", "cpu"))
    written: object = None
    with suppress(Damaged, BadInput):
        written = study.store.record(study.reference.key).get("facts", {}).get("outside")
    side_by_side = None if written else study.folder
    return ScriptRunner(
        script, identity, study.sources, study.labels, device=device, repeats=repeats, folder=side_by_side
    )


def helping(script: Mapping[str, Any], folder: str) -> ScriptRunner:
    """The runner of a helper process: each run has a process of its own, so the main one's proof holds for all."""
    from nondet.study.mirror import folder_of
    from nondet.study.record import load

    return again(Script.of(script), load(folder_of(folder)), repeats=False)


def sources_of(script: Script, ledger: Mapping[str, Any]) -> list[str]:
    """What can vary: the seeds that its words ask for; of a Python script what it draws from, and what it trains."""
    draws = ledger.get("draws", {})
    there = {name for name in ("init", "shuffle", "augment", "dropout", "other") if draws.get(name)}
    there |= {"order"} if ledger.get("shuffled") else set()  # an order that nothing shuffles may be that of the outputs
    there |= {"bit"} if ledger.get("moving") else set()
    there |= {"kernels"} if ledger.get("cuda") else set()
    there |= {*script.machine}
    modules = [Path(name) for name in ledger.get("modules", {})]
    asked = list(dict.fromkeys([*script.asked, *(name for path in modules for name in _variables_in(path))]))
    found = [name for name in SOURCES if name in there or name in asked]
    found += [name for name in asked if name not in SOURCES]
    if not found:
        raise BadInput(
            "a command must draw random numbers that nondet can sort, or take a seed (got one that does neither); put "
            "{seed} where its seed stands"
        )
    wrong = next((name for name in found if name in ("all", "crossed", "deterministic")), None)
    if wrong:
        raise BadInput(f"a seed must have the name of one source (got {{{wrong}}}); try {{seed}}")
    return found


def code_of(script: Script, modules: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of the files that make up the training: those in its words, and the modules it imported."""
    here = Path.cwd()
    found = {str(Path(name)): digest for name, digest in modules.items()}
    found |= {str(path.absolute()): _hash(path) for path in script.files}
    return {_short(name, here): digest for name, digest in sorted(found.items())}


def _short(name: str, here: Path) -> str:
    path = Path(name)
    return str(path.relative_to(here)) if path.is_relative_to(here) else name


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(read_file(path, _LARGEST)).hexdigest()
    except (OSError, NotAFile):  # a study that was received may name anything
        return ""


def make(
    script: Script,
    seeds: Mapping[str, int],
    study: Path | None,
    bit: Mapping[str, Any] | None,
    process: Process,
    onset: int = 0,
) -> Made:
    """One run: the command in a process of its own, in a new folder of its own under the study's."""
    if study is None:
        raise BadInput("a script's runs need a study's folder (got none); give <<folder>>")
    place = _new_folder(study, varied(seeds, onset))
    kept = place / ".nondet"
    kept.mkdir(parents=True)
    link_here(place, study, script)
    order = {"seeds": dict(seeds), "record": script.record, "folder": str(kept.absolute()), "bit": bit}
    order |= {"onset": onset, "here": str(Path.cwd().resolve())}
    machine = of_seeds(script.machine, seeds)
    order |= {"machine": dict(machine.told)} if script.machine else {}
    words = machine.words([filled(word, seeds, place) for word in script.started])
    log = study / "logs" / f"{place.name}.txt"
    log.parent.mkdir(exist_ok=True)
    log.touch()
    (kept / "order.json").write_text(json.dumps(order), encoding="utf-8")
    status = process.run(words, place, log, {**environment_of(seeds, place.absolute()), **machine.variables})
    text = log.read_bytes().decode("utf-8", "replace")
    last = [line.rstrip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]
    made = replace(_read(script, place, kept, text, status), last=last, log=str(log.relative_to(study)))
    process.learn(made.ledger)
    if onset and not made.failure and not made.ledger.get("bit"):
        return replace(made, failure=f"no bit was moved: it trained less than {onset + 1} epochs")
    return made


def _ended(status: int, text: str) -> str:
    """How a process ended that failed, with the last line of its output that says something."""
    how = f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"
    said = next((line.strip() for line in reversed(text.splitlines()) if re.search(r"[^\W_]", line)), "")
    return f"{how}: {said}" if said else how


def _read(script: Script, place: Path, kept: Path, text: str, status: int) -> Made:
    """What a process has left that ended with this status."""
    arrays: dict[str, np.ndarray] = {}
    if status:
        refused = kept / "refused"
        return Made({}, {}, {}, refused.read_text(encoding="utf-8") if refused.exists() else _ended(status, text))
    ledger = _ledger(kept)
    if script.record and ledger.get("record"):
        return Made({}, {}, ledger, f"what is to be recorded cannot be worked out: {ledger['record']}")
    if script.is_python and not ledger and not script.asked:
        return Made({}, {}, ledger, "it ended before Python's own end, and kept nothing")
    if ledger.get("arrays"):
        with np.load(str(ledger["file"]), allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    scores = dict(ledger.get("scores", {}))
    for pattern in script.metrics:
        name, value = _metric(pattern, text)
        if value is None and name not in scores:
            return Made({}, {}, ledger, f"it printed nothing that fits the metric {pattern}")
        scores[name] = scores[name] if value is None else value
    for name, path, read in (("outputs", script.outputs, read_outputs), ("labels", script.labels, read_labels)):
        if path:
            file = place / path
            if not file.exists():
                return Made({}, {}, ledger, f"it left no file {path}")
            found = np.asarray(read(file))
            arrays[name] = found[0] if name == "outputs" and found.ndim == 3 and len(found) == 1 else found
    return Made(arrays, scores, ledger, curves=ledger.get("curves", {}))


def _ledger(kept: Path) -> dict[str, Any]:
    """What was seen of the process that trained, or drew the most, and what is kept by the one that left something."""
    found: list[dict[str, Any]] = []
    for path in sorted(kept.glob("left-*.json")):
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found.append({**read, "file": path.with_suffix(".npz")})

    def trained(one: Mapping[str, Any]) -> tuple[int, bool, bool, int]:
        return int(one["steps"]), left(one), not one["anew"], sum(one["draws"].values())

    def left(one: Mapping[str, Any]) -> bool:
        return bool(one["arrays"] or one["scores"]) and not one.get("record")

    best = max(found, key=trained, default={})
    leaving = max(found, key=lambda one: (left(one), trained(one)), default={})
    return best | {name: leaving[name] for name in ("arrays", "scores", "curves", "record", "file") if name in leaving}


def _metric(pattern: str, text: str) -> tuple[str, float | None]:
    """A score's name, and the last number in a text that fits a pattern, or None; NaN where that is printed instead.

    `acc=([0-9.]+)` is what is printed; where nothing is printed so, `acc` is a name of the user's own for the rest.
    """
    name, equals, rest = pattern.partition("=")
    found = re.match(r"[A-Za-z_][\w./-]*", pattern)
    called = found[0].rstrip(".-/") if found else "metric"
    own_name = equals and re.fullmatch(r"[A-Za-z_][\w./-]*", name) and re.match(r"[^(]*[A-Za-z]", rest)
    for tried in (pattern, *([rest] if own_name else [])):
        values = {one.start(1): one[1] for form in (_diverged(tried), tried) for one in re.finditer(form, text, re.M)}
        if values:
            with suppress(ValueError):
                return called, float(values[max(values)].rstrip(".,;%"))  # a sentence may end there
    return called, None


def _diverged(pattern: str) -> str:
    """A pattern that fits where nan or inf is printed instead of the number that its group stands for."""
    opened: list[int | None] = []
    for part in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<|\(\??|\)", pattern, re.DOTALL):
        if part[0].startswith("("):
            opened.append(None if part[0] == "(?" else part.start())
        elif part[0] == ")" and (begin := opened.pop()) is not None:
            return pattern[:begin] + r"((?i:[-+]?(?:nan|inf(?:inity)?))\b)" + pattern[part.end() :]
    return pattern


def _new_folder(study: Path, name: str) -> Path:
    """A folder that no run has used: one that was stopped half-way may have left files that it would go on from."""
    path, attempts = study / "work" / name, count(2)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            path = path.with_name(f"{name}~{next(attempts)}")
        else:
            return path


def link_here(place: Path, study: Path, script: Script) -> None:
    """Let a run find by its own paths what stands where the command was given; what it writes anew is its own.

    The study is left out, and where it writes its outputs, the folders on the way are its own too.
    """
    here, outputs = Path.cwd(), Path(script.outputs)
    own = [] if not script.outputs or outputs.is_absolute() else [*outputs.parents, outputs]
    for folder in own[:-1]:
        (place / folder).mkdir(parents=True, exist_ok=True)
    for folder in own[:-1] or [Path()]:
        for entry in (here / folder).iterdir() if (here / folder).is_dir() else []:
            target = place / folder / entry.name
            if not study.absolute().is_relative_to(entry.absolute()) and folder / entry.name not in own:
                target.symlink_to(entry.absolute(), entry.is_dir())


def filled(word: str, seeds: Mapping[str, int], place: Path) -> str:
    """A word with the seeds and the folder in place of what stands for them."""
    filled = word.replace("{out}", str(place.absolute()))
    return re.sub(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda found: str(seeds.get(found[1], FIXED_SEED)), filled)
