"""A value against a JSON Schema of a user's: the first fault, at a price that is bounded whatever schema and value are.

Of the validator's own keywords three would not be: ``pattern`` and ``patternProperties`` run an expression of the
user's on a text of a model's, and ``uniqueItems`` compares all pairs. References lead within the schema;
nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

MAX_FAULTS = 100  # are collected; the one whose place comes first is reported
PATTERN_S = 1.0  # an expression may take so long for one text
_MAX_CHARS = 200
_Faults = Iterator[ValidationError]


class _CannotTell(Exception):
    """The value cannot be held against the schema; says why."""


def schema_fault(schema: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with the value and where, in a line; None where it fits. Never raises.

    Args:
        value: as ``read_json`` reads it.
    """
    try:
        errors = list(islice(_Validator(schema, registry=Registry()).iter_errors(value), MAX_FAULTS))
    except RecursionError:
        return "JSON against the schema: the schema leads back to itself without an end"
    except (_CannotTell, Unresolvable, regex.error, OverflowError) as error:
        return f"JSON against the schema: {str(error)[:_MAX_CHARS]}"
    if not errors:
        return None
    first = min(errors, key=lambda fault: [str(part) for part in fault.absolute_path])
    where = "/".join(str(part)[:_MAX_CHARS] for part in first.absolute_path)
    return f"JSON against the schema at /{where}: {first.message[:_MAX_CHARS]}"


def outside_references(schema: Any) -> list[str]:
    """The references of a schema that lead out of it, as written. They would have to be fetched, and never are."""
    references, ids = [], {""}
    for part in _parts(schema):
        references += [reference for key in ("$ref", "$dynamicRef") if isinstance(reference := part.get(key), str)]
        ids |= {reference for reference in (part.get("$id"),) if isinstance(reference, str)}
    return [reference for reference in references if reference.partition("#")[0] not in ids]


def is_unbounded(schema: Any) -> bool:
    """Whether the library itself would hold names against patterns, without an end that can be set."""
    return {"unevaluatedProperties", "patternProperties"} <= {key for part in _parts(schema) for key in part}


def _parts(schema: Any) -> Iterator[Mapping[Any, Any]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield value
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


def _matches(pattern: str, text: str) -> bool:
    try:
        return _compiled(pattern).search(text, timeout=PATTERN_S) is not None
    except TimeoutError:
        raise _CannotTell(
            f"the pattern {pattern[:80]!r} takes more than {PATTERN_S:g} s for a text of {len(text):,} characters; "
            "write it without a repetition inside a repetition"
        ) from None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    return regex.compile(pattern)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> _Faults:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance[:_MAX_CHARS]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> _Faults:
    if isinstance(instance, Mapping):
        for pattern, subschema in patterns.items():
            for name, member in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(member, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> _Faults:
    if not isinstance(instance, Mapping):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = (
        name for name in instance if name not in known and not any(_matches(pattern, name) for pattern in patterns)
    )
    if isinstance(allowed, Mapping):
        for name in extra:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and (some := list(islice(extra, 3))):
        yield ValidationError(
            f"additional properties are not allowed, such as {', '.join(repr(name[:60]) for name in some)}"
        )


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> _Faults:
    if wanted and isinstance(instance, Sequence) and not isinstance(instance, str):
        seen = set()
        for place, item in enumerate(instance):
            same = _hashable(item)
            if same in seen:
                yield ValidationError(f"the item at place {place} stands there twice")
                return
            seen.add(same)


def _hashable(value: Any) -> Any:
    """Equal for equal JSON values: 1 and 1.0 are one, 1 and true are two."""
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(member)) for name, member in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return (bool, value) if isinstance(value, bool) else value


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
)
