"""An estimate: a number with what is known about its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and its 95 % interval from low to high; NaN if not known."""

    value: float
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an interval wider than a point: equal runs say nothing about others."""
        return self.low < self.high

    def within(self, least: float, most: float) -> Estimate:
        """Return the estimate with its interval, if it has one, cut to these bounds."""
        if math.isnan(self.low):
            return self
        return replace(self, low=max(least, self.low), high=min(most, self.high))

    def to_dict(self, name: str = "value") -> dict[str, float | None]:
        """For JSON, which has no NaN: unknown values are None."""
        sides = {name: self.value, "error": self.error, "low": self.low, "high": self.high}
        return {side: number(value) for side, value in sides.items()}


UNKNOWN = Estimate(math.nan)


def certain(value: float) -> Estimate:
    """The estimate from equal runs: no error, and no width."""
    return Estimate(value, 0.0, value, value)


def number(value: float) -> float | None:
    """A number for JSON; None if it is NaN or infinite."""
    return value if math.isfinite(value) else None


def listed(found: Mapping[str, Estimate]) -> dict[str, Any]:
    """Estimates for JSON: values by name, then their errors and intervals."""
    values, errors = ({name: number(getattr(e, part)) for name, e in found.items()} for part in ("value", "error"))
    return {**values, "errors": errors, "intervals": {name: interval(e) for name, e in found.items()}}


def interval(e: Estimate) -> list[Any] | None:
    """An interval for JSON; None if there is none."""
    return None if math.isnan(e.low) else [e.low, e.high]
