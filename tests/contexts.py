"""The Context of a use case that a test calls itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

from optimizer.core.serving.access import EVERYTHING
from optimizer.jobs.context import Context
from optimizer.ports import Clock, Store


def context_of(store: Store, clock: Clock, actor: str = "ann", **more: Any) -> Context:
    """``more``: ports that the use case asks for; those that are not given are None, and asking one is a fault."""
    given = {"store": store, "clock": clock, "actor": actor, "access": EVERYTHING, **more}
    return Context(**cast("dict[str, Any]", dict.fromkeys(field.name for field in fields(Context)) | given))
