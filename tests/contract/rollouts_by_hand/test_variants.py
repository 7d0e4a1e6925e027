"""Variants and overrides by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from optimizer.core.base.errors import InvalidInput, NotFound, PreconditionFailed
from optimizer.core.serving.assignment import OVERRIDE_SALT, Override, unit_hash
from optimizer.jobs.families.create_variant import VariantDraft, store_draft
from optimizer.jobs.rollouts.put_override import OverrideRequest, put_override
from tests.contexts import context_of
from tests.contract.rollouts_by_hand.world import (
    T0,
    F,
    audited,
    family,
)


def test_the_same_content_is_one_variant_whoever_makes_it(store, clock, candidate):
    draft = VariantDraft(messages=[{"role": "user", "content": "In one sentence: {{document}}"}])
    again = store_draft(family(), draft, actor="bob", store=store, clock=clock)
    assert not again.new
    assert again.created_by == "ann"


def test_a_variant_from_another_keeps_what_is_not_changed(store, clock, candidate):
    warmer = store_draft(
        family(),
        VariantDraft(from_variant=candidate, model={"temperature": 0.7}),
        actor="bob",
        store=store,
        clock=clock,
    )
    assert warmer.parent == candidate
    assert warmer.model["temperature"] == 0.7
    assert warmer.messages[0]["content"] == "In one sentence: {{document}}"


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (VariantDraft(), "give messages"),
        (VariantDraft(messages=[{"role": "user", "content": "{{dokument}}"}]), "dokument"),
        (VariantDraft(messages=[{"role": "user", "content": "Hello"}]), "no input stands"),
        (VariantDraft(messages=[{"role": "user"}]), "needs a text"),
        (VariantDraft(messages=[{"role": "user", "content": "{{document}} \ud800"}]), "cannot be written as JSON"),
        (
            VariantDraft(messages=[{"role": "user", "content": "{{document}}"}], model={"temperature": float("nan")}),
            "temperature is .*, not nan",
        ),
        (
            VariantDraft(
                messages=[{"role": "user", "content": "{{document}}"}],
                examples=[{"id": "e", "input": {"document": float("nan")}, "output": "b"}],
            ),
            "cannot be written as JSON",
        ),
        (
            VariantDraft(messages=[{"role": "user", "content": "{{document}}"}], examples=[{"id": "e"}]),
            "an example needs",
        ),
        (
            VariantDraft(
                messages=[{"role": "user", "content": "{{document}}"}],
                examples=[{"id": "e", "input": {"text": "a"}, "output": "b"}],
            ),
            "has text; needed: document",
        ),
    ],
)
def test_what_could_not_be_served_is_no_variant(store, clock, draft, said):
    with pytest.raises(InvalidInput, match=said):
        store_draft(family(), draft, actor="ann", store=store, clock=clock)


def test_an_override_serves_one_unit_and_counts_in_no_arm(store, clock, candidate):
    until = T0 + timedelta(hours=1)
    context = context_of(store, clock, hmac_unit=lambda unit: f"hmac of {unit}")
    asked = OverrideRequest(family=F, unit="ann", variant=candidate, until=until)
    put = put_override(context, asked)
    with store.read() as tx:
        ((of, unit, override),) = store.overrides.active(tx, clock.now())
    salted = unit_hash(f"hmac of {OVERRIDE_SALT}", "ann")
    assert (of, unit, override) == (F, "hmac of ann", Override(candidate, until, salted))
    assert "override.put" in audited(store)
    assert put_override(context, asked.model_copy(update={"if_match": put.etag})) == put
    with pytest.raises(PreconditionFailed):
        put_override(context, asked.model_copy(update={"if_none_match": "*"}))
    for no_such in ({"variant": "v_0"}, {"family": "nothing"}):
        with pytest.raises(NotFound):
            put_override(context, asked.model_copy(update=no_such))
    for wrong in ({"unit": ""}, {"until": until.replace(tzinfo=None)}):
        with pytest.raises(ValidationError):
            OverrideRequest(**{**asked.model_dump(), **wrong})
