"""The Context of a use case that a test calls itself."""

from __future__ import annotations

from typing import Any, cast

from optimizer.jobs.context import Context
from optimizer.ports import Clock, Store


def context_of(store: Store, clock: Clock, actor: str = "ann", **more: Any) -> Context:
    """``more``: ports that the use case asks for; those that are not given are None, and asking one is a fault."""
    missing = dict.fromkeys(("settings", "families", "family", "models", "hmac_unit", "verify"))
    return Context(store=store, clock=clock, actor=actor, **cast("dict[str, Any]", missing | more))
