"""What counts against an hour's money: answers, calls under way, and attempts that were billed without an answer."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from sqlalchemy import select

from api.access.key_limits import KeySpending
from api.gateway.guarded_models import GuardedModels
from api.gateway.hourly_money import HourlyMoney, most_usd
from api.gateway.metrics import Metrics
from api.gateway.reader import ClientGone
from api.http.problems import MoneySpent
from optimizer.adapters.store.tables.operators import KEY_USAGE
from optimizer.core.base.errors import ModelFailed, NotFound
from optimizer.core.models.breaker import BreakerSettings
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import ModelPrice
from optimizer.core.serving.access import KeyLimits
from tests.clock import Clock
from tests.stand_ins.scripted_model import ScriptedModel, always, failed, request
from tests.stores import new_database
from tests.unit.models.test_model_guards import Facts, Shelf, Sink, ask

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)
DEAR = ModelPrice(input_usd_per_mtok=10.0, output_usd_per_mtok=100.0)
MOST_USD = reservation_usd(request(), PRICE)  # of one attempt that asks for 20 tokens


def require_left(money: HourlyMoney, limit: float = 1.0) -> None:
    money.require_left("f", limit, NOW, whose="Family 'f'", said_by="limits.usd_per_hour")


def test_calls_under_way_count_at_the_most_that_they_may_cost_until_they_end() -> None:
    money = HourlyMoney()
    with money.under_way("f", 0.6):
        require_left(money)
        with money.under_way("f", 0.6), pytest.raises(MoneySpent) as refused:
            require_left(money)
        require_left(money)
    assert "calls under way may cost $1.2000 more" in refused.value.detail
    assert refused.value.members["retry_after_s"] < 10, "not the next hour: it is there again once they cost less"
    require_left(money)
    with money.under_way("g", 5.0):
        require_left(money)


def test_a_limit_that_is_reached_says_when_the_next_hour_begins() -> None:
    money = HourlyMoney()
    money.add("f", 1.0, NOW)
    with pytest.raises(MoneySpent) as refused:
        require_left(money)
    assert refused.value.members["retry_after_s"] == 1800


def test_what_was_counted_under_a_clock_that_ran_ahead_holds_nothing_back_once_it_is_put_right() -> None:
    money = HourlyMoney()
    money.add("f", 1.0, NOW + timedelta(hours=6))
    require_left(money)


def test_who_looked_at_the_clock_right_before_an_hour_ended_changes_nothing_of_what_the_next_one_has_spent() -> None:
    money, hour, store = HourlyMoney(), NOW.replace(minute=0), MagicMock()
    store.events.cost_usd.return_value = 9.0  # of the hour before
    before = hour - timedelta(milliseconds=100)
    money.add("f", 0.4, hour)
    assert money.spent_usd("f", before) == money.spent_usd("f", hour) == 0.4
    money.read(store, ["f"], before)
    assert money.spent_usd("f", hour) == 0.4


class Catalogue:
    """``backed`` is asked once more and then its fallbacks, of which ``dear`` costs ten times as much as it does."""

    def __init__(self) -> None:
        self.prices = {"priced": PRICE, "unpriced": None, "backed": PRICE, "dear": DEAR}

    def price(self, name: str) -> ModelPrice | None:
        if name not in self.prices:
            raise NotFound(f"no model {name}")
        return self.prices[name]

    def describe(self, name: str) -> Any:
        if name == "backed":
            return Facts(max_output_tokens=7, retries=1, fallbacks=("dear", "unpriced", "no such"))
        return Facts(max_output_tokens=7)


def most(*names: str, fallbacks: bool = True, **params: Any) -> float:
    said_by = "limits.usd_per_hour"
    return most_usd(request(**params), names, Catalogue(), limit=1.0, said_by=said_by, fallbacks=fallbacks)


def test_a_call_may_cost_as_much_as_its_request_and_the_longest_answer_of_each_attempt_it_may_make() -> None:
    assert most("priced", "no such") == pytest.approx(MOST_USD)
    assert most("priced", "backed", fallbacks=False) == pytest.approx(2 * MOST_USD)
    assert most("priced", "backed") == pytest.approx((2 + 10) * MOST_USD), "a fallback without a price counts nothing"
    of_seven = MOST_USD - 13 * 10 / 1e6
    assert most("priced", max_tokens=None) == pytest.approx(of_seven), "the model's own limit is 7 tokens"


def test_calls_that_a_dearer_fallback_answers_pass_the_limit_by_one_at_most() -> None:
    money, n_admitted, limit, dear_usd = HourlyMoney(), 0, 100 * MOST_USD, 10 * MOST_USD
    with ExitStack() as calls, suppress(MoneySpent):
        while n_admitted < 1000:
            require_left(money, limit)
            calls.enter_context(money.under_way("f", most("backed")))
            n_admitted += 1
    assert dear_usd < n_admitted * dear_usd <= limit + dear_usd


def test_a_call_that_may_cost_more_than_the_limit_is_let_through_while_none_is_under_way() -> None:
    money = HourlyMoney()
    for _ in range(2):
        require_left(money, limit=MOST_USD)
        with money.under_way("f", most("backed")), pytest.raises(MoneySpent):
            require_left(money, limit=MOST_USD)


def test_under_a_limit_a_model_without_a_price_is_not_asked() -> None:
    with pytest.raises(MoneySpent) as refused:
        most("priced", "unpriced")
    assert "'unpriced' has no known price" in refused.value.detail


class Streaming(ScriptedModel):
    """Sends the pieces that its test gives it, one of which may be what ends the stream."""

    pieces: tuple[Any, ...] = ()

    async def stream(self, request: Any, sink: Any) -> Any:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            await sink.put(piece)
        return await self.complete(request)


def billed(model: ScriptedModel, sink: Any = None, spending: KeySpending | None = None) -> float:
    """What the family's hour counts after one request, answered or not."""
    bills = list[float]()
    shelf = Shelf(model, scripted=Facts(breaker=BreakerSettings(failures=100)))
    models = GuardedModels(shelf, Metrics(), bill=lambda family, usd: bills.append(usd)).for_request(
        "f", None, spending
    )
    with suppress(ModelFailed, ClientGone):
        ask(models, "scripted", sink=sink)
    return sum(bills)


