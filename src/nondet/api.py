"""The Python API: each function does what the command of its name does, and returns what that prints as a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nondet.errors import spelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from nondet.analysis.alike import Alike
    from nondet.analysis.compare import Comparisons
    from nondet.analysis.datasets import OverDatasets
    from nondet.analysis.floor import Floor
    from nondet.analysis.gate import Gate
    from nondet.analysis.given import AnyGiven
    from nondet.analysis.models_apart import ModelComparisons
    from nondet.analysis.numbers import Numbers
    from nondet.analysis.outside import Outside
    from nondet.analysis.plan import Plan
    from nondet.analysis.remedies.stabilize import Stabilized
    from nondet.analysis.reproduce.audit import Audit
    from nondet.analysis.reproduce.diverge import Diverged
    from nondet.analysis.reproduce.resume import Resumed
    from nondet.analysis.results import Results
    from nondet.analysis.runs import OpenStudy, Runs
    from nondet.analysis.score_arms import Better
    from nondet.analysis.unstable import Unstable
    from nondet.measures.measured import Measures
    from nondet.runners.base import Runner
    from nondet.runners.function import Function
    from nondet.runners.script import Script
    from nondet.running.copying import Copied
    from nondet.running.doctor import Diagnosis
    from nondet.running.executors.base import Executor
    from nondet.running.work import Status
    from nondet.study.study import Study
    from nondet.tasks.task import Task

    StudyGiven = str | Path | OpenStudy

__all__ = [
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
]


def _quiet(sentence: str) -> None:
    """Say nothing."""


def _spelled(say: Callable[[str], None] | None) -> Callable[[str], None]:
    """Say a sentence with its arguments as its reader gives them."""
    return lambda sentence: (say or _quiet)(spelled(sentence))


def run(
    task: str | Path | Task | Script | Function | Runner,
    runs: int = 20,
    *,
    vary: str | Sequence[str] = (),
    folder: str | Path | None = None,
    onset: int | Sequence[int] = (),
    until: str | None = None,
    limit: int | None = None,
    levels: int | None = None,
    stack: int | str | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    recipe: Mapping[str, object] | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    broken: str = "stop",
    track: Sequence[int] = (),
    layers: Sequence[str] = (),
    device: str = "auto",
    tf32: bool = False,
    say: Callable[[str], None] | None = None,
) -> OpenStudy:
    """Train what a study still misses, and open it. Give the same call again to go on after an interruption.

    Args:
        task: a `Task`; the name of one that comes with nondet; the path of a file that defines one; a `Script`, as it
            is; a `Function`; or a runner.
        runs: in each condition, at least 2.
        vary: what varies in each condition: sources, several joined by +, or "all"; each source alone and all together
            if left out.
        folder: the study's, new or existing; `studies/NAME` if left out.
        onset: the epochs from which on the sources vary. until, limit: see `nondet run --help`.
        levels: of a crossed design: the seeds of each source that `vary` names.
        stack: how many runs train together; "auto" measures which width is fastest.
        workers: processes that train side by side. executor: where runs are made.
        recipe: fields of the recipe to change, such as `{"epochs": 5}`.
        say: is told, in sentences, what a user should know meanwhile; `print`, for example.

    Raises:
        BadInput: something that was asked for cannot be done; one sentence says what and the way out.
    """
    from nondet.analysis.runs import OpenStudy
    from nondet.runners.base import Runner
    from nondet.runners.function import Function, of_function
    from nondet.runners.script import Script
    from nondet.running.request import request_of
    from nondet.running.session import train
    from nondet.study.mirror import folder_of, mirror_of

    if isinstance(task, Script):
        task = replace(task, name=task.title)
    if isinstance(task, Function):
        task = of_function(task)
    request = (
        task
        if isinstance(task, Runner | Script)
        else request_of(
            task,
            assignments={name: str(value) for name, value in (recipe or {}).items()},
            device=device,
            data=None if data is None else str(data),
            model=model,
            broken=broken,
            track=tuple(track),
            layers=tuple(layers),
            tf32=tf32,
        )
    )
    study = train(
        request,
        Path("studies") / request.name if folder is None else folder_of(folder),
        runs=runs,
        vary=[vary] if isinstance(vary, str) else list(vary),
        onsets=[onset] if isinstance(onset, int) else list(onset),
        levels=levels,
        until=until,
        limit=limit,
        stack=stack,
        workers=workers,
        executor=executor,
        say=_spelled(say),
        measure=_measured,
    )
    if (mirror := mirror_of(study.folder)) is not None:
        mirror.fetch_all()
    return OpenStudy(study, getattr(request, "given", None))


def _measured(study: Study, condition: Any) -> Measures | None:
    from nondet.analysis.runs import OpenStudy

    runs = OpenStudy(study).reader.runs(condition)
    return runs.measure() if len(runs) > 1 else None


def open(folder: str | Path) -> OpenStudy:
    """The study in a folder: `study["all"]` are the runs of a condition.

    Raises:
        BadInput: there is none, or its format is unknown. Damaged: its file is not what was written.
    """
    from nondet.analysis.runs import open_study

    return open_study(folder)


def show(study: StudyGiven, examples: bool = False) -> Results:
    """A study's table, the control first, with all its figures.

    Args:
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.

    Raises:
        Damaged: a run is not what was written.
    """
    from nondet.analysis.results import read_results

    return read_results(_opened(study).study, examples)


def compare(
    a: AnyGiven,
    b: AnyGiven | None = None,
    *others: AnyGiven,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    margin: float | None = None,
    level: float = 0.05,
    metric: str | None = None,
    cluster: str | Path | ArrayLike | None = None,
    arm: str = "",
    seed: str = "",
    dataset: str = "",
    of: str = "",
    with_: str | Sequence[str] = (),
    better: Better | None = None,
    paired: bool = False,
    chance: float | None = None,
    examples: bool = False,
    groups: str | Path | ArrayLike | None = None,
    looks: int = 1,
    say: Callable[[str], None] = _quiet,
) -> Comparisons | OverDatasets | ModelComparisons:
    """Is B better than A, worse, alike, or is it not decided yet; and how many more runs would decide.

    Args:
        a, b, others: studies, runs of their conditions, `(outputs, labels)`, or paths, as for `nondet compare`; each of
            the others is compared with A too. Or scores, one number for each run: `{"base": [...], "aug": [...]}` or
            one file of several arms; or a list, or a file, for each arm.
        arm, seed, dataset: of a file of scores: the columns that tell what was trained, one run from another, and on
            which data set; found by their names if left out.
        of, with_: of the arms of one file, that which others are compared with, and these others.
        better: "higher" or "lower" scores are; by words in the metric's name if left out.
        paired: whether scores of equal seeds are pairs by design, since a seed decides the same in both arms.
        labels: class numbers `(n,)`, or a file of them, beside outputs that do not hold them.
        margin: the largest difference that does not matter, in the metric's unit: within it, A and B are alike.
        level: the chance of a false "better" or "worse", and of a false "alike".
        metric: "accuracy", "cross_entropy" or "perplexity"; the runs' first score if left out. Of a file of scores, the
            column; the only one if left out.
        chance: decide by the chance that a run of B beats one of A, such as 0.75, in place of the means.
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.
        groups: the same, where not each example was drawn but groups of them, such as the questions on one text: a name
            or number for each example, a file of these, or a column of A's table. Of one run each it is `cluster`.
        looks: how often the runs are looked at in all; each look then has its share of the level.
        cluster: where each is one run: a key of what a log says of the examples, or the cluster of each example `(n,)`.

    Where each is one run on many examples, the two models are compared over examples, which says nothing of other runs.

    Raises:
        BadInput: the arms cannot be compared.
    """
    from nondet.analysis import compare as comparing
    from nondet.analysis import models_apart, one_run
    from nondet.analysis.criteria import check_criteria
    from nondet.analysis.datasets import compare_over, refuse_margin
    from nondet.analysis.given import arms_given, by_dataset
    from nondet.analysis.groups import groups_of
    from nondet.analysis.score_arms import Choice
    from nondet.errors import BadInput
    from nondet.io.roles import Asked
    from nondet.reporting import datasets as words_over
    from nondet.reporting import decisions
    from nondet.reporting import one_run as one_run_words

    comparing.check_options(margin, level)
    check_criteria(chance, margin, looks)
    if groups is not None and cluster is not None:
        raise BadInput("<<groups>> and <<cluster>> say the same (got both); leave one of them out")
    names = [name for name in (a, b, *others) if name is not None]
    of_scores = any((arm, seed, dataset, of, with_, better, paired)) or len(names) < 2
    single = None if of_scores else one_run.one_run_each(names, labels, metric, columns, _spelled(say))
    if single is not None:
        _refuse_for("one run of each", chance, examples, looks)
        models = models_apart.compare_models(single, margin, level, groups if cluster is None else cluster)
        said = tuple(replace(c, sentence=one_run_words.model_words(c)) for c in models.comparisons)
        return replace(models, comparisons=said)
    if cluster is not None:
        raise BadInput("<<cluster>> is for one run of each on many examples (got several runs); give <<groups>>")
    asked = Asked(arm=arm, seed=seed, dataset=dataset)
    choice = Choice(of, (with_,) if isinstance(with_, str) else tuple(with_), paired, better)
    if over := by_dataset(names, labels, metric, columns, asked, choice, _spelled(say)):
        refuse_margin(margin)
        _refuse_for("several data sets", chance, examples or groups is not None, looks)
        return words_over.worded(compare_over(over, level))
    arms = arms_given(names, labels, metric, columns, asked, choice, _spelled(say))
    drawn, groups = examples or groups is not None, groups_of(groups, a)
    found = comparing.compare(arms, margin, level, chance=chance, examples=drawn, looks=looks, groups=groups)
    worded = tuple(replace(c, sentence=decisions.comparison_words(c)) for c in found.comparisons)
    return replace(found, comparisons=worded)


def _refuse_for(what: str, chance: float | None, examples: bool, looks: int) -> None:
    from nondet.errors import BadInput

    for name, given in (("chance", chance), ("examples", examples), ("looks", looks > 1)):
        if given:
            raise BadInput(f"<<{name}>> is for several runs on one test set (got {what}); leave it out")


def plan(
    effect: float,
    *,
    sd: float | None = None,
    pilot: AnyGiven | None = None,
    power: float = 0.8,
    level: float = 0.05,
    metric: str | None = None,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    of: str = "",
    looks: int = 1,
    say: Callable[[str], None] = _quiet,
) -> Plan:
    """How many runs of each of two arms a difference takes to be found, and what they cost.

    Args:
        effect: the smallest difference that matters, in the metric's unit.
        sd: of one run's metric, if it is known; or else `pilot`: runs that vary alike, as for `compare`.
        arm, seed, of: of a file of scores as pilot, as for `compare`; `of` names its arm that is the pilot.
        power: the chance to find the difference, if it is there. level: the chance to find one that is not.
        looks: how often you mean to look, as for `compare`; with the chance `power` the last look finds the effect.

    Raises:
        BadInput: not one of `sd` and `pilot` is given, or no number of runs up to a million is enough.
    """
    from nondet.analysis import plan as planning
    from nondet.analysis.given import arms_given
    from nondet.analysis.score_arms import Choice
    from nondet.errors import BadInput
    from nondet.io.roles import Asked
    from nondet.reporting import decisions

    if (sd is None) == (pilot is None):
        raise BadInput(f"plan takes one of sd and a pilot (got {'none' if sd is None else 'both'}); give one")
    planning.check_options(effect, power, level)
    if pilot is None:
        found = planning.plan_with(sd or 0.0, effect, power, level, metric, looks)
    else:
        asked, choice = Asked(arm=arm, seed=seed), Choice(of, (of,) if of else (), compared=False)
        arms = arms_given([pilot], labels, metric, columns, asked, choice, _spelled(say))
        found = planning.plan_from(arms[0], effect, power, level, looks)
    return replace(found, sentence=decisions.plan_words(found))


def work(
    study: str | Path,
    *,
    data: str | Path | None = None,
    device: str = "auto",
    stacks: int | None = None,
    run_task: bool = False,
    say: Callable[[str], None] = _quiet,
) -> int:
    """Make what a study misses and nobody else is making, then leave; how many runs this process has made.

    Any number of workers may be at one study, on all machines that share its folder.

    Args:
        data: the folder of the task's files here, where the study names another.
        stacks: leave after so many stacks of runs.
        run_task: run the task's file or the command that the study names: it is code.

    Raises:
        BadInput: this process would train the study's runs otherwise than they were trained; it says what differs.
    """
    from nondet.running import work as working
    from nondet.study.mirror import folder_of

    return working.work(
        folder_of(study),
        device=device,
        data=None if data is None else str(data),
        run_task=run_task,
        stacks=stacks,
        say=_spelled(say),
    )


def status(study: str | Path) -> Status:
    """How far a study is: its runs planned, done, failed and in hand, by condition and by machine."""
    from nondet.running import work as working
    from nondet.study import record as studies
    from nondet.study.mirror import folder_of

    return working.status(studies.load(folder_of(study)))


def pull(source: str | Path, folder: str | Path, say: Callable[[str], None] = _quiet) -> Copied:
    """Copy a study from a bucket, such as `s3://bucket/path`, or another folder, into a folder; `push` is the way back.

    What is there already stays, so a copy that was interrupted goes on where it was. Every run is checked against its
    hashes.

    Raises:
        BadInput: there is no study at the source, or another one in the folder.
        Damaged: a run is not what was written; the others are copied.
    """
    from nondet.running.copying import copy_study

    return copy_study(source, folder, _spelled(say))


def push(folder: str | Path, target: str | Path, say: Callable[[str], None] = _quiet) -> Copied:
    """Copy a study from a folder into a bucket or another folder: see `pull`."""
    from nondet.running.copying import copy_study

    return copy_study(folder, target, _spelled(say))


def doctor(place: str | Path) -> Diagnosis:
    """Try what a study relies on where it is to be kept, in a folder or a bucket: `doctor(place).sound`.

    Raises:
        BadInput: there is no such place, or it cannot be read and written at all.
    """
    from nondet.running.doctor import diagnose

    return diagnose(place)


def floor(
    runs: AnyGiven,
    new_runs: int = 1,
    *,
    level: float = 0.05,
    metric: str | None = None,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    of: str = "",
    say: Callable[[str], None] = _quiet,
) -> Floor:
    """The noise floor: how far new runs of the same recipe may lie from these by chance, as a prediction interval.

    Args:
        runs: repeats of one recipe: numbers `(N,)`, a file of one number a line or of columns, or what `compare` takes.
        new_runs: how many new runs are judged by their mean.
        level: the chance that new runs of the same recipe lie outside of the interval.
        metric: a column of the file, or a score of a study's runs.
        arm, seed, of: of a file of scores, as for `compare`; `of` names its arm that is meant.

    Raises:
        BadInput: fewer than two runs, or no number for each.
    """
    from nondet.analysis import floor as analysis
    from nondet.analysis.numbers import numbers_of
    from nondet.reporting import gates

    given = numbers_of(
        runs, "runs", metric=metric, labels=labels, columns=columns, arm=arm, seed=seed, of=of, say=_spelled(say)
    )
    found = analysis.floor(given, new_runs, level)
    return replace(found, sentence=gates.floor_words(found))


def gate(
    base: AnyGiven,
    candidate: AnyGiven | None,
    ledger: str | Path,
    *,
    name: str | None = None,
    alpha: float | None = None,
    effect: float | None = None,
    limit: int | None = None,
    better: Better | None = None,
    metric: str | None = None,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    of: str = "",
    with_: str = "",
    say: Callable[[str], None] = _quiet,
) -> Gate:
    """Keep a change, discard it, or run it again: for loops that try one change after another, and look at each run.

    Args:
        base: repeats of the recipe as it is, as for `floor`. candidate: all runs of the changed one so far, likewise;
            None for those of `with_` in the baseline's file.
        ledger: a file that holds every look at every candidate, made if there is none. Lines are only added to it.
        name: of the candidate; the path of its file if left out, or "candidate".
        alpha: the chance that any change is kept, of all in the ledger, that is no improvement; 0.05 if left out.
        effect: the smallest improvement that must not be missed, in the metric's unit; the baseline's SD if left out.
        limit: runs of the candidate after which it is discarded; twice those of a test of fixed size if left out.
        better: "higher" or "lower" values of the metric; by its name if left out.
        arm, seed, of, with_: of files of scores, as for `compare`; `of` is the baseline's arm, `with_` the candidate's.

    Raises:
        BadInput: runs or a ledger that cannot be used, or runs missing that were looked at before.
    """
    from nondet.analysis import gate as analysis
    from nondet.analysis.numbers import numbers_of
    from nondet.errors import BadInput
    from nondet.reporting import gates

    if candidate is None and not with_:
        raise BadInput(
            "gate takes a baseline and a candidate (got one); give the candidate's runs too, or name its arm of the "
            "same file by <<with=NAME>>"
        )

    def read(given: AnyGiven, what: str, chosen: str) -> Numbers:
        return numbers_of(
            given,
            what,
            metric=metric,
            better=better,
            labels=labels,
            columns=columns,
            arm=arm,
            seed=seed,
            of=chosen,
            say=_spelled(say),
        )

    first, second = read(base, "baseline", of), read(base if candidate is None else candidate, "candidate", with_)
    found = analysis.gate(first, second, Path(ledger), name=name, alpha=alpha, effect=effect, limit=limit)
    return replace(found, sentence=gates.gate_words(found))


def alike(
    study: StudyGiven | AnyGiven,
    margin: float = 1.25,
    level: float = 0.05,
    *,
    others: Sequence[AnyGiven] = (),
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    say: Callable[[str], None] = _quiet,
) -> Alike:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    Args:
        study: or outputs or scores, as for `compare`: whether the runs of several arms vary alike.
        margin: the largest ratio of two effects that still counts as alike, above 1.
        level: the share of false positives that is allowed.
        others: more arms. labels, columns, metric, arm, seed: of outputs and of scores, as for `compare`.
    """
    from nondet.analysis import alike as analysis
    from nondet.analysis.given import arms_given, is_study
    from nondet.analysis.independence import without_copies
    from nondet.analysis.score_arms import Choice
    from nondet.io.roles import Asked
    from nondet.reporting import alike as words

    if is_study(study) and not others:
        found = analysis.alike(_opened(cast("StudyGiven", study)).study, margin, level)
    else:
        asked = Asked(arm=arm, seed=seed)
        choice = Choice(compared=False)
        arms = arms_given([study, *others], labels, metric, columns, asked, choice, _spelled(say))
        found = analysis.alike_arms([without_copies(one) for one in arms], margin, level)
    return replace(found, sentence=" ".join(words.sentences(found)))


