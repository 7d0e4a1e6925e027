"""Every model call: found in the journal, or journaled, sent once and settled, within its caps."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import stamina

from optimizer.adapters.database import Database
from optimizer.core.budget import HeldBack, reservation_usd
from optimizer.core.errors import BudgetExhausted, BudgetTooSmall, ModelFailed, StudyStopped
from optimizer.core.language import ModelPrice
from optimizer.core.study import Budget
from optimizer.jobs.call_model import JournaledModel
from tests.scripted_model import ScriptedModel, failed, request

PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)
T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    at: datetime = T0

    def now(self) -> datetime:
        return self.at

    def rollout_now(self) -> datetime:
        return self.at


@pytest.fixture(autouse=True)
def _no_waiting_between_retries():
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'detent.db'}")
    database.migrate()
    yield database
    database.close()


def journaled(store, model, **changes) -> JournaledModel:
    settings = {"study": "st_1", "family": "f", "budget": Budget(calls=100), "purpose": "search", "clock": FakeClock()}
    return JournaledModel(model, store=store, **{**settings, **changes})


def calls_of(store, study="st_1"):
    with store.read() as tx:
        return store.journal.calls(tx, study)


def spend_of(store, study="st_1"):
    with store.read() as tx:
        return store.journal.spend(tx, study)


def test_a_call_is_in_the_journal_before_it_is_sent_and_settled_after(store):
    seen = []
    model = ScriptedModel(lambda r, n: seen.append([c.status for c in calls_of(store)]) or "text")
    answer = journaled(store, model).complete(request())
    assert (answer.text, answer.from_journal) == ("text", False)
    assert seen == [["sent"]]
    assert [c.status for c in calls_of(store)] == ["settled"]


def test_the_same_request_is_never_sent_twice_within_a_study(store):
    model = ScriptedModel()
    first = journaled(store, model).complete(request(temperature=0.7))
    again = journaled(store, model, clock=FakeClock(T0 + timedelta(days=90))).complete(request(temperature=0.7))
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
def test_across_studies_only_recent_answers_at_temperature_zero_are_shared(store, temperature, age_days, shared):
    model = ScriptedModel()
    journaled(store, model).complete(request(temperature=temperature))
    later = FakeClock(T0 + timedelta(days=age_days))
    answer = journaled(store, model, study="st_2", clock=later).complete(request(temperature=temperature))
    assert answer.from_journal is shared
    assert len(model.requests) == (1 if shared else 2)


def test_equal_requests_in_flight_at_once_share_one_call(store):
    model = ScriptedModel(delay_s=0.2)
    calls = journaled(store, model)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: calls.complete(request()), range(8)))
    assert len(model.requests) == 1
    assert {a.text for a in answers} == {"answer 1"}
    assert sum(not a.from_journal for a in answers) == 1


def test_no_more_calls_are_in_flight_than_the_limit(store):
    model = ScriptedModel(delay_s=0.02)
    calls = journaled(store, model, concurrency=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: calls.complete(request(f"text {i}")), range(12)))
    assert len(model.requests) == 12
    assert model.most_in_flight <= 2


def test_each_retry_is_a_row_and_a_reservation_of_its_own(store):
    def script(r, n):
        if n < 3:
            raise failed("timeout")
        return "at last"

    model = ScriptedModel(script, price=PRICE, cost_share=0.5)
    assert journaled(store, model, budget=Budget(usd=1.0)).complete(request()).text == "at last"
    reserved = reservation_usd(request(), PRICE)
    assert [(c.attempt, c.status) for c in calls_of(store)] == [(1, "failed"), (2, "failed"), (3, "settled")]
    assert spend_of(store).usd == pytest.approx(2.5 * reserved)
    assert spend_of(store).n_calls == 3


def test_a_request_that_cannot_succeed_is_not_repeated_and_costs_nothing(store):
    def script(r, n):
        raise failed("http", status=400)

    model = ScriptedModel(script, price=PRICE)
    with pytest.raises(ModelFailed):
        journaled(store, model, budget=Budget(usd=1.0)).complete(request())
    assert len(model.requests) == 1
    assert spend_of(store).usd == 0.0


def test_retries_end_after_the_models_number(store):
    def script(r, n):
        raise failed("unreachable", sent=False)

    model = ScriptedModel(script, retries=1)
    with stamina.set_testing(False), pytest.raises(ModelFailed):
        journaled(store, model).complete(request())
    assert len(model.requests) == 2


def test_a_call_that_could_pass_the_cap_is_not_sent(store):
    reserved = reservation_usd(request(), PRICE)
    model = ScriptedModel(price=PRICE)
    calls = journaled(store, model, budget=Budget(usd=reserved * 2.5))
    calls.complete(request("hello"))
    calls.complete(request("hallo"))
    with pytest.raises(BudgetExhausted, match="could pass the cap"):
        calls.complete(request("hullo"))
    assert len(model.requests) == 2


@pytest.mark.parametrize("params", [{"n": 4}, {"best_of": 4}, {"max_completion_tokens": 80}])
def test_every_answer_that_a_request_may_get_is_reserved(store, params):
    model = ScriptedModel(price=PRICE)
    plain, larger = request(max_tokens=20), request(max_tokens=20, **params)
    dear = reservation_usd(plain, PRICE) + 60 * PRICE.output_usd_per_mtok / 1e6
    calls = journaled(store, model, budget=Budget(usd=dear * 0.99))
    with pytest.raises(BudgetExhausted):
        calls.complete(larger)
    assert model.requests == []
    journaled(store, model, budget=Budget(usd=dear)).complete(larger)
    assert calls_of(store)[0].reserved_usd == pytest.approx(dear)


def test_a_retry_that_could_pass_the_cap_is_not_sent(store):
    def script(r, n):
        raise failed("timeout")

    model = ScriptedModel(script, price=PRICE, retries=5)
    with pytest.raises(BudgetExhausted):
        journaled(store, model, budget=Budget(usd=reservation_usd(request(), PRICE) * 1.5)).complete(request())
    assert len(model.requests) == 1


def test_what_is_held_back_for_the_confirmation_is_not_spent(store):
    model = ScriptedModel()
    calls = journaled(store, model, budget=Budget(calls=3), held=lambda: HeldBack(n_calls=2))
    calls.complete(request("a"))
    with pytest.raises(BudgetExhausted, match="held back"):
        calls.complete(request("b"))


def test_journaled_answers_are_free_when_the_budget_is_used_up(store):
    model = ScriptedModel()
    calls = journaled(store, model, budget=Budget(calls=1))
    calls.complete(request())
    assert calls.complete(request()).from_journal


def test_an_interrupted_call_counts_at_its_reserved_price(store):
    class Killed(BaseException): ...

    def script(r, n):
        raise Killed

    model = ScriptedModel(script, price=PRICE)
    with pytest.raises(Killed):
        journaled(store, model, budget=Budget(usd=1.0)).complete(request())
    assert spend_of(store).usd == pytest.approx(reservation_usd(request(), PRICE))


def test_the_stop_flag_is_asked_before_every_attempt(store):
    reasons = [None, None, "Study st_1 was cancelled."]

    def script(r, n):
        raise failed("timeout")

    model = ScriptedModel(script, retries=9)
    with pytest.raises(StudyStopped, match="cancelled"):
        journaled(store, model, stop=lambda: reasons.pop(0) if len(reasons) > 1 else reasons[0]).complete(request())
    assert len(model.requests) == 2


def test_a_stopped_study_sends_nothing(store):
    model = ScriptedModel()
    with pytest.raises(StudyStopped):
        journaled(store, model, stop=lambda: "stop").complete(request())
    assert model.requests == []
    assert calls_of(store) == []


def test_a_call_that_waits_for_another_notices_the_stop_flag(store):
    stop: list[str] = []
    model = ScriptedModel(delay_s=1.5)
    calls = journaled(store, model, stop=lambda: stop[0] if stop else None)
    first = threading.Thread(target=lambda: calls.complete(request()))
    first.start()
    while not model.requests:
        pass
    stop.append("enough")
    with pytest.raises(StudyStopped):
        calls.complete(request())
    first.join()


def test_a_dollar_cap_refuses_a_model_without_a_price_before_anything_is_sent(store):
    with pytest.raises(BudgetTooSmall, match="no known price"):
        journaled(store, ScriptedModel(price=None), budget=Budget(usd=1.0))


def test_outside_a_study_the_budget_counts_this_objects_calls(store):
    model = ScriptedModel()
    calls = journaled(store, model, study=None, budget=Budget(calls=2))
    calls.complete(request("a", temperature=1))
    calls.complete(request("b", temperature=1))
    with pytest.raises(BudgetExhausted):
        calls.complete(request("c", temperature=1))
