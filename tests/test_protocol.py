"""The protocol: which runs a condition has, how studies grow, and how many repeats the control takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nondet.errors import BadInput
from nondet.study.design import condition, conditions, control, merged
from nondet.study.spec import RunSpec

SOURCES = ("init", "shuffle", "augment", "order", "bit")
IDENTITY = {"name": "x", "recipe": {"epochs": 1}}


def reference() -> RunSpec:
    return condition("init", SOURCES, 2).specs(IDENTITY, SOURCES)[0]


def test_run_i_takes_seed_i_where_its_source_varies() -> None:
    """Varied sources take the run's number, all others the fixed seed 1."""
    specs = condition("shuffle+bit", SOURCES, 4).specs(IDENTITY, SOURCES)
    assert [dict(s.seeds) for s in specs] == [
        {"init": 1, "shuffle": i, "augment": 1, "order": 1, "bit": i} for i in (1, 2, 3, 4)
    ]


def test_every_condition_shares_the_reference_run() -> None:
    """The first run has all seeds fixed, and one key in every condition."""
    keys = {c.specs(IDENTITY, SOURCES)[0].key for c in conditions([], SOURCES, 3)}
    assert len(keys) == 1


def test_more_runs_keep_the_first_ones() -> None:
    """A condition with more runs begins with the runs of one with fewer."""
    few, many = (condition("all", SOURCES, n).specs(IDENTITY, SOURCES) for n in (3, 7))
    assert [s.key for s in many[:3]] == [s.key for s in few]
    assert len({s.key for s in many}) == 7


def test_without_vary_each_source_alone_then_all() -> None:
    """The default conditions, in the order of the sources; `all` leaves bit out."""
    found = conditions([], SOURCES, 2)
    assert [c.name for c in found] == ["init", "shuffle", "augment", "order", "bit", "all"]
    assert [c.vary for c in found[:-1]] == [(s,) for s in SOURCES]
    assert found[-1].vary == ("init", "shuffle", "augment", "order")


def test_a_task_with_one_source_has_no_row_twice() -> None:
    """Where `all` is that source alone, there is one condition."""
    assert [c.vary for c in conditions([], ("init",), 2)] == [("init",)]


@pytest.mark.parametrize("vary", ["shuffle+init", "init+shuffle", "init+shuffle+init"])
def test_the_order_of_names_is_irrelevant(vary: str) -> None:
    """The same sources in any order are one condition, under one name."""
    assert condition(vary, SOURCES, 2) == condition("init+shuffle", SOURCES, 2)


def test_all_sources_written_out_are_all() -> None:
    """The sum of every source but bit is `all`; with bit it is more than that."""
    assert condition("order+augment+shuffle+init", SOURCES, 2) == condition("all", SOURCES, 2)
    assert condition("+".join(SOURCES), SOURCES, 2).vary == SOURCES
    assert condition("+".join(SOURCES), SOURCES, 2).name != "all"


def test_equal_conditions_are_one() -> None:
    """Asking for the same condition twice asks for it once."""
    assert len(conditions(["init", "init", "shuffle+init", "init+shuffle"], SOURCES, 2)) == 2


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("weather", "unknown source 'weather'"),
        ("", "unknown source ''"),
        ("init+", "unknown source ''"),
        ("INIT", "unknown source 'INIT'"),
        ("init,shuffle", "unknown source 'init,shuffle'"),
        ("dropout", "this task has no dropout to vary"),
    ],
)
def test_sources_that_are_not_there(vary: str, message: str) -> None:
    """A source that no task has, and one that this task lacks, are told apart, and the choice is named."""
    with pytest.raises(BadInput, match=rf"{message}.*init, shuffle, augment, order, bit"):
        condition(vary, SOURCES, 2)


@pytest.mark.parametrize("runs", [1, 0, -5])
def test_one_run_does_not_vary(runs: int) -> None:
    """Fewer than two runs are refused, with the value and the way out."""
    with pytest.raises(BadInput, match=rf"at least 2.*\(got {runs}\).*runs=20"):
        condition("init", SOURCES, runs)