def _brought(study: object, *given: object) -> bool:
    """Whether these are runs that no study made."""
    return any(value is not None and len(cast(Any, value)) > 0 for value in given) or not is_study(study)


def _outside(
    names: Sequence[Any],
    labels: Any,
    metric: str | None,
    columns: Sequence[str],
    arm: str,
    seed: str,
    say: Callable[[str], None] | None,
) -> Outside:
    from nondet.analysis.outside import read_outside
    from nondet.io.roles import Asked

    return read_outside(names, labels, metric, columns, Asked(arm=arm, seed=seed), _spelled(say))


def is_study(name: object) -> bool:
    """Whether this names a study, or a condition of one, and not outputs or scores of others."""
    from nondet.analysis.given import is_study as found

    folder, colon, _ = str(name).rpartition(":")
    return found(name) if not colon or not isinstance(name, str) or Path(name).exists() else found(folder)


def unstable(
    runs: Runs | StudyGiven | AnyGiven,
    top: int = 20,
    *,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    say: Callable[[str], None] = _quiet,
) -> Unstable:
    """The test examples on which runs disagree most, and the churn of each class.

    Args:
        runs: of a condition, such as `study["all"]`; of a study its condition `all`, or the only one; or outputs, as
            for `compare`.
        top: how many examples. labels, columns: of outputs.
    """
    from nondet.analysis.given import arms_given
    from nondet.analysis.independence import without_copies
    from nondet.analysis.runs import Runs
    from nondet.analysis.score_arms import Choice
    from nondet.analysis.unstable import unstable as find
    from nondet.reporting.unstable import sentence

    if isinstance(runs, Runs):
        chosen = runs
    elif labels is None and not columns and is_study(runs):
        chosen = _opened(cast("StudyGiven", runs))[""]
    else:
        quiet = Choice(compared=False)
        arm = without_copies(arms_given([runs], labels, columns=columns, choice=quiet, say=_spelled(say))[0])
        for note in arm.notes:
            _spelled(say)(note)
        chosen = arm.runs
    task = chosen.study.identity["name"] if chosen.study else chosen.name
    found = find(chosen, task, top)
    return replace(found, sentence=sentence(found))


