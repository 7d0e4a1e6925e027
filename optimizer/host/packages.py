"""Finds what installed packages add by entry point.

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
def registrations_of(group: str) -> Sequence[Registration]:
    """What a group holds, by name."""
    registrations = [
        Registration(
            name=entry.name,
            place=entry.value,
            package=f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown",
            load=entry.load,
        )
        for entry in look().select(group=group)
    ]
    return sorted(registrations, key=lambda registration: (registration.name, registration.package))
