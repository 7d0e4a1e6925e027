"""Kinds of values that a field of an event may hold: each with its check, its JSON Schema and its name in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_type_hints

from optimizer.core.base.errors import shorten

MAX_NAME_CHARS = 512  # ids, units, labels, names
MAX_PARTS = 512  # no policy asks more for one answer, its judge included


@dataclass(frozen=True, slots=True)
class Kind:
    """``keep`` gives the value as it is stored, or None for one that does not fit; a ValueError may say more."""

    holds: str
    schema: Mapping[str, Any]
    keep: Callable[[Any], Any]

    def check(self, value: Any) -> Any:
        """The value as kept. Raises ValueError with what is expected."""
        checked = self.keep(value)
        if checked is None:
            raise ValueError(f"must be {self.holds}")
        return checked


@dataclass(frozen=True, slots=True)
class EventField:
    """The declaration of a field that clients send.

    It stands in the annotation of the attribute that keeps the value (``events.py``).

    Checks, columns, the OpenAPI document and the table in docs/reference/rest.md follow from it.

    Args:
        about: what the field means, in words.
        reports: of what an event is the report once it has this field.
        private: what becomes of it where no text may be kept: ``dropped``, ``replaced`` by a remark, or only
            ``masked``. None: no text of people.
    """

    kind: Kind
    about: str
    reports: Literal["interaction", "outcome"] | None = None
    private: Literal["dropped", "replaced", "masked"] | None = None


def fields_in(declaring: type) -> dict[str, EventField]:
    """The fields that a class declares, in its order."""
    extras_by_name = {
        name: [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, EventField)]
        for name, hint in get_type_hints(declaring, include_extras=True).items()
    }
    return {name: extras[0] for name, extras in extras_by_name.items() if extras}


def _text(*, at_least: int = 0, at_most: int | None = None, blank: bool = True, holds: str) -> Kind:
    bounds = {"minLength": at_least or None, "maxLength": at_most}

    def keep(value: Any) -> Any:
        fits = isinstance(value, str) and (blank or value.strip()) and (at_most is None or len(value) <= at_most)
        return value if fits else None

    return Kind(holds, {"type": "string", **{name: bound for name, bound in bounds.items() if bound is not None}}, keep)


def _number(at_least: float, *, at_most: float | None = None, below: float | None = None, holds: str) -> Kind:
    bounds = {"minimum": at_least, "maximum": at_most, "exclusiveMaximum": below}

    def keep(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value:
            return None
        return float(value) if (at_most is None or value <= at_most) and (below is None or value < below) else None

    return Kind(holds, {"type": "number", **{name: bound for name, bound in bounds.items() if bound is not None}}, keep)


def one_of(*words: str) -> Kind:
    return Kind(
        f"one of {', '.join(words)}",
        {"type": "string", "enum": list(words)},
        lambda value: value if value in words else None,
    )


def moment(value: Any) -> datetime | None:
    """The time of a text or a datetime with a zone.

    None where it has none, or where it is at an end of the calendar, which has no UTC form.
    """
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None and 1970 < at.year < 9999 else None


NAME = _text(at_least=1, at_most=MAX_NAME_CHARS, blank=False, holds=f"a text of 1 to {MAX_NAME_CHARS} characters")
TEXT = _text(holds="a text")
SOME_TEXT = _text(at_least=1, blank=False, holds="a text that says something")
FLAG = Kind("true or false", {"type": "boolean"}, lambda value: value if isinstance(value, bool) else None)
SHARE = _number(0, at_most=1, holds="a number from 0 to 1")
AMOUNT = _number(0, below=1e12, holds="a number, 0 or larger")
COUNT = Kind(
    "a whole number, 0 or larger",
    {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**31},
    lambda value: value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None,
)
OBJECT = Kind("an object", {"type": "object"}, lambda value: value if isinstance(value, Mapping) else None)
FILLED_OBJECT = Kind(
    "an object with at least one member",
    {"type": "object", "minProperties": 1},
    lambda value: value if isinstance(value, Mapping) and value else None,
)
TIME = Kind("a time with its zone, such as 2026-11-20T08:30:00Z", {"type": "string", "format": "date-time"}, moment)


def list_of(kind: Kind) -> Kind:
    return Kind(
        "a list",
        {"type": "array", "items": dict(kind.schema)},
        lambda value: [kind.check(item) for item in value] if isinstance(value, list | tuple) else None,
    )


def parts_of(fields: Mapping[str, EventField]) -> Kind:
    """A list of at most MAX_PARTS objects with these fields and no others."""

    def keep(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return None
        if len(value) > MAX_PARTS:
            raise ValueError(f"holds {len(value)} parts, and an interaction has at most {MAX_PARTS}")
        return [_part(fields, place, part) for place, part in enumerate(value)]

    return Kind("a list", {"type": "array", "maxItems": MAX_PARTS, "items": schema_of(fields)}, keep)


def _part(fields: Mapping[str, EventField], place: int, part: Any) -> dict[str, Any]:
    read = {}
    for name, value in OBJECT.check(part).items():
        if name not in fields:
            raise ValueError(
                f"has in part {place} the unknown field {shorten(name, MAX_NAME_CHARS)!r}; known are"
                f" {', '.join(fields)}"
            )
        try:
            read[name] = fields[name].kind.check(value)
        except ValueError as error:
            raise ValueError(f"has in part {place} a field {name!r} that {error}") from None
    return read


def schema_of(fields: Mapping[str, EventField], *, nullable: bool = False) -> dict[str, Any]:
    """The JSON Schema of an object with these fields and no others."""
    properties = {
        name: {
            **({"anyOf": [dict(field.kind.schema), {"type": "null"}]} if nullable else field.kind.schema),
            "description": field.about,
        }
        for name, field in fields.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}
