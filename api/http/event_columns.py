"""Events as columns, ``{"columns": {"assignment": [...], "success": [...]}}``: each name once, however many events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from api.http.bodies import read_json
from api.http.body_limits import BodyLimit
from api.http.event_lines import LinesPart
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of, said
from optimizer.core.base.phrasing import count
from optimizer.core.feedback.reported import FIELDS

_COLUMNS = "columns"
_BEGINNING = re.compile(rb'\s*\{\s*"(\w{1,20})"\s*:\s*(\{?)')


def is_columns(body: bytes) -> bool:
    """Whether the body begins as columns do, or with an object of a name that was meant so.

    No event has a field of that name, so no line of events begins like this.
    """
    begins = _BEGINNING.match(body)
    if begins is None:
        return False
    name = begins[1].decode()
    return name == _COLUMNS or (bool(begins[2]) and name not in FIELDS and _means_columns(name))


def _means_columns(name: str) -> bool:
    return bool(get_close_matches(name.casefold(), [_COLUMNS], cutoff=0.7))


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Columns of one length; null in one says that the event has no such field."""

    names: tuple[str, ...]
    values: Sequence[Sequence[Any]]
    n: int

    def parts(self, n_most: int) -> Iterator[LinesPart]:
        """Rows as events, at most ``n_most`` at once, each with its number from 0."""
        for first in range(0, self.n, n_most):
            rows = zip(*(column[first : first + n_most] for column in self.values), strict=True)
            yield LinesPart([(first + i, dict(zip(self.names, row, strict=True))) for i, row in enumerate(rows)])


def read_columns(body: bytes, limit: BodyLimit) -> EventColumns:
    """Raises InvalidInput with everything that is wrong with the form, MalformedBody, and TooLarge."""
    body_members = read_json(body, limit)
    columns = body_members.get(_COLUMNS)
    is_misspelt = _COLUMNS not in body_members
    faults = [
        Fault(
            pointer=pointer_of([name]),
            detail="is misspelt: write columns"
            if is_misspelt and _means_columns(name)
            else "is no member beside columns",
        )
        for name in body_members
        if name != _COLUMNS
    ]
    if is_misspelt:
        columns = {}
    elif not isinstance(columns, dict) or not columns:
        faults.append(Fault(pointer=f"/{_COLUMNS}", detail="is no object of lists by names of fields"))
        columns = {}
    for name, column in columns.items():
        if name not in FIELDS:
            detail = f"is not a field of an event; known are {', '.join(FIELDS)}"
            faults.append(Fault(pointer=pointer_of([_COLUMNS, name]), detail=detail))
        elif not isinstance(column, list):
            faults.append(Fault(pointer=pointer_of([_COLUMNS, name]), detail="is no list of values"))
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, list)}
    if len(set(lengths.values())) > 1:
        longest = max(lengths, key=lambda name: lengths[name])
        faults += [
            Fault(
                pointer=pointer_of([_COLUMNS, name]),
                detail=f"has {count(n, 'value')}, and {longest} has {lengths[longest]:,};"
                " write null where an event has none",
            )
            for name, n in lengths.items()
            if n < lengths[longest]
        ]
    if not faults and not any(lengths.values()):
        faults.append(Fault(pointer=f"/{_COLUMNS}", detail="holds no events: its lists are empty"))
    if faults:
        raise InvalidInput(f"The columns cannot be read: {said(faults)}. Nothing was kept.", faults)
    return EventColumns(tuple(columns), tuple(columns.values()), next(iter(lengths.values())))
