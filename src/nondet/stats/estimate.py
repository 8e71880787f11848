"""An estimate: a number with what is known of its error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and its 95 % interval from low to high; NaN where one is not known."""

    value: float
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an interval that is more than a point: one of equal runs says nothing of others."""
        return self.low < self.high

    def within(self, least: float, most: float) -> Estimate:
        """The same with an interval that stays within these bounds; without one, as it is."""
        if math.isnan(self.low):
            return self
        return replace(self, low=max(least, self.low), high=min(most, self.high))

    def to_dict(self, name: str = "value") -> dict[str, float | None]:
        """For JSON, which has no NaN: what is not known is None."""
        sides = {name: self.value, "error": self.error, "low": self.low, "high": self.high}
        return {side: number(value) for side, value in sides.items()}


UNKNOWN = Estimate(math.nan)


def certain(value: float) -> Estimate:
    """The estimate from equal runs: no error, and no width."""
    return Estimate(value, 0.0, value, value)


def number(value: float) -> float | None:
    """A number for JSON; None where it is NaN or infinite."""
    return value if math.isfinite(value) else None


def interval(e: Estimate) -> list[Any] | None:
    """An interval for JSON; None where there is none."""
    return None if math.isnan(e.low) else [e.low, e.high]
