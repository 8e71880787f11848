"""The commands: parse, call, print."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from nondet import __version__
from nondet.environment import set_up_process
from nondet.errors import BadInput, Damaged, Stopped

_Flag = Annotated[bool, Parameter(negative="")]

WIDE = 120
"""The width of tables that do not go to a terminal."""

app = App(
    name="nondet",
    help="Measure how much a neural network's training varies from run to run, and which source causes it.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    help_epilogue=(
        "Exit status: 0 done; 1 a damaged study, or a disk that cannot be written; 2 input that cannot be used; "
        "3 the control is not exactly zero; 130 interrupted."
    ),
)


_Words = Annotated[list[str] | None, Parameter(negative="")]


@app.command
def run(
    task: str,
    /,
    *,
    runs: int = 20,
    vary: _Words = None,
    onset: Annotated[list[int] | None, Parameter(negative="")] = None,
    study: Path | None = None,
    stack: int | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    track: _Words = None,
    layers: _Words = None,
    device: str = "auto",
    tf32: _Flag = False,
    workers: int | None = None,
) -> int:
    """Train what a study still misses, and print its table.

    Run the same command again to go on after an interruption; ask for more --runs, another --vary or --onset to add to
    the study. Runs that are done are never trained again.

    Parameters
    ----------
    task
        A task by name (see `nondet tasks`), or the path of your own file, which ends in .py.
    runs
        Runs in each condition, at least 2.
    vary
        One condition: a source, several joined by +, which vary together, or `all` (every source but bit). Repeat
        it for more conditions. Without it: each source of the task alone, then all together. The deterministic
        control is always there.
    onset
        The epoch from which on the sources vary: before it, all runs of a condition share one trunk, which is trained
        once. Repeat it for more conditions; 0 if left out.
    study
        The study's folder, new or existing; `studies/TASK` if left out.
    stack
        How many runs train together as one program. A study keeps the width it began with.
    set_
        A recipe field and its value, such as `--set epochs=5`; repeat it for more. `bit` chooses the weight that the
        bit source changes: first, random, or a parameter's name. For tasks that come with nondet also
        `train_examples` and `test_examples`: take only the first so many.
    data
        The folder of a task's official files. Without it they are fetched once, where that can be done.
    model
        A network by name (see `nondet models`), for tasks that come with nondet.
    broken
        What to do about images that cannot be decoded: stop, or skip.
    track
        Epochs after which to keep activations and parameters, such as `0,1,5,10`: `show --json` then has similarity.
    layers
        Names of the modules to look at with --track, joined by commas; the model's usual ones if left out.
    device
        auto, cpu, cuda or cuda:N.
    tf32
        On CUDA, round the factors of float32 products to TF32: faster, and recorded in the environment.
    workers
        Processes that train side by side; on a CPU one for each core if left out, on a GPU one.
    """
    from nondet.request import Request
    from nondet.runner import train

    request = Request(
        task=task,
        assignments=_assignments(set_ or []),
        device=device,
        data=data,
        model=model,
        broken=broken,
        track=_epochs(track or []),
        layers=tuple(name for text in layers or [] for name in text.split(",") if name),
        tf32=tf32,
    )
    folder = study or Path("studies") / request.name
    try:
        train(request, folder, runs=runs, vary=vary or [], onsets=onset or [], stack=stack, workers=workers, say=_say)
    except Stopped as stop:
        _say(str(stop))
        return 130
    return show(folder)


@app.command
def show(study: Path, /, *, json: _Flag = False, markdown: _Flag = False, latex: _Flag = False) -> int:
    """Print a study's table, the control first, and what it says in words.

    Parameters
    ----------
    study
        The study's folder.
    json
        Everything as JSON, for scripts.
    markdown
        The table as Markdown.
    latex
        The table as LaTeX (it needs the package booktabs).
    """
    from nondet import study as studies
    from nondet.report import table, words
    from nondet.report.results import read_results

    if json + markdown + latex > 1:
        raise BadInput("show takes one of --json, --markdown and --latex (got more); choose one")
    results = read_results(studies.load(study))
    failed_control = results.control.identical is False
    if json:
        print(dumps(results.as_dict(), indent=2, allow_nan=False))
    elif markdown or latex:
        print((table.for_markdown if markdown else table.for_latex)(table.rows(results), table.head(results)))
    else:
        console = _console()
        console.print(words.control_words(results), markup=False, highlight=False)
        console.print()
        console.print(table.for_terminal(table.rows(results), table.head(results)))
        console.print()
        for sentence in filter(None, (words.failures(results), words.summary(results))):
            console.print(sentence, markup=False, highlight=False)
    if (json or markdown or latex) and failed_control:
        _say(words.control_words(results))
    if results.missing:
        _say(words.unfinished(results))
    return 3 if failed_control else 0


@app.command
def stabilize(
    target: str,
    /,
    *,
    runs: int = 20,
    cycles: int = 5,
    study: Path | None = None,
    stack: int | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    workers: int | None = None,
    json: _Flag = False,
    markdown: _Flag = False,
) -> int:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages, plain ensembles.

    Of a task, it trains what is missing of two studies, single models and accelerated ensembles, in all of whose
    runs every source but bit varies. Of a finished study, it takes what the study kept, and trains nothing.

    Parameters
    ----------
    target
        A task by name or file, as for `nondet run`; or the folder of a finished study.
    runs
        Runs of each of the two studies.
    cycles
        Members of an accelerated ensemble; the epochs must be a multiple.
    study
        The folder of the task's two studies; `studies/TASK-stabilize` if left out.
    stack
        As for `nondet run`.
    set_
        As for `nondet run`; `ema` and `swa` too.
    data
        As for `nondet run`; also of a finished study whose data have moved.
    model
        As for `nondet run`.
    broken
        As for `nondet run`.
    device
        As for `nondet run`.
    workers
        As for `nondet run`.
    json
        As JSON, for scripts.
    markdown
        The table as Markdown.
    """
    from nondet import runner
    from nondet.progress import steps
    from nondet.report import table, words
    from nondet.request import Request
    from nondet.stabilize import stabilize as remedies
    from nondet.stabilize import table as remedy_table

    if json and markdown:
        raise BadInput("stabilize takes one of --json and --markdown (got both); choose one")
    set_up_process()
    request = Request(target, _assignments(set_ or []), device, data, model, broken)
    try:
        with steps() as on_progress:
            found = remedies.stabilize(
                target,
                folder=study or Path("studies") / f"{request.name}-stabilize",
                assignments=request.assignments,
                recipe_of=request.recipe,
                train=lambda folder, assignments: runner.train(
                    replace(request, assignments=assignments),
                    folder,
                    runs=runs,
                    vary=["all"],
                    stack=stack,
                    workers=workers,
                    say=_say,
                ),
                problem_of=lambda opened: runner.problem_of(opened, device, data),
                cycles=cycles,
                on_progress=on_progress,
            )
    except Stopped as stop:
        _say(str(stop))
        return 130
    rows = remedy_table.rows(found.methods)
    if json:
        print(dumps(found.as_dict(), indent=2, allow_nan=False))
    elif markdown:
        print(table.for_markdown(rows, remedy_table.HEAD))
    else:
        console = _console(WIDE + 40)
        console.print(table.for_terminal(rows, remedy_table.HEAD))
        console.print()
        for sentence in (*found.left_out, remedy_table.summary(found.methods)):
            console.print(sentence, markup=False, highlight=False)
    if not found.identical:
        _say(words.CONTROL_NOT_ZERO)
        return 3
    return 0


