"""What installed packages add by entry point.

All distributions are looked through once per process, at the first question (tens of milliseconds).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from optimizer.core.base.registry import Registration


@cache
def look() -> Any:
    """The entry points of all distributions; none is imported."""
    return entry_points()


@cache
def added(group: str) -> Sequence[Registration]:
    """What a group holds, by name."""
    found = [
        Registration(
            name=one.name,
            place=one.value,
            package=f"{one.dist.name} {one.dist.version}" if one.dist else "unknown",
            load=one.load,
        )
        for one in look().select(group=group)
    ]
    return sorted(found, key=lambda one: (one.name, one.package))
