"""What people see of rollouts that really ran: the view, the log's evidence, the report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.reports.rollout_plots import rollout_page
from optimizer.cli.rollout.picture import difference_text
from optimizer.core.base.phrasing import when
from optimizer.core.feedback.events import Arm, FeedbackEvent
from optimizer.core.forecast.forecast import RolloutForecast
from optimizer.core.rollout.blocks import KeyShare
from optimizer.core.views.rollout_evidence import evidence_text
from optimizer.core.views.rollout_status import FamilyRollout
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.rollouts import rollout_view as rollout_view_job
from optimizer.jobs.rollouts.read_rollout import read_rollout_status
from optimizer.jobs.rollouts.rollout_view import with_forecast
from optimizer.jobs.rollouts.verify_rollout import report_rollout
from tests.rows.rollout_acts import roll_back_champion, start_rollout
from tests.stores import keep_events
from tests.worlds.contexts import context_of
from tests.worlds.rollout_world import Behaviour, F, World


@pytest.fixture(scope="module")
def five_minutes(with_history: Callable[[float], World], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout at its first stage, with five minutes of labels of two arms that are alike; its store is closed."""
    world = with_history(60.0).copied(tmp_path_factory.mktemp("climbed"))
    world.start()
    world.climb(5)
    world.store.close()
    return world


@pytest.fixture
def climbed(five_minutes: World, copy_of: Callable[[World], World]) -> World:
    return copy_of(five_minutes)


def status(world: World) -> FamilyRollout:
    context = context_of(world.store, world.clock, families=lambda: SimpleNamespace(families={}))
    return read_rollout_status(context, FamilyRequest(family=F))


def page(world: World) -> str:
    return rollout_page(report_rollout(world.rollout.id, store=world.store, clock=world.clock))


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html)))


def test_a_rollout_nobody_answered_waits_for_evidence_and_labels_and_says_so(fast: World) -> None:
    fast.start()
    seen = fast.seen
    assert (seen.verdict, seen.labels.used, seen.n_blocks) == ("Nothing has been shown about quality.", 0, 0)
    assert any("20 is needed" in reason for reason in seen.waits_for)
    assert any("100 are needed" in reason for reason in seen.waits_for)
    assert seen.next_step is not None
    assert (seen.next_step.act, seen.next_step.share, seen.next_step.asks) == ("advance", 0.25, "ship3")
    assert (seen.difference.lower, seen.difference.upper, seen.difference.observed) == (-1.0, 1.0, None)
    assert seen.served
    assert [s.state for s in seen.stages] == ["now", "ahead", "ahead", "ahead"]


def test_the_view_counts_what_the_blocks_hold_and_is_plain_json(fast: World) -> None:
    fast.behaviours[fast.candidate] = Behaviour(success=0.95)
    fast.start()
    fast.climb(5)
    seen = fast.seen
    assert seen.labels.used == sum(arm.labelled for arm in seen.arms) - seen.labels.waiting > 0
    candidate = seen.arms[0]
    assert (candidate.arm, candidate.variant, candidate.label_rate) == ("candidate", fast.candidate, 1.0)
    assert candidate.mean is not None
    assert 0.8 < candidate.mean <= 1.0
    assert seen.difference.observed is not None
    assert seen.difference.lower <= seen.difference.observed <= seen.difference.upper
    assert {g.name for g in seen.guardrails} == {"errors", "latency", "cost"}
    assert seen.not_guarded == {}
    assert json.loads(json.dumps(asdict(seen), default=str))["gates"][0]["name"] == "ship3"


