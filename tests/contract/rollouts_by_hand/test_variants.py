"""Variants and overrides by hand."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta

import pytest
from pydantic import ValidationError

from optimizer.core.base.errors import InvalidInput, NotFound, PreconditionFailed, StaleVersion
from optimizer.core.dataset.examples import make_example, split_of
from optimizer.core.serving.assignment import OVERRIDE_SALT, Override, unit_hash
from optimizer.jobs.champions.read_variants import VariantsRequest, read_variants
from optimizer.jobs.families.create_variant import NONE_SAVED, VariantRequest
from optimizer.jobs.rollouts.put_override import OverrideRequest, put_override
from tests.contract.rollouts_by_hand.world import T0, F, audited, family
from tests.worlds.contexts import context_of


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "give `messages`, or `from` with the variant to start from"),
        ({"messages": [{"role": "user", "content": "{{document}}"}], "examples": [{"id": "e"}]}, "examples.0.input"),
    ],
)
def test_a_request_for_nothing_or_with_half_an_example_is_refused(asked, said):
    with pytest.raises(ValidationError, match=said):
        VariantRequest(family=F, **asked)


def test_the_same_content_is_one_variant_whoever_makes_it(acts, candidate):
    again = acts.draft(messages=[{"role": "user", "content": "In one sentence: {{document}}"}], actor="bob")
    assert not again.new
    assert again.created_by == "ann"


def test_a_variant_from_another_keeps_what_is_not_changed(acts, candidate):
    warmer = acts.draft(from_=candidate, model={"temperature": 0.7}, actor="bob")
    assert warmer.parent == candidate
    assert warmer.model["temperature"] == 0.7
    assert warmer.messages[0]["content"] == "In one sentence: {{document}}"


USER, SHOT = [{"role": "user", "content": "{{document}}"}], {"id": "e", "output": "b"}


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        ({"messages": [{"role": "user", "content": "{{dokument}}"}]}, "dokument"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "no input stands"),
        ({"messages": [{"role": "user"}]}, "needs a text"),
        ({"messages": [{"role": "user", "content": "{{document}} \ud800"}]}, "cannot be written as JSON"),
        ({"messages": USER, "model": {"temperature": float("nan")}}, "temperature is .*, not nan"),
        ({"messages": USER, "examples": [{**SHOT, "input": {"document": float("nan")}}]}, "cannot be written as JSON"),
        ({"messages": USER, "examples": [{**SHOT, "input": {"text": "a"}}]}, "has text; needed: document"),
    ],
)
def test_what_could_not_be_served_is_no_variant(acts, draft, said):
    with pytest.raises(InvalidInput, match=said):
        acts.draft(**draft)


@pytest.mark.parametrize("group", [None, "customer-1"], ids=["by its input", "with a group of its own"])
def test_what_a_sealed_example_asks_is_no_few_shot_under_whatever_id(acts, store, clock, candidate, group):
    rows = [
        make_example(
            id=f"e{n}",
            family=F,
            input={"document": f"A sealed report on river {n}."},
            expected={"summary": "x"},
            origin="curated",
            created_at=clock.now(),
            group=group and f"{group}-{n}",
        )
        for n in range(40)
    ]
    store.write(lambda tx: store.examples.add(tx, rows))
    sealed = next(row for row in rows if row.split == "holdout")
    shot = {"id": "mine", "input": dict(sealed.input), "output": "x"}
    with pytest.raises(InvalidInput, match="belongs to the sealed holdout"):
        acts.draft(from_=candidate, examples=[shot], actor="b")


@pytest.mark.parametrize(
    ("released", "examples_from", "passes"),
    [([False], "reviewed", False), ([False, True], "reviewed", True), ([False], "any", True)],
    ids=["nobody released it", "the same was released", "the family treats all as released"],
)
def test_what_an_unreleased_example_asks_is_no_few_shot_under_whatever_id(
    acts, store, clock, candidate, released, examples_from, passes
):
    groups = [group for group in map(str, range(40)) if split_of(group) == "train"]
    rows = [
        make_example(
            id=f"ia_{n}",
            family=F,
            input={"document": "A private report.", "more": n},
            expected={"summary": "x"},
            origin="interaction",
            created_at=clock.now(),
            group=groups[n],
            released=is_released,
        )
        for n, is_released in enumerate(released)
    ]
    store.write(lambda tx: store.examples.add(tx, rows))
    own = family()
    own = own.model_copy(update={"privacy": own.privacy.model_copy(update={"examples_from": examples_from})})
    shot = {"id": "mine", "input": {"document": "a private  report."}, "output": "x"}
    with nullcontext() if passes else pytest.raises(InvalidInput, match="comes from production and is not released"):
        assert acts.draft(of=own, from_=candidate, examples=[shot]).new


def test_a_draft_is_listed_once_it_is_saved(acts, store, clock, candidate):
    tried = acts.draft(from_=candidate, model={"temperature": 0.7}, listed=False)
    assert (tried.new, tried.source, "variant.try" in audited(store)) == (True, "draft", True)
    assert tried.variant not in listed(store, clock)
    with store.read() as tx:
        assert store.variants.get(tx, F, tried.variant) is not None, "who knows its id finds it"
    clock.pass_seconds(5)
    saved = acts.draft(from_=tried.variant, note="warmer", actor="bob")
    assert (saved.new, saved.source, saved.note, saved.created_by) == (True, "person", "warmer", "bob")
    assert (saved.parent, saved.created_at) == (candidate, clock.now())
    assert listed(store, clock)[-1] == tried.variant
    assert acts.draft(from_=tried.variant, listed=False, actor="cleo").source == "person"


def test_a_draft_that_is_put_to_use_is_listed(acts, store, clock, candidate):
    drafts = [acts.draft(from_=candidate, model={"temperature": heat}, listed=False).variant for heat in (0.5, 0.6)]
    started = acts.start(drafts[0], actor="bob", confirm=F)
    acts.operate(started.id, "reject", actor="bob", reason="no")
    acts.set_champion(drafts[1], reason="outage", confirm=F)
    assert set(drafts) <= set(listed(store, clock))


def test_the_second_of_two_who_edit_is_told_and_may_save_beside_the_first(acts, clock, candidate):
    def save(actor, heat, expect):
        return acts.draft(from_=candidate, model={"temperature": heat}, expect=expect, actor=actor)

    clock.pass_seconds(5)
    first = save("bob", 0.5, candidate)
    clock.pass_seconds(5)
    with pytest.raises(StaleVersion, match=f"bob saved {first.variant} of {F}") as told:
        save("cleo", 0.6, candidate)
    assert told.value.members["variant"] == first.variant
    assert save("bob", 0.5, candidate).new is False, "the same text again is no other one"
    assert save("cleo", 0.6, first.variant).new
    with pytest.raises(StaleVersion):
        save("dora", 0.7, NONE_SAVED)


def listed(store, clock):
    return [one.variant for one in read_variants(context_of(store, clock), VariantsRequest(family=F)).items]


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
    store.write(lambda tx: store.family_names.rename(tx, F, "digests", clock.now()))
    again = asked.model_copy(update={"if_match": put.etag})
    assert put_override(context, again).etag == put.etag, "under the former name too"
    for no_such in ({"variant": "v_0"}, {"family": "nothing"}):
        with pytest.raises(NotFound):
            put_override(context, asked.model_copy(update=no_such))
    for wrong in ({"unit": ""}, {"until": until.replace(tzinfo=None)}):
        with pytest.raises(ValidationError):
            OverrideRequest(**{**asked.model_dump(), **wrong})
