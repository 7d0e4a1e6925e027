"""The list of use cases: each can be resolved, and says what it takes, what it gives and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from optimizer.core.base.answers import HIDDEN, TEXTS
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.runtime.use_cases import USE_CASES, UseCase

# Members that are named as texts are, and hold none.
NO_TEXTS = {
    "FamilyStatus/problem": "one of two sentences of ours",
    "Truncation/input": "the name of an input",
    "TrivialBaseline/why": "a sentence of ours",
    "TimingFigures/why": "a sentence of ours",
}
EACH = pytest.mark.parametrize("use_case", USE_CASES, ids=lambda one: one.name)


@EACH
def test_a_use_case_takes_a_context_and_its_request_and_gives_a_typed_report(use_case: UseCase) -> None:
    assert list(signature(use_case.call).parameters) == ["context", "request"]
    hints = get_type_hints(use_case.call)
    assert hints["context"] is Context
    assert issubclass(use_case.request, Request)
    assert use_case.request.__name__.endswith("Request")
    assert use_case.report not in (Any, None, dict)
    assert use_case.path_members.keys() <= use_case.request.model_fields.keys()
    assert len(use_case.description.split()) > 2


@EACH
def test_what_reads_says_of_each_member_that_may_hold_a_text_that_it_does(use_case: UseCase) -> None:
    if use_case.role in ("read", "serve", "feedback"):
        schema = TypeAdapter(use_case.report).json_schema(mode="serialization")
        texts = [place for place, name in shown(schema, schema.get("$defs", {})) if name in TEXTS]
        assert [place for place in texts if not place.endswith(tuple(NO_TEXTS))] == []


def test_what_changes_something_is_no_read_by_default() -> None:
    reads = [one.name for one in USE_CASES if one.method != "GET" and one.is_read]
    assert reads == ["preview variant", "compare thresholds"], "reads whose request is too long for an address"
    assert [one.name for one in USE_CASES if not one.is_read and one.change is None] == ["exposures", "propose"]


def test_no_function_and_no_route_stands_twice() -> None:
    assert len({one.function for one in USE_CASES}) == len(USE_CASES)
    assert len({(one.method, one.path) for one in USE_CASES}) == len(USE_CASES)


def shown(schema: Any, types: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(where, name) of every declared member that is no text and stands in none: what is marked hides all that it
    holds.
    """
    if isinstance(schema, dict) and HIDDEN not in schema.get("description", ""):
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and name not in place.split("/"):  # a type that holds itself is looked at once
            yield from shown(types[name], types, f"{place}/{name}")
        for name, member in schema.get("properties", {}).items():
            is_figure = "#/$defs/Need" in str(member)  # what a rollout needs on average is called expected, too
            if not is_figure and HIDDEN not in member.get("description", ""):
                yield f"{place}/{name}", name
        for name, inner in schema.items():
            if name != "$defs":
                yield from shown(inner, types, place if name in ("properties", "anyOf") else f"{place}/{name}")
    if isinstance(schema, list):
        for inner in schema:
            yield from shown(inner, types, place)
