"""Train a study, and show it; or train what compares remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nondet.cli.commands import command_of
from nondet.cli.console import TEXT, USUAL, Assignments, Flag, Printed, Volume, Words, answer, assignments
from nondet.cli.studies import show
from nondet.errors import BadInput
from nondet.io.streams import note


def run(
    task: str,
    /,
    *command: str,
    runs: int | None = None,
    vary: Words = None,
    onset: Annotated[list[int] | None, Parameter(negative="")] = None,
    until: str | None = None,
    limit: int | None = None,
    design: str = "conditions",
    levels: int | None = None,
    study: Path | None = None,
    stack: int | str | None = None,
    set_: Assignments = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    track: Words = None,
    layers: Words = None,
    device: str = "auto",
    tf32: Flag = False,
    workers: int | None = None,
    executor: Annotated[str | None, Parameter(name=["--executor", "--on"])] = None,
    metric: Annotated[list[str] | None, Parameter(negative="")] = None,
    outputs: str = "",
    labels: str = "",
    record: str = "",
    volume: Volume = USUAL,
) -> int:
    """Train the runs that a study still lacks, and print its table.

    Give a task by its name or file, or a script or command as it is: `nondet run --record "outputs=logits, labels=y" --
    python train.py --epochs 3`.

    Run the same command again to continue after an interruption. Give more --runs, or another --vary or --onset, to add
    to the study. Finished runs are never trained again.

    Parameters
    ----------
    task
        A task by name (see `nondet tasks`), or the path of your own file, which ends in .py; or, after --, a command.
    command
        After --: the rest of the command. In it `{init}` stands for the seed of that source, `{seed}` for one seed for
        all sources, and `{out}` for the run's folder.
    runs
        Runs in each condition, at least 2; 20 if left out.
    vary
        One condition: a source, several sources joined by + that vary together, or `all` (every source but bit). Repeat
        it for more conditions. If left out: each source of the task alone, then all together. The deterministic control
        is always included.
    onset
        The epoch from which the sources vary. Before it, all runs of a condition share one trunk, which is trained
        once. Repeat it for more conditions; 0 if left out.
    until
        Add runs to every condition, as many at a time as fill whole stacks, until an estimate's error is below a bound
        in all of them, such as "accuracy.sd.error<10%" (of the estimate) or "disagreement.error<0.2" (in its unit).
        Estimates have the dotted names of `show --json`; --runs is the number to start with.
    limit
        With --until: the largest number of runs in each condition; 200 if left out.
    design
        `conditions`, or `crossed`: all combinations of the seeds 1 to --levels of the sources, to find what share of
        the variance each source and their interactions cause. Each --vary then names one source; if left out, all
        sources but bit are crossed.
    levels
        With --design crossed: how many seeds each source has, at least 2. L levels of k sources make L^k runs.
    study
        The study's folder, new or existing; `studies/TASK` if left out.
    stack
        How many runs train together as one program; `auto` spends a few seconds to measure which width is fastest. A
        study keeps the width it began with.
    set_
        A recipe field and its value, such as `--set epochs=5`; repeat it for more. `bit` chooses the weight that the
        bit source changes: first, random, or a parameter's name. Tasks that come with nondet also have `train_examples`
        and `test_examples`, which limit how many are used.
    data
        The folder of a task's official files. If left out, they are downloaded once, where that is possible.
    model
        A network by name (see `nondet models`), for tasks that come with nondet.
    broken
        What to do about images that cannot be decoded: stop, or skip.
    track
        Epochs after which to keep activations and parameters, such as `0,1,5,10`; `show --json` then reports
        similarity.
    layers
        Names of the modules to look at with --track, joined by commas; the model's usual ones if left out.
    device
        auto, cpu, cuda or cuda:N.
    tf32
        On CUDA, round the factors of float32 products to TF32: faster, and recorded in the environment.
    workers
        How many processes train side by side; if left out, one for each core on a CPU, and one on a GPU.
    executor
        Where runs are trained: local (this process), processes (this one and others), ray or ray:ADDRESS (a Ray
        cluster), slurm or slurm:partition=NAME,time=MINUTES (a Slurm array), or one that a package provides.
    metric
        For a command: a regular expression for what it prints, whose one group is a number, such as `acc=([0-9.]+)`.
        The last match counts. Repeat it for more metrics.
    outputs
        For a command: the file in its folder to which it writes its predictions on the test set.
    labels
        For a command: the file of the test labels.
    record
        For a Python script: what to keep at its end, as expressions in the script's variables, such as "outputs=logits,
        labels=y_test".
    """
    import nondet
    from nondet.runners.script import Script

    _check_design(design, levels, runs)
    words = command_of("run", task, command, can_be="run")
    leaves = {"metric": metric, "outputs": outputs, "labels": labels, "record": record}
    of_a_task = {"stack": stack, "set": set_, "data": data, "model": model, "track": track, "layers": layers}
    of_a_task |= {"tf32": tf32, "broken": broken != "stop", "device": device != "auto"}
    wrong = next((name for name, value in (of_a_task if words else leaves).items() if value), "")
    if wrong and words:
        raise BadInput(f"--{wrong} is for a task, but a command is run as it is (got {words[0]}); leave it out")
    if wrong:
        raise BadInput(f"--{wrong} is for a command, which follows -- (got the task {task}); leave it out")
    opened = nondet.run(
        Script(words, (), record, metric or (), outputs, labels) if words else task,
        20 if runs is None else runs,
        vary=vary or [],
        folder=study,
        onset=onset or [],
        until=until,
        limit=limit,
        levels=levels,
        stack=stack,
        workers=workers,
        executor=executor,
        recipe=assignments(set_ or []),
        data=data,
        model=model,
        broken=broken,
        track=_epochs(track or []),
        layers=[name for text in layers or [] for name in text.split(",") if name],
        device=device,
        tf32=tf32,
        say=note,
    )
    return show(opened.folder)


def _check_design(design: str, levels: int | None, runs: int | None) -> None:
    if design not in ("conditions", "crossed"):
        raise BadInput(f"--design must be conditions or crossed (got {design!r}); choose one of them")
    if design == "conditions" and levels is not None:
        raise BadInput(
            f"--levels is for --design crossed (got --levels {levels} alone); leave it out, or add --design crossed"
        )
    if design == "crossed" and levels is None:
        raise BadInput("--design crossed needs --levels, the number of seeds of each source (got none); try --levels 4")
    if design == "crossed" and runs is not None:
        raise BadInput(f"--runs is for conditions, but --design crossed has --levels (got --runs {runs}); leave it out")


def _epochs(texts: list[str]) -> tuple[int, ...]:
    numbers = [number.strip() for text in texts for number in text.split(",") if number.strip()]
    for number in numbers:
        if not (number.isascii() and number.isdigit()):
            raise BadInput(f"--track must be epochs joined by commas (got {number!r}); try --track 0,1")
    return tuple(int(number) for number in numbers)


def stabilize(
    target: str,
    /,
    *,
    runs: int = 20,
    cycles: int = 5,
    study: Path | None = None,
    stack: int | str | None = None,
    set_: Assignments = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    workers: int | None = None,
    run_task: Flag = False,
    form: Printed = TEXT,
    volume: Volume = USUAL,
) -> int:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages of weights, plain
    ensembles.

    Given a task, it trains what is missing from two studies, one of single models and one of accelerated ensembles. In
    both, every source but bit varies in every run. Given a finished study, it uses what the study kept, and trains
    nothing.

    Parameters
    ----------
    target
        A task by name or file, as for `nondet run`; or the folder of a finished study.
    runs
        Runs of each of the two studies.
    cycles
        How many members an accelerated ensemble has; the number of epochs must be a multiple of it.
    study
        The folder of the task's two studies; `studies/TASK-stabilize` if left out.
    stack
        As for `nondet run`.
    set_
        As for `nondet run`; also `ema` and `swa`.
    data
        As for `nondet run`; also for a finished study whose data have moved.
    model
        As for `nondet run`.
    broken
        As for `nondet run`.
    device
        As for `nondet run`.
    workers
        As for `nondet run`; also how many threads evaluate.
    run_task
        For a finished study whose task is a file: run that file, because its code makes the study's models.
    """
    import nondet
    from nondet.running.progress import steps

    with steps() as on_progress:
        found = nondet.stabilize(
            target,
            runs,
            cycles=cycles,
            folder=study,
            stack=stack,
            workers=workers,
            recipe=assignments(set_ or []),
            data=data,
            model=model,
            broken=broken,
            device=device,
            run_task=run_task,
            say=note,
            on_progress=on_progress,
        )
    return answer(found, form, control=found.identical)
