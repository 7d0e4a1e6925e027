"""Every model call: found in the journal, or journaled, sent once and settled, within its caps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
import stamina
from structlog.testing import capture_logs

from optimizer.core.base.errors import BudgetExhausted, BudgetTooSmall, Busy, ModelFailed, StudyStopped
from optimizer.core.base.values import Budget
from optimizer.core.models.budget import HeldBack, reservation_usd
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.jobs.calls import call_model
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from tests.clock import T0, Clock
from tests.stand_ins.scripted_model import AwaitedModel, ScriptedModel, always, failed, request

PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


@pytest.fixture(autouse=True)
def _no_waiting_between_retries():
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def journaled(store, model, **changes) -> JournaledModel:
    """``changes``: of the account, and of the model's own settings."""
    of_account = {name: changes.pop(name) for name in ("study", "budget", "held") if name in changes}
    account = Account(
        **{"study": "st_1", "family": "f", "purpose": "search", "budget": Budget(calls=100), **of_account}
    )
    return JournaledModel(model, account, **{"store": store, "clock": Clock(), **changes})


Model = Callable[..., ScriptedModel]
Ask = Callable[[JournaledModel, ModelRequest], ModelAnswer]


@pytest.fixture(params=["thread", "coroutine"])
def way(request) -> str:
    return request.param


@pytest.fixture(name="Model")
def model_of(way) -> Model:
    return AwaitedModel if way == "coroutine" else ScriptedModel


@pytest.fixture
def ask(way) -> Ask:
    """The answer. A coroutine's looks the journal up when it reserves, as one that ``known`` had no answer for."""
    return lambda calls, wanted: wait_for(calls.complete(wanted, looked_up=way == "coroutine"))


def calls_of(store, study="st_1"):
    with store.read() as tx:
        return store.journal.calls(tx, study)


def spend_of(store, study="st_1"):
    with store.read() as tx:
        return store.journal.spend(tx, study)


def test_a_call_is_in_the_journal_before_it_is_sent_and_settled_after(store, ask, Model):
    seen = []
    model = Model(lambda r, n: seen.append([c.status for c in calls_of(store)]) or "text")
    answer = ask(journaled(store, model), request())
    assert (answer.text, answer.from_journal) == ("text", False)
    assert seen == [["sent"]]
    assert [c.status for c in calls_of(store)] == ["settled"]


def test_the_same_request_is_never_sent_twice_within_a_study(store, ask, Model):
    model = Model()
    first = ask(journaled(store, model), request(temperature=0.7))
    later = Clock(T0 + timedelta(days=90))
    again = ask(journaled(store, model, clock=later, budget=Budget(calls=1)), request(temperature=0.7))
    assert again.text == first.text
    assert again.from_journal
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("temperature", "age_days", "shared"),
    [
        pytest.param(0.0, 29, True, id="fresh"),
        pytest.param(0.0, 31, False, id="too old"),
        pytest.param(0.5, 1, False, id="a drawn answer"),
        pytest.param(None, 1, False, id="the provider's own temperature"),
    ],
)
def test_across_studies_only_recent_answers_at_temperature_zero_are_shared(
    store, ask, Model, temperature, age_days, shared
):
    model = Model()
    ask(journaled(store, model), request(temperature=temperature))
    later = Clock(T0 + timedelta(days=age_days))
    answer = ask(journaled(store, model, study="st_2", clock=later), request(temperature=temperature))
    assert answer.from_journal is shared
    assert len(model.requests) == (1 if shared else 2)


def test_equal_requests_in_flight_at_once_share_one_call(store, ask, Model):
    model = Model(delay_s=0.2)
    calls = journaled(store, model)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(calls, request()), range(8)))
    assert len(model.requests) == 1
    assert {a.text for a in answers} == {"answer 1"}
    assert sum(not a.from_journal for a in answers) == 1


def test_no_more_calls_are_in_flight_than_the_limit(store, ask, Model):
    model = Model(delay_s=0.02, concurrency=2)
    calls = journaled(store, model)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ask(calls, request(f"text {i}")), range(12)))
    assert len(model.requests) == 12
    assert model.most_in_flight <= 2


def test_what_stands_back_for_a_user_holds_no_place_that_another_study_needs(store, ask, monkeypatch):
    monkeypatch.setattr("optimizer.jobs.calls.call_model.STAND_BACK_S", 0.001)
    model = AwaitedModel(concurrency=1)
    stood_back, is_over = threading.Event(), threading.Event()

    def users_wait() -> bool:
        stood_back.set()
        return not is_over.is_set()

    with ThreadPoolExecutor(2) as pool:
        try:
            by_itself = pool.submit(ask, journaled(store, model, users_wait=users_wait), request("a"))
            assert stood_back.wait(20)
            by_person = pool.submit(ask, journaled(store, model, study="st_2"), request("b"))
            assert by_person.result(20).text == "answer 1"
        finally:
            is_over.set()
        assert by_itself.result(20).text == "answer 2"


