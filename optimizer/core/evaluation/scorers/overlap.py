"""How much of what was found was wanted, and of what was wanted found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Counts of one answer. ``right`` is at most the smaller of the two others; a half counts what is right in part.

    Where one side is empty, precision, recall and F1 are 0; where both are, 1: nothing was wanted, and nothing said.

    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """

    right: float
    n_found: int
    n_wanted: int

    @property
    def precision(self) -> float:
        """Share in [0, 1] of what was found that is right."""
        return self._share(self.n_found)

    @property
    def recall(self) -> float:
        """Share in [0, 1] of what was wanted that was found."""
        return self._share(self.n_wanted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        both = self.n_found + self.n_wanted
        return 2 * self.right / both if both else 1.0

    def _share(self, n: int) -> float:
        if n:
            return self.right / n
        return float(self.n_found == self.n_wanted)


def overlap_of(wanted: Iterable[Hashable], found: Iterable[Hashable]) -> Overlap:
    """Of two multisets: what stands on both sides counts as often as on the side where it stands less often."""
    expected, answered = Counter(wanted), Counter(found)
    return Overlap(right=(expected & answered).total(), n_found=answered.total(), n_wanted=expected.total())
