"""Thresholds of a cascade recommended from production: from the store through the reader to estimate and advice."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.steps import draw_of
from optimizer.core.search.cascade.advice import _changed, advise
from optimizer.core.search.cascade.exploration import complete_records, estimate
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.production import Production
from optimizer.core.search.cascade.records import replay
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.studies import recommend_cascade as recommend_cascade_job
from optimizer.jobs.studies.recommend_cascade import (
    CascadeRecommendation,
    RecommendThresholdsRequest,
    RecordedRequests,
    production_of,
    recommend_cascade,
    served_requests,
)
from tests.cases import named
from tests.rows.cascade_traffic import (
    CHEAP,
    STRONG,
    USD,
    Request,
    Traffic,
    cascade_family,
    cascade_variant,
    drawn,
    part,
)
from tests.worlds.contexts import context_of
from tests.worlds.study_world import World, topic_family

SERVED, STRICTER, SHARE = 0.4, 0.75, 0.2
PRESENT = CascadeSetting(tiers=(CHEAP, STRONG), accept=(SERVED,))


def cascade_world(folder: Path, *, accept: float = SERVED, **policy: object) -> World:
    folder.mkdir(exist_ok=True)
    world = World(folder, family=cascade_family())
    world.crown(cascade_variant(world.family, accept, **{"audit_share": SHARE, **policy}))
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return cascade_world(tmp_path)


def serve(
    world: World,
    requests: list[Request],
    rng: random.Random,
    *,
    lost: float = 0.0,
    accept: float = SERVED,
    **policy: Any,
) -> None:
    variant = cascade_variant(world.family, accept, **{"audit_share": SHARE, **policy})
    Traffic(world, variant, rng).serve(requests, lost=lost)


def served(world: World, n: int, *, seed: int = 1, **options: Any) -> None:
    rng = random.Random(seed)
    serve(world, [drawn(rng) for _ in range(n)], rng, **options)


def draft(world: World, from_: str, **fields: Any) -> Any:
    request = VariantRequest(family=world.family.name, from_=from_, **fields)
    return store_draft(world.family, request, actor="test", store=world.store, clock=world.clock)


def read(world: World) -> RecordedRequests:
    return served_requests(world.family, store=world.store, clock=world.clock, hours=24)


def produced(world: World, whole: RecordedRequests | None = None) -> Production:
    return production_of(whole or read(world), world.family, world.scorer)


def recommended(world: World, **options: object) -> CascadeRecommendation:
    asked = RecommendThresholdsRequest.model_validate({"family": world.family.name, "hours": 24.0, **options})
    context = context_of(
        world.store, world.clock, family=lambda name: world.family, scorer_for=lambda family: world.scorer
    )
    return recommend_cascade(context, asked)


def test_weights_that_forget_lost_audits_would_be_wrong(world: World) -> None:
    served(world, 2500, lost=0.6)
    production = produced(world)
    rng = random.Random(8)
    truth = np.mean([drawn(rng).of(STRICTER) for _ in range(20_000)], axis=0)
    setting = CascadeSetting(tiers=(CHEAP, STRONG), accept=(STRICTER,))
    right = estimate(production.records, setting, production.audits)
    assert right.cost_usd.low <= truth[1] <= right.cost_usd.high
    assert right.quality_unbiased.low <= truth[0] <= right.quality_unbiased.high
    naive = estimate(
        production.records, setting, replace(production.audits, share=np.full(len(production.records), SHARE))
    )
    assert not naive.cost_usd.low <= truth[1] <= naive.cost_usd.high
    assert not naive.quality_unbiased.low <= truth[0] <= naive.quality_unbiased.high


def test_what_was_read_and_what_the_scores_are_against_is_counted(world: World) -> None:
    served(world, 600, lost=0.3)
    found = recommended(world)
    audits = found.audits
    assert (found.n_read, found.n_older, found.n_records, found.left_out) == (600, 0, 600, {})
    assert sum(found.references.values()) == 600
    assert 130 < found.references["expected"] < 230
    assert found.references["none"] > found.references["strongest"] > 0
    assert 0 < audits.complete < audits.drawn
    assert (audits.lost, audits.failed) == (audits.drawn - audits.complete, 0)
    assert audits.paid_usd == audits.complete * USD[1]


def test_with_many_records_the_newest_are_read_and_the_others_are_named(world, monkeypatch):
    served(world, 50)
    with monkeypatch.context() as fewer:
        fewer.setattr(recommend_cascade_job, "MOST_RECORDS", 20)
        found = recommended(world)
    assert (found.n_read, found.n_older) == (20, 30)
    whole = read(world)
    assert found.oldest_at == whole.requests[19].interaction.received_at


def test_thresholds_that_lose_too_much_are_changed_for_those_the_confident_rule_finds(tmp_path: Path) -> None:
    world = cascade_world(tmp_path, accept=0.1)
    served(world, 4000, accept=0.1)
    found = recommended(world)
    advice = found.advice
    assert advice.verdict == "change", advice.reason
    assert 0.1 < advice.policy["accept"] < 1
    command = f"detent variant create {world.family.name} --from champion --policy "
    assert found.next == f"{command}accept={advice.policy['accept']}"
    assert advice.estimated.loss.low > advice.margin
    assert advice.estimated_recommended.loss.mean < advice.estimated.loss.mean
    assert advice.audit_cost.extra_usd.mean == pytest.approx(SHARE * USD[1] * 0.9, rel=0.05)
    made = draft(world, found.champion, policy=advice.policy)
    assert made.policy["accept"] == advice.policy["accept"]
    production = produced(world)
    complete = complete_records(production.records, production.audits)
    stored = CascadeSetting(tiers=(CHEAP, STRONG), accept=(advice.policy["accept"],))
    assert replay(complete, stored) == replay(complete, advice.recommended)


def test_requests_of_a_variant_with_other_thresholds_count_at_its_own_share(world: World) -> None:
    served(world, 300)
    other = cascade_variant(world.family, 0.9, audit_share=0.5)
    draft(world, cascade_variant(world.family, SERVED, audit_share=SHARE).id, policy=other.policy)
    served(world, 300, accept=0.9, audit_share=0.5, seed=2)
    found = recommended(world)
    assert found.n_read == 600
    assert len(found.variants) == 2
    assert set(produced(world).audits.share) == {0.5, SHARE}


def test_a_variant_with_another_prompt_is_another_matter(world: World) -> None:
    champion = cascade_variant(world.family, SERVED, audit_share=SHARE)
    messages = [{"role": "system", "content": "Say it."}, *champion.messages[1:]]
    made = draft(world, champion.id, messages=messages)
    other = Variant.from_content({**champion.content(), "messages": messages})
    assert other.id == made.variant
    rng = random.Random(1)
    Traffic(world, other, rng).serve([drawn(rng) for _ in range(20)])
    assert recommended(world).n_read == 0


def test_with_few_audits_it_cannot_tell_and_says_how_many_are_missing(world: World) -> None:
    served(world, 60)
    found = recommended(world)
    n = found.audits.complete
    assert found.advice.verdict == "cannot_tell"
    assert found.advice.audits_missing == 30 - n
    assert found.advice.requests_missing == pytest.approx((30 - n) * 60 / n, abs=1)  # at the pace so far
    assert f"about {30 - n} more would tell" in found.advice.reason
    assert found.advice.estimated is None


def test_where_nothing_is_audited_it_says_so(tmp_path: Path) -> None:
    world = cascade_world(tmp_path, audit_share=0.0)
    served(world, 60, audit_share=0.0)
    advice = recommended(world).advice
    assert (advice.verdict, advice.requests_missing) == ("cannot_tell", None)
    assert "audit_share is 0" in advice.reason


def test_requests_that_are_no_records_are_counted_by_why(world: World) -> None:
    rng = random.Random(1)
    request = replace(drawn(rng, corrected=0.0), sure=0.9)
    serve(world, [request] * 3, rng)
    whole = read(world)
    first = whole.requests[0]
    one = first.interaction
    failed = replace(first, interaction=replace(one, error="timeout"))
    hidden = replace(first, interaction=replace(one, output=None))
    id = next(f"in_{n}" for n in range(99) if draw_of(f"in_{n}") >= SHARE)
    undrawn = replace(
        first, interaction=replace(one, id=id, parts=[part(request, 0, taken=True), part(request, 1, "audit")])
    )
    found = produced(world, replace(whole, requests=[first, failed, hidden, undrawn]))
    assert len(found.records) == 1
    assert sorted(found.left_out.values()) == [1, 1, 1]
    assert {why.split()[0] for why in found.left_out} == {"the", "texts", "asked"}


def passing_over(whole: RecordedRequests, n: int) -> RecordedRequests:
    """Of the first so many requests the strong tier alone was tried."""
    rng = random.Random(5)
    over = [
        replace(one, later=(), interaction=replace(one.interaction, parts=[part(drawn(rng), 1, taken=True)]))
        for one in whole.requests[:n]
    ]
    return replace(whole, requests=[*over, *whole.requests[n:]])


def test_a_request_for_which_a_tier_was_passed_over_is_no_record_and_no_lost_audit(world: World) -> None:
    served(world, 600)
    whole = read(world)
    found = produced(world, passing_over(whole, 300))
    others = produced(world, replace(whole, requests=whole.requests[300:]))
    assert found.counted == others.counted
    assert found.counted.lost == 0
    assert list(found.left_out.values()) == [300]
    assert "the figures are of the others" in next(iter(found.left_out))
    assert estimate(found.records, PRESENT, found.audits) == estimate(others.records, PRESENT, others.audits)


def test_requests_to_come_are_passed_over_as_often(world: World) -> None:
    served(world, 100)
    whole = read(world)
    advice = [
        advise(produced(world, one), whole.policy, explicit_margin=0.05)
        for one in (passing_over(whole, 50), replace(whole, requests=whole.requests[50:]))
    ]
    missing = [one.requests_missing for one in advice]
    assert None not in missing
    assert missing[0] == pytest.approx(2 * missing[1], abs=1)


def test_a_tier_that_skip_left_out_is_asked_by_the_audit_and_stays_a_record(world: World) -> None:
    _, whole = one_served(world)
    (one,) = passing_over(whole, 1).requests
    assert one.policy.cascade is not None
    skips = replace(one.policy, cascade=replace(one.policy.cascade, skip=0.3))
    found = produced(world, replace(whole, requests=[replace(one, policy=skips)]))
    assert (len(found.records), found.left_out) == (1, {})


def one_served(world: World) -> tuple[Request, RecordedRequests]:
    """One request that was corrected, and what the store says of it."""
    rng = random.Random(1)
    request = drawn(rng, corrected=1.0)
    serve(world, [request], rng)
    return request, read(world)


def with_parts(whole: RecordedRequests, parts: Sequence[Mapping[str, Any]], *, output: str) -> RecordedRequests:
    """The same request, with other calls behind its answer."""
    one = whole.requests[0]
    return replace(
        whole, requests=[replace(one, interaction=replace(one.interaction, parts=parts, output=output), later=())]
    )


def test_a_tier_that_failed_is_one_that_was_not_asked(world: World) -> None:
    request, whole = one_served(world)
    parts = [part(request, 0, error="http: 500"), part(request, 1, taken=True)]
    found = produced(world, with_parts(whole, parts, output=request.said(1)))
    assert (found.audits.asked_up_to[0], found.audits.scored_up_to[0]) == (-1, -1)
    assert np.isnan(found.records.confidence[0, 0])


def test_without_a_cascade_it_is_a_study_that_finds_thresholds(tmp_path: Path) -> None:
    world = World(tmp_path, family=topic_family())
    with pytest.raises(Conflict, match="no champion yet"):
        recommended(world)
    world.crown(world.family.variant())
    with pytest.raises(InvalidInput, match="--strategy replay"):
        recommended(world)
    voting = cascade_world(tmp_path / "voting", **{"votes.models": [CHEAP, STRONG]})
    with pytest.raises(InvalidInput, match="vote"):
        recommended(voting)


def test_what_is_not_replayed_is_named(tmp_path: Path) -> None:
    world = cascade_world(tmp_path, refine=0.2)
    served(world, 1200, refine=0.2)
    advice = recommended(world).advice
    assert set(advice.not_replayed) == {"refine"}


REFINED = {"tiers": [CHEAP, STRONG], "accept": 0.95, "refine": 0.9}
LONG = {"tiers": ["small", CHEAP, STRONG], "accept": 0.95, "accept.2": 0.9}
NEAREST = {"examples.index": "x_1"}
TAUGHT = {"small": "st_1"}


@named(
    ("policy", "accept", "changes"),
    {
        "a refine that could never apply": (REFINED, 0.7, {"accept": 0.7, "refine": None}),
        "one that still may": (REFINED, 0.93, {"accept": 0.93}),
        "examples of a tier": ({**LONG, "examples": {"small": 2}}, 0.8, {"examples": None}),
        "of one of two": ({**LONG, "examples": {"small": 2, STRONG: 1}}, 0.8, {"examples": {STRONG: 1}}),
        "nearest ones": (
            {**LONG, "examples": {"small": 2, "nearest": 3}, **NEAREST},
            0.8,
            {"examples": {"nearest": 3}},
        ),
        "a student": ({**LONG, "students": TAUGHT}, 0.8, {"students": None}),
        "one that refuses": ({**LONG, "students": TAUGHT, "refuse": True}, 0.8, {"students": None, "refuse": None}),
        "of two students": ({**LONG, "students": {**TAUGHT, CHEAP: "st_2"}}, 0.8, {"students": {CHEAP: "st_2"}}),
    },
)
def test_what_would_mean_nothing_any_more_is_taken_out(
    policy: dict[str, Any], accept: float, changes: dict[str, Any]
) -> None:
    found = _changed(parse_policy(policy), CascadeSetting(tiers=(CHEAP, STRONG), accept=(accept,)))
    if policy["tiers"] != [CHEAP, STRONG]:
        changes = {"tiers": [CHEAP, STRONG], "accept": accept, "accept.2": None, **changes}
    assert found == changes
    assert parse_policy({**policy, **found}).cascade.models == (CHEAP, STRONG)


def all_the_way(world: World, n: int) -> None:
    """Serves requests that the cheap tier is never sure of."""
    rng = random.Random(1)
    requests = [drawn(rng) for _ in range(n)]
    serve(world, [replace(one, sure=one.sure * 0.9) for one in requests], rng, accept=1.0)


def test_requests_that_ask_all_tiers_by_themselves_need_no_audit(tmp_path: Path) -> None:
    world = cascade_world(tmp_path, accept=1.0)
    all_the_way(world, 20)
    found = recommended(world)
    advice = found.advice
    assert (advice.verdict, advice.audits_missing, advice.requests_missing) == ("cannot_tell", 10, 10)
    assert found.next.endswith("--hours 24, once some 10 more requests were served")
    assert advice.reason == "Each of 20 requests asked all tiers by itself, and about 10 more would tell."
    all_the_way(world, 480)
    advice = recommended(world).advice
    assert advice.estimated.n_known == 500
    assert advice.reason.startswith("cheap at accept ")
    assert "Each of 500 requests asked all tiers by itself" in advice.reason


def test_audits_come_at_the_pace_of_the_requests_that_need_one(world: World) -> None:
    served(world, 100, lost=1.0)
    advice = recommended(world).advice
    production = produced(world)
    lacking = np.mean(production.audits.asked_up_to < 1)
    assert 0.4 < lacking < 0.8
    assert advice.requests_missing == pytest.approx(30 / (SHARE * lacking), abs=1)


def test_what_a_fallback_said_is_no_record_of_the_tier(world: World) -> None:
    request, whole = one_served(world)
    parts = [{**part(request, 0, taken=True), "model": STRONG, "cost_usd": USD[1]}]
    found = produced(world, with_parts(whole, parts, output=request.said(1)))
    assert np.isnan(found.records.confidence[0, 0])
    assert np.isnan(found.records.cost_usd[0, 0])


def test_an_agreement_needs_the_strongest_tiers_answer_and_a_correction_does_not(tmp_path: Path) -> None:
    world = cascade_world(tmp_path, audit_share=0.0)
    rng = random.Random(1)
    requests = [replace(drawn(rng, corrected=share), sure=0.9) for share in (0.0, 1.0)]
    serve(world, requests, rng, audit_share=0.0)
    found = produced(world)
    assert list(found.audits.asked_up_to) == [0, 0]
    assert sorted(found.audits.scored_up_to) == [-1, 0]
    assert found.references == {"expected": 1, "none": 1}
