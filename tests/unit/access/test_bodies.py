"""What a body may cost before it is refused, and how much is told of it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, sampled_from

from api.http import bodies, imported_events
from api.http.bodies import count_values, read_json, storable_value
from api.http.body_limits import BodyLimit, limit_of
from api.http.imported_events import n_lines, parts_of
from api.http.problems import MalformedBody, from_validation, response
from optimizer.core.base.errors import MAX_FAULTS, Fault, InvalidInput, TooLarge, pointer_of
from optimizer.host.config import ServerLimits
from tests.strategies import json_values

LIMIT = BodyLimit(n_bytes=2**23, n_values=1000, setting="other_bytes", values_setting="values")


def n_values(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(n_values, members))


@given(json_values)
def test_no_text_holds_more_values_than_were_counted(value):
    text = json.dumps(value).encode()
    n = n_values(value)
    assert n <= count_values(text, enough=n - 1) <= 2 * n
    assert n <= count_values(text, enough=3 * len(text)) <= 1 + len(text)


def test_signs_inside_texts_are_no_values():
    text = json.dumps([",[{" * 1000, '\\",[{"' * 1000, 1]).encode()
    assert count_values(text, enough=100) == 4


@pytest.mark.parametrize("piece_bytes", range(1, 8))
def test_a_text_may_end_in_backslashes_wherever_the_body_is_cut(piece_bytes, monkeypatch):
    monkeypatch.setattr(bodies, "PIECE_BYTES", piece_bytes)
    text = json.dumps(["\\" * n + '"' * m + ",[{" for n in range(5) for m in range(3)]).encode()
    assert count_values(text, enough=16) == 16


def test_a_body_is_weighed_in_few_steps_whatever_it_holds(monkeypatch):
    asked = []
    original = bodies._n_separators
    monkeypatch.setattr(bodies, "_n_separators", lambda text: asked.append(len(text)) or original(text))
    for text in (
        b'["a",' + b'"b",' * 500_000,
        b"[," * 100 + b'""' * 500_000,
        b'{"a":"b",' * 500_000,
        b'["' + b'\\",' * 500_000 + b'"]',
    ):
        asked.clear()
        assert (count_values(text, enough=100) > 100) == (b"\\" not in text)
        assert len(asked) <= 2


@pytest.mark.parametrize(
    "text", [b"[" + b"[]," * 1000 + b"1]", b'{"a":[' + b"0," * 1000 + b'0],"b":"'], ids=["lists", "numbers, cut off"]
)
def test_a_text_of_too_many_values_is_refused_before_any_is_made(text, monkeypatch):
    monkeypatch.setattr(bodies, "from_json", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(TooLarge, match=r"more than 1,000 values.*raise limits\.values"):
        read_json(text, LIMIT)


def test_a_place_is_put_into_words_for_faults_alone(monkeypatch):
    made = []
    monkeypatch.setattr(bodies, "pointer_of", lambda path: made.append(pointer_of(path)) or made[-1])
    value = {"n" * 400_000: {f"k{i}": "\0" if i % 100 == 0 else i for i in range(9000)}}
    with pytest.raises(MalformedBody) as caught:
        storable_value(value)
    assert len(made) == len(caught.value.faults) == 90
    assert max(map(len, made)) < 200


@pytest.mark.parametrize(
    ("value", "pointers"),
    [
        ({"a": ["x", {"b\0": 1}], "c": float("inf")}, ["/a/1/b\0", "/c"]),
        ([2**53, [["\0"]]], ["/0", "/1/0/0"]),
        ("\0", [""]),
    ],
)
def test_each_fault_has_its_place(value, pointers):
    with pytest.raises(MalformedBody) as caught:
        storable_value(value)
    assert [fault.pointer for fault in caught.value.faults] == pointers


def test_sixty_four_levels_are_read_and_the_next_one_is_a_fault():
    assert storable_value(read_json(b"[" * 64 + b"]" * 64)) is not None
    with pytest.raises(MalformedBody, match="nested more than 64 levels"):
        storable_value(read_json(b"[" * 65 + b"]" * 65))
    with pytest.raises(MalformedBody, match="no JSON text"):
        read_json(b"[" * 100_000)


def test_what_a_person_typed_is_told_by_its_words_and_not_by_a_place_in_a_body():
    found = [{"loc": ("body", "budget", "usd"), "msg": "Input should be greater than 0"}]
    assert from_validation(found, is_typed=True).detail.startswith("One fault in the request: budget usd: Input should")
    assert from_validation(found).detail.startswith("One fault in the request: body /budget/usd: Input should")
    whole = from_validation([{"loc": ("body",), "msg": "name one of two"}], is_typed=True)
    assert whole.detail.startswith("One fault in the request: name one of two.")


def test_of_many_faults_a_hundred_are_told_and_how_many_more():
    found = [{"loc": ("body", f"{i}" + "n" * 1000), "msg": "Extra inputs are not permitted"} for i in range(5000)]
    for error in (
        from_validation(found),
        InvalidInput("x" * 10**6, [Fault(pointer="/" + "n" * 1000, detail="y" * 5000)] * 5000),
    ):
        answer = response(error, {"path": "/", "state": {}}).body
        told = json.loads(answer)["errors"]
        assert [len(told), told[-1]["detail"]] == [MAX_FAULTS + 1, "and 4,900 more"]
        assert len(answer) < 350_000


@pytest.mark.parametrize(
    ("path", "limits", "n_bytes", "setting", "n_values"),
    [
        ("/v1/feedback", {}, 4 * 2**20, "events_bytes", 50_000),
        ("/v1/families/{family}/examples", {}, 4 * 2**20, "events_bytes", 50_000),
        ("/v1/families/{family}/render", {}, 2**20, "text_bytes", 20_000),
        ("/v1/freeze", {}, 2**18, "other_bytes", 20_000),
        ("/v1/freeze", {"body_bytes": 2000}, 2000, "body_bytes", 20_000),
    ],
)
def test_a_route_takes_what_it_needs_and_no_more_than_any_body_may_have(path, limits, n_bytes, setting, n_values):
    limit = limit_of(path, ServerLimits(**limits))
    assert (limit.n_bytes, limit.setting, limit.n_values) == (n_bytes, setting, n_values)


def test_lines_are_read_in_parts_of_so_many_lines_or_values():
    body = b'{"a":1}\n\n  \nx\n' + b"[1,2,3]\n" * 5 + b"[" + b"0," * 2000 + b"0]\n" + b'{"prompts":[]}\n'
    few = BodyLimit(n_bytes=2**20, n_values=10, setting="events_bytes", values_setting="events_values")
    parts = list(parts_of(body, 3, few))
    assert [n_lines(body, enough) for enough in (100, 9, 8, 2)] == [9, 9, 9, 3]
    assert [[index for index, _ in part.events] for part in parts] == [[0, 4], [5, 6, 7], [8], []]
    rejected = [(one["index"], one["type"]) for part in parts for one in part.rejected]
    assert rejected == [(n, "malformed") for n in (3, 9, 10)]


@given(lists(sampled_from([b"", b" ", b"\t\r", b"x", b" {}", b"\x0b", b"y "])), integers(1, 9), booleans())
def test_lines_are_those_that_a_file_has_however_many_blank_ones_stand_between(lines, piece_bytes, ends):
    body = b"\n".join(lines) + b"\n" * ends
    expected = [(index, line.strip()) for index, line in enumerate(BytesIO(body)) if line.strip()]
    with mock.patch.object(imported_events, "PIECE_BYTES", piece_bytes):
        assert [(index, line.strip()) for index, line in imported_events._lines(body)] == expected
