"""JSON lines of events, read in parts: what is in memory at once is one part, however many lines the body has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from api.http.bodies import PIECE_BYTES, count_values, read_json
from api.http.body_limits import BodyLimit
from api.http.problems import MalformedBody
from optimizer.core.base.errors import TooLarge

Line = tuple[int, bytes]  # (its number from 0, blank ones counted, too)


@dataclass(slots=True)
class LinesPart:
    """Some lines, read: (number, event) of those that are JSON, and the others as rejected."""

    events: list[tuple[int, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    n_values: int = 0

    def add(self, index: int, line: bytes, limit: BodyLimit) -> None:
        self.n_values += count_values(line, limit.n_values)
        try:
            event = read_json(line, limit)
        except (MalformedBody, TooLarge) as error:
            self.rejected.append({"index": index, "type": "malformed", "detail": error.detail})
            return
        if isinstance(event, dict) and isinstance(event.get("prompts"), list):
            detail = "The line is a dialog; importing dialogs comes later. Send its interactions as events."
            self.rejected.append({"index": index, "type": "not-yet", "detail": detail})
            return
        self.events.append((index, event))


def n_lines(body: bytes, enough: int) -> int:
    """Of those that are not blank; of more than ``enough`` one more than that."""
    return sum(1 for _ in islice(_lines(body), enough + 1))


def parts_of(body: bytes, n_most: int, limit: BodyLimit) -> Iterator[LinesPart]:
    """Parts of at most ``n_most`` lines, and of few more values than the limit says (by at most one line)."""
    part = LinesPart()
    for index, line in _lines(body):
        part.add(index, line, limit)
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
