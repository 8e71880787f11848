"""Tell what each column of a table of scores is: what the user said, or else what its name says without doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nondet.errors import BadInput
from nondet.io.columns import shown, snake
from nondet.io.exports import PATH
from nondet.io.names import (
    ARMS,
    DATASETS,
    FIRST,
    FOLDS,
    REMARKS,
    REPEATS,
    RUN_NAMES,
    SEEDS,
    STATES,
    STEPS,
    called,
    is_metric,
    is_setting,
    split_names,
    without_shared,
)
from nondet.io.nearest import did_you_mean
from nondet.io.rows import Rows, are_numbers, label_of


@dataclass(frozen=True)
class Asked:
    """What the user says about a table of scores; empty fields are decided by the names of its columns.

    metric: the columns of scores. arm, seed, dataset: the columns that say what was trained, with which seed, and on
    which data; several columns of arms are joined by commas. wanted: names of arms that are asked for.
    """

    metric: tuple[str, ...] = ()
    arm: str = ""
    seed: str = ""
    dataset: str = ""
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Roles:
    """What each column is.

    metrics: the columns of scores. wide: whether these are arms.
    arms: the name of the arm of each row; empty if there is only one arm. seeds: what tells each row from others of its
    arm; empty if nothing does. datasets: the data set of each row. names: the name of each row, for people.
    step, state: columns; empty if there are none.
    folds: whether equal seeds share their data. said: what was read from which column, if nobody asked for it.
    """

    metrics: tuple[str, ...]
    arms: Sequence[str] = ()
    seeds: Sequence[str] = ()
    datasets: Sequence[str] = ()
    names: Sequence[str] = ()
    wide: bool = False
    step: str = ""
    state: str = ""
    folds: bool = False
    said: tuple[str, ...] = ()


def roles_of(rows: Rows, asked: Asked, several: bool = True) -> Roles:
    """Tell a table's columns apart.

    Args:
        several: whether there may be several metrics if none is named.

    Raises:
        BadInput: a column that was named is missing, or the names are ambiguous.
    """
    if rows.nameless:
        return Roles(tuple(rows.columns))
    table = _Table(rows)
    metrics = tuple(table.named(name, "metric") for name in asked.metric if table.found(name))
    dataset = table.named(asked.dataset, "dataset") if asked.dataset else ""
    seed = table.named(asked.seed, "seed") if asked.seed else ""
    arm = table.several(asked.arm) if asked.arm else ()
    taken = {*metrics, dataset, seed, *arm}
    if not arm and not metrics and asked.wanted and all(table.found(name) for name in asked.wanted):
        return _wide(table, tuple(table.named(name, "of") for name in asked.wanted), asked)
    if asked.metric and len(metrics) < len(asked.metric):
        missing = next(name for name in asked.metric if not table.found(name))
        columns = _candidates(table, taken)
        if arm or metrics or len(columns) < 2 or any(map(is_metric, columns)):
            table.named(missing, "metric")
        return _wide(table, tuple(columns), asked)
    said: list[str] = []
    if not dataset:
        found = [name for name in called(table.names, DATASETS) if name not in taken and table.distinct(name) > 1]
        found = [name for name in found if not table.is_number(name)]
        if found and not (asked.wanted and all(w in table.labels(found[0]) for w in asked.wanted)):
            dataset = found[0]
            said.append(f"data sets are read from the column {dataset!a}")
    taken.add(dataset)
    if not seed:
        named = [*called(table.names, SEEDS), *called(table.names, REPEATS)]
        seed = next((name for name in named if name not in taken and table.distinct(name) > 1), "")
    taken.add(seed)
    if not arm:
        arm = _guessed_arm(table, taken, asked)
        if arm and snake(arm[0]) not in RUN_NAMES:
            said.append(f"arms are read from the column {arm[0]!a}")
    taken |= {*arm}
    if not metrics:
        metrics, wide = _guessed_metrics(table, taken, several, bool(arm))
        if wide:
            return _wide(table, metrics, asked)
        said.append(f"the metric is {metrics[0]!a}" if len(metrics) == 1 else f"the metrics are {shown(metrics)}")
    return _narrow(table, metrics, arm, seed, dataset, said)


def _narrow(
    table: _Table, metrics: tuple[str, ...], arm: Sequence[str], seed: str, dataset: str, said: list[str]
) -> Roles:
    """Return the roles in a table with a row for each run."""
    seeds = table.labels(seed) if seed else []
    names, arms = list(seeds), [", ".join(parts) for parts in zip(*map(table.labels, arm), strict=True)]
    if tuple(arm) == (PATH,):
        arms = without_shared(arms)
    by_name = next((name for name in called(table.names, RUN_NAMES) if table.distinct(name) == len(table.rows)), "")
    if by_name:
        names = table.labels(by_name)
        split, found = split_names(names)
        if not seeds and all(found):
            seeds = found
        if not arm or arm[0] == by_name:
            alone = len(set(split)) == len(split)  # no two runs belong to the same arm
            arms = [] if alone else split
            if len(set(arms)) > 1:
                said.append(f"arms are the names in {by_name!a} without the numbers at their ends")
    step = next((name for name in called(table.names, STEPS) if name not in (*metrics, *arm)), "")
    state = next((name for name in called(table.names, STATES) if name not in (*metrics, *arm)), "")
    if seed:
        said.append(f"runs are told apart by {seed!a}")
    return Roles(
        metrics,
        arms=arms,
        seeds=seeds,
        datasets=table.labels(dataset) if dataset else (),
        names=names,
        step=step,
        state=state,
        folds=bool(seed) and snake(seed) in FOLDS,
        said=tuple(said),
    )


def _wide(table: _Table, columns: tuple[str, ...], asked: Asked) -> Roles:
    metric = asked.metric[0] if asked.metric else "score"
    seed = next((name for name in called(table.names, SEEDS | REPEATS) if name not in columns), "")
    said = [f"each of the columns {shown(columns)} is an arm"]
    seeds = table.labels(seed) if seed else ()
    return Roles((metric,), columns, seeds, names=seeds, wide=True, said=tuple(said))


def _guessed_metrics(table: _Table, taken: set[str], several: bool, arms: bool) -> tuple[tuple[str, ...], bool]:
    """Return the columns of scores, and whether these are arms instead."""
    found = _candidates(table, taken)
    if not found:
        raise BadInput(
            f"{table.rows.path} must have a column of numbers, one for each run (got the columns {shown(table.names)})"
            "; name it with <<metric>>"
        )
    if len(found) > 1 and not arms and not any(map(is_metric, found)):
        return tuple(found), True
    if len(found) > 1 and not several:
        first = [name for word in FIRST for name in found if snake(name) == word][:1]
        if not first:
            raise BadInput(
                f"{table.rows.path} has several scores ({shown(found)}), and runs are compared by one; name it with "
                f"<<metric={found[0]}>>"
            )
        return tuple(first), False
    return tuple(found), False


def _candidates(table: _Table, taken: set[str]) -> list[str]:
    """Return the columns of numbers that are neither taken nor settings; if there are none, settings count too."""
    roles = {name for known in (SEEDS, STEPS, REPEATS, STATES, RUN_NAMES) for name in called(table.names, known)}
    numbers = [name for name in table.names if name not in taken and table.is_number(name)]
    found = [name for name in numbers if name not in roles and not is_setting(name)]
    return found or [name for name in numbers if name not in roles]


def _guessed_arm(table: _Table, taken: set[str], asked: Asked) -> tuple[str, ...]:
    """Return the column that names arms; none if all rows belong to one arm."""
    free = [name for name in table.names if name not in taken]
    if asked.wanted:
        holding = [name for name in free if set(asked.wanted) <= set(table.labels(name))]
        if len(holding) == 1:
            return (holding[0],)
    known = [name for tier in ARMS for name in called(free, tier)]
    named = [name for name in known if snake(name) not in RUN_NAMES]
    first = called(free, ARMS[0])
    vary = [name for name in dict.fromkeys(named) if 1 < table.distinct(name) < len(table.rows) + (name in first)]
    if vary:
        loose = [name for name in vary[1:] if not table.determines(vary[0], name)]
        if loose:
            both = ",".join((vary[0], *loose))
            raise BadInput(
                f"{table.rows.path} has several columns that may name arms ({shown(vary)}); choose with "
                f"<<arm={vary[0]}>>, or make each combination an arm with <<arm={both}>>"
            )
        return (vary[0],)
    runs = [name for name in free if snake(name) in RUN_NAMES and table.distinct(name) > 1]
    if runs:
        return (runs[0],)
    if named:  # there is one arm, and its name is there
        return (named[0],)
    texts = [name for name in free if not table.is_number(name) and 1 < table.distinct(name) < len(table.rows)]
    texts = [name for name in texts if snake(name) not in REMARKS | STATES]
    if texts:
        raise BadInput(
            f"the column that says what was trained must have a usual name in {table.rows.path} (got "
            f"{shown(texts)}); name it with <<arm={texts[0]}>>"
        )
    return ()


class _Table:
    """A table whose columns can be queried."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.names = [
            name
            for name, cells in rows.columns.items()
            if not name.startswith(("Unnamed: ", "__index_level_")) and any(cell is not None for cell in cells)
        ]
        self._labels: dict[str, list[str]] = {}

    def labels(self, name: str) -> list[str]:
        """Return the cells of a column as names."""
        if name not in self._labels:
            self._labels[name] = [label_of(cell) for cell in self.rows.columns[name]]
        return self._labels[name]

    def distinct(self, name: str) -> int:
        """Return how many different cells a column has, without empty ones."""
        return len({*self.labels(name)} - {""})

    def is_number(self, name: str) -> bool:
        return are_numbers(self.rows.columns[name])

    def determines(self, name: str, other: str) -> bool:
        """Whether rows that are equal in one column are equal in the other."""
        return len(set(zip(self.labels(name), self.labels(other), strict=True))) == self.distinct(name)

    def named(self, asked: str, argument: str) -> str:
        """Return the column that `found` finds; BadInput if there is none."""
        found = self.found(asked)
        if not found:
            raise BadInput(
                f"<<{argument}>> must name a column of {self.rows.path} (got {asked!a}"
                f"{did_you_mean(asked, self.names, '; {}')}); choose from {shown(self.names)}"
            )
        return found

    def several(self, asked: str) -> tuple[str, ...]:
        """Return the columns of arms that are meant: one of this name, or those that it lists with commas."""
        parts = [asked] if self.found(asked) else asked.split(",")
        return tuple(self.named(part.strip(), "arm") for part in parts)

    def found(self, asked: str) -> str:
        """Return the column of this name, or the only one that ends in it; empty if there is none."""
        if asked in self.names:
            return asked
        for same in (
            lambda name: name.lower() == asked.lower().strip(),
            lambda name: name.endswith((f".{asked}", f"/{asked}", f"_{asked}")),
        ):
            found = [name for name in self.names if same(name)]
            if len(found) == 1:
                return found[0]
        return ""


def without(rows: Rows, places: Mapping[int, str]) -> Rows:
    """Return the table without these rows."""
    return Rows(
        rows.path,
        {name: [c for place, c in enumerate(cells) if place not in places] for name, cells in rows.columns.items()},
        rows.nameless,
    )
