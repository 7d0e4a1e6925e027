"""How many examples a Hypothesis test draws where the usual hundred are too dear or too few."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100  # of Hypothesis


def n_examples(n: int) -> int:
    """``n`` under ``make test``, ten times as many under ``make test-long``."""
    return n * settings().max_examples // USUAL