def test_each_retry_is_a_row_and_a_reservation_of_its_own(store, ask, Model):
    def script(r, n):
        if n < 3:
            raise failed("timeout")
        return "at last"

    model = Model(script, price=PRICE, cost_share=0.5)
    assert ask(journaled(store, model, budget=Budget(usd=1.0)), request()).text == "at last"
    reserved = reservation_usd(request(), PRICE)
    assert [(c.attempt, c.status) for c in calls_of(store)] == [(1, "failed"), (2, "failed"), (3, "settled")]
    assert spend_of(store).usd == pytest.approx(2.5 * reserved)
    assert spend_of(store).n_calls == 3


def test_a_request_that_cannot_succeed_is_not_repeated_and_costs_nothing(store, ask, Model):
    model = Model(always("http", status=400), price=PRICE)
    with pytest.raises(ModelFailed):
        ask(journaled(store, model, budget=Budget(usd=1.0)), request())
    assert len(model.requests) == 1
    assert spend_of(store).usd == 0.0


def test_retries_end_after_the_models_number(store, ask, Model):
    model = Model(always("unreachable", sent=False), retries=1)
    with stamina.set_testing(False), pytest.raises(ModelFailed):
        ask(journaled(store, model), request())
    assert len(model.requests) == 2


@pytest.mark.parametrize("params", [{"n": 4}, {"best_of": 4}, {"max_completion_tokens": 80}])
def test_every_answer_that_a_request_may_get_is_reserved(store, ask, Model, params):
    model = Model(price=PRICE)
    plain, larger = request(max_tokens=20), request(max_tokens=20, **params)
    dear = reservation_usd(plain, PRICE) + 60 * PRICE.output_usd_per_mtok / 1e6
    calls = journaled(store, model, budget=Budget(usd=dear * 0.99))
    with pytest.raises(BudgetExhausted):
        ask(calls, larger)
    assert model.requests == []
    ask(journaled(store, model, budget=Budget(usd=dear)), larger)
    assert calls_of(store)[0].reserved_usd == pytest.approx(dear)


def test_what_is_held_back_for_the_confirmation_is_not_spent(store, ask, Model):
    model = Model()
    calls = journaled(store, model, budget=Budget(calls=3), held=lambda: HeldBack(n_calls=2))
    ask(calls, request("a"))
    with pytest.raises(BudgetExhausted, match="held back"):
        ask(calls, request("b"))


def test_an_interrupted_call_counts_at_its_reserved_price(store, ask, Model):
    class Killed(BaseException): ...

    def script(r, n):
        raise Killed

    model = Model(script, price=PRICE)
    with pytest.raises(Killed):
        ask(journaled(store, model, budget=Budget(usd=1.0)), request())
    assert spend_of(store).usd == pytest.approx(reservation_usd(request(), PRICE))


class CancelledWhileWriting:
    """A store whose ``nth`` write lasts until the task that asked for it has been cancelled."""

    def __init__(self, store, nth: int, *, begun: bool) -> None:
        self._store, self._nth, self._begun = store, nth, begun
        self.task: asyncio.Task[ModelAnswer] | None = None

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def awrite(self, fn):
        self._nth -= 1
        if self._nth:
            return await self._store.awrite(fn)
        entered, cancelled = threading.Event(), threading.Event()

        def last(tx):
            entered.set()
            assert cancelled.wait(20)
            return fn(tx) if self._begun else None

        def cancel() -> None:
            self.task.cancel()
            asyncio.get_running_loop().call_later(0.01, cancelled.set)

        writing = asyncio.ensure_future(self._store.awrite(last))
        await asyncio.to_thread(entered.wait, 20)
        asyncio.get_running_loop().call_soon(cancel)
        return await (writing if self._begun else self._store.awrite(fn))


@pytest.mark.parametrize("begun", [True, False], ids=["in its transaction", "before its transaction"])
@pytest.mark.parametrize(
    ("nth", "status", "usd_of_reserved"),
    [pytest.param(1, "failed", 0.0, id="reserved"), pytest.param(2, "settled", 0.5, id="settled")],
)
def test_an_interrupt_while_the_journal_is_written_loses_nothing(store, nth, begun, status, usd_of_reserved):
    model = AwaitedModel(price=PRICE, cost_share=0.5)
    slow = CancelledWhileWriting(store, nth, begun=begun)

    async def interrupted() -> None:
        calls = journaled(slow, model, budget=Budget(usd=1.0))
        slow.task = asyncio.create_task(calls.complete(request(), looked_up=True))
        with pytest.raises(asyncio.CancelledError):
            await slow.task

    wait_for(interrupted())
    store.write(lambda tx: None)  # behind all others
    assert [c.status for c in calls_of(store)] == [status]
    assert len(model.requests) == nth - 1
    assert spend_of(store).usd == pytest.approx(usd_of_reserved * reservation_usd(request(), PRICE))


