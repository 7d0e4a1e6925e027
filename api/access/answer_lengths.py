"""Estimates a model's longest answer, from which limits reserve a call's cost where a setting says so."""

from __future__ import annotations

import math
from collections import deque

KEPT, LEAST = 200, 20
SHARE = 0.95  # of the answers stay below what is reserved


class AnswerLengths:
    """Tokens of the last answers of each model. Used in one event loop."""

    def __init__(self) -> None:
        self._of: dict[str, deque[int]] = {}

    def add(self, model: str, tokens: int) -> None:
        self._of.setdefault(model, deque(maxlen=KEPT)).append(tokens)

    def expected(self, model: str, most: int | None) -> int | None:
        """Tokens to reserve for one answer: never more than ``most``, which holds until enough were measured."""
        lengths = self._of.get(model, ())
        if len(lengths) < LEAST or most is None:
            return most
        return min(most, sorted(lengths)[math.ceil(SHARE * len(lengths)) - 1])
