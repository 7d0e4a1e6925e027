"""What a unit is served by a family of a few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from optimizer.core.serving.assignment import Choice, Serving, choose
from optimizer.core.serving.rollout import ALL, Champion, Freeze

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def chosen(
    unit: str | None, now: datetime, *, champion: str, family: str = "f", unit_hmac: str | None = None, **more: Any
) -> Choice:
    """``more``: of ``Serving``, with ``frozen`` for a freeze of all."""
    frozen = more.pop("frozen", False)
    served = Serving(
        name=family,
        champion=Champion(family=family, seq=1, variant=champion, since=SINCE, why="first", by="ann"),
        freeze=Freeze(scope=ALL, reason="a test", by="ann", since=SINCE) if frozen else None,
        **{"rollout": None, "overrides": {}, **more},
    )
    return choose(served, unit, unit_hmac, now)
