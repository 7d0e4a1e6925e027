"""An event as a client sends it, field by field: a misspelt ``sucess`` is unknown, and refused.

Which fields there are is declared in ``feedback.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from optimizer.core.base.errors import Fault, first_alike, pointer_of
from optimizer.core.base.strict_json import is_unicode
from optimizer.core.feedback.event_kinds import TIME, EventField, fields_in
from optimizer.core.feedback.events import Address, Arm, Event, FeedbackEvent, Interaction

MAX_DEPTH = 20
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 knows no larger one
CLOCK_SKEW = timedelta(hours=24)

WHO_AND_WHERE = {**fields_in(Address), **fields_in(Arm)}  # stand in the arm
FIELDS: Mapping[str, EventField] = {
    **fields_in(Event),
    **WHO_AND_WHERE,
    **fields_in(Interaction),
    **fields_in(FeedbackEvent),
}
OF_INTERACTION = frozenset(name for name, field in FIELDS.items() if field.reports == "interaction")
OF_OUTCOME = frozenset(name for name, field in FIELDS.items() if field.reports == "outcome")
REPORTING = tuple(
    name for what in ("interaction", "outcome") for name, field in FIELDS.items() if field.reports == what
)
_KINDS = {name: field.kind for name, field in FIELDS.items()}
_KEEPS = {name: kind.keep for name, kind in _KINDS.items()}
_TIMES = frozenset(name for name, kind in _KINDS.items() if kind is TIME)


def read_fields(raw: Mapping[Any, Any], *, now: datetime) -> tuple[dict[str, Any], list[Fault]]:
    """The event's values as kept, without those that are null, and everything wrong with it."""
    values: dict[str, Any] = {}
    faults = list[Fault]()
    for name, value in raw.items():
        if value is None or name not in _KINDS:
            continue
        try:
            if not _is_plain(value):
                check_json(value)
            plain = _KEEPS[name](value)
            values[name] = plain if plain is not None else _KINDS[name].check(value)  # which says what is expected
        except ValueError as error:
            faults.append(Fault(pointer=pointer_of([name]), detail=str(error)))
    if not raw.keys() <= _KINDS.keys():
        faults += _unknown([name for name in raw if name not in FIELDS])
    for name in [] if _TIMES.isdisjoint(values) else [name for name in values if name in _TIMES]:
        if values[name] - now > CLOCK_SKEW:
            faults.append(
                Fault(pointer=f"/{name}", detail="lies more than a day in the future; check the sender's clock")
            )
    return values, faults


def _is_plain(value: Any) -> bool:
    """Whether ``check_json`` would let it through, for most values that come."""
    of = type(value)
    if of is str:
        return value.isascii() and "\x00" not in value
    if of is float:
        return math.isfinite(value)
    return of is bool or (of is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)


def _unknown(names: Sequence[Any]) -> list[Fault]:
    faults = first_alike(
        names,
        lambda name: Fault(pointer=pointer_of([name]), detail="is not a field of an event"),
        "are no fields of an event",
    )
    if faults:
        faults[0] = replace(faults[0], detail=f"{faults[0].detail}; known are {', '.join(FIELDS)}")
    return faults


def check_json(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what JSON readers let through and databases do not hold: NaN, NUL,
    halves of a surrogate pair, endless nesting.
    """
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("holds the character U+0000, which databases do not keep; leave it out")
        if not is_unicode(value):
            raise ValueError("holds half of a surrogate pair, which is no Unicode text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError("holds a whole number beyond 2^53; send it as a text")
    elif depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str):
                raise ValueError("has a member whose name is no text")
            check_json(key)
            check_json(member, depth + 1)
    elif isinstance(value, list | tuple):
        for member in value:
            check_json(member, depth + 1)
