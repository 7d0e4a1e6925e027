"""A figure that is not known yet: the least, the expected and the most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The least, the expected and the most: of calls whole numbers, of dollars and minutes none."""

    low: int | float
    expected: int | float
    high: int | float

    def __add__(self, other: Spread) -> Spread:
        return Spread(low=self.low + other.low, expected=self.expected + other.expected, high=self.high + other.high)

    def times(self, factor: float) -> Spread:
        return Spread(low=self.low * factor, expected=self.expected * factor, high=self.high * factor)

    def capped(self, cap: float | None) -> Spread:
        if cap is None:
            return self
        return Spread(low=min(self.low, cap), expected=min(self.expected, cap), high=min(self.high, cap))


NONE = Spread(low=0, expected=0, high=0)
