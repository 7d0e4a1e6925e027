"""What the sealed holdout is in leaves with nobody: whole rows stay, or lose their texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from optimizer.core.dataset.sealed_rows import EMPTY, SealedRows

MARKER = "zebra-4711"
INPUT = {"text": f"A letter about {MARKER}."}


def knowing() -> SealedRows:
    sealed = SealedRows()
    sealed.add(
        {"id": "ex_open", "family": "post", "split": "train", "input": {"text": "open"}, "interaction": "in_open"}
    )
    sealed.add({"id": "ex_1", "family": "post", "split": "holdout", "input": INPUT, "interaction": "in_1"})
    own = {"id": "co_event-1", "family": "post", "split": "holdout", "input": {"text": "own"}, "interaction": None}
    sealed.add(own)
    return sealed


# Rows that the marker is in, by table; what else their tables hold does not matter.
ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "the example": ("examples", {"id": "ex_1", "split": "holdout", "input": INPUT}),
    "a band of its hashes": ("example_bands", {"family": "post", "band": "a1", "example": "ex_1"}),
    "the interaction that it came from": ("interactions", {"id": "in_1", "input": None, "output": MARKER}),
    "another interaction of the same input": (
        "interactions",
        {"id": "in_2", "input": {"body": INPUT["text"].upper() + " "}, "output": "x"},
    ),
    "an interaction that says more beside the input": (
        "interactions",
        {"id": "in_3", "input": {"channel": "mail", **INPUT}, "output": MARKER},
    ),
    "an interaction with the messages of a model": (
        "interactions",
        {"id": "in_4", "family": "post", "input": {"messages": [{"role": "user", "content": MARKER}]}, "output": "x"},
    ),
    "a correction that came with its own input": (
        "feedback_events",
        {"id": "event-1", "interaction": None, "expected": {"label": MARKER}, "label": None},
    ),
    "its correction": (
        "feedback_events",
        {"id": "event-2", "interaction": "in_1", "expected": {"label": MARKER}, "label": MARKER},
    ),
    "what a policy asked later": ("later_parts", {"interaction": "in_1", "parts": [{"output": MARKER}]}),
    "a graph": ("graphs", {"interaction": "in_1", "given": {"text": MARKER}}),
    "a question about it": ("reviews", {"subject": "ex_1", "payload": {"example": MARKER}}),
    "a question about its interaction": ("reviews", {"subject": "in_1", "payload": {}}),
    "an answer in a confirmation": (
        "trial_results",
        {"purpose": "confirmation", "example": "ex_9", "output": MARKER, "judgement": {"why": MARKER}},
    ),
    "an answer to it elsewhere": ("trial_results", {"purpose": "search", "example": "ex_1", "error": MARKER}),
    "a call of a confirmation": ("lm_calls", {"purpose": "confirmation", "request": {"messages": MARKER}}),
    "a judge's call": ("lm_calls", {"purpose": "judge", "answer": {"text": MARKER}, "error": MARKER}),
}


@pytest.mark.parametrize(("table", "row"), ROWS.values(), ids=ROWS)
def test_a_row_that_a_sealed_example_is_in_is_sealed_and_loses_every_text(table: str, row: Mapping[str, Any]) -> None:
    assert knowing().seals(table, row)
    if table in EMPTY:
        assert MARKER not in json.dumps({**row, **EMPTY[table]}).lower()


def test_feedback_on_an_interaction_of_the_same_input_is_sealed_once_the_interaction_was_seen() -> None:
    sealed, event = knowing(), {"id": "event-3", "interaction": "in_2", "label": MARKER}
    assert not sealed.seals("feedback_events", event)
    assert sealed.seals("interactions", {"id": "in_2", "input": INPUT})
    assert sealed.seals("feedback_events", event)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("examples", {"id": "ex_open", "split": "train"}),
        ("interactions", {"id": "in_open", "input": {"text": "open"}}),
        ("interactions", {"id": "in_5", "family": "other", "input": {"messages": []}}),
        ("interactions", {"id": "in_6", "family": "post", "input": None}),
        ("feedback_events", {"id": "event-4", "interaction": "in_open"}),
        ("feedback_events", {"id": "event-4", "interaction": None}),
        ("reviews", {"subject": "ex_open"}),
        ("trial_results", {"purpose": "search", "example": "ex_open"}),
        ("lm_calls", {"purpose": "search"}),
        ("decisions", {"rollout": "ro_1"}),
    ],
)
def test_what_no_sealed_example_is_in_is_open(table: str, row: Mapping[str, Any]) -> None:
    assert not knowing().seals(table, row)
