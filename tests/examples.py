"""How many examples a Hypothesis test draws."""

from __future__ import annotations

from hypothesis import settings

USUAL = 15  # under ``make test``; 1,000 under ``make test-long``
MORE = 20


def n_examples(n: int) -> int:
    """``n`` under ``make test``, twenty times as many under ``make test-long``:
    where the usual ones are too dear or too few.
    """
    return n if settings().max_examples == USUAL else n * MORE
