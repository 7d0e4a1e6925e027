"""Ids are made by jobs: a prefix that says what it names, and a lower-case ULID, which sorts by time."""

from __future__ import annotations

from ulid import ULID


def new_id(prefix: str) -> str:
    """``new_id("st")`` gives ``st_01jd…``."""
    return f"{prefix}_{str(ULID()).lower()}"
