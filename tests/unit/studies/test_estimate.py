"""What a study will cost, and what is refused before it starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.base.errors import BudgetTooSmall, InvalidInput
from optimizer.core.base.values import Budget, Spread
from optimizer.core.family.variant import MAX_OUTPUT_TOKENS, FewShot, model_faults
from optimizer.core.models.language import ModelPrice
from optimizer.core.search.answer_bounds import longest_allowed, longest_inputs, longest_of, usd_of
from optimizer.core.search.call_estimate import expected_calls, trials_of
from optimizer.core.search.cost_estimate import (
    CallProfile,
    confirmation_usd,
    estimate_study,
    holdout_size,
    search_budget,
)
from optimizer.core.search.strategy_calls import Sizes
from optimizer.core.search.study import Definition
from tests.worlds.study_world import topic_examples, topic_family

PRICE = ModelPrice(input_usd_per_mtok=3.0, output_usd_per_mtok=15.0)


def test_a_call_is_priced_as_if_every_byte_were_a_token_and_every_output_token_used():
    assert usd_of(1000, 100, PRICE) == pytest.approx(1000 * 3e-6 + 100 * 15e-6)


@pytest.mark.parametrize(
    ("available", "n_holdout", "size"), [(500, 100, 100), (60, 100, 60), (500, 400, 400), (0, 100, 0)]
)
def test_the_confirmation_uses_what_the_study_fixes_as_far_as_there_is_so_much(available, n_holdout, size):
    assert holdout_size(available, Definition(n_holdout=n_holdout)) == size


def test_a_variant_with_the_most_examples_of_the_longest_inputs_is_still_allowed_and_one_more_is_not():
    family, definition = topic_family(), Definition(max_examples=2)
    champion = family.variant()
    inputs = longest_inputs(family, topic_examples(3, "dev"))
    allowed = longest_allowed(champion, inputs, definition)
    shot = FewShot(id="e", input=inputs, output="x" * 48)
    assert longest_of(replace(champion, examples=(shot,) * 2), inputs) <= allowed
    assert longest_of(replace(champion, examples=(shot,) * 3), inputs) > allowed


def test_the_longest_answers_that_may_be_asked_for_fill_no_prompt():
    family = topic_family(model={"default": "fake", "max_tokens": MAX_OUTPUT_TOKENS})
    inputs = longest_inputs(family, topic_examples(3, "dev"))
    allowed = longest_allowed(family.variant(), inputs, Definition(max_examples=8))
    assert allowed > 8 * MAX_OUTPUT_TOKENS
    assert model_faults({"max_tokens": MAX_OUTPUT_TOKENS}) == []
    (fault,) = model_faults({"max_tokens": 4_000_000})
    assert "from 1 to 1,000,000" in fault.detail
    assert "too large" in fault.detail


def test_filler_inputs_count_the_bytes_of_the_language_seen():
    family = topic_family()
    greek = [replace(topic_examples(1, "dev")[0], input={"document": "ααα"})]
    assert len(longest_inputs(family, greek)["document"]) == 400
    assert len(longest_inputs(family, [])["document"]) == 200


@pytest.mark.parametrize(
    ("allowed", "lengths", "longest"),
    [
        pytest.param(200, [20] * 19, 200, id="too few to go by: as long as the family allows"),
        pytest.param(200, [20] * 19 + [60], 90, id="the longest seen and half as much again"),
        pytest.param(200, [20] * 19 + [190], 200, id="never longer than the family allows"),
        pytest.param(None, [20] * 19, 4000, id="no limit, and too few to go by"),
        pytest.param(None, [9000], 13500, id="no limit, too few to go by, and one is longer"),
        pytest.param(None, [20] * 19 + [9000], 13500, id="no limit: the longest seen and half as much again"),
    ],
)
def test_a_request_is_taken_as_long_as_the_familys_own_with_a_margin(allowed, lengths, longest):
    (one,) = topic_examples(1, "dev")
    seen = [replace(one, id=f"e{i}", input={"document": "x" * n}) for i, n in enumerate(lengths)]
    family = topic_family(inputs={"document": {"type": "text", "max_chars": allowed}})
    assert len(longest_inputs(family, seen)["document"]) == longest


def test_a_declared_limit_is_kept_but_never_below_the_champion_itself():
    family = topic_family()
    inputs = longest_inputs(family, [])
    for declared, allowed in ((5000, 5000), (1, longest_of(family.variant(), inputs))):
        definition = Definition(max_request_bytes=declared)
        assert longest_allowed(family.variant(), inputs, definition) == allowed


def test_the_reserve_is_for_the_dearest_variant_the_space_holds():
    champion = topic_family().variant()
    dear = ModelPrice(input_usd_per_mtok=30.0, output_usd_per_mtok=150.0)
    prices = {"fake": PRICE, "dear": dear}
    space = {"model": {"choices": ["fake", "dear"]}, "max_tokens": {"int": [8, 50]}}

    def reserved(space: dict) -> float | None:
        return confirmation_usd(champion, space, n_calls=10, longest_bytes=100, price_of=prices.get)

    assert reserved({}) == pytest.approx(10 * usd_of(100, 8, PRICE))
    assert reserved(space) == pytest.approx(10 * usd_of(100, 50, dear))
    assert reserved({"model": {"choices": ["unpriced"]}}) is None


def test_the_search_gets_what_the_confirmation_leaves():
    assert left_of(Budget(usd=1.0, calls=300, minutes=10.0)) == Budget(usd=0.75, calls=100, minutes=5.0)
    assert left_of(Budget(), reserved_usd=9.0, seconds_per_call=9.0) == Budget()
    assert left_of(Budget(usd=0.0), reserved_usd=0.0, seconds_per_call=None).usd == 0.0, "a free model"


def left_of(budget: Budget, **changes: float | None) -> Budget:
    given = {"n_confirmation": 200, "reserved_usd": 0.25, "n_dev": 20, "seconds_per_call": 1.5}
    return search_budget(budget, **{**given, **changes})


@pytest.mark.parametrize(
    ("budget", "figure"),
    [
        pytest.param(Budget(calls=219), "220 calls", id="calls"),
        pytest.param(Budget(calls=0), "220 calls", id="zero calls"),
        pytest.param(Budget(usd=0.2499), "0.2500", id="dollars"),
        pytest.param(Budget(usd=0.0), "0.2500", id="zero dollars"),
        pytest.param(Budget(minutes=4.0), "5.0 minutes", id="minutes"),
        pytest.param(Budget(minutes=0.0), "minutes", id="zero minutes"),
    ],
)
def test_a_budget_that_cannot_pay_for_the_confirmation_is_refused_with_figures(budget, figure):
    with pytest.raises(BudgetTooSmall, match=figure):
        left_of(budget)


def test_calls_are_counted_by_part_with_low_expected_and_high_in_order():
    parts = expected_calls(
        ("bootstrap", "settings"), Sizes(definition=Definition(), n_train=80, n_dev=20), n_holdout=100
    )
    assert list(parts) == ["champion", "bootstrap", "settings", "confirmation"]
    assert parts["champion"] == Spread(low=20, expected=20, high=20)
    assert parts["confirmation"] == Spread(low=0, expected=200, high=200)
    for part in parts.values():
        assert part.low <= part.expected <= part.high
    assert trials_of(("bootstrap", "settings"), Definition()) == 1 + 11 + 8


def test_an_estimate_never_exceeds_the_budget_and_has_no_dollars_without_a_price():
    parts = expected_calls(("bootstrap",), Sizes(definition=Definition(), n_train=80, n_dev=20), n_holdout=100)
    found = estimate_study(parts, CALL, budget=Budget(calls=250, usd=0.1, minutes=3.0), **GIVEN)
    assert found.calls.high == 250
    assert found.usd.low <= found.usd.expected <= found.usd.high == 0.1
    assert found.minutes.high <= 3.0
    assert estimate_study(parts, replace(CALL, price=None), budget=Budget(), **GIVEN).usd is None


def test_a_definition_names_every_fault_at_once():
    with pytest.raises(InvalidInput) as caught:
        Definition.parse({"n_dev": 0, "n_train": "many", "colour": 1, "threshold": 2, "space": []})
    at_fault = {f.pointer.rsplit("/", 1)[1] for f in caught.value.faults}
    assert at_fault == {"n_dev", "n_train", "colour", "threshold", "space"}
    assert Definition.parse({"n_dev": 30}, n_holdout=50) == Definition(n_dev=30, n_holdout=50)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400], ids=["inf", "nan", "huge"])
@pytest.mark.parametrize("name", ["n_dev", "n_replayed", "threshold", "keep_saved", "max_request_bytes"])
def test_a_definition_takes_no_number_beyond_every_range(name, value):
    with pytest.raises(InvalidInput, match=f"/definition/{name} needs"):
        Definition.parse({name: value})


BOTH = {"bootstrap": Spread(low=100, expected=372, high=1120), "settings": Spread(low=0, expected=128, high=160)}
AT_THE_END = {"confirmation": Spread(low=0, expected=200, high=200)}
PARTS = {"champion": Spread(low=20, expected=20, high=20), **BOTH, **AT_THE_END}
GIVEN = {"n_trials": 20, "n_confirmation": 200, "reserved_usd": 1.0}
LENGTHS = {"longest_bytes": 4000, "typical_bytes": 900.0, "max_tokens": 60}
CALL = CallProfile(price=PRICE, seconds=Spread(low=0.1, expected=0.5, high=1.0), concurrency=2, **LENGTHS)


@pytest.mark.parametrize("cap", [220, 221, 400, 600, 719, 720, 1499, 1500, None])
def test_the_parts_of_a_dry_run_add_up_to_its_calls_and_these_keep_to_the_cap(cap):
    found = estimate_study(PARTS, CALL, budget=Budget(calls=cap), **GIVEN)
    assert sum(part.expected for part in found.parts.values()) == found.calls.expected
    assert found.calls.expected == min(720, cap or 720)
    assert sum(part.low for part in found.parts.values()) <= found.calls.high
    for part in found.parts.values():
        assert 0 <= part.low <= part.expected <= part.high


@pytest.mark.parametrize(
    ("cap", "unsure", "enough"),
    [
        pytest.param(220, ("bootstrap", "settings"), {"calls": 1500}, id="champion and confirmation only"),
        pytest.param(1000, ("settings",), {"calls": 1500}, id="the first may take all"),
        pytest.param(1340, ("settings",), {"calls": 1500}, id="the first takes its most and nothing is left"),
        pytest.param(1341, (), {"calls": 1500}, id="one call is left"),
        pytest.param(1500, (), {}, id="enough"),
        pytest.param(None, (), {}, id="no cap"),
    ],
)
def test_a_dry_run_names_who_may_have_no_turn_and_the_cap_that_would_do(cap, unsure, enough):
    found = estimate_study(PARTS, CALL, budget=Budget(calls=cap), **GIVEN)
    assert (tuple(found.no_sure_turn), found.enough) == (unsure, enough)
    again = estimate_study(PARTS, CALL, budget=Budget(**found.enough), **GIVEN)
    assert (again.no_sure_turn, again.enough, again.parts) == ((), {}, PARTS)


def test_dollars_that_are_enough_include_what_the_confirmation_holds_back():
    found = estimate_study(PARTS, CALL, budget=Budget(usd=1.5), **GIVEN)
    assert found.without_a_cap.usd.high > 1.5
    assert found.enough == {"usd": pytest.approx(found.without_a_cap.usd.high + 1.0, abs=0.01)}
