"""Variants: the settings that were found, edited or made by a person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.access.auth import Caller, require_family
from api.http.pagination import Cursor, Limit
from api.idempotency import kept
from api.routing import Asking, guarded, router
from api.schemas import VariantBody
from api.services import Services, Shared
from optimizer.core.base.answers import Page, page_of
from optimizer.core.base.errors import NotFound
from optimizer.core.family.variant import VariantRecord
from optimizer.core.views.variant import VariantDiff, VariantView, changes_between, variant_view
from optimizer.jobs.families.create_variant import CreatedVariant, VariantDraft
from optimizer.jobs.families.create_variant import create_variant as create_variant_job
from optimizer.ports import Transaction

routes: APIRouter = router("Variants")
OfFamily = Annotated[str | None, Query(description="Where several families hold the same content: which one is meant")]


THERE = {200: "The family has this variant already."}


@routes.get("/v1/families/{family}/variants", **guarded("read"))
def variants(family: str, shared: Shared, cursor: Cursor = None, limit: Limit = 100) -> Page[VariantView]:
    """All variants of a family, oldest first, whatever their source."""
    records = shared.read(lambda tx: shared.store.variants.of_family(tx, family))
    if not records:
        shared.family(family)
    shown = page_of(records, cursor, limit)
    return Page(items=[variant_view(record) for record in shown.items], next_cursor=shown.next_cursor)


@routes.post("/v1/families/{family}/variants", status_code=201, **guarded("operate", "limited", also=THERE))
def create_variant(
    family: str, body: VariantBody, shared: Shared, request: Request, response: Response
) -> CreatedVariant:
    """A variant made by a person; nothing is served by it.

    200 instead of 201 when the family holds this content already.
    """
    draft = VariantDraft(
        messages=body.messages,
        from_variant=body.from_,
        examples=[example.model_dump() for example in body.examples] if body.examples is not None else None,
        model=body.model,
        policy=body.policy,
        preset=body.preset,
        response_format=body.response_format,
        note=body.note,
    )

    def answer(created: CreatedVariant) -> CreatedVariant:
        if not created.new:
            response.status_code = 200
        response.headers["Location"] = f"/v1/variants/{created.variant}"
        return created

    store = kept(request, shared, response, answer)
    return answer(
        create_variant_job(
            shared.family(family), draft, actor=request.state.caller.actor, store=store, clock=shared.clock
        )
    )


@routes.get("/v1/variants/{variant}", **guarded("read", narrows=True))
def variant(variant: str, shared: Shared, caller: Asking, family: OfFamily = None) -> VariantView:
    """One variant: messages, examples, model settings, tools, response format, policy, and origin."""
    return variant_view(shared.read(lambda tx: _find(tx, shared, caller, variant, family)))


@routes.get("/v1/variants/{variant}/diff", **guarded("read-texts", narrows=True))
def diff(
    variant: str,
    shared: Shared,
    caller: Asking,
    against: Annotated[str, Query(description="`champion`, or the id of another variant of the family")] = "champion",
    family: OfFamily = None,
) -> VariantDiff:
    """What differs from the champion (or another variant): a unified diff of the content,
    and each changed part before and after.
    """

    def both(tx: Transaction) -> tuple[VariantRecord, VariantRecord]:
        after = _find(tx, shared, caller, variant, family)
        other = against
        if against == "champion":
            champion = shared.store.champions.current(tx, after.family)
            if champion is None:
                raise NotFound(f"Family {after.family!r} has no champion to compare with. Name a variant: ?against=v_…")
            other = champion.variant
        return _require(shared.store.variants.get(tx, after.family, other), other, after.family), after

    return changes_between(*shared.read(both))


def _find(tx: Transaction, shared: Services, caller: Caller, variant: str, family: str | None) -> VariantRecord:
    if family is not None:
        require_family(caller, family)
    known = sorted(shared.serving.now_served.families.keys() | shared.families.families.keys())
    names = [family] if family is not None else filter(caller.access.may_see, known)
    found = (shared.store.variants.get(tx, name, variant) for name in names)
    return _require(next((record for record in found if record is not None), None), variant, family)


def _require(record: VariantRecord | None, variant: str | None, family: str | None) -> VariantRecord:
    if record is None:
        where = f"Family {family!r} has" if family is not None else "No family here has"
        raise NotFound(
            f"{where} {'no' if family is not None else 'a'} variant {variant!r}. `detent variant list` shows them.",
            variant=variant,
        )
    return record