def test_an_interrupt_while_a_failure_is_written_ends_the_call(store):
    model = AwaitedModel(always("timeout"))
    slow = CancelledWhileWriting(store, 2, begun=True)

    async def interrupted() -> None:
        slow.task = asyncio.create_task(journaled(slow, model).complete(request(), looked_up=True))
        with pytest.raises(asyncio.CancelledError):
            await slow.task

    wait_for(interrupted())
    assert [c.status for c in calls_of(store)] == ["failed"]
    assert len(model.requests) == 1


class HeldStore:
    """A store that another process holds at its second and third write; ``passes``: whether that ends.

    ``until``: at so many writes.
    """

    def __init__(self, store, *, passes: bool, until: int = 3) -> None:
        self._store, self._passes, self._until, self.n = store, passes, until, 0

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def awrite(self, fn):
        self.n += 1
        if 2 <= self.n <= self._until:
            raise Busy("held", retry_after_s=0.001, passes=self._passes)
        return await self._store.awrite(fn)


@pytest.mark.parametrize("fails", [False, True], ids=["an answer", "a failure"])
@pytest.mark.parametrize("passes", [True, False], ids=["that is free again", "that is closed"])
def test_what_came_of_a_call_is_written_as_soon_as_the_store_is_free(store, fails, passes):
    def script(r, n):
        if fails:
            raise failed("http", status=400)
        return "paid"

    model, held = AwaitedModel(script), HeldStore(store, passes=passes)
    with pytest.raises((ModelFailed if passes else Busy,)) if fails or not passes else nullcontext():
        assert wait_for(journaled(held, model).complete(request())).text == "paid"
    assert [c.status for c in calls_of(store)] == [("failed" if fails else "settled") if passes else "sent"]
    assert (len(model.requests), held.n) == (1, 4 if passes else 2)


def test_a_store_that_stays_held_ends_the_call_after_a_bound_and_is_told_once(store):
    held, minute = HeldStore(store, passes=True, until=1000), timedelta(minutes=1)
    with capture_logs() as logs, pytest.raises(Busy, match="held"):
        wait_for(journaled(held, AwaitedModel(), clock=Clock(step_s=minute.total_seconds())).complete(request()))
    assert 2 < held.n <= 2 + call_model.HELD_AT_MOST / minute
    assert [c.status for c in calls_of(store)] == ["sent"]
    assert [(line["event"], line["error"]) for line in logs] == [("outcome_waits_for_store", "held")]


def test_a_call_that_waits_for_an_interrupted_one_is_made_itself(store):
    model = AwaitedModel(delay_s=0.2)

    async def second_answer() -> ModelAnswer:
        calls = journaled(store, model)
        first = asyncio.create_task(calls.complete(request()))
        while not model.requests:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(calls.complete(request()))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert wait_for(second_answer()).text == "answer 2"


def test_the_stop_flag_is_asked_before_every_attempt(store, ask, Model):
    reasons = [None, None, "Study st_1 was cancelled."]

    model = Model(always("timeout"), retries=9)
    with pytest.raises(StudyStopped, match="cancelled"):
        ask(journaled(store, model, stop=lambda: reasons.pop(0) if len(reasons) > 1 else reasons[0]), request())
    assert len(model.requests) == 2


def test_a_call_that_waits_for_another_notices_the_stop_flag(store, ask, Model):
    stop: list[str] = []
    model = Model(delay_s=1.5)
    calls = journaled(store, model, stop=lambda: stop[0] if stop else None)
    first = threading.Thread(target=lambda: ask(calls, request()))
    first.start()
    while not model.requests:
        pass
    stop.append("enough")
    with pytest.raises(StudyStopped):
        ask(calls, request())
    first.join()


def test_a_dollar_cap_refuses_a_model_without_a_price_before_anything_is_sent(store, Model):
    with pytest.raises(BudgetTooSmall, match="no known price"):
        journaled(store, Model(price=None), budget=Budget(usd=1.0))


def test_outside_a_study_the_budget_counts_this_objects_calls(store, ask, Model):
    model = Model()
    calls = journaled(store, model, study=None, budget=Budget(calls=2))
    ask(calls, request("a", temperature=1))
    ask(calls, request("b", temperature=1))
    with pytest.raises(BudgetExhausted):
        ask(calls, request("c", temperature=1))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"revision": "another"},
        {"messages": [{"role": "user", "content": "?"}]},
        {"params": {"temperature": 0.3}},
        {"sample": "7"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_call_that_differs_in_anything_has_another_key_in_the_journal(change):
    assert replace(request(), **change).key != request().key
    assert replace(request(), **change).key == replace(request(), **change).key
