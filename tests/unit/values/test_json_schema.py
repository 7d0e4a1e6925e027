from __future__ import annotations

import pytest

from optimizer.core.base import json_schema
from optimizer.core.base.json_schema import is_unbounded, outside_references, schema_fault

NAMES = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        (NAMES, {"name": "anna"}, None),
        (NAMES, {"name": "Anna"}, "at /name: 'Anna' does not match '^[a-z]+$'"),
        (NAMES, {"nmae": "anna"}, "additional properties are not allowed, such as 'nmae'"),
        ({"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False}, {"n": 1}, None),
        ({"patternProperties": {"^n": {"type": "integer"}}}, {"n": "x"}, "at /n: 'x' is not of type 'integer'"),
        ({"additionalProperties": {"type": "integer"}}, {"n": "x"}, "at /n: 'x' is not of type 'integer'"),
        ({"uniqueItems": True}, [1, "1", True, [1], {"a": 1}], None),
        ({"uniqueItems": True}, [{"a": [1]}, {"a": [1.0]}], "the item at place 1 stands there twice"),
        ({"uniqueItems": False}, [1, 1], None),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, "x", "is not of type"),
    ],
)
def test_the_first_fault_is_told_with_its_place(schema, value, says):
    fault = schema_fault(schema, value)
    assert fault is None if says is None else says in fault


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        ({"pattern": "(a|aa)+$"}, "a" * 60 + "b", "takes more than 0.05 s for a text of 61 characters"),
        ({"patternProperties": {"(a|aa)+$": {}}}, {"a" * 60 + "b": 1}, "takes more than 0.05 s"),
        ({"$ref": "#"}, 1, "leads back to itself"),
        ({"$ref": "https://example.com/schema"}, 1, "example.com"),
        ({"pattern": "("}, "a", "missing )"),
    ],
    ids=["a slow pattern", "a slow pattern for names", "a circle", "a reference to elsewhere", "no expression"],
)
def test_a_schema_that_cannot_be_applied_is_a_fault_and_no_crash(schema, value, says, monkeypatch):
    monkeypatch.setattr(json_schema, "PATTERN_S", 0.05)
    assert says in schema_fault(schema, value)


@pytest.mark.parametrize("value", [["x"] * 100_000, {f"n{i}": "x" for i in range(100_000)}], ids=["items", "members"])
def test_no_more_than_a_hundred_faults_are_looked_for(value, monkeypatch):
    made = []

    def counted(validator, wanted, instance, schema):
        made.append(instance)
        return original(validator, wanted, instance, schema)

    original = json_schema._Validator.VALIDATORS["type"]
    monkeypatch.setitem(json_schema._Validator.VALIDATORS, "type", counted)
    assert "is not of type" in schema_fault(
        {"items": {"type": "integer"}, "additionalProperties": {"type": "integer"}}, value
    )
    assert len(made) == 100


def test_a_number_too_large_for_the_schema_is_a_fault():
    assert "JSON against the schema" in schema_fault({"multipleOf": 0.5}, 10**400)


def test_a_schema_that_only_the_library_could_hold_names_against_is_unbounded():
    patterns = {"allOf": [{"patternProperties": {"^(a+)+$": {}}}]}
    assert [is_unbounded(each) for each in (patterns, {**patterns, "unevaluatedProperties": False})] == [False, True]


def test_references_that_lead_out_of_a_schema_are_found():
    schema = {
        "$defs": {"a": {"$id": "a.json", "items": {"$ref": "a.json#/x"}}},
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "b.json"}],
    }
    assert outside_references(schema) == ["b.json"]