def stabilize(
    target: StudyGiven | Task,
    runs: int = 20,
    *,
    cycles: int = 5,
    folder: str | Path | None = None,
    stack: int | str | None = None,
    workers: int | None = None,
    recipe: Mapping[str, object] | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    run_task: bool = False,
    task: Task | None = None,
    say: Callable[[str], None] | None = None,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Stabilized:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages, plain ensembles.

    Args:
        target: a finished study, of which nothing is trained; or a task, of which two studies are.
        runs: of each of the two studies. cycles: members of an accelerated ensemble.
        folder: of the two studies; `studies/TASK-stabilize` if left out.
        workers: processes that train side by side, and threads that evaluate; on a CPU one for each core if left out.
        run_task: of a study whose task is a file: whether that file may be run, for the study's models are made by it.
        task: of a study whose task is a `Task` of a program: that task, unless `run` has just made the study of it.
    """
    from nondet.analysis.remedies import stabilize as remedies
    from nondet.analysis.runs import OpenStudy
    from nondet.running import session
    from nondet.running.request import request_of
    from nondet.study.provenance import set_up_process

    set_up_process()
    opened = target if isinstance(target, OpenStudy) else None
    named = opened.folder if opened else target
    where = None if data is None else str(data)
    assignments = {name: str(value) for name, value in (recipe or {}).items()}
    request = request_of(named, assignments=assignments, device=device, data=where, model=model, broken=broken)

    def train(place: Path, changed: dict[str, str]) -> Study:
        given = replace(request, assignments=changed)
        return session.train(
            given, place, runs=runs, vary=["all"], stack=stack, workers=workers, say=_spelled(say), measure=_measured
        )

    return remedies.stabilize(
        request.task,
        is_task=request.is_task and not opened,
        folder=Path("studies") / f"{request.name}-stabilize" if folder is None else Path(folder),
        assignments=request.assignments,
        recipe_of=request.recipe,
        kind_of=lambda: request.prepare().kind.name,
        train=train,
        problem_of=lambda study: session.problem_of(
            study,
            device,
            where,
            run_task=run_task or (request.is_task and not opened),
            task=request.given or task or (opened.task if opened else None),
        ),
        cycles=cycles,
        on_progress=on_progress,
        workers=workers,
    )


def report(
    study: StudyGiven | AnyGiven,
    path: str | Path | None = None,
    *,
    condition: str = "",
    data: str | None = None,
    run_task: bool = False,
    task: Task | None = None,
    others: Sequence[AnyGiven] = (),
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    say: Callable[[str], None] | None = None,
) -> Path:
    """Write a study's page: one HTML file with its table and pictures, which needs no network. Returns its path.

    Args:
        study: or outputs or scores, as for `compare`. others: more of these, each an arm.
        path: the file to write; `report.html` in the study's folder if left out, or in the current one.
        labels, columns, metric, arm, seed: of outputs and of scores, as for `compare`.
        condition: whose most unstable examples are shown. data: the folder of the task's data, for their pictures.
        run_task: whether a task file of your own may be run, which reads the pictures. task: as for `stabilize`.
        say: is told why the page has no pictures.
    """
    from nondet.analysis.results import read_results
    from nondet.reporting.page import write_page

    if _brought(study, others, labels, columns, metric, arm, seed):
        from nondet.reporting import outside

        file = Path("report.html") if path is None else Path(path)
        outside.write_page(_outside([study, *others], labels, metric, columns, arm, seed, say), file, condition)
        return file
    opened = _opened(cast("StudyGiven", study))
    file = opened.folder / "report.html" if path is None else Path(path)
    found = read_results(opened.study)
    write_page(found, file, condition, data, run_task=run_task, task=task or opened.task, say=_spelled(say))
    return file


def plots(
    study: StudyGiven | AnyGiven,
    *,
    others: Sequence[AnyGiven] = (),
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    say: Callable[[str], None] | None = None,
) -> dict[str, Figure]:
    """A study's pictures by name, such as "disagreement": matplotlib figures.

    Args:
        study: or outputs or scores, as for `report`, also for the others.
    """
    from nondet.analysis.results import read_results
    from nondet.reporting.plots import outside, sections

    if _brought(study, others, labels, columns, metric, arm, seed):
        found = outside.sections(_outside([study, *others], labels, metric, columns, arm, seed, say))
    else:
        found = sections(read_results(_opened(cast("StudyGiven", study)).study))
    return {drawing.name: drawing.figure for section in found for drawing in section.drawings}


def audit(
    target: Script | Sequence[str] | str | Path | Task,
    steps: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Audit:
    """What each source of a training reaches, what changes it besides, and what nothing explains.

    Args:
        target: a `Script`, or all words of a command; or a task, as for `run`, of which each source is varied alone.
        steps: of a script, as for `diverge`. say: is told what is done, in sentences.

    Raises:
        BadInput: the script fails, or is no Python script.
    """
    from tempfile import TemporaryDirectory

    from nondet.analysis.reproduce import audit as audits
    from nondet.errors import BadInput
    from nondet.reporting.reproduce import audit_words
    from nondet.runners.script import Script
    from nondet.tasks.task import Task

    if isinstance(target, str | Path | Task):
        if steps is not None:
            raise BadInput(f"<<steps>> is of a command, not of a task (got {steps}); leave it out")
        with TemporaryDirectory(prefix="nondet-") as folder:
            found = audits.audit_of(show(run(target, 2, folder=Path(folder) / "study", say=say)))
    else:
        script = target if isinstance(target, Script) else Script(target)
        found = audits.audit(script, steps=_steps(steps), say=_spelled(say))
    return replace(found, sentence=audit_words(found))


def diverge(
    target: Script | str | Path | Sequence[str],
    steps: int | None = None,
    *,
    fix: str = "",
    against: str = "",
    say: Callable[[str], None] | None = None,
) -> Diverged:
    """Run a training twice as it is; if the two part, say at which step, on which line, and why.

    Args:
        target: a `Script`, the path of a Python file, or all words of a command; or a task by name or file.
        steps: how many training steps to look at, at least 1; all of them if left out.
        fix: a mend to be proved: "deterministic", or a command that has it. Runs without it must part, and runs with it
            must not, or else the verdict is inconclusive.
        against: compare with another run in place of a second one of its own: a folder that `keep_run` left,
            "threads=2", "isa=baseline", "precision=medium", "versions=PYTHON", "compile", "deterministic", or another
            command.
        say: is told what is done, in sentences.

    Raises:
        BadInput: the training fails, is no Python script, or a run that was kept is not what was written.
    """
    from nondet.analysis.reproduce.against import against as compare_with
    from nondet.analysis.reproduce.diverge import diverge as find
    from nondet.errors import BadInput
    from nondet.reporting.reproduce import diverged_words

    if fix and against:
        raise BadInput(
            f"a mend is proved of a run's own repeats (got <<fix={fix}>> with <<against={against}>>); give one of them"
        )
    script, many = _training(target), _steps(steps)
    if against:
        found = compare_with(script, against, steps=many, say=_spelled(say))
    else:
        found = find(script, steps=many, fix=fix, say=_spelled(say))
    return replace(found, sentence=diverged_words(found))


def keep_run(
    target: Script | str | Path | Sequence[str],
    folder: str | Path,
    steps: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> None:
    """Keep a run of a training in a new folder, for `diverge(..., against=folder)`, here or on another machine.

    Args:
        target, steps: as for `diverge`.
        folder: new, or empty.

    Raises:
        BadInput: the training fails, or the folder is taken.
    """
    from nondet.analysis.reproduce.against import save

    save(_training(target), Path(folder), _steps(steps), _spelled(say))


def resume_check(
    script: Script | str | Path | Sequence[str],
    steps: int = 4,
    *,
    resume: str = "",
    say: Callable[[str], None] | None = None,
) -> Resumed:
    """Does a training that stops after k steps and resumes come to what it comes to without a stop?

    Args:
        script: as for `diverge`. In its words `{steps}` stands for how many steps a run takes in all, and `{resume}`
            for the words of `resume`, which only the part that resumes is given.
        steps: k, at least 1.

    Raises:
        BadInput: the script fails, or is no Python script.
    """
    from nondet.analysis.reproduce.resume import resume_check as check
    from nondet.reporting.reproduce import resumed_words

    found = check(_script(script), steps, resume, _spelled(say))
    return replace(found, sentence=resumed_words(found))


def _script(given: Script | str | Path | Sequence[str]) -> Script:
    from nondet.runners.script import Script

    return given if isinstance(given, Script) else Script(given)


def _training(given: Script | str | Path | Sequence[str]) -> Script:
    """The command of a script, or that of one run of a task: by name, or a file that defines `task`."""
    from nondet.running.one_run import command_of
    from nondet.tasks import is_task

    if isinstance(given, str | Path) and is_task(str(given)):
        return command_of(str(given))
    return _script(given)


def _steps(steps: int | None) -> int | None:
    from nondet.errors import BadInput

    if steps is not None and steps < 1:
        raise BadInput(f"<<steps>> must be at least 1 (got {steps}); try <<steps=100>>, or leave it out")
    return steps


def _opened(study: StudyGiven) -> OpenStudy:
    from nondet.analysis.runs import OpenStudy, open_study

    return study if isinstance(study, OpenStudy) else open_study(study)