def of_key_and_family(tmp_path: Path, model: ScriptedModel, sink: Any = None) -> tuple[float, float]:
    """What the day of a key and the family's hour count after one request."""
    store = new_database(tmp_path)
    of_family = billed(model, sink, KeySpending("app", KeyLimits(usd_per_day=9.0), store, Clock(NOW)))
    with store.read() as tx:
        of_key = sum(row.used for row in tx.execute(select(KEY_USAGE)))
    store.close()
    return of_key, of_family


@pytest.mark.parametrize(
    ("kind", "members", "share"),
    [
        ("timeout", {}, 1.0),
        ("unreachable", {"sent": False}, 0.0),
        ("http", {"status": 503}, 0.0),  # a provider's outage must not use the hour's money up
    ],
)
def test_an_attempt_without_an_answer_counts_at_its_most_unless_no_provider_bills_it(tmp_path, kind, members, share):
    model = ScriptedModel(always(kind, **members), price=PRICE, retries=0)
    assert of_key_and_family(tmp_path, model) == pytest.approx((share * MOST_USD,) * 2)


def test_each_attempt_that_was_billed_counts_beside_the_one_that_answered() -> None:
    def script(request: Any, n: int) -> str:
        if n == 1:
            raise failed("unreachable")
        return "answer"

    model = ScriptedModel(script, price=PRICE, retries=1, cost_share=0.5)
    assert billed(model) == pytest.approx(1.5 * MOST_USD)


def test_who_leaves_a_stream_has_spent_what_its_answer_may_have_cost() -> None:
    """Before the first piece too: a model that thinks is paid for what it never shows."""
    model = Streaming(price=PRICE, retries=0)
    for model.pieces in ((ClientGone(),), ({"content": "a"}, ClientGone())):
        assert billed(model, Sink()) == pytest.approx(MOST_USD)


def test_pieces_of_a_cut_stream_count_whatever_they_hold() -> None:
    """Arguments of a tool are no text of the answer, and cost as much.

    More came than was asked for, so that all of it counts.
    """
    model = Streaming(price=PRICE, retries=0)
    model.pieces = ({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 5000}}]}, failed("http", status=500))
    assert billed(model, Sink()) >= 5000 * 10 / 1e6


@pytest.mark.parametrize(("pieces", "share"), [((), 0.0), (({"content": "a"},), 1.0)])
def test_a_stream_that_a_refusal_ends_counts_for_its_key_as_for_its_family(tmp_path, pieces, share) -> None:
    model = Streaming(price=PRICE, retries=0)
    model.pieces = (*pieces, failed("rate_limit", status=429))
    assert of_key_and_family(tmp_path, model, Sink()) == pytest.approx((share * MOST_USD,) * 2)
