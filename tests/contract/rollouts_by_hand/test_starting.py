"""What a rollout needs before it starts."""

from __future__ import annotations

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, GateNotMet, InvalidInput, NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.suite import suite_id
from optimizer.core.family.settings import Targets
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.feedback.events import Arm, FeedbackEvent
from optimizer.core.rollout.start import in_process_gate
from optimizer.core.search.study import Study
from optimizer.jobs.rollouts.read_rollout import ArmsRequest, read_arms
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.ports import Alert
from tests.contract.rollouts_by_hand.world import T0, F, champion, family, served, version
from tests.rows.evaluations import batch_of, check_of
from tests.stores import interaction, keep_events
from tests.worlds.contexts import context_of


def test_a_start_without_a_study_is_refused_and_names_the_gate(acts, store, candidate):
    with pytest.raises(GateNotMet, match="no study has confirmed") as refused:
        acts.start(candidate)
    assert [g["name"] for g in refused.value.members["gates"]] == ["confirmation"]
    assert refused.value.members["confirm"] == F
    with pytest.raises(GateNotMet, match="confirm was 'yes'"):
        acts.start(candidate, confirm="yes")
    with store.read() as tx:
        assert store.rollouts.active(tx, F) is None


def test_a_family_with_targets_asks_for_an_evaluation_before_a_rollout(acts, store, candidate):
    asked = family().model_copy(update={"targets": Targets(mean_score=0.9)})

    def suite():
        gates = acts.start(candidate, of=asked, dry_run=True).gates
        return next(dict(g) for g in gates if g["name"] == "suite")

    assert (suite()["verdict"], "was not evaluated" in suite()["reason"]) == ("inconclusive", True)
    checks = [check_of("mean_score", "missed", "mean score 0.800")]
    row = batch_of(family=F, variant=candidate, suite=suite_id(asked, None), checks=checks)
    store.write(lambda tx: store.performance.add_batch(tx, row))
    assert (suite()["verdict"], suite()["reason"]) == ("fail", "mean score 0.800")
    with pytest.raises(GateNotMet, match=r"suite: mean score 0\.800"):
        acts.start(candidate, of=asked)


def test_a_forced_start_waits_for_approval_and_says_how_to_go_on_and_back(acts, store, clock, candidate):
    started = acts.start(candidate, confirm=F)
    assert (started.status, started.forced, started.version) == ("validating", True, 2)
    assert started.next == f"detent rollout approve {F}"
    assert started.undo == f"detent rollout rollback {F}"
    assert "margin 0.05" in started.what
    assert served(store, clock, "u") == ("champion", None)


def test_the_alert_about_the_last_rollout_closes_with_a_start_after_its_family_was_renamed(acts, store, candidate):
    ended = Alert(id="al_1", kind="rollout_ended", level="critical", family=F, subject=F, opened_at=T0, detail="x")
    store.write(lambda tx: store.alerts.open(tx, ended))
    store.write(lambda tx: store.family_names.rename(tx, F, "digests", T0))
    renamed = family().model_copy(update={"name": "digests"})
    acts.start(candidate, of=renamed, confirm="digests")
    with store.read() as tx:
        assert store.alerts.all(tx, open_only=True, kind="rollout_ended") == []


def test_the_arms_of_a_rollout_are_read_under_the_familys_former_name_too(acts, store, clock, candidate):
    started = acts.start(candidate, confirm=F)
    store.write(lambda tx: store.family_names.rename(tx, F, "digests", T0))
    context = context_of(store, clock, family=lambda name: family())
    assert read_arms(context, ArmsRequest(family=F, rollout=started.id)).items == []
    with pytest.raises(NotFound):
        read_arms(context, ArmsRequest(family=F, rollout="ro_0"))


def test_the_reason_that_a_person_gave_stands_first_in_what_the_status_says(acts, candidate):
    started = acts.start(candidate, reason="Shorter answers.", confirm=F)
    for said in (started.why, started.reason):
        assert said.startswith("Shorter answers; ")
        assert len(said) > len("Shorter answers; ")


