"""Sends a list in as many parts as it takes: where the server refuses a part, its halves, down to the one that is
wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from detent_client.connection import RequestFailed

T = TypeVar("T")


@dataclass(slots=True)
class Delivery(Generic[T]):
    """What became of a list. ``left``: what was not sent, since a request failed."""

    taken: list[T] = field(default_factory=list)
    refused: list[T] = field(default_factory=list)
    left: list[T] = field(default_factory=list)
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    failure: RequestFailed | None = None


def deliver(items: Sequence[T], post: Callable[[Sequence[T]], Mapping[str, Any] | None]) -> Delivery[T]:
    """``post`` gives None for a part that is refused as a whole, and may raise RequestFailed."""
    delivery: Delivery[T] = Delivery()
    parts: list[Sequence[T]] = [items] if items else []
    while parts:
        part = parts.pop()
        try:
            answer = post(part)
        except RequestFailed as failure:
            delivery.failure = failure
            delivery.left = [item for rest in (part, *reversed(parts)) for item in rest]
            return delivery
        if answer is not None:
            delivery.taken += part
            delivery.answers.append(answer)
        elif len(part) == 1:
            delivery.refused += part
        else:
            middle = len(part) // 2
            parts += (part[middle:], part[:middle])
    return delivery
