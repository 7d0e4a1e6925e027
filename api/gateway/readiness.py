"""Says whether the gateway is alive and can answer chats, and keeps the embedded model where that needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired

from fastapi import Request, Response
from typing_extensions import TypedDict

from api.gateway.guarded_models import ModelHealth
from api.gateway.model_side import ModelSide, of
from api.routing import guarded, health, router, say_not_ready
from api.services import Services, Shared

routes = router("Operations")


class GatewayStore(TypedDict):
    ok: bool
    age_s: float | None
    detail: str | None


class CallsState(TypedDict):
    ok: bool
    in_work_or_waiting: int


class ProvidersState(TypedDict):
    """One that is paused stops no family: fallbacks answer, and the models of others."""

    ok: bool
    providers: Mapping[str, ModelHealth]


class EmbeddedState(TypedDict):
    """``detail`` says why there are no processes yet."""

    ok: bool
    detail: NotRequired[str]
    processes: NotRequired[int]
    of: NotRequired[int]
    owner_pid: NotRequired[int]
    revision: NotRequired[str]


class GatewayDependencies(TypedDict):
    store: GatewayStore
    model_calls: CallsState
    models: NotRequired[ProvidersState]
    embedded: NotRequired[EmbeddedState]


class GatewayReadiness(TypedDict):
    status: Literal["ready", "not ready"]
    degraded: list[str]
    dependencies: GatewayDependencies


routes.get("/health", **guarded(None))(health)


@routes.get("/ready", **guarded(None))
def ready(request: Request, response: Response, shared: Shared) -> GatewayReadiness:
    """Whether chat can be answered: 503 until the store was read once,
    and while the embedded model is wanted and does not run.
    """
    side = of(request)
    served = shared.serving.now_served
    now = shared.clock.now()
    dependencies = GatewayDependencies(
        store={
            "ok": shared.store_fault is None,
            "age_s": round((now - served.read_at).total_seconds(), 1) if served.read_at is not None else None,
            "detail": shared.store_fault,
        },
        model_calls={"ok": True, "in_work_or_waiting": side.calls.n_held},
    )
    if providers := side.models.health():
        dependencies["models"] = {"ok": all(provider["ok"] for provider in providers.values()), "providers": providers}
    if _wants_embedded(shared, side):
        dependencies["embedded"] = _embedded_state(side)
    can_answer = served.version is not None and ("embedded" not in dependencies or dependencies["embedded"]["ok"])
    if not can_answer:
        say_not_ready(response)
    return {
        "status": "ready" if can_answer else "not ready",
        "degraded": sorted(shared.families.problems),
        "dependencies": dependencies,
    }


def keep_embedded(shared: Services, side: ModelSide) -> None:
    """Owns the embedded model's processes from the start, and again when the process that owned them has ended."""
    if _wants_embedded(shared, side):
        model = side.catalogue.embedded()
        if model is not None:
            model.own()


def _wants_embedded(shared: Services, side: ModelSide) -> bool:
    """Whether anything that is served now names the embedded model; the first call starts it in any case."""
    variants = [item for family in shared.serving.now_served.families.values() for item in family.variants.items()]
    names = {str(variant.model.get("name")) for _, variant in variants}
    for policy in (side.policies.of(id, variant) for id, variant in variants):
        names |= set() if policy is None else policy.models
    return any(side.catalogue.is_embedded(name) for name in names)


def _embedded_state(side: ModelSide) -> EmbeddedState:
    model = side.catalogue.embedded()
    if model is None:
        return {"ok": False, "detail": "not installed; `detent doctor` says which command installs what"}
    owner = model.owner()
    if owner is None:
        return {"ok": False, "detail": "starting"}
    return {
        "ok": bool(owner.urls),
        "processes": len(owner.urls),
        "of": owner.size,
        "owner_pid": owner.pid,
        "revision": owner.revision,
    }
