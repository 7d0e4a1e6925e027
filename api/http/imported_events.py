"""Events of an import, read in parts: what is in memory at once is one part, however many the body has.

As JSON lines, or as columns, ``{"columns": {"assignment": [...], "success": [...]}}``: each name once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any

from api.http.bodies import PIECE_BYTES, count_values, read_json
from api.http.body_limits import BodyLimit
from api.http.problems import MalformedBody
from optimizer.core.base.errors import Fault, InvalidInput, TooLarge, faults_text, pointer_of
from optimizer.core.base.phrasing import count
from optimizer.core.feedback.dialogs import PromptEvent, is_dialog
from optimizer.core.feedback.reported import FIELDS
from optimizer.jobs.feedback.keep_events import RejectedEvent

_COLUMNS = "columns"
_BEGINNING = re.compile(rb'\s*\{\s*"(\w{1,20})"\s*:\s*(\{?)')
Line = tuple[int, bytes]  # (its number from 0, blank ones counted, too)


Prompts = Callable[[Mapping[str, Any]], Iterator[tuple[str, PromptEvent]]]  # of a dialog


@dataclass(slots=True)
class LinesPart:
    """Some lines, read: (number, event) of those that are JSON, and the others as rejected. ``n_more``: events beyond
    one of each line, which dialogs have.
    """

    events: list[tuple[int, Any]] = field(default_factory=list)
    rejected: list[RejectedEvent] = field(default_factory=list)
    n_values: int = 0
    n_more: int = 0

    @property
    def end(self) -> int:
        """The number of the line behind its last one."""
        return 1 + max([index for index, _ in self.events[-1:]] + [one["index"] for one in self.rejected[-1:]])

    def add(self, index: int, line: bytes, limit: BodyLimit, prompts: Prompts | None) -> None:
        self.n_values += count_values(line, limit.n_values)
        try:
            event = read_json(line, limit)
        except (MalformedBody, TooLarge) as error:
            self.rejected.append({"index": index, "type": "malformed", "detail": error.detail})
            return
        if isinstance(event, dict) and is_dialog(event):
            self._add_dialog(index, event, prompts)
            return
        self.events.append((index, event))

    def _add_dialog(self, index: int, dialog: Mapping[str, Any], prompts: Prompts | None) -> None:
        if prompts is None:
            detail = "The line is a dialog. Say which family's users it is of, as in ?family=support."
            self.rejected.append({"index": index, "type": "malformed", "detail": detail})
            return
        n_before = len(self.events)
        for where, (event, why) in prompts(dialog):
            if event is None:
                self.rejected.append({"index": index, "type": "malformed", "detail": f"Of {where}: {why}."})
            else:
                self.events.append((index, event))
        self.n_more += max(0, len(self.events) - n_before - 1)


def n_lines(body: bytes, enough: int) -> int:
    """The number of lines that are not blank; for more than ``enough``, one more than that."""
    return sum(1 for _ in islice(_lines(body), enough + 1))


def parts_of(body: bytes, n_most: int, limit: BodyLimit, prompts: Prompts | None = None) -> Iterator[LinesPart]:
    """Parts of at most ``n_most`` lines, and of few more values than the limit says (by at most one line).

    ``prompts``: gives the events of a line that is a dialog; None: it is not said whose they are.
    """
    part = LinesPart()
    for index, line in _lines(body):
        part.add(index, line, limit, prompts)
        if len(part.events) + len(part.rejected) >= n_most or part.n_values >= limit.n_values:
            yield part
            part = LinesPart()
    if part.events or part.rejected:
        yield part


def _lines(body: bytes) -> Iterator[Line]:
    index = start = 0
    while start < len(body):
        end = body.find(b"\n", start) + 1 or len(body)
        line = body[start:end]
        if line.strip():
            yield index, line
            index, start = index + 1, end
        else:  # many blank ones in one step
            run = body[start : start + PIECE_BYTES]
            blank = run[: len(run) - len(run.lstrip())]
            index, start = index + blank.count(b"\n"), start + len(blank)


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
        raise InvalidInput(f"The columns cannot be read: {faults_text(faults)}. Nothing was kept.", faults)
    return EventColumns(tuple(columns), tuple(columns.values()), next(iter(lengths.values())))
