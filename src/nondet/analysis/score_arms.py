"""Arms of scores: one number for each run, from files or from a program, ready for comparing and planning."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nondet.analysis.arm import Arm
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.runs import Runs
from nondet.analysis.scores import ScoredArm, given_scores, read_scores
from nondet.errors import BadInput
from nondet.io.exports import gathered
from nondet.io.nearest import did_you_mean
from nondet.io.streams import WARNING
from nondet.kinds import with_scores
from nondet.kinds.scores import ARRAY
from nondet.measures.figure import Score

SETS_NAMED = 5
"""How many data sets a refusal names; of the others it gives the number."""


def score_arms(names: Sequence[Any], how: Options) -> list[Arm]:
    """Read arms of scores: those of one table, or one for each file, or for each list of numbers."""
    found = _tables(names, how)
    how = how if how.compared else replace(how, say=PLAIN.say)
    sets = list(dict.fromkeys(arm.dataset for _, arms in found for arm in arms))
    if len(sets) > 1:
        more = f" and {len(sets) - SETS_NAMED} more" if len(sets) > SETS_NAMED else ""
        raise BadInput(
            f"runs must be of one data set (got {', '.join(sets[:SETS_NAMED])}{more}); make each arm on each data set "
            "a separate arm by naming both columns as <<arm>>, joined by a comma"
        )
    several = len(found) > 1
    arms = [_chosen_of(name, table, how) for name, table in found] if several else _chosen(*found[0], how)
    paired = how.paired or all(arm.folds for arm in arms)
    _check_pairs(arms, paired, how.say)
    score = _score_of(arms, how)
    return [arm_of(arm, score, paired) for arm in arms]


def arms_by_dataset(names: Sequence[Any], how: Options) -> dict[str, list[Arm]]:
    """Return the arms on each data set, the one that others are compared with first; empty if there is one data set.

    A data set on which an arm has fewer than two scores is left out, with a warning.

    Raises:
        BadInput: see `read_scores`; or there are fewer than two arms, or no data set that all of them share.
    """
    found = [arm for _, arms in _tables(names, how) for arm in arms]
    sets = list(dict.fromkeys(arm.dataset for arm in found))
    if len(sets) < 2:
        return {}
    every = {arm.name: arm for arm in found}
    chosen = _chosen(str(names[0]), list(every.values()), how)
    score = _score_of(found, how)
    by_set: dict[str, list[Arm]] = {}
    left_out: list[str] = []
    for name in sets:
        there = {arm.name: arm for arm in found if arm.dataset == name and len(arm.values) > 1}
        if all(arm.name in there for arm in chosen):
            by_set[name] = [arm_of(there[arm.name], score, how.paired or arm.folds) for arm in chosen]
        else:
            left_out.append(name)
    if left_out:
        how.say(f"{WARNING}left out: {', '.join(left_out)}, where an arm has fewer than two scores")
    if not by_set:
        raise BadInput(
            f"arms must share a data set on which each has at least two scores (got none for "
            f"{', '.join(arm.name for arm in chosen)}); give the scores of more runs"
        )
    return by_set


def one_arm(name: Any, how: Options) -> tuple[ScoredArm, Score]:
    """Return a single arm of scores, with any number of runs, and its metric."""
    ((title, arms),) = _tables([name], how)
    arm = _named(title, arms, how.of) if how.of else arms[0]
    if not how.of and len({arm.name for arm in arms}) > 1:
        raise BadInput(
            f"runs must be of one recipe (got the arms {_listed(arms)} in {title}); name one with <<of={arms[0].name}>>"
        )
    return arm, _score_of([arm], how)


def _tables(names: Sequence[Any], how: Options) -> list[tuple[str, list[ScoredArm]]]:
    """Return the arms that each name stands for; files of one run each form one table."""
    paths, asked = [name for name in names if isinstance(name, str | Path)], how.asked
    if len(paths) == len(names) > 1 and all(Path(p).is_file() and len(gathered([Path(p)])) == 1 for p in paths):
        return [(str(paths[0]), read_scores(paths, asked, say=how.say))]
    found: list[tuple[str, list[ScoredArm]]] = []
    for number, name in enumerate(names, 1):
        if isinstance(name, str | Path):
            path, arm = split_arm(name)
            arms = read_scores(path, replace(asked, wanted=(arm,)) if arm else asked, say=how.say)
            found.append((str(name), [_named(str(path), arms, arm)] if arm else arms))
        else:
            found.append((f"scores {number}", given_scores(name, how.metric or "score")))
    return found


def split_arm(name: str | Path) -> tuple[Path, str]:
    """Return the path and the arm that `FILE:arm` names; no arm if the path itself exists."""
    path, colon, arm = str(name).rpartition(":")
    if colon and path and not Path(name).exists() and Path(path).exists():
        return Path(path), arm
    return Path(name), ""


def _chosen_of(name: str, arms: Sequence[ScoredArm], how: Options) -> ScoredArm:
    """Return the one arm of a file that is compared with another file's."""
    wanted = [arm for word in how.asked.wanted if (arm := _found(arms, word))]
    kept = wanted or list(arms)
    if len(kept) > 1:
        raise BadInput(
            f"{name} must have one arm when several files are compared (got {_listed(kept)}); compare arms of one "
            f"file, such as {name} with <<of={kept[0].name}>> and <<with={kept[1].name}>>, or name one arm as "
            f"{name}:{kept[0].name}"
        )
    return replace(kept[0], name=name)


