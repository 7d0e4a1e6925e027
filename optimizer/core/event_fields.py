"""The fields an event may have and what each must hold: unknown ones are refused, so that a misspelt ``sucess`` is heard of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

from optimizer.core.errors import Fault, pointer_of
from optimizer.core.feedback import Source

MAX_NAME_CHARS = 512  # ids, units, labels, names
MAX_DEPTH = 20
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 knows no larger one
CLOCK_SKEW = timedelta(hours=24)
SOURCES: tuple[Source, ...] = get_args(Source)

Check = Callable[[Any], Any]  # the value as kept; raises ValueError with what is expected


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_CHARS:
        raise ValueError(f"must be a text of 1 to {MAX_NAME_CHARS} characters")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _some_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that says something")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("must be a number from 0 to 1")
    return float(value)


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError("must be a number, 0 or larger")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError("must be a whole number, 0 or larger")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")
    return value


def _filled_object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("must be an object with at least one member")
    return value


def _source(value: Any) -> str:
    if value not in SOURCES:
        raise ValueError(f"must be one of {', '.join(SOURCES)}")
    return str(value)


def _time(value: Any) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None or not 1970 < at.year < 9999:
        raise ValueError("must be a time with its zone, such as 2026-11-20T08:30:00Z")
    return at


MAX_PARTS = 64
PART_CHECKS: Mapping[str, Check] = {
    "tier": _count,
    "model": _name,
    "purpose": _name,
    "taken": _flag,
    "confidence": _share,
    "score": _share,
    "issues": lambda value: [_name(issue) for issue in _list(value)],
    "cost_usd": _amount,
    "latency_ms": _amount,
    "input_tokens": _count,
    "output_tokens": _count,
    "error": _some_text,
    "output": _text,
}


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")
    return value


def _parts(value: Any) -> list[dict[str, Any]]:
    """The calls that an interaction was made of."""
    parts = _list(value)
    if len(parts) > MAX_PARTS:
        raise ValueError(f"holds {len(parts)} parts, and an interaction has at most {MAX_PARTS}")
    return [_part(i, part) for i, part in enumerate(parts)]


def _part(place: int, part: Any) -> dict[str, Any]:
    read = {}
    for name, value in _object(part).items():
        if name not in PART_CHECKS:
            raise ValueError(f"has in part {place} the unknown field {name!r}; known are {', '.join(PART_CHECKS)}")
        try:
            read[name] = PART_CHECKS[name](value)
        except ValueError as error:
            raise ValueError(f"has in part {place} a field {name!r} that {error}") from None
    return read


CHECKS: Mapping[str, Check] = {
    "id": _name,
    "assignment": _some_text,
    "interaction": _name,
    "family": _name,
    "variant": _name,
    "unit": _name,
    "rollout": _name,
    "assigned_at": _time,
    "input": _object,
    "output": _text,
    "score": _share,
    "success": _flag,
    "expected": _filled_object,
    "label": _name,
    "source": _source,
    "latency_ms": _amount,
    "time_to_first_token_ms": _amount,
    "cost_usd": _amount,
    "input_tokens": _count,
    "output_tokens": _count,
    "model": _name,
    "error": _some_text,
    "occurred_at": _time,
    "conversation": _name,
    "tags": _object,
    "parts": _parts,
}


def read_fields(raw: Mapping[Any, Any], *, now: datetime) -> tuple[dict[str, Any], list[Fault]]:
    """The event's values as kept, without those that are null, and everything wrong with it."""
    values: dict[str, Any] = {}
    faults = []
    for name, value in raw.items():
        try:
            if name not in CHECKS:
                raise ValueError(f"is not a field of an event; known are {', '.join(CHECKS)}")
            if value is not None:
                check_json(value)
                values[name] = CHECKS[name](value)
        except ValueError as error:
            faults.append(Fault(pointer=pointer_of([name]), detail=str(error)))
    for name in ("occurred_at", "assigned_at"):
        if name in values and values[name] - now > CLOCK_SKEW:
            faults.append(Fault(pointer=f"/{name}", detail="lies more than a day in the future; check the sender's clock"))
    return values, faults


def check_json(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what JSON readers let through and databases do not hold: NaN, NUL, halves of a surrogate pair, endless nesting."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("holds the character U+0000, which databases do not keep; leave it out")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
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
