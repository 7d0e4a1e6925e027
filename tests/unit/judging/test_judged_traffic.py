"""A judge on a sample of live traffic: for its dollars an hour, once for each answer, and to a person where divided."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings, strategies as st

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.masking import Masker
from optimizer.core.feedback.rating_draws import first_sampled, is_sampled
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, Remainder
from optimizer.host.config import load_settings
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.judge_traffic import (
    MONITOR,
    estimate_judging,
    judge_answers,
    latest_answers,
    monitor_traffic,
)
from optimizer.jobs.studies.read_spending import monthly_left
from optimizer.jobs.upkeep.forget_person import ForgettingHome, queue_forgetting
from optimizer.runtime.worker import Worker
from tests.examples import n_examples
from tests.stand_ins.scripted_model import ScriptedModel
from tests.worlds.judged_world import JudgedWorld, dies_at, judge_model, letters_family, says
from tests.worlds.study_world import START, Killed


def family_of(**judge):
    return letters_family(judge={"model": "judge", **judge}, review={"per_day": 10})


class Live(JudgedWorld):
    """``answered`` puts answers on record as an application reports them."""

    def __init__(self, folder, *judges, family=None):
        super().__init__(folder, *judges, family=family or family_of(monitor={"share": 1.0, "usd_per_hour": 10.0}))
        identities = {"actor": "test", "verify": lambda token: None, "hmac_unit": lambda unit: f"h-{unit}"}
        self.intake = Intake(store=self.store, clock=self.clock, families=self.families.families, **identities)
        self.n = 0

    def answered(self, n, *, text="Dear customer, soon.", then_s=120):
        """So many answers, and time that passes after them."""
        events = [
            {"id": f"in_{i}", "family": "letters", "unit": f"u{i}", "latency_ms": 5.0}
            | {"input": {"letter": f"Where is parcel {i}?"}, "output": f"{text} ({i})"}
            for i in range(self.n, self.n + n)
        ]
        self.n += n
        assert self.intake.take(events)["accepted"] == n
        wait(self, then_s)

    def monitor(self, **options):
        return monitor_traffic(
            self.family, store=self.store, clock=self.clock, models=self, intake=self.intake, **options
        )

    def feedback(self):
        with self.store.read() as tx:
            every = {"family": "letters", "variant": None, "since": None, "cursor": None, "limit": 1000}
            return self.store.events.page_of_feedback(tx, **every)[0]

    def usd(self, since):
        with self.store.read() as tx:
            return self.store.journal.usd_of_no_study(tx, "letters", MONITOR, since)

    def judge(self, ids, budget, **options):
        calls = RunCalls(budget=budget, store=self.store, clock=self.clock, models=self)
        return judge_answers(self.family, ids, calls, intake=self.intake, **options)


def wait(world, seconds):
    world.clock.pass_seconds(seconds)


@pytest.fixture
def live(tmp_path):
    return Live(tmp_path)


def test_without_a_share_nothing_is_judged(tmp_path):
    world = Live(tmp_path, family=family_of())
    world.answered(3)
    assert world.monitor() is None
    assert world.feedback() == []


def test_answers_become_feedback_of_source_judge_with_the_judges_name_and_reasoning(live):
    live.answered(3)
    made = live.monitor()
    assert (made.n, made.n_judged, made.stopped) == (3, 3, None)
    events = live.feedback()
    assert {event.source for event in events} == {"judge"}
    assert {event.interaction for event in events} == {"in_0", "in_1", "in_2"}
    assert [event.score for event in events] == pytest.approx([0.7, 0.7, 0.7])
    assert {event.tags["judge"] for event in events} == {judge_identity(live.family)}
    assert {event.tags["reasoning"] for event in events} == {"It reads well."}


def test_a_users_call_goes_before_the_judges(live):
    live.answered(1)
    asked_while_waiting = []

    def users_wait():
        asked_while_waiting.append(len(live.by_name["judge"].requests))
        return len(asked_while_waiting) < 3

    assert live.monitor(users_wait=users_wait).n_judged == 1
    assert asked_while_waiting == [0, 0, 0]


def test_of_a_person_who_is_forgotten_meanwhile_the_judge_writes_nothing_down(tmp_path, monkeypatch):
    entered, go, ended = threading.Event(), threading.Event(), threading.Event()

    def thinks(answer):
        entered.set()
        return 7 if go.wait(30) else 0

    live = Live(tmp_path, judge_model(thinks, concurrency=1))
    event = {"family": "letters", "unit": "jane", "latency_ms": 5.0, "output": "Dear Jane zqmarker, it will be soon"}
    letter = "my parcel zqmarker never came and nobody at the shop does answer"
    events = [{**event, "id": f"in_{i}x", "input": {"letter": f"{letter}, for {i} days"}} for i in range(3)]
    assert live.intake.take(events)["accepted"] == 3
    wait(live, 120)
    home = ForgettingHome(store=live.store, clock=live.clock, places=(), own_texts=tuple, notes=tmp_path / "notes")
    monkeypatch.setattr("optimizer.runtime.worker.forgetting_home", lambda *of: home)
    monkeypatch.setattr("optimizer.runtime.worker.left_this_month", lambda *of: None)
    monkeypatch.setattr("optimizer.runtime.wiring.open_intake", lambda *of, actor: live.intake)
    worker = Worker(load_settings("dev", tmp_path))
    worker._store, worker._clock, worker._families = live.store, live.clock, live.families
    worker._context, worker._open_models = None, lambda: live
    worker._thread("judge", lambda: (worker._monitor_traffic(), ended.set()), 3600.0)
    assert entered.wait(30)
    query = {"unit": "h-jane", "own_words": False, "dry_run": False}
    run = live.store.write(lambda tx: queue_forgetting(tx, live.store, query, actor="ann", at=live.clock.now()))
    forgetting = threading.Thread(target=worker._carry_out, args=(run,))
    forgetting.start()
    assert worker._forgets.wait(30)
    forgetting.join(1.0)  # it waits for the judge
    go.set()
    forgetting.join(30)
    assert ended.wait(30)
    worker.stop()
    with live.store.read() as tx:
        assert live.store.runs.get(tx, run.id).status == "finished"
        rows = [row for name in live.store.tables.names() for row in live.store.tables.each(tx, name)]
    assert not any("zqmarker" in str(row) for row in rows)
    assert len(live.by_name["judge"].requests) == 1, "it stands back for the forgetting"


def test_each_answer_is_judged_once(live):
    live.answered(3)
    live.monitor()
    wait(live, 120)
    assert live.monitor().n == 0
    with live.store.read() as tx:
        ids = [id for id, _ in live.store.traffic.answered(tx, "letters", START, live.clock.now(), 10)]
    again = live.judge(ids, Budget())
    assert (again.n, len(live.feedback())) == (0, 3)


def test_the_share_is_judged_however_many_answers_came_at_once(tmp_path, monkeypatch):
    share = 0.4
    for name, n in (("MOST", 5), ("MOST_READ", 40)):
        monkeypatch.setattr(f"optimizer.jobs.feedback.judge_traffic.{name}", n, raising=False)
    world = Live(tmp_path, family=family_of(monitor={"share": share, "usd_per_hour": 10.0}))
    world.answered(30, then_s=1)
    for _ in range(12):
        world.answered(1, then_s=1)
    for _ in range(5):
        wait(world, 61)
        world.monitor()
    identity = judge_identity(world.family)
    sampled = {f"in_{i}" for i in range(42) if is_sampled(f"in_{i}", identity, share)}
    assert {event.interaction for event in world.feedback()} == sampled


def test_a_score_whose_reasoning_the_familys_masks_refuse_is_kept_without_it(tmp_path, monkeypatch):
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.05)
    monitor, slow = {"share": 1.0, "usd_per_hour": 10.0}, [{"pattern": "(x|xx)+$"}]
    family = letters_family(judge={"model": "judge", "monitor": monitor}, privacy={"mask": slow})
    judge = ScriptedModel(lambda request, n: says(request, 7, "x" * 60 + "z"), name="judge", max_output_tokens=600)
    world = Live(tmp_path, judge, family=family)
    world.answered(1)
    assert world.monitor().n_judged == 1
    (event,) = world.feedback()
    assert (event.score, event.tags) == (pytest.approx(0.7), {"judge": judge_identity(world.family)})


def test_what_cannot_be_judged_says_nothing(tmp_path):
    silent = ScriptedModel(lambda request, n: "I refuse.", name="judge", max_output_tokens=600)
    world = Live(tmp_path, silent)
    world.answered(2)
    made = world.monitor()
    assert (made.n_judged, made.n_unmeasured, world.feedback()) == (0, 2, [])


def test_a_divided_committee_puts_the_answer_before_a_person_within_the_days_reviews(tmp_path):
    divided = {"committee": ["strict", "kind"], "monitor": {"share": 1.0, "usd_per_hour": 10.0}}
    family = letters_family(judge=divided, review={"per_day": 2})
    strict, kind = judge_model(lambda answer: 2, name="strict"), judge_model(lambda answer: 9, name="kind")
    world = Live(tmp_path, strict, kind, family=family)
    world.answered(4)
    made = world.monitor()
    assert (made.n_judged, len(made.reviews)) == (4, 2)
    with world.store.read() as tx:
        opened = world.store.reviews.page(tx, "letters", "open")
    assert {(one.kind, one.payload["doubt"]) for one in opened} == {("label_interaction", "divided")}
    assert "differ by 0.70" in opened[0].payload["why"]


def test_the_hours_dollars_end_the_look_and_the_next_hour_begins_anew(tmp_path):
    world = Live(tmp_path, family=family_of(monitor={"share": 1.0, "usd_per_hour": 0.006}))
    world.answered(20)
    first = world.monitor()
    assert 0 < first.n_judged < 20
    assert first.stopped is not None
    assert world.usd(START) <= 0.006
    world.answered(20)
    assert world.monitor().n_judged == 0
    wait(world, 3600)
    world.answered(20)
    assert world.monitor().n_judged > 0


def test_the_months_limit_ends_a_look_before_the_hour_does_and_its_dollars_count(live):
    live.answered(20)
    made = live.monitor(month=Remainder(usd=0.006, text="used"))
    assert (0 < made.n_judged < 20, made.usd <= 0.006) == (True, True)
    with live.store.read() as tx:
        left = monthly_left(tx, live.store, live.clock, "letters", MonthlyLimits(all_usd=1.0))
    assert left.usd == pytest.approx(1.0 - made.usd)
    live.answered(5)
    assert live.monitor(month=Remainder()).n_judged == 5, "without a limit the hour's dollars alone bind"


def test_a_worker_that_was_killed_owes_what_was_in_flight_to_the_hour_and_judges_no_answer_twice(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = Live(tmp_path / "whole")
    whole.answered(6)
    usual = whole.monitor().usd
    cap = usual * 1.9
    family = family_of(monitor={"share": 1.0, "usd_per_hour": cap})
    judge = judge_model(dies_at(3), concurrency=1)
    world = Live(tmp_path / "killed", judge, family=family)
    world.answered(6)
    with pytest.raises(Killed):
        world.monitor()
    lost = world.usd(START)
    assert lost > 0
    world.store.write(lambda tx: tx.exec_driver_sql("update lm_calls set status = 'sent' where status = 'failed'"))
    assert world.usd(START) == pytest.approx(lost), "a call of which nothing is known counts at its reserved price"
    made = world.monitor()
    assert made.n_judged == 4
    assert len(world.feedback()) == 6
    assert len(judge.requests) == 7, "only the one in flight is asked again"
    assert world.usd(START) <= cap


@settings(deadline=None, max_examples=n_examples(8))
@given(
    cap=st.floats(0.0, 0.02),
    steps=st.lists(st.tuples(st.integers(0, 8), st.integers(61, 2400)), min_size=1, max_size=6),
    share=st.floats(0.1, 1.0),
    cost_share=st.floats(0.1, 1.0),
)
def test_no_hour_costs_more_than_the_file_allows_however_traffic_comes(cap, steps, share, cost_share):
    family = family_of(monitor={"share": share, "usd_per_hour": cap})
    world = Live(Path(mkdtemp()), judge_model(cost_share=cost_share), family=family)
    for n, seconds in steps:
        world.answered(n, then_s=seconds)
        world.monitor()
        assert world.usd(world.clock.now() - timedelta(hours=1)) <= cap + 1e-9


def test_a_sample_is_a_share_and_a_larger_one_holds_the_smaller():
    ids = [f"in_{i}" for i in range(2000)]
    tenth = {id for id in ids if is_sampled(id, "j_1", 0.1)}
    assert 150 < len(tenth) < 250
    assert tenth < {id for id in ids if is_sampled(id, "j_1", 0.3)}
    assert tenth != {id for id in ids if is_sampled(id, "j_2", 0.1)}
    assert not any(is_sampled(id, "j_1", 0.0) for id in ids)
    assert all(is_sampled(id, "j_1", 1.0) for id in ids)
    assert set(first_sampled(ids, "j_1", len(tenth))) == tenth


def test_a_person_may_have_answers_judged_and_hears_before_what_it_costs(live):
    live.answered(5, then_s=1)
    ids = latest_answers(live.family, 3, days=1.0, store=live.store, clock=live.clock).ids
    assert len(ids) == 3
    calls, usd = estimate_judging(live.family, ids, store=live.store, models=live)
    assert (calls.expected, calls.high) == (3, 6)
    made = live.judge(ids, Budget(usd=usd.high), purpose="judge")
    assert (made.n_judged, made.stopped) == (3, None)
    assert made.usd <= usd.high
    assert set(latest_answers(live.family, 9, days=1.0, store=live.store, clock=live.clock).ids).isdisjoint(ids)


def test_answers_that_cannot_be_judged_take_no_place_among_those_drawn(live):
    live.answered(6)
    for i in range(30):  # as before an input was renamed
        event = {"id": f"old_{i}", "family": "letters", "unit": "u", "latency_ms": 5.0, "output": "Dear."}
        assert live.intake.take([event | {"input": {"mail": "Hello"}}])["accepted"] == 1
    wait(live, 1)
    for n_left in (4, 2, 0):
        ids = latest_answers(live.family, 2, days=1.0, store=live.store, clock=live.clock).ids
        assert live.judge(ids, Budget()).n_judged == 2, n_left
    left = latest_answers(live.family, 2, days=1.0, store=live.store, clock=live.clock)
    assert left.ids == []
    assert "scored 6 answers" in left.why_none
    assert "(letter): 30 answers lack one" in left.why_none


def test_a_person_draws_from_all_answers_and_not_from_the_oldest_alone(live, monkeypatch):
    live.answered(12, then_s=1)
    monkeypatch.setattr("optimizer.jobs.feedback.judge_traffic.LOOKED_AT", 5)
    answered = live.store.traffic.answered

    def at_most_8(tx, family, since, until, most):
        return answered(tx, family, since, until, None if most is None else 8)  # which stand for any limit

    monkeypatch.setattr(live.store.traffic, "answered", at_most_8)
    drawn = [latest_answers(live.family, n, days=1.0, store=live.store, clock=live.clock).ids for n in (4, 7, 12)]
    of_all = first_sampled([f"in_{i}" for i in range(12)], judge_identity(live.family), 12)
    assert drawn == [of_all[:4], of_all[:7], of_all]


def test_a_family_that_keeps_no_texts_cannot_be_judged(tmp_path):
    family = letters_family(privacy={"store": "metadata"}, judge={"model": "judge", "monitor": {"share": 1.0}})
    world = Live(tmp_path, family=family)
    world.answered(2)
    assert world.monitor() is None
    with pytest.raises(InvalidInput, match="no text of them is kept"):
        latest_answers(family, 3, days=1.0, store=world.store, clock=world.clock)
