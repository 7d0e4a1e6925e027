"""JSON lines of events, read in parts: what is in memory at once is one part, however many lines the body has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from api.bodies import count_values, read_json
from api.body_limits import BodyLimit
from api.problems import MalformedBody
from optimizer.core.errors import TooLarge

Line = tuple[int, bytes]  # (its number from 0, blank ones counted, too)


@dataclass(slots=True)
class Part:
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


def n_lines(body: bytes) -> int:
    """Of those that are not blank."""
    return sum(1 for _ in _lines(body))


def parts_of(body: bytes, n_most: int, limit: BodyLimit) -> Iterator[Part]:
    """Parts of at most ``n_most`` lines, and of few more values than the limit says (by at most one line)."""
    part = Part()
    for index, line in _lines(body):
        part.add(index, line, limit)
        if len(part.events) + len(part.rejected) >= n_most or part.n_values >= limit.n_values:
            yield part
            part = Part()
    if part.events or part.rejected:
        yield part


def _lines(body: bytes) -> Iterator[Line]:
    return ((index, line) for index, line in enumerate(BytesIO(body)) if line.strip())