def _chosen(name: str, arms: Sequence[ScoredArm], how: Options) -> list[ScoredArm]:
    """Return the arms of one table, the one that others are compared with first."""
    first = _named(name, arms, how.of) if how.of else arms[0]
    others = [_named(name, arms, word) for word in how.against] or [arm for arm in arms if arm is not first]
    if not how.of and len(arms) > 1:
        how.say(f"{name}: the other arms are compared with {first.name}, the first; <<of>> names another")
    return [first, *others]


def _named(name: str, arms: Sequence[ScoredArm], word: str) -> ScoredArm:
    found = _found(arms, word)
    if found is None:
        near = did_you_mean(word, [arm.name for arm in arms], "; {}")
        raise BadInput(f"{name} has no arm {word!a} (it has {_listed(arms)}{near}); choose one of these")
    return found


def _found(arms: Sequence[ScoredArm], word: str) -> ScoredArm | None:
    """Return the arm of this name, or the only one with this word in its name."""
    exact = [arm for arm in arms if arm.name == word]
    parts = [arm for arm in arms if word.lower() in re.split(r"[-_ ./=:,]+", arm.name.lower())]
    return exact[0] if exact else parts[0] if len(parts) == 1 else None


def _listed(arms: Sequence[ScoredArm]) -> str:
    names = list(dict.fromkeys(arm.name for arm in arms))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _score_of(arms: Sequence[ScoredArm], how: Options) -> Score:
    """Return the one metric of these arms; if its direction is guessed from its name, say so."""
    metrics = list(dict.fromkeys(arm.metric for arm in arms if arm.metric != "score")) or ["score"]
    if len(metrics) > 1:
        raise BadInput(
            f"arms must be compared by one metric (got {' and '.join(metrics)}); name it with <<metric={metrics[0]}>>"
        )
    score = score_of(metrics[0])
    if how.better is not None:
        return replace(score, better=1 if how.better == "higher" else -1)
    if score.better < 0:
        how.say(f"Lower {score.name} is taken to be better, judging by its name; if not, give <<better=higher>>")
    return score


def _check_pairs(arms: Sequence[ScoredArm], paired: bool, say: Callable[[str], None]) -> None:
    """Refuse pairs where there are none; if pairs were not asked for but are possible, say so."""
    if len(arms) < 2:
        return
    shared = [set(arms[0].seeds) & set(arm.seeds) for arm in arms[1:]]
    if paired and min(map(len, shared)) < 2:
        raise BadInput(
            f"pairs need at least 2 equal seeds (got {min(map(len, shared))} that {arms[0].name} and another arm "
            "share); name the column of seeds with <<seed>>, or leave <<paired>> out"
        )
    if not paired and any(len(seeds) > 1 for seeds in shared):
        say(
            "Runs with equal seeds are compared as independent ones; if a seed does the same in both arms, such as "
            "splitting the data, <<paired>> compares them as pairs"
        )


def score_of(metric: str) -> Score:
    """Make a metric of this name, whose direction is guessed from it."""
    return replace(with_scores((metric,)).scores[0], name=metric)


def arm_of(arm: ScoredArm, score: Score, paired: bool = False) -> Arm:
    """Turn the scores of an arm's runs, at least two, into an arm of a comparison."""
    if len(arm.values) < 2:
        raise BadInput(
            f"runs must be at least 2 to be compared ({arm.name} has {len(arm.values)} with a score, and {arm.failed} "
            "that failed); give the scores of more runs"
        )
    failed = f"{arm.failed} failed runs are" if arm.failed > 1 else "1 failed run is"
    left = f"{arm.name}: {failed} left out, so only runs that did not fail are compared."
    kind, values = with_scores((arm.metric,)), arm.values
    return Arm(
        name=arm.name,
        runs=Runs(arm.name, kind, np.empty(0, np.int64), {ARRAY: values[:, None]}),
        metric=score,
        values=values,
        numbers=tuple(range(1, len(values) + 1)),
        digests=arm.rows,
        seeds=tuple({"seed": _number(seed)} for seed in arm.seeds) if paired else None,
        paired=paired,
        run_names=arm.names,
        failed=arm.failed,
        notes=(left,) if arm.failed else (),
    )


def _number(seed: str) -> Any:
    return int(seed) if seed.isdecimal() else seed
