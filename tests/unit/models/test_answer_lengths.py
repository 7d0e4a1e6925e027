"""Limits of money reserve by measured lengths where a setting says so, and are passed by no more than is stated."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.access.answer_lengths import LEAST, AnswerLengths
from api.access.key_limits import KeySpending
from api.gateway.hourly_money import most_usd
from api.gateway.reader import ClientGone
from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import ModelPrice
from optimizer.core.serving.access import KeyLimits
from tests.clock import Clock
from tests.stand_ins.scripted_model import request
from tests.stores import NOW, new_database

PRICE = ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0)  # a tenth of a cent a token
LONGEST = 100


def measured(*lengths: int) -> AnswerLengths:
    found = AnswerLengths()
    for length in lengths:
        found.add("scripted", length)
    return found


def test_nineteen_of_twenty_answers_stay_below_what_is_reserved_and_it_is_never_more_than_the_longest():
    lengths = measured(*range(1, 101))
    assert lengths.expected("scripted", LONGEST) == 95
    assert lengths.expected("scripted", 40) == 40
    assert lengths.expected("another", LONGEST) == LONGEST
    assert lengths.expected("scripted", None) is None  # nothing bounds it, and a dollar limit refuses it
    assert measured(*[3] * (LEAST - 1)).expected("scripted", LONGEST) == LONGEST


def test_only_the_last_two_hundred_answers_count():
    assert measured(*[90] * 200, *[2] * 200).expected("scripted", LONGEST) == 2


@pytest.mark.parametrize(("lengths", "n_under_way"), [(None, 2), (measured(*[10] * 20), 25)])
def test_more_calls_fit_under_a_keys_dollars_and_it_is_passed_by_what_they_may_be_longer_at_most(
    tmp_path: Path, lengths: AnswerLengths | None, n_under_way: int
):
    limit = 0.25  # dollars: two of the longest answers, or 25 of ten tokens
    store = new_database(tmp_path)
    asked = request(max_tokens=LONGEST)
    assert reservation_usd(asked, PRICE, LONGEST) == pytest.approx(0.1)
    spending = KeySpending("app", KeyLimits(usd_per_day=limit), store, Clock(NOW), lengths)
    answer = type("Answer", (), {"cost_usd": 0.1})()  # each is as long as it can be: the worst case

    async def until_refused() -> int:
        async with AsyncExitStack() as calls:
            for n in range(100):
                try:
                    call: Any = await calls.enter_async_context(spending.call(asked, PRICE, None))
                except ModelFailed:
                    return n
                call.answer = answer
        raise AssertionError("the limit refused nothing")

    assert asyncio.run(until_refused()) == n_under_way
    refused = store.write(lambda tx: store.key_usage.take(tx, "app", "usd_per_day", day(), 0.0001, limit))
    assert refused is (n_under_way == 2)
    overshoot = n_under_way * (0.1 - (0.01 if lengths else 0.1))
    most = limit + overshoot + 0.0002
    within = store.write(lambda tx: store.key_usage.take(tx, "app", "usd_per_day", day(), 0.0001, most))
    assert within, "no more than the calls under way may be longer than was reserved"
    store.close()


@pytest.mark.parametrize("end", [ModelFailed("It took too long.", kind="timeout"), ClientGone()])
def test_a_call_that_is_cut_short_counts_as_the_longest_however_little_was_reserved(tmp_path: Path, end: Exception):
    store, limit = new_database(tmp_path), 0.25
    spending = KeySpending("app", KeyLimits(usd_per_day=limit), store, Clock(NOW), measured(*[10] * 20))

    async def cut_short() -> None:
        async with spending.call(request(max_tokens=LONGEST), PRICE, None) as call:
            call.is_sent = True
            raise end

    for _ in range(2):
        with pytest.raises(type(end)):
            asyncio.run(cut_short())
    for rest, fits in ((0.0501, False), (0.05, True)):
        taken = store.write(lambda tx, usd=rest: store.key_usage.take(tx, "app", "usd_per_day", day(), usd, limit))
        assert taken is fits
    store.close()


def day() -> Any:
    return NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def test_the_hours_money_reserves_by_measured_lengths_too():
    class Catalogue:
        max_output_tokens = LONGEST
        retries, fallbacks = 0, ()

        def price(self, name: str) -> ModelPrice:
            return PRICE

        def describe(self, name: str) -> Any:
            return self

    def most(lengths: AnswerLengths | None) -> float:
        asked = request(max_tokens=LONGEST)
        return most_usd(asked, ["scripted"], Catalogue(), limit=1.0, said_by="x", lengths=lengths)  # type: ignore[arg-type]

    assert most(None) == pytest.approx(0.1)
    assert most(measured(*[10] * 20)) == pytest.approx(0.01)