def test_a_rollout_that_moves_while_its_forecast_is_made_is_shown_without_it_and_read_again(
    fast: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast.start()
    rollout, seen, forecast_active, moves = fast.rollout, fast.seen, rollout_view_job.forecast_active, iter(("hold",))

    def forecast_of_one_that_moves(id: str, **given: Any) -> RolloutForecast:
        for act in moves:
            fast.operate(act)
        return forecast_active(id, **given)

    monkeypatch.setattr(rollout_view_job, "forecast_active", forecast_of_one_that_moves)
    assert with_forecast(seen, rollout, store=fast.store, clock=fast.clock).forecast is None
    moves = iter(("resume",))
    shown = status(fast)
    assert (shown.rollout.version, shown.rollout.held) == (fast.rollout.version, False)
    assert shown.evidence.forecast is not None


def test_feedback_after_its_cohort_closed_is_counted_per_arm_shown_and_not_used(fast: World) -> None:
    fast.start()
    fast.climb(4)
    before = fast.seen
    assert [(arm.late, arm.late_share) for arm in before.arms] == [(0, 0.0), (0, 0.0)]
    assert before.late_alert is None
    arm = next(a for a in (fast.serve(f"late-{i}") for i in range(200)) if a.variant == fast.candidate)
    n, usual = 20, {"occurred_at": fast.clock.at, "received_at": fast.clock.at, "source": "user", "success": False}
    old = [FeedbackEvent(id=f"late-{i}", arm=_in_cohort(arm, i), content_hash=str(i), **usual) for i in range(n)]
    keep_events(fast.store, old)
    seen = fast.seen
    assert [(a.arm, a.late) for a in seen.arms] == [("candidate", n), ("champion", 0)]
    assert seen.late_alert is not None
    assert "of the candidate's" in seen.late_alert
    assert seen.labels == before.labels
    hashes = [block.hash for block in fast.blocks("quality")]
    fast.tick()
    assert [block.hash for block in fast.blocks("quality")][: len(hashes)] == hashes
    assert fast.seen.arms[0].labelled == before.arms[0].labelled, "late feedback never changes a closed cohort"


def _in_cohort(arm: Arm, i: int) -> Arm:
    """The arm of another unit, three cohorts ago."""
    assert arm.cohort_start is not None
    return replace(arm, unit_hmac=f"h-late-{i}", cohort_start=arm.cohort_start - timedelta(hours=3))


def test_a_promoted_rollout_is_told_as_one_step_by_step_and_the_log_names_the_evidence(fast: World) -> None:
    fast.behaviours[fast.candidate] = Behaviour(success=0.97)
    fast.start()
    fast.climb(60)
    seen, rollout = fast.seen, fast.rollout
    assert rollout.outcome == "promoted"
    assert "better" in seen.verdict
    assert [s.state for s in seen.stages[:4]] == ["done"] * 4
    assert (seen.stages[4].asks, seen.stages[4].state) == ("roll", "now")
    assert seen.holdback is not None
    assert seen.next_step is None
    said = [evidence_text(rollout, d) for d in fast.decisions if d.kind in ("advance", "promote")]
    assert [(s or "").split()[0] for s in said] == ["ship3", "ship2", "ship1", "ship1"]
    assert all((s or "").endswith(" of 20") for s in said)
    assert "compared within each block, so not the difference of the two means" in difference_text(seen.difference)
    html = page(fast)
    assert "compared within each block, so not the difference of the two means" in text(html)
    assert f"{fast.candidate} became the champion of {F} after" in text(html)
    assert html.count("<figure") == 1 + 5 + 2 + 3
    assert all(d.hash in html for d in fast.decisions)
    assert all(f"by {d.actor}, {when(d.at)}: " in text(html) for d in fast.decisions)
    assert "95 %, the rest held back to compare" in html
    (before,) = re.findall(r"became the champion of .*? after .*? and ([\d,]+) labelled outcomes", text(html))
    for _ in range(20):
        fast.labels(120)
        if any(fast.seen.stages[-1].labelled.values()):
            break
    assert any(fast.seen.stages[-1].labelled.values())
    assert f" and {before} labelled outcomes" in text(page(fast)), "none that came after the promotion"


def test_whoever_reads_the_report_later_learns_that_the_promotion_was_taken_back(fast: World) -> None:
    fast.start()
    fast.operate("promote", confirm=F)
    assert fast.seen.followed_by is None
    assert [s.state for s in fast.seen.stages] == ["done", *["passed over"] * 3, "now"]
    roll_back_champion(F, actor="ann", reason="users complain", store=fast.store, clock=fast.clock)
    after = fast.seen.followed_by
    assert after is not None
    assert (after.variant, after.by) == (fast.champion, "ann")
    assert f"{fast.champion} (version 1) followed it at 2026-11-20 " in text(page(fast))
    assert "users complain." in text(page(fast))


def test_the_word_better_stands_nowhere_in_a_report_without_the_evidence_for_it(climbed: World) -> None:
    seen = climbed.seen
    assert not next(g for g in seen.gates if g.name == "sup").passed
    assert "better" not in text(page(climbed)).lower()


def test_a_report_of_a_rollout_that_was_never_served_has_no_plots_and_no_faults(fast: World) -> None:
    start_rollout(fast.family, fast.candidate, actor="ann", store=fast.store, clock=fast.clock, confirm=F)
    html = page(fast)
    assert "was never served to users" in text(html)
    assert "<figure" not in html


def test_a_report_loads_nothing_from_anywhere_and_escapes_what_people_wrote(climbed: World) -> None:
    climbed.operate("rollback", reason="<script>alert(1)</script>")
    html = page(climbed)
    assert not re.search(r"(src|href|url\()", html)
    assert "http" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_report_says_everything_that_a_reader_has_to_know_before_believing_the_rest(climbed: World) -> None:
    report = report_rollout(climbed.rollout.id, store=climbed.store, clock=climbed.clock)
    quiet = text(rollout_page(replace(report, rollout=replace(report.rollout, simulated_clock=False))))
    seen = report.view
    stage = replace(
        seen.stages[0],
        rates_differ=True,
        sample_ratio=replace(seen.stages[0].sample_ratio, passed=True, text="1,000 of 100"),
    )
    keys = (KeyShare(key="app", labelled=3.0, share=0.75), KeyShare(key="", labelled=1.0, share=0.25))
    arms = tuple(replace(arm, late=n, late_of=90) for n, arm in enumerate(seen.arms, start=4))
    unguarded = {"cost": "no model has a price"}
    beside: Any = {"left_out": 3, "beyond_exposures": 2, "late_alert": None, "not_guarded": unguarded}
    changed = replace(seen, **beside, stages=(stage, *seen.stages[1:]), keys=keys, arms=arms)
    rollout = replace(report.rollout, simulated_clock=True, held=True, forced=True, outcome="promoted")
    decisions = tuple(replace(d, forced=True) for d in report.decisions[:2])
    problems = ("block 3 was changed",)
    told = text(rollout_page(replace(report, rollout=rollout, view=changed, decisions=decisions, problems=problems)))
    first, second = (f"{d.seq} ({d.kind})" for d in decisions)
    for note in (
        "The record does not fit, so nothing on this page is certain: block 3 was changed.",
        "This rollout ran on a simulated clock: its hours passed faster than real ones.",
        f"Forced by a person, past a gate that had not passed: decision {first}, {second}.",
        "In neither arm: 3 units, served both variants",
        "The labelled units came by these keys: app 75 %, (not on record) 25 %.",
        "Not counted: 2 units without a token,",
        "Late feedback: 4 of 90 of the candidate, 5 of 90 of the champion; shown, not used.",
        "the arms gave feedback at different rates, more than chance explains.",
        "sizes do not fit the share: evidence 1,000 of 100.",
        "The guardrail on cost did not look: no model has a price.",
    ):
        assert note in told
        assert note not in quiet
    assert "(promoted), held, forced" in told
    assert "a late alert" in text(rollout_page(replace(report, view=replace(seen, late_alert="a late alert"))))


@pytest.mark.parametrize("whole_days", [True, False])
def test_a_report_says_when_a_game_is_decided_and_leaves_the_threshold_to_its_drawing(
    climbed: World, whole_days: bool
) -> None:
    report = report_rollout(climbed.rollout.id, store=climbed.store, clock=climbed.clock)
    settings = {**report.rollout.settings, "whole_days": whole_days}
    told = text(rollout_page(replace(report, rollout=replace(report.rollout, settings=settings))))
    days = " (no gain, not worse: only where a whole day ends)" if whole_days else ""
    assert f"At the dashed line the claim is refuted, and stays so{days}. Vertical lines" in told


def test_a_report_of_a_record_that_was_tampered_with_says_so_and_draws_nothing_from_it(climbed: World) -> None:
    def tamper(tx: object) -> None:
        tx.exec_driver_sql(
            "UPDATE cohort_blocks SET content = replace(content, '\"left_out\":0', '\"left_out\":1') WHERE kind ="
            " 'quality'"
        )  # type: ignore[attr-defined]

    climbed.store.write(tamper)
    html = page(climbed)
    assert "does not fit:" in html
    assert "<h1>The record of rollout" in html
    assert "was changed" in text(html)
    assert html.count("<figure") == 1
