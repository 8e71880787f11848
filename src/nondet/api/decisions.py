"""Decisions: which is better, how many runs are needed, what is noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nondet.api.shared import quiet, spoken, study_of
from nondet.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from nondet.analysis.alike import Alike
    from nondet.analysis.comparison import Comparisons
    from nondet.analysis.datasets import OverDatasets
    from nondet.analysis.floor import Floor
    from nondet.analysis.gate import Gate
    from nondet.analysis.given import AnyGiven
    from nondet.analysis.models_apart import ModelComparisons
    from nondet.analysis.options import Better
    from nondet.analysis.plan import Plan
    from nondet.api.shared import StudyGiven


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
    say: Callable[[str], None] = quiet,
) -> Comparisons | OverDatasets | ModelComparisons:
    """Decide whether B is better than A, worse or alike; if that is not decided yet, say how many more runs would
    decide.

    Args:
        a, b, others: studies, runs of their conditions, `(outputs, labels)`, or paths, as for `nondet compare`; each of
            the others is also compared with A. Or scores, one number for each run: `{"base": [...], "aug": [...]}` or
            one file of several arms; or a list or a file for each arm.
        arm, seed, dataset: for a file of scores: the columns that say what was trained, which run it was, and on which
            data set; recognised by name if left out.
        of, with_: for one file of several arms: the arm to compare the others with, and these others.
        better: whether "higher" or "lower" scores are better; judged by words in the metric's name if left out.
        paired: whether scores of equal seeds are pairs by design, because a seed decides the same thing in both arms.
        labels: class numbers `(n,)`, or a file of them, for outputs that do not contain them.
        margin: the largest difference that does not matter, in the metric's unit: within it, A and B are alike.
        level: the chance of a false "better" or "worse", and of a false "alike".
        metric: "accuracy", "cross_entropy" or "perplexity"; the runs' first score if left out. For a file of scores,
            the column; the only one if left out.
        chance: decide by the chance that a run of B beats a run of A, such as 0.75, not by the means.
        examples: whether errors and intervals should also hold for other test examples drawn in the same way.
        groups: the same, if examples were drawn in groups, such as questions about one text: a name or number for each
            example, a file of these, or a column of A's table. If each arm is one run, the same as `cluster`.
        looks: how many times you look at the runs in all; each look then uses its share of the level.
        cluster: if each arm is one run: a key of the log's samples, or the cluster of each example `(n,)`.

    If each arm is one run on many examples, the two models are compared over examples, which says nothing about other
    runs.

    Raises:
        BadInput: the arms cannot be compared.
    """
    from nondet.analysis import models_apart, one_run
    from nondet.analysis.compare import check_criteria, check_options
    from nondet.analysis.compare import compare as compare_arms
    from nondet.analysis.datasets import compare_over, refuse_margin
    from nondet.analysis.given import arms_given, by_dataset
    from nondet.analysis.groups import groups_of
    from nondet.analysis.options import Options
    from nondet.reporting import datasets as words_over
    from nondet.reporting import one_run as one_run_words
    from nondet.reporting import verdicts

    check_options(margin, level)
    check_criteria(chance, margin, looks)
    if groups is not None and cluster is not None:
        raise BadInput("<<groups>> and <<cluster>> mean the same (got both); leave one of them out")
    names = [name for name in (a, b, *others) if name is not None]
    of_scores = any((arm, seed, dataset, of, with_, better, paired)) or len(names) < 2
    against = (with_,) if isinstance(with_, str) else tuple(with_)
    how = Options(
        labels, columns, metric, arm, seed, dataset, of, against, paired=paired, better=better, say=spoken(say)
    )
    single = None if of_scores else one_run.one_run_each(names, how)
    if single is not None:
        _refuse_for("one run of each", chance, examples, looks)
        models = models_apart.compare_models(single, margin, level, groups if cluster is None else cluster)
        said = tuple(replace(c, sentence=one_run_words.model_words(c)) for c in models.comparisons)
        return replace(models, comparisons=said)
    if cluster is not None:
        raise BadInput("<<cluster>> is for one run of each on many examples (got several runs); give <<groups>>")
    if over := by_dataset(names, how):
        refuse_margin(margin)
        _refuse_for("several data sets", chance, examples or groups is not None, looks)
        return words_over.worded(compare_over(over, level))
    arms = arms_given(names, how)
    drawn, groups = examples or groups is not None, groups_of(groups, a)
    found = compare_arms(arms, margin, level, chance=chance, examples=drawn, looks=looks, groups=groups)
    worded = tuple(replace(c, sentence=verdicts.of_comparison(c).text) for c in found.comparisons)
    return replace(found, comparisons=worded)


def _refuse_for(what: str, chance: float | None, examples: bool, looks: int) -> None:
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
    say: Callable[[str], None] = quiet,
) -> Plan:
    """Compute how many runs each of two arms needs to find a difference, and what they cost.

    Args:
        effect: the smallest difference that matters, in the metric's unit.
        sd: the SD of one run's metric, if it is known; otherwise give `pilot`: runs that vary as much, as for
            `compare`.
        arm, seed, of: for a file of scores as pilot, as for `compare`; `of` names the arm that is the pilot.
        power: the chance of finding the difference if it exists. level: the chance of finding one that does not.
        looks: how many times you intend to look, as for `compare`; the last look finds the effect with the chance
            `power`.

    Raises:
        BadInput: neither or both of `sd` and `pilot` are given, or not even a million runs are enough.
    """
    from nondet.analysis import plan as planning
    from nondet.analysis.given import arms_given
    from nondet.analysis.options import Options
    from nondet.reporting import gates

    if (sd is None) == (pilot is None):
        raise BadInput(f"plan needs either sd or a pilot (got {'none' if sd is None else 'both'}); give one")
    planning.check_options(effect, power, level)
    if pilot is None:
        found = planning.plan_with(sd or 0.0, effect, power, level, metric, looks)
    else:
        against = (of,) if of else ()
        how = Options(labels, columns, metric, arm, seed, of=of, against=against, compared=False, say=spoken(say))
        arms = arms_given([pilot], how)
        found = planning.plan_from(arms[0], effect, power, level, looks)
    return replace(found, sentence=gates.of_plan(found).text)


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
    say: Callable[[str], None] = quiet,
) -> Floor:
    """Compute the noise floor: how far new runs of the same recipe can be from these by chance, as a prediction
    interval.

    Args:
        runs: repeats of one recipe: numbers `(N,)`, a file with one number per line or with columns, or anything that
            `compare` accepts.
        new_runs: how many new runs are judged together, by their mean.
        level: the chance that new runs of the same recipe fall outside the interval.
        metric: a column of the file, or a score of a study's runs.
        arm, seed, of: for a file of scores, as for `compare`; `of` names the arm to use.

    Raises:
        BadInput: there are fewer than two runs, or a run has no number.
    """
    from nondet.analysis import floor as analysis
    from nondet.analysis.numbers import numbers_of
    from nondet.analysis.options import Options
    from nondet.reporting import gates

    how = Options(labels, columns, metric, arm, seed, of=of, say=spoken(say))
    found = analysis.floor(numbers_of(runs, "runs", how), new_runs, level)
    return replace(found, sentence=gates.of_floor(found).text)


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
    say: Callable[[str], None] = quiet,
) -> Gate:
    """Keep a change, discard it, or run it again: for loops that try one change after another, and look after every
    run.

    Args:
        base: repeats of the recipe as it is, as for `floor`. candidate: all runs of the changed recipe so far, given in
            the same way; None for the arm that `with_` names in the baseline's file.
        ledger: a file that records every look at every candidate. It is created if missing, and lines are only added to
            it.
        name: the candidate's name; the path of its file, or "candidate", if left out.
        alpha: the chance of keeping any change in the ledger that is no improvement; 0.05 if left out.
        effect: the smallest improvement that must not be missed, in the metric's unit; the baseline's SD if left out.
        limit: after how many runs the candidate is discarded; if left out, twice as many as a test of fixed size needs.
        better: whether "higher" or "lower" values of the metric are better; judged by its name if left out.
        arm, seed, of, with_: for files of scores, as for `compare`; `of` is the baseline's arm, `with_` the
            candidate's.

    Raises:
        BadInput: the runs or the ledger cannot be used, or runs are missing that were looked at before.
    """
    from nondet.analysis import gate as analysis
    from nondet.analysis.numbers import numbers_of
    from nondet.analysis.options import Options
    from nondet.reporting import gates

    if candidate is None and not with_:
        raise BadInput(
            "gate needs a baseline and a candidate (got one); give the candidate's runs too, or name its arm in the "
            "same file by <<with=NAME>>"
        )

    how = Options(labels, columns, metric, arm, seed, of=of, better=better, say=spoken(say))
    first = numbers_of(base, "baseline", how)
    second = numbers_of(base if candidate is None else candidate, "candidate", replace(how, of=with_))
    found = analysis.gate(first, second, Path(ledger), name=name, alpha=alpha, effect=effect, limit=limit)
    return replace(found, sentence=gates.of_gate(found).text)


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
    say: Callable[[str], None] = quiet,
) -> Alike:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    Args:
        study: a study; or outputs or scores, as for `compare`, to test whether the runs of several arms vary equally.
        margin: the largest ratio of two effects that still counts as alike, above 1.
        level: the share of false positives to allow.
        others: more arms. labels, columns, metric, arm, seed: for outputs and scores, as for `compare`.
    """
    from nondet.analysis import alike as analysis
    from nondet.analysis.given import arms_given, is_study
    from nondet.analysis.independence import without_copies
    from nondet.analysis.options import Options
    from nondet.reporting import alike as words

    if is_study(study) and not others:
        found = analysis.alike(study_of(cast("StudyGiven", study)).study, margin, level)
    else:
        how = Options(labels, columns, metric, arm, seed, compared=False, say=spoken(say))
        arms = arms_given([study, *others], how)
        found = analysis.alike_arms([without_copies(one) for one in arms], margin, level)
    return replace(found, sentence=" ".join(words.sentences(found)))
