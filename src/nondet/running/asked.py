"""Which runs a command asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput
from nondet.sources import is_name
from nondet.study.design import Condition, conditions

if TYPE_CHECKING:
    from nondet.runners.base import Runner


@dataclass(frozen=True)
class Asked:
    """Which runs a command asks for: conditions of `runs` runs each, or a crossed design with `levels` levels."""

    runs: int
    vary: Sequence[str]
    onsets: Sequence[int]
    levels: int | None
    until: str | None
    limit: int | None

    def check(self) -> None:
        """Raise BadInput for options that do not go together."""
        if self.runs < 2:
            raise BadInput(f"runs must be at least 2 to measure variability (got {self.runs}); try <<runs=20>>")
        late = [onset for onset in self.onsets if onset]
        for name, given in (("onset", late), ("until", [self.until] if self.until is not None else [])):
            if self.levels is not None and given:
                raise BadInput(
                    f"<<{name}>> is for conditions, not for <<design=crossed>> (got <<{name}={given[0]}>>); "
                    "leave it out"
                )
        if self.limit is not None and self.until is None:
            raise BadInput(
                f"<<limit>> needs <<until>> (got <<limit={self.limit}>> alone); leave it out, or add <<until>>"
            )

    def words(self) -> list[str]:
        """Return the options of a command that ask for the same runs."""
        if self.levels is not None:
            return ["--design=crossed", f"--levels={self.levels}", *(f"--vary={v}" for v in self.vary)]
        given = [f"--runs={self.runs}", *(f"--vary={v}" for v in self.vary), *(f"--onset={e}" for e in self.onsets)]
        given += [f"--until={self.until}"] if self.until is not None else []
        return [*given, *([f"--limit={self.limit}"] if self.limit is not None else [])]

    def conditions(self, runner: Runner) -> list[Condition]:
        if self.levels is not None:
            return []
        runner.check_onsets(self.vary, self.onsets)
        found = conditions(self.vary, runner.sources, self.runs, self.onsets, runner.epochs)
        few = {c.name: min([c.runs, *(runner.levels.get(name, c.runs) for name in c.vary)]) for c in found}
        limited = next((c.name for c in found if {*c.vary} & {*runner.levels}), None)
        if limited is not None and self.until is not None:
            raise BadInput(
                f"<<until>> adds runs, but {limited} has only {few[limited]} values (got <<until={self.until}>> with "
                f"<<vary={limited}>>); leave one of them out"
            )
        return [replace(c, runs=few[c.name]) for c in found]

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Asked:
        """Read back what `asdict` made of it. BadInput for anything else: it may come from a stranger's study."""
        try:
            lists: dict[str, Any] = {name: tuple(fields[name]) for name in ("vary", "onsets")}
            asked = Asked(**(dict(fields) | lists))
        except (TypeError, KeyError) as error:
            raise BadInput(_NOT_ASKED) from error
        numbers = [asked.runs, *asked.onsets, *(n for n in (asked.levels, asked.limit) if n is not None)]
        names = [name for vary in asked.vary for name in str(vary).split("+")]
        sound = all(type(n) is int and n >= 0 for n in numbers) and all(n == "all" or is_name(n) for n in names)
        if not sound or not isinstance(asked.until, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BadInput(_NOT_ASKED)
        return asked


_NOT_ASKED = "study.json must say which runs were asked for, in nondet's own form; give the `nondet run` command again"