@app.command
def verify(study: Path, /) -> int:
    """Check every byte of a study's runs against the hashes written with them.

    Parameters
    ----------
    study
        The study's folder.
    """
    from nondet import study as studies
    from nondet.report.results import retrain
    from nondet.report.results import verify as check

    opened = studies.load(study)
    sound, problems = check(opened)
    trunks = studies.damaged_trunks(opened)
    for problem in (*problems, *(f"{path} is damaged: its content does not match its SHA-256" for path in trunks)):
        _say(problem)
    if problems or trunks:
        beside = f" and {len(trunks)} trunks" if trunks else ""
        _say(f"Damaged: {len(problems)} of {sound + len(problems)} runs{beside}; {retrain(opened)}")
        return 1
    done, planned = studies.count_done(opened)
    print(f"{sound} runs are sound, every byte; {planned - done} of {planned} planned runs are still to train.")
    for path in sorted((study / "evidence").glob("*")):
        print(f"note: kept as evidence, and used nowhere: {path}")
    return 0


@app.command
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


@app.command
def models(*, json: _Flag = False) -> int:
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


@app.command
def measure(outputs: Path, /, *, labels: Path, json: _Flag = False) -> int:
    """Measure logits that somebody else's training left.

    Parameters
    ----------
    outputs
        A .npy file of logits (N, n, c): runs, test examples, classes.
    labels
        A .npy file of class numbers (n,).
    json
        As JSON: one condition of the JSON that `nondet show` prints.
    """
    from nondet.measures import measure as measure_arrays
    from nondet.measures.files import load_npy
    from nondet.report import table, words

    measures = measure_arrays(load_npy(outputs), load_npy(labels))
    if json:
        print(dumps(measures.as_dict(), indent=2, allow_nan=False))
        return 0
    console = _console()
    console.print(table.for_terminal([table.measured_row(measures)]))
    console.print()
    console.print(words.measured_words(measures), markup=False, highlight=False)
    return 0


def _assignments(texts: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--set must be given as field=value (got {text!r}); try --set epochs=5")
        pairs[name.strip()] = value.strip()
    return pairs


def _epochs(texts: list[str]) -> tuple[int, ...]:
    numbers = [number.strip() for text in texts for number in text.split(",") if number.strip()]
    for number in numbers:
        if not (number.isascii() and number.isdigit()):
            raise BadInput(f"--track must be epochs joined by commas (got {number!r}); try --track 0,1,5")
    return tuple(int(number) for number in numbers)


def _console(width: int = WIDE) -> Console:
    return Console(width=None if sys.stdout.isatty() else width)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """The `nondet` command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters still gets its table
    try:
        status: Any = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return status if isinstance(status, int) else 0
    except CycloptsError as error:
        _say(f"nondet: {' '.join(str(error).split())} (see nondet --help)")
        return 2
    except BadInput as error:
        _say(f"nondet: {error}")
        return 2
    except Damaged as error:
        _say(f"nondet: {error}")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _say(
            f"nondet: the system refuses to read or write{where}: {error.strerror or error}; "
            "nothing half-written counts, so mend that and give the same command again"
        )
        return 1
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130
