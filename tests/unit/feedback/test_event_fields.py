"""A field of an event is declared once (core/feedback/events.py): its check, its column,
its place in the OpenAPI document and on the page follow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.routes.events import EVENT_SCHEMA
from docs.generate.rest import event_table
from optimizer.core.base.errors import MAX_ALIKE
from optimizer.core.feedback.reported import FIELDS, read_fields
from tests.stores import NOW

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def one_more(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.one_more_field", str(tmp_path_factory.mktemp("store"))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


class TestOneMoreLine:
    def test_is_missed_by_name_in_the_database_until_a_migration_adds_it(self, one_more: dict[str, Any]) -> None:
        assert one_more["missing"] == [["add_column", "interactions", "mood"]]

    def test_is_checked_as_it_says_and_reports_what_it_says(self, one_more: dict[str, Any]) -> None:
        sound, beyond = one_more["answers"]
        assert sound == {"accepted": 1, "duplicates": 0, "rejected": []}
        assert beyond["rejected"][0]["errors"] == [{"pointer": "/mood", "detail": "must be a number from 0 to 1"}]

    def test_is_stored_and_comes_back(self, one_more: dict[str, Any]) -> None:
        assert one_more["stored"] == 0.5

    def test_stands_in_the_openapi_document_with_its_range(self, one_more: dict[str, Any]) -> None:
        bounds = {"type": "number", "minimum": 0, "maximum": 1}
        assert one_more["schema"] == {"anyOf": [bounds, {"type": "null"}], "description": "how cheerful the answer was"}

    def test_stands_in_the_table_of_the_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(FIELDS, "mood", FIELDS["latency_ms"])
        (row,) = (line for line in event_table().splitlines() if "`mood`" in line)
        assert FIELDS["latency_ms"].about in row


VALUES = (None, "", " ", "text", 0, 0.5, 1, 1.5, -1, 2**31, 1e12, True, [], ["a"], {}, {"a": 1})


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_what_the_document_forbids_is_never_taken(name: str) -> None:
    """The check may ask for more than JSON Schema can say (no text of spaces, a real date), never for less."""
    document = jsonschema.Draft202012Validator(EVENT_SCHEMA)
    for value in VALUES:
        with suppress(ValueError):
            FIELDS[name].kind.check(value)
            document.validate({name: value})


def test_of_many_unknown_fields_the_first_are_named_and_the_others_counted() -> None:
    """Each further one costs a look at its name and nothing more."""
    _, faults = read_fields({f"k{i}": 1 for i in range(5000)}, now=NOW)
    assert len(faults) == MAX_ALIKE + 1
    assert faults[0].detail.startswith("is not a field of an event; known are ")
    assert faults[-1].detail == f"and {5000 - MAX_ALIKE:,} more are no fields of an event"
