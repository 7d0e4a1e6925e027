"""The Context of a use case that a test calls itself."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

from optimizer.core.family.family import Family
from optimizer.core.serving.access import EVERYTHING
from optimizer.jobs.context import Context
from optimizer.ports import Clock, Store


def context_of(store: Store, clock: Clock, actor: str = "ann", **more: Any) -> Context:
    """``more``: ports that the use case asks for; those that are not given are None, and asking one is a fault."""
    given = {"store": store, "clock": clock, "actor": actor, "access": EVERYTHING, **more}
    return Context(**cast("dict[str, Any]", dict.fromkeys(field.name for field in fields(Context)) | given))


def study_context(
    store: Store,
    clock: Clock,
    family: Family,
    models: Any,
    *,
    actor: str = "test",
    usd_per_month: float | None = None,
    scorer: Any = None,
) -> Context:
    """Of what a study of ``family`` is made with."""
    return context_of(
        store,
        clock,
        actor,
        family=lambda name: family,
        families=lambda: SimpleNamespace(problems={}, families={family.name: family}),
        models=lambda: models,
        scorer_for=lambda family: scorer,
        settings=SimpleNamespace(usd_per_month=usd_per_month, max_studies=3),
    )