def test_a_dry_run_writes_nothing(acts, store, candidate):
    before = version(store)
    start = acts.start(candidate, dry_run=True)
    assert start.dry_run
    assert f"{F}: {start.what}".startswith(f"{F}: would start a rollout of {candidate}")
    assert version(store) == before
    with store.read() as tx:
        assert store.rollouts.latest(tx, F) is None


def test_a_dry_run_says_whether_the_start_is_confirmed(acts, candidate):
    for confirm, said in (
        (None, "refused unless confirmed"),
        ("yes", "refused unless confirmed"),
        (F, "forced, since"),
    ):
        start = acts.start(candidate, dry_run=True, confirm=confirm)
        assert said in start.what


def test_a_second_rollout_and_a_rollout_of_the_champion_are_refused(acts, store, candidate):
    with pytest.raises(Conflict, match="is the champion"):
        acts.start(champion(store), confirm=F)
    with pytest.raises(NotFound, match="no variant"):
        acts.start("v_000000000000", confirm=F)
    started = acts.start(candidate, confirm=F)
    with pytest.raises(Conflict, match=started.id):
        acts.start(candidate, confirm=F)


@pytest.mark.parametrize("ladder", [[], [0.5, 0.1], [0.1, 0.1], [0.0], [1.0], [0.1, 2.0]], ids=str)
def test_a_ladder_that_does_not_rise_within_0_and_1_is_invalid(acts, candidate, ladder):
    with pytest.raises(InvalidInput) as invalid:
        acts.start(candidate, confirm=F, ladder=ladder)
    assert invalid.value.members["errors"][0]["pointer"].startswith("/ladder")


def test_a_new_rollout_of_the_same_variant_has_a_new_salt(acts, candidate, deploying):
    acts.operate(deploying.id, "rollback")
    again = acts.start(candidate, confirm=F)
    assert again.salt != deploying.salt
    assert len(again.salt) == 32


def test_the_margin_comes_from_the_champions_labels_of_the_metric(acts, store, candidate):
    def label(n: int, **kw: object) -> FeedbackEvent:
        arm = Arm(family=F, variant=champion(store))
        return FeedbackEvent(
            id=f"fb_{n}", arm=arm, occurred_at=T0, received_at=T0, content_hash=str(n), source="user", **kw
        )  # type: ignore[arg-type]

    events = [label(n, success=n % 5 == 0) for n in range(60)] + [label(100 + n, score=0.9) for n in range(10)]
    keep_events(store, events)
    rollout = acts.start(candidate, dry_run=True)
    assert rollout.settings["metric"] == {"field": "success", "source": "user"}
    assert rollout.settings["margin"] == pytest.approx(0.02)  # .10 x 12/60
    given = acts.start(candidate, dry_run=True, margin=0.2)
    assert (given.settings["margin"], given.settings["margin_from"]) == (0.2, "given")


MEASURED = {"winner_cost_usd": 0.01, "champion_cost_usd": 0.001, "winner_p95_ms": 900, "champion_p95_ms": 300}


def confirmed(
    store: Database, candidate: str, *, verdict: str = "pass", confidence: float = 0.97, against: str | None = None
) -> str:
    gates = [
        {"name": "improvement", "verdict": verdict, "value": 0.2, "required": 0.15, "reason": "improvement 0.200"},
        {
            "name": "confidence",
            "verdict": "pass",
            "value": confidence,
            "required": 0.8,
            "reason": f"confidence {confidence}",
        },
    ]
    study = Study(
        id="st_1",
        family=F,
        strategy="bootstrap",
        aim="quality",
        status="finished",
        seed=1,
        budget=Budget(),
        definition={},
        champion=against or champion(store),
        created_at=T0,
        created_by="ann",
        outcome="nominated",
        winner=candidate,
        finished_at=T0,
        confirmation={"gates": gates, **MEASURED},
    )
    store.write(lambda tx: store.studies.add(tx, study))
    return study.id


def test_a_confirmed_winner_starts_unforced_and_still_waits_for_a_person(acts, store, candidate):
    study = confirmed(store, candidate)
    started = acts.start(candidate)
    assert (started.status, started.forced, started.study) == ("validating", False, study)


