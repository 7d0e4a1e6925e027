"""Events as columns and the same events as lines are read as the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from api.http.body_limits import BodyLimit
from api.http.imported_events import LinesPart, is_columns, parts_of, read_columns
from api.http.problems import MalformedBody
from optimizer.core.base.errors import InvalidInput, TooLarge
from optimizer.core.feedback.reported import FIELDS
from tests.strategies import json_values

LIMIT = BodyLimit(n_bytes=10**6, n_values=10**5, setting="events_bytes", values_setting="events_values")
events = st.lists(st.dictionaries(st.sampled_from(sorted(FIELDS)), json_values, min_size=1, max_size=6), min_size=1)


@given(sent=events, at_once=st.integers(1, 5))
def test_columns_give_the_events_that_lines_give(sent: list[dict[str, Any]], at_once: int) -> None:
    names = sorted({name for event in sent for name in event})
    columns = json.dumps({"columns": {name: [event.get(name) for event in sent] for name in names}}).encode()
    lines = "\n".join(json.dumps(event) for event in sent).encode()
    assert is_columns(columns)
    assert not is_columns(lines)
    assert told(read_columns(columns, LIMIT).parts(at_once)) == told(parts_of(lines, at_once, LIMIT))


def told(parts: Iterable[LinesPart]) -> list[tuple[int, dict[str, Any]]]:
    """Each event by its number; null says what leaving the field out says."""
    found = [one for part in parts for one in part.events]
    return [(i, {name: value for name, value in event.items() if value is not None}) for i, event in found]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"columns": {"score": [1, 0], "unit": ["u"]}}, "/columns/unit has 1 value, and score has 2; write null"),
        ({"columns": {"scoer": [1]}}, "/columns/scoer is not a field of an event; known are id,"),
        ({"columns": {"score": 1}}, "/columns/score is no list"),
        ({"columns": {"score": [], "unit": []}}, "/columns holds no events"),
        ({"columns": {}}, "/columns is no object of lists"),
        ({"columns": [1]}, "/columns is no object of lists"),
        ({"columns": {"score": [1]}, "family": "triage"}, "/family is no member beside columns"),
        ({"colums": {"score": [1]}}, "The columns cannot be read: /colums is misspelt: write columns."),
        ({"Columns": {"score": [1]}, "colour": 1}, "/Columns is misspelt: write columns; /colour is no member"),
    ],
    ids=[
        "unequal",
        "unknown",
        "no list",
        "empty lists",
        "no columns",
        "a list",
        "another member",
        "misspelt",
        "misspelt beside another",
    ],
)
def test_columns_of_another_form_are_refused_with_what_is_wrong(sent: Any, says: str) -> None:
    body = json.dumps(sent).encode()
    assert is_columns(body)
    with pytest.raises(InvalidInput) as refused:
        read_columns(body, LIMIT)
    assert says in refused.value.detail
    assert "Nothing was kept" in refused.value.detail


def test_a_body_that_ends_too_early_or_holds_too_much_is_refused() -> None:
    with pytest.raises(MalformedBody):
        read_columns(b'{"columns": {"score": [1,', LIMIT)
    with pytest.raises(TooLarge, match="events_values"):
        read_columns(json.dumps({"columns": {"score": [1] * 10**5}}).encode(), LIMIT)
