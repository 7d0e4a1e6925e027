"""Which stored rows belong to the sealed holdout: withheld whole, or exported without texts.

Rows are as their tables hold them. Tables that name interactions are looked at after the interactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.dataset.examples import correction_example, input_hash

HOLDOUT = "holdout"
# The journal says of a call what it was for, and not on which example: of these none was sealed.
OPEN_CALLS = ("search", "proposer")
EMPTY: Mapping[str, Mapping[str, Any]] = {
    "interactions": {"input": None, "output": None, "error": None, "tags": {}, "parts": None},
    "feedback_events": {"expected": None, "label": None, "tags": {}},
    "later_parts": {"parts": []},
    "trial_results": {"output": None, "error": None, "judgement": None},
    "lm_calls": {"request": None, "answer": None, "error": None},
}
ORDER = ("examples", "interactions")  # before all other tables


class SealedRows:
    """Knows sealed examples by family, id, interaction and the hash of each of their texts, and no text."""

    def __init__(self) -> None:
        self._families: set[str] = set()
        self._examples: set[str] = set()
        self._inputs: dict[
            str, list[frozenset[str]]
        ] = {}  # hash of one text -> the hashes of all texts of each input with it
        self._interactions: set[str] = set()

    def add(self, example: Mapping[str, Any]) -> None:
        """A row of examples, of any split."""
        if example["split"] != HOLDOUT:
            return
        self._families.add(example["family"])
        self._examples.add(example["id"])
        if hashes := frozenset(input_hash({"text": value}) for value in example["input"].values()):
            self._inputs.setdefault(min(hashes), []).append(hashes)
        if example["interaction"] is not None:
            self._interactions.add(example["interaction"])

    def seals(self, table: str, row: Mapping[str, Any]) -> bool:
        if table == "examples":
            return bool(row["split"] == HOLDOUT)
        if table == "example_bands":
            return row["example"] in self._examples  # a text is tested against them as against the example
        if table == "interactions":
            if row["id"] not in self._interactions and self._has_sealed_input(row):
                self._interactions.add(row["id"])  # the same input was reported again
            return row["id"] in self._interactions
        if table == "feedback_events" and correction_example(row["id"]) in self._examples:
            return True
        if table in ("feedback_events", "later_parts", "graphs"):
            return row["interaction"] in self._interactions
        if table == "reviews":
            return row["subject"] in self._examples or row["subject"] in self._interactions
        if table == "trial_results":
            return row["purpose"] == "confirmation" or row["example"] in self._examples
        return table == "lm_calls" and row["purpose"] not in OPEN_CALLS

    def _has_sealed_input(self, interaction: Mapping[str, Any]) -> bool:
        """Whether the interaction holds all texts of a sealed input. A model's messages may hold one anywhere."""
        input = interaction["input"] or {}
        if "messages" in input and interaction["family"] in self._families:
            return True
        hashes = frozenset(input_hash({"text": value}) for value in input.values())
        return any(sealed <= hashes for one in hashes for sealed in self._inputs.get(one, ()))
