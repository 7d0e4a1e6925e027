"""The fields of a family's JSON by its schema, and which of them may hold any value.

Fields are learned one by one where the schema says nothing of one beside another, so that values which are valid each
are valid together. Of any other JSON a student learns whole answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.family.settings import Output

REMARKS = {"$schema", "$id", "$defs", "$comment", "definitions", "title", "description", "default", "examples"}
SEPARATE = {"type", "properties", "required", "additionalProperties"} | REMARKS  # what a schema may say of an object
MOST_REFERENCES = 5  # from one to the next


def declared_fields(output: Output) -> tuple[str, ...]:
    """In the order of the schema; none where answers are learned whole."""
    schema = output.json_schema or {}
    if output.parser != "json" or schema.get("type") != "object" or not schema.keys() <= SEPARATE:
        return ()
    return tuple(schema.get("properties", ()))


def open_field(output: Output) -> str | None:
    """The first of them whose values are not closed; None where all are, or answers are learned whole."""
    schema = output.json_schema or {}
    return next((name for name in declared_fields(output) if not _is_closed(schema["properties"][name], schema)), None)


def open_in_words(field: str) -> str:
    return f"the field {field!r} of the answers may hold any: declare it in output.schema with an enum"


def _is_closed(schema: Any, whole: Mapping[str, Any], n_references: int = 0) -> bool:
    """Whether its values are an enum's, true and false, or lists of such."""
    if not isinstance(schema, Mapping) or n_references > MOST_REFERENCES:
        return False
    types, either = schema.get("type") or [], schema.get("anyOf") or schema.get("oneOf") or ()
    return (
        not schema.keys().isdisjoint({"enum", "const"})
        or (bool(types) and {"boolean", "null"}.issuperset([types] if isinstance(types, str) else types))
        or (types == "array" and _is_closed(schema.get("items"), whole, n_references))
        or (bool(either) and all(_is_closed(one, whole, n_references) for one in either))
        or any(_is_closed(one, whole, n_references) for one in schema.get("allOf", ()))
        or _is_closed(_referenced(schema.get("$ref", ""), whole), whole, n_references + 1)
    )


def _referenced(reference: str, whole: Mapping[str, Any]) -> Any:
    """What a pointer such as ``#/$defs/Topic`` leads to; None for none."""
    place: Any = whole
    for key in reference.removeprefix("#/").split("/"):
        place = place.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
    return place