@pytest.mark.parametrize(
    ("confidence", "forced", "status"),
    [(0.97, False, "approved"), (0.9, False, "validating"), (0.97, True, "validating")],
    ids=["sure", "not sure enough", "past a gate"],
)
def test_approve_auto_approves_a_confident_winner_and_never_what_was_forced(
    acts, store, candidate, confidence, forced, status
):
    confirmed(store, candidate, confidence=confidence, verdict="fail" if forced else "pass")
    started = acts.start(candidate, of=family(approve="auto"), confirm=F if forced else None)
    assert started.status == status
    assert verify_rollout(started.id, store).ok


def test_a_confirmation_against_another_champion_counts_for_nothing(acts, store, candidate):
    confirmed(store, candidate, against="v_000000000000")
    with pytest.raises(GateNotMet, match="is the champion now"):
        acts.start(candidate)


@pytest.mark.parametrize(
    ("others", "limits"),
    [({}, (11.0, 3.3)), ({"winner": "v_other"}, (1.1, 1.0)), ({"against": "v_000000000000"}, (1.1, 1.0))],
    ids=["of the two", "of another candidate", "beside another champion"],
)
def test_what_a_confirmation_of_others_measured_widens_no_guardrail(acts, store, candidate, others, limits):
    study = confirmed(store, others.get("winner", candidate), against=others.get("against"))
    guardrails = acts.start(candidate, study=study, confirm=F).settings["guardrails"]
    assert (guardrails["cost_ratio"], guardrails["latency_factor"]) == limits


def test_a_policy_is_no_candidate_where_applications_fill_in_the_champion_by_themselves(acts, store):
    messages = [{"role": "user", "content": "In one sentence: {{document}}"}]
    candidate = acts.draft(messages=messages, policy={"refine": 0.5}, note="twice").variant
    confirmed(store, candidate)
    window = (F, champion(store), None, None, T0, "py-1", 40)
    store.write(lambda tx: store.exposures.add(tx, [(*window[:5], "api", 500)]))
    assert acts.start(candidate, dry_run=True).forced is False
    store.write(lambda tx: store.exposures.put(tx, [window], "shop"))
    with pytest.raises(GateNotMet, match=r"40 prompts of .* cannot carry out .* \(refine\)") as refused:
        acts.start(candidate)
    assert [gate["name"] for gate in refused.value.members["gates"]] == ["in_process"]


def test_a_student_starts_where_somebody_chats_and_is_told_of_those_who_call_the_model_themselves(acts, store, clock):
    messages = ({"role": "user", "content": "In one sentence: {{document}}"},)
    policy = {"tiers": ["student", "strong"], "students": {"student": "st_1"}, "accept": 0.9}
    student = Variant(messages=messages, policy=policy)
    record = VariantRecord(family=F, variant=student, source="study", created_at=T0, created_by="ann")
    store.write(lambda tx: store.variants.add(tx, record))
    confirmed(store, student.id)
    with pytest.raises(Conflict, match=r"hardly anybody would get it.* the newest 1 request came from applications"):
        acts.start(student.id, confirm=F)
    assert "hardly anybody would get it" in acts.start(student.id, dry_run=True).hindrance
    reported = Arm(family=F, variant=champion(store), unit_hmac="u1")
    keep_events(store, [interaction("in_chat", of=reported, received_at=clock.now(), by_gateway=True)])
    with pytest.raises(GateNotMet, match="in_process: 1 of the newest requests came from applications"):
        acts.start(student.id)
    assert acts.start(student.id, confirm=F).forced
    plain = Variant(messages=messages)
    for candidate, before in ((plain, student), (student, student)):
        assert [gate["value"] for gate in in_process_gate(candidate, before, n_decided=0, n_reported=3)] == [3]
    assert in_process_gate(plain, plain, n_decided=0, n_reported=3) == []


def test_an_unmet_gate_is_named_with_its_figures(acts, store, candidate):
    confirmed(store, candidate, verdict="fail")
    with pytest.raises(GateNotMet, match=r"improvement 0\.200") as refused:
        acts.start(candidate)
    assert refused.value.members["gates"][0]["required"] == 0.15