def test_merging_only_adds() -> None:
    """Old conditions keep their place, more runs replace fewer, fewer never replace more, new ones follow."""
    old = conditions(["init", "all"], SOURCES, 5)
    new = [condition("all", SOURCES, 3), condition("bit", SOURCES, 4), condition("init", SOURCES, 6)]
    both = merged(old, new)
    assert [(c.name, c.runs) for c in both] == [("init", 6), ("all", 5), ("bit", 4)]
    assert merged(both, both) == both


def test_the_control_repeats_the_reference() -> None:
    """Repeats have the reference's seeds, keys of their own, and the reference run itself is the first."""
    repeats = control(reference(), 50, 8)
    assert repeats[0].key == reference().key
    assert {tuple(r.seeds.items()) for r in repeats} == {tuple(reference().seeds.items())}
    assert len({r.key for r in repeats}) == len(repeats)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 16, 100])
@pytest.mark.parametrize("distinct", [2, 3, 15, 16, 17, 115, 1000])
def test_the_control_is_in_every_stack_and_in_two_at_least(distinct: int, width: int) -> None:
    """Never fewer than two repeats; as many as stacks, unless that is more than a tenth of the runs."""
    repeats = len(control(reference(), distinct, width))
    stacks = math.ceil((distinct - 1) / max(width - 1, 1))
    assert repeats >= 2
    assert repeats == 2 or repeats <= math.ceil(distinct / 10)
    assert repeats >= min(stacks, distinct / 10)
    assert repeats == 2 or repeats <= stacks


def test_more_runs_only_add_to_the_control() -> None:
    """A study that grows keeps the repeats it has."""
    few, many = ([r.key for r in control(reference(), n, 4)] for n in (7, 30))
    assert many[: len(few)] == few


def test_stacks_of_one_do_not_double_the_work() -> None:
    """With one run to a stack, every run is apart anyway: the control must not be as many runs again."""
    assert len(control(reference(), 100, 1)) <= 20


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {**IDENTITY, "code": "y"}},
        {"identity": {**IDENTITY, "recipe": {"epochs": 2}}},
        {"seeds": {"init": 2}},
        {"onset": 1},
        {"repeat": 1},
    ],
)
def test_everything_that_names_a_run_is_in_its_key(change: dict[str, object]) -> None:
    """Task, recipe, seeds, onset and repeat: change one, and the run has another name."""
    plain: dict[str, object] = {"identity": IDENTITY, "seeds": {"init": 1}, "onset": 0, "repeat": 0}
    first, second = RunSpec(**plain), RunSpec(**{**plain, **change})  # type: ignore[arg-type]
    assert first.key != second.key
    assert first.key == RunSpec(**plain).key  # type: ignore[arg-type]
    assert len(first.key) == 64
    assert set(first.key) <= set("0123456789abcdef")


def test_runs_of_other_kernels_are_no_mates(tmp_path: Path) -> None:
    """A stack's runs have the same kernels: those of the libraries' choice never stand beside deterministic ones."""
    from nondet.running.scheduler import Missing
    from nondet.study.design import condition
    from nondet.study.study import Study

    sources = ("init", "kernels")
    wanted = tuple(condition(vary, sources, 5) for vary in ("init", "kernels", "all"))
    opened = Study(tmp_path, {"recipe": {}}, sources, {"stack": 4}, np.zeros(1), conditions=wanted)
    missing, stacks = Missing(opened), list[set[tuple[int, bool]]]()
    while chosen := missing.next_stack(lambda key: True):
        stacks.append({spec.family for spec in chosen})
        missing.drop(chosen)
    assert all(len(families) == 1 for families in stacks)
    assert {family for families in stacks for family in families} == {(0, True), (0, False)}


def test_each_run_of_the_control_stands_in_a_stack_of_its_own(tmp_path: Path) -> None:
    """As long as runs of the control are missing, every stack holds one of them, beside others."""
    from nondet.running.scheduler import Missing
    from nondet.study.design import condition
    from nondet.study.study import Study

    sources = ("init", "shuffle")
    wanted = tuple(condition(vary, sources, 12) for vary in sources)
    opened = Study(tmp_path, {"recipe": {}}, sources, {"stack": 4}, np.zeros(1), conditions=wanted)
    missing, controls = Missing(opened), list[int]()
    while chosen := missing.next_stack(lambda key: True):
        controls.append(sum(spec.key in opened.control_specs() for spec in chosen))
        missing.drop(chosen)
    control = len(opened.control_specs())
    assert controls == [1] * control + [0] * (len(controls) - control)
