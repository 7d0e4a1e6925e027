"""What a study will cost: calls, dollars and minutes, each with a range, and the reserve for its confirmation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, inf
from typing import Any, cast

from optimizer.core.base.errors import BudgetTooSmall, InvalidInput
from optimizer.core.base.values import NONE, Budget, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import BYTES_PER_TOKEN, request_bytes
from optimizer.core.models.language import PROPOSAL_TOKENS, ModelPrice
from optimizer.core.search.answer_bounds import (
    DEFAULT_MAX_TOKENS,
    NO_JUDGE,
    JudgingCost,
    answers_alone,
    calls_per_answer,
    judging_cost,
    longest_answer,
    longest_nearest,
    models_of,
    policy_judgements,
    usd_of,
)
from optimizer.core.search.run_off import RUN_OFF
from optimizer.core.search.study import KEEP, Definition

REFLECTED_ON = 3  # training examples of one reflection, which parent and child answer (Agrawal et al. 2025)
SUMMARISED = 10  # training examples in one call of DSPy's proposer
# The most for an item from whose text a score is learned; the two scores of 1,163 items took 20 s of a core.
LEARNED_S = 0.06
REPLAYED_PER_S = 1e6  # the least number of pairs of setting and item


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateTotals:
    """What the whole study takes. ``usd`` is None where a model has no known price."""

    calls: Spread
    usd: Spread | None
    minutes: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """The answer of a dry run.

    ``usd`` is None where the model has no known price; ``reserved_usd`` is the confirmation's. ``parts``: calls of the
    champion, of each strategy and of the confirmation, as the budget's calls leave room for them. ``no_sure_turn``:
    strategies that get no call if those before them take their most. ``enough``: caps of calls, usd and minutes under
    which every part comes to its end. ``models``: whose prices these are, the serving champion's first. ``truncated``:
    input -> train and dev examples in which it is cut. ``n_refused``: examples left out because serving refuses inputs
    so long. ``n_unreleased``: train examples left out because nobody released them. ``remarks``: sentences on the rows,
    on what is left out or missing, and on what to do.
    """

    calls: Spread
    usd: Spread | None
    minutes: Spread
    n_trials: int
    n_confirmation_calls: int
    reserved_usd: float | None
    longest_request_bytes: int
    parts: Mapping[str, Spread]
    without_a_cap: EstimateTotals
    no_sure_turn: Sequence[str] = ()
    enough: Mapping[str, float] = field(default_factory=dict)
    models: Sequence[str] = ()
    truncated: Mapping[str, int] = field(default_factory=dict)
    n_refused: int = 0
    n_unreleased: int = 0
    remarks: Sequence[str] = ()


def confirmation_usd(
    champion: Variant,
    space: Mapping[str, Any],
    *,
    n_calls: int,
    longest_bytes: int,
    price_of: Callable[[str], ModelPrice | None],
    tiers: Sequence[str] = (),
    judged_usd: float | None = 0.0,
) -> float | None:
    """The most that the confirmation may cost, whichever variant of the space wins; None where a price is unknown.

    Args:
        n_calls: calls that answer.
        judged_usd: the most that judging these answers may cost; None where a price is unknown.
    """
    prices = [price_of(name) for name in models_of(champion, space, tiers)]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices) or judged_usd is None:
        return None
    return n_calls * max(usd_of(longest_bytes, longest_answer(champion, space), price) for price in known) + judged_usd


def confirmation_calls(n_holdout_selected: int, per_answer: int = 1) -> int:
    """Calls of the confirmation: champion and winner, once on each selected holdout example, with all calls of a
    policy.
    """
    return 2 * n_holdout_selected * per_answer


def holdout_size(available: int, definition: Definition) -> int:
    """The number of holdout examples: what the definition fixes, as far as there are so many.

    A definition that does not say asks for ``gates.n``, or for more where a loss must be ruled out.
    """
    return min(available, definition.n_holdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProfile:
    """What one call of a study is like.

    Args:
        price: None where it is unknown.
        proposals_price: of the proposer's model, which answers the part PROPOSALS.
        judging: of each answer; its calls are among those of every part but PROPOSALS.
    """

    longest_bytes: int
    typical_bytes: float
    max_tokens: int
    price: ModelPrice | None
    seconds: Spread
    concurrency: int
    proposals_price: ModelPrice | None = None
    judging: JudgingCost = NO_JUDGE


def estimate_study(
    parts: Mapping[str, Spread],
    call: CallProfile,
    *,
    budget: Budget,
    n_trials: int,
    n_confirmation: int,
    reserved_usd: float | None,
) -> CostEstimate:
    """Puts prices and durations on the calls, and never exceeds the budget."""
    price, proposals_price, judging = call.price, call.proposals_price, call.judging

    def totals(parts: Mapping[str, Spread], cap: int | None) -> EstimateTotals:
        proposals = parts.get(PROPOSALS, NONE)
        calls = total(parts).capped(cap)
        own = total({name: part for name, part in parts.items() if name != PROPOSALS}).capped(cap)
        answers = own.with_each(lambda n, each: n / (1 + each), judging.calls)
        judged_usd = judging.usd_of(own - answers)
        usd = None
        if price is not None and judged_usd is not None and (proposals == NONE or proposals_price is not None):
            tokens = call.typical_bytes / BYTES_PER_TOKEN
            usd = judged_usd + answers * Spread(
                low=usd_of(tokens * 0.8, 1, price),
                expected=usd_of(tokens, call.max_tokens / 2, price),
                high=usd_of(call.longest_bytes / BYTES_PER_TOKEN, call.max_tokens, price),
            )
            if proposals_price is not None:  # each proposal shows about three examples, at most ten, and may be long
                usd += proposals * Spread(
                    low=0,
                    expected=usd_of(REFLECTED_ON * tokens, PROPOSAL_TOKENS / 2, proposals_price),
                    high=usd_of(SUMMARISED * tokens, PROPOSAL_TOKENS, proposals_price),
                )
        return EstimateTotals(calls=calls, usd=usd, minutes=calls * call.seconds * (1 / 60 / max(1, call.concurrency)))

    shared = within(parts, budget.calls)
    whole, cut = totals(parts, None), totals(shared, budget.calls)
    # For each cap that may cut the study short, the one that does not. The confirmation reserves its dollars, however
    # little it comes to cost.
    most: dict[str, float] = {"calls": ceil(whole.calls.high), "minutes": ceil(whole.minutes.high)}
    if whole.usd is not None:
        most["usd"] = ceil((whole.usd.high + (reserved_usd or 0.0)) * 100) / 100
    return CostEstimate(
        calls=cut.calls,
        usd=cut.usd.capped(budget.usd) if cut.usd is not None else None,
        minutes=cut.minutes.capped(budget.minutes),
        n_trials=n_trials,
        n_confirmation_calls=n_confirmation,
        reserved_usd=reserved_usd,
        longest_request_bytes=call.longest_bytes,
        parts=shared,
        without_a_cap=whole,
        no_sure_turn=without_a_sure_turn(parts, budget.calls),
        enough={
            name: amount
            for name, amount in most.items()
            if (allowed := getattr(budget, name)) is not None and allowed < amount
        },
    )


def calls_within(budget: Budget, estimate: CostEstimate) -> int | None:
    """Calls that every cap pays for, the confirmation's included: each as dear and as slow as the estimate's upper end.

    None where no cap bounds them, as dollars do not where the model is free.
    """
    whole, most = estimate.without_a_cap, [inf if budget.calls is None else budget.calls]
    if budget.usd is not None and whole.usd is not None and whole.usd.high:
        usd = budget.usd - (estimate.reserved_usd or 0.0)
        most.append(estimate.n_confirmation_calls + usd * whole.calls.high / whole.usd.high)
    if budget.minutes is not None and whole.minutes.high:
        most.append(budget.minutes * whole.calls.high / whole.minutes.high)
    return floor(min(most)) if min(most) < inf else None


def estimate_evaluation(
    variants: Sequence[Variant],
    examples: Sequence[Example],
    family: Family,
    price_of: Callable[[str], ModelPrice | None],
    *,
    are_judged: bool = True,
    students: Collection[str] = (),
) -> tuple[Spread, Spread | None]:
    """(calls, dollars) of asking each variant each example once, and a judge about each answer where one scores the
    family.

    Dollars are None where a model has no known price. The lower end is nothing: the journal may have all answers. How
    many calls a policy takes for an answer is not known before, so the most are expected. The upper end in dollars
    counts each byte as a token, the dearest model, and every output token that is allowed.

    Args:
        are_judged: False where no answer is scored by the judge, as where answers are only timed. A gate asks it all
            the same.
        students: tiers that answer without a call.
    """
    calls, expected_usd, most_usd = 0, 0.0, 0.0
    n_judged, usd, is_priced = NONE, cast("Spread | None", NONE), True
    for variant in variants:
        per_answer = 0 if answers_alone(variant) else calls_per_answer(variant, {}, students=students)
        prices = [price_of(name) for name in models_of(variant, {})] if per_answer else []
        is_priced = is_priced and None not in prices
        max_tokens = int(variant.model.get("max_tokens") or DEFAULT_MAX_TOKENS)
        params = {"tools": variant.tools, "response_format": variant.response_format}
        for example in examples:
            try:
                n_bytes = request_bytes(render(variant, example.input, declared=family.inputs), params)
                n_bytes += longest_nearest(variant, example.input)
            except InvalidInput:  # an input is missing, so no model is called
                continue
            calls += per_answer
            expected_usd += per_answer * max(
                (usd_of(n_bytes / BYTES_PER_TOKEN, max_tokens / 2, p) for p in prices if p), default=0.0
            )
            most_usd += per_answer * max((usd_of(n_bytes, max_tokens, p) for p in prices if p), default=0.0)
            if not are_judged and not policy_judgements(variant):
                continue
            texts = {name: str(value) for name, value in example.input.items()}
            judging = judging_cost(family, texts, [example], max_tokens, price_of, n_gate=policy_judgements(variant))
            n_judged, usd = n_judged + judging.calls, None if usd is None or judging.usd is None else usd + judging.usd
    return Spread(low=0, expected=calls, high=calls) + n_judged, (
        Spread(low=0, expected=expected_usd, high=most_usd) + usd if is_priced and usd is not None else None
    )


def replay_estimate(definition: Definition, n_items: int) -> CostEstimate:
    """The estimate of a study that calls no model: only time, from 10^6 items a second (a slow machine) to ten times
    that.

    Where a score is learned for what is to be kept, that takes most of the time, and one policy is proposed.
    """
    is_learned = any(getattr(definition, name) is not None for name in KEEP)
    slowest_s = LEARNED_S * n_items if is_learned else definition.n_replayed * n_items / REPLAYED_PER_S
    minutes = Spread(low=slowest_s / 600, expected=slowest_s / 200, high=slowest_s / 60)
    return CostEstimate(
        calls=NONE,
        usd=NONE,
        minutes=minutes,
        n_trials=2 if is_learned else 1 + definition.n_settings,
        n_confirmation_calls=0,
        reserved_usd=0.0,
        longest_request_bytes=0,
        parts={},
        without_a_cap=EstimateTotals(calls=NONE, usd=NONE, minutes=minutes),
    )


def search_budget(
    budget: Budget, *, n_confirmation: int, reserved_usd: float | None, n_dev: int, seconds_per_call: float | None
) -> Budget:
    """What the search may spend once the confirmation is set aside.

    Raises:
        BudgetTooSmall: nothing would be left for the champion's evaluation. The sentence has the figures.
    """
    calls = None if budget.calls is None else budget.calls - n_confirmation
    if calls is not None and calls < n_dev:
        raise BudgetTooSmall(
            f"A budget of {budget.calls} calls cannot pay for this study: its confirmation needs {n_confirmation} calls"
            f" and the champion's own evaluation {n_dev}. Give at least {n_confirmation + n_dev} calls and what the"
            " search may use, or lower n_holdout or n_dev.",
            n_confirmation_calls=n_confirmation,
            n_required=n_confirmation + n_dev,
            n_given=budget.calls,
        )
    usd, minutes = budget.usd, budget.minutes
    if usd is not None and reserved_usd is not None:
        if usd < reserved_usd or (usd <= 0 and reserved_usd > 0):
            raise BudgetTooSmall(
                f"A budget of ${usd:.4f} cannot pay for this study: its confirmation alone reserves ${reserved_usd:.4f}"
                f" ({n_confirmation} calls at the longest allowed request). Give more, lower n_holdout, or set"
                " max_request_bytes in the definition.",
                reserved_usd=reserved_usd,
                given_usd=usd,
            )
        usd = usd - reserved_usd
    if minutes is not None:
        needed = 0.0 if seconds_per_call is None else n_confirmation * seconds_per_call / 60
        if minutes <= 0 or minutes < needed:
            raise BudgetTooSmall(
                f"A budget of {minutes:g} minutes cannot pay for this study: its confirmation is expected to take"
                f" {needed:.1f} minutes. Give more, or lower n_holdout.",
                required_minutes=needed,
                given_minutes=minutes,
            )
        minutes = minutes - needed
    return Budget(usd=usd, calls=calls, minutes=minutes)


CONFIRMATION, CHAMPION, PROPOSALS = "confirmation", "champion", "proposals"  # names of the parts beside the strategies
LAST = "replay"  # the strategy whose turn is kept: a student costs no call, and most of the other answers are there
FIRST = (CHAMPION, PROPOSALS)  # parts that are paid for before, or along with, the first strategy


def total(parts: Mapping[str, Spread]) -> Spread:
    return sum(parts.values(), start=NONE)


def within(parts: Mapping[str, Spread], cap: int | None) -> dict[str, Spread]:
    """The parts under a cap: the confirmation is set aside, the champion comes first, then one strategy after the
    other.

    Expected calls add up to what the whole study is expected to make. The least that a part has is what remains when
    the others take their most, and the other way round.
    """
    if cap is None:
        return dict(parts)
    room = max(0.0, cap - parts.get(CONFIRMATION, NONE).high)
    n_kept = _kept_of(parts, room)
    rest = Spread.exactly(room - n_kept)
    spreads = {CONFIRMATION: parts[CONFIRMATION].capped(cap)} if CONFIRMATION in parts else {}
    for name in _in_turn(parts):
        part = parts[name]
        if name == LAST:
            rest += Spread.exactly(n_kept)
        spreads[name] = calls = part.capped(rest)
        rest = Spread(
            low=max(0.0, rest.low - part.high), expected=rest.expected - calls.expected, high=rest.high - calls.low
        )
    return {name: spreads[name] for name in parts}


def without_a_sure_turn(parts: Mapping[str, Spread], cap: int | None) -> tuple[str, ...]:
    """The strategies that get no call under the cap if those before them take their most."""
    if cap is None:
        return ()
    room = cap - parts.get(CONFIRMATION, NONE).high
    n_kept = _kept_of(parts, room)
    unsure, room = [], room - n_kept
    for name in _in_turn(parts):
        if name == LAST:
            room = max(0.0, room) + n_kept
        if room <= 0 and name not in (*FIRST, RUN_OFF) and parts[name].high > 0:
            unsure.append(name)
        room -= parts[name].high
    return tuple(unsure)


def kept_for_last(n_calls: float, room: float) -> int:
    """Calls that the other strategies leave over for the last one, which would take ``n_calls``: half of the room."""
    return max(0, int(min(n_calls, room / 2)))


def _kept_of(parts: Mapping[str, Spread], room: float) -> int:
    first = sum(parts[name].high for name in FIRST if name in parts)
    return kept_for_last(parts[LAST].expected, room - first) if LAST in parts else 0


def _in_turn(parts: Mapping[str, Spread]) -> list[str]:
    others = [name for name in parts if name not in (*FIRST, CONFIRMATION)]
    return [name for name in FIRST if name in parts] + others
