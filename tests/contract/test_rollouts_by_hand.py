"""Rollouts and champions as operators and the worker's tick move them, on a real database."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, DetentError, GateNotMet, InvalidInput, NotFound, Refused, StaleVersion
from optimizer.core.base.values import Budget
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.suite import suite_id
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Targets
from optimizer.core.feedback.events import Arm, FeedbackEvent
from optimizer.core.search.study import Study
from optimizer.core.serving.assignment import choose
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.families.adopt_file_version import adopt_file_version
from optimizer.jobs.families.create_variant import VariantDraft, create_variant
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.rollouts.operate_rollout import operate
from optimizer.jobs.rollouts.put_override import put_override
from optimizer.jobs.rollouts.roll_back_champion import roll_back_champion
from optimizer.jobs.rollouts.start_rollout import start_rollout
from optimizer.jobs.rollouts.tick import report_unwatched, tick
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from tests.clock import Clock
from tests.stores import EMBEDDED_ONLY, interaction, keep_events, new_database

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
F = "summarization"


def family(*texts: str, current: str = "1", **rollout: object) -> Family:
    versions = {
        str(n): {"content": [{"role": "system", "content": t}, {"role": "user", "content": "{{document}}"}]}
        for n, t in enumerate(texts or ("Summarize.",), start=1)
    }
    return parse_family(
        {
            "name": F,
            "inputs": {"document": {"type": "text"}},
            "prompt": {"current": current, "versions": versions},
            "rollout": {"ladder": [0.1, 0.5], **rollout},
        }
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = new_database(tmp_path)
    made.close()
    return made.url


@pytest.fixture
def store(url: str, tmp_path: Path, clock: Clock):
    store = new_database(tmp_path)
    sync_families({F: family()}, store, clock)
    reported = Arm(family=F, variant=family().variant().id, unit_hmac="u0")
    keep_events(store, [interaction("in_0", of=reported, received_at=clock.now())])
    yield store
    store.close()


@pytest.fixture
def candidate(store: Database, clock: Clock) -> str:
    draft = VariantDraft(messages=[{"role": "user", "content": "In one sentence: {{document}}"}], note="shorter")
    return create_variant(family(), draft, actor="ann", store=store, clock=clock).record.variant.id


@pytest.fixture
def deploying(store: Database, clock: Clock, candidate: str) -> Rollout:
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    operate(started.rollout.id, "approve", actor="bob", reason="looks fine", store=store, clock=clock)
    clock.pass_seconds(5)
    tick(store, clock)
    return load(store, started.rollout.id)


def load(store: Database, id: str) -> Rollout:
    with store.read() as tx:
        found = store.rollouts.get(tx, id)
    assert found is not None
    return found


def champion(store: Database) -> str:
    with store.read() as tx:
        reign = store.champions.current(tx, F)
    assert reign is not None
    return reign.variant


def served(store: Database, clock: Clock, unit: str) -> tuple[str, str | None]:
    with store.read() as tx:
        choice = choose(
            family=F,
            unit=unit,
            unit_hmac=None,
            champion=champion(store),
            rollout=store.rollouts.active(tx, F),
            overrides={},
            now=clock.now(),
        )
    return choice.role, choice.rollout


def audited(store: Database) -> list[str]:
    with store.read() as tx:
        rows, _ = store.audit.page(tx, None, 100)
    return [row["action"] for row in rows]


def version(store: Database) -> int:
    with store.read() as tx:
        return store.serving_version.read(tx)[0]


# --- champions and files ----------------------------------------------------------------------------------------------


def test_the_first_champion_is_what_the_file_names(store, clock):
    assert champion(store) == family().variant().id


def test_a_second_sync_changes_nothing(store, clock):
    before = version(store)
    sync_families({F: family()}, store, clock)
    assert version(store) == before
    with store.read() as tx:
        assert len(store.champions.history(tx, F)) == 1


def test_an_edited_file_becomes_a_variant_but_never_switches_traffic(store, clock):
    edited = family("Summarize.", "Be brief.", current="2")
    [sync] = sync_families({F: edited}, store, clock)
    assert champion(store) == family().variant().id
    assert sync.edited == edited.variant().id
    assert "edited, not served" in sync.text
    assert f"detent family adopt {F} --confirm {F}" in sync.text
    with store.read() as tx:
        record = store.variants.get(tx, F, edited.variant().id)
    assert record is not None
    assert record.source == "file"
    assert record.file_version == "2"


def test_adopting_the_file_needs_the_familys_name_and_is_recorded_as_forced(store, clock):
    edited = family("Summarize.", "Be brief.", current="2")
    with pytest.raises(Refused, match="--confirm summarization"):
        adopt_file_version(
            edited, actor="ann", confirm="yes", store=store, clock=clock, models=EMBEDDED_ONLY, loaded=None
        )
    told = adopt_file_version(
        edited, actor="ann", confirm=F, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=None
    )
    assert champion(store) == edited.variant().id
    assert told.forced
    assert told.undo == f"detent champion rollback {F}"
    for confirm in (F, None):
        with pytest.raises(Conflict, match="already is the champion"):
            adopt_file_version(
                edited, actor="ann", confirm=confirm, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=None
            )


@pytest.mark.parametrize(
    ("model", "loaded", "error", "says"),
    [
        pytest.param({"default": "large"}, None, NotFound, "There is no model 'large'", id="in no file"),
        pytest.param(
            {"default": "embedded"},
            ["other"],
            Conflict,
            "Restart `detent serve`, then adopt again",
            id="added since the server started",
        ),
        pytest.param(
            {"default": "embedded", "tiers": ["small", "embedded"]},
            None,
            NotFound,
            "There is no model 'small'",
            id="a tier",
        ),
    ],
)
def test_a_file_whose_model_the_server_does_not_know_is_not_served(store, clock, model, loaded, error, says):
    edited = parse_family({**family("Be brief.").model_dump(mode="json"), "model": model})
    with pytest.raises(error, match=f"Cannot serve version 1 of {F}'s file: .*{says}"):
        adopt_file_version(
            edited, actor="ann", confirm=F, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=loaded
        )
    assert champion(store) == family().variant().id
    known = family("Be brief.")
    adopt_file_version(
        known, actor="ann", confirm=F, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=["embedded"]
    )
    assert champion(store) == known.variant().id


def test_a_file_that_was_never_synced_can_be_adopted_without_forcing_anything(store, clock):
    other = family().model_copy(update={"name": "other"})
    told = adopt_file_version(
        other, actor="ann", confirm=None, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=None
    )
    assert not told.forced
    assert told.undo is None


def test_with_serve_file_edits_new_content_serves_at_once_and_a_promotion_stays(store, clock, candidate, deploying):
    operate(deploying.id, "promote", actor="ann", reason="", confirm=F, store=store, clock=clock)
    [sync] = sync_families({F: family()}, store, clock, serve_file_edits=True)
    assert (sync.edited, sync.behind) == (None, family().variant().id)
    assert "served before" in sync.text
    assert champion(store) == candidate
    edited = family("Be brief.")
    sync_families({F: edited}, store, clock, serve_file_edits=True)
    assert champion(store) == edited.variant().id
    sync_families({F: family()}, store, clock, serve_file_edits=True)
    assert champion(store) == family().variant().id


def test_a_champion_rollback_goes_down_and_never_comes_up_again(store, clock, candidate, deploying):
    first = champion(store)
    operate(deploying.id, "promote", actor="ann", reason="good", confirm=F, store=store, clock=clock)
    assert champion(store) == candidate
    told = roll_back_champion(F, actor="ann", reason="complaints", store=store, clock=clock)
    assert champion(store) == first
    assert told.undo == f"detent rollout start {F} {candidate} --confirm {F}"  # its promotion was forced
    with pytest.raises(Conflict, match="no champion before"):
        roll_back_champion(F, actor="ann", reason="again", store=store, clock=clock)
    assert champion(store) == first


def test_a_champion_rollback_meant_for_another_champion_is_refused(store, clock, candidate, deploying):
    with pytest.raises(Conflict, match=candidate):
        roll_back_champion(F, actor="ann", reason="", expect=candidate, store=store, clock=clock)


def test_a_change_of_champion_ends_the_rollout_in_the_same_transaction(store, clock, candidate, deploying):
    edited = family("Summarize.", "Be brief.", current="2")
    adopt_file_version(edited, actor="ann", confirm=F, store=store, clock=clock, models=EMBEDDED_ONLY, loaded=None)
    ended = load(store, deploying.id)
    assert (ended.status, ended.outcome) == ("rolled_back", "champion_changed")
    assert verify_rollout(deploying.id, store).ok
    assert served(store, clock, "u")[1] is None


def test_a_family_without_champion_has_nothing_to_roll_back(store, clock):
    with pytest.raises(NotFound):
        roll_back_champion("nobody", actor="ann", reason="", store=store, clock=clock)


# --- start ------------------------------------------------------------------------------------------------------------


def test_a_start_without_a_study_is_refused_and_names_the_gate(store, clock, candidate):
    with pytest.raises(GateNotMet, match="no study has confirmed") as refused:
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock)
    assert [g["name"] for g in refused.value.members["gates"]] == ["confirmation"]
    assert refused.value.members["confirm"] == F
    with pytest.raises(GateNotMet, match="confirm was 'yes'"):
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm="yes")
    with store.read() as tx:
        assert store.rollouts.active(tx, F) is None


def test_a_family_with_targets_asks_for_an_evaluation_before_a_rollout(store, clock, candidate):
    asked = family().model_copy(update={"targets": Targets(mean_score=0.9)})

    def suite():
        gates = start_rollout(asked, candidate, actor="ann", store=store, clock=clock, dry_run=True).gates
        return next(dict(g) for g in gates if g["name"] == "suite")

    assert (suite()["verdict"], "was not evaluated" in suite()["reason"]) == ("inconclusive", True)
    checks = [{"name": "mean_score", "verdict": "missed", "said": "mean score 0.800"}]
    row = {
        "id": "eb_1", "family": F, "variant": candidate, "model": "m", "dataset_hash": "h", "split": "dev",
        "scorer_version": "s", "n": 9, "n_errors": 0,
        "cost_usd": 0.0, "n_calls": 9, "suite": suite_id(asked, None), "checks": checks, "created_by": "ann",
        "created_at": clock.now(),
    }  # fmt: skip
    store.write(lambda tx: store.performance.add_batch(tx, row))
    assert (suite()["verdict"], suite()["reason"]) == ("fail", "mean score 0.800")
    with pytest.raises(GateNotMet, match=r"suite: mean score 0\.800"):
        start_rollout(asked, candidate, actor="ann", store=store, clock=clock)


def test_a_forced_start_waits_for_approval_and_says_how_to_go_on_and_back(store, clock, candidate):
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    assert (started.rollout.status, started.rollout.forced, started.rollout.version) == ("validating", True, 2)
    assert started.report.next == f"detent rollout approve {F}"
    assert started.report.undo == f"detent rollout rollback {F}"
    assert "margin 0.05" in started.report.what
    assert served(store, clock, "u") == ("champion", None)


def test_a_dry_run_writes_nothing(store, clock, candidate):
    before = version(store)
    start = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, dry_run=True)
    assert start.dry_run
    assert start.report.text.startswith(f"{F}: would start a rollout of {candidate}")
    assert version(store) == before
    with store.read() as tx:
        assert store.rollouts.latest(tx, F) is None


def test_a_second_rollout_and_a_rollout_of_the_champion_are_refused(store, clock, candidate):
    with pytest.raises(Conflict, match="is the champion"):
        start_rollout(family(), champion(store), actor="ann", store=store, clock=clock, confirm=F)
    with pytest.raises(NotFound, match="no variant"):
        start_rollout(family(), "v_000000000000", actor="ann", store=store, clock=clock, confirm=F)
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    with pytest.raises(Conflict, match=started.rollout.id):
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)


@pytest.mark.parametrize("ladder", [[], [0.5, 0.1], [0.1, 0.1], [0.0], [1.0], [0.1, 2.0]], ids=str)
def test_a_ladder_that_does_not_rise_within_0_and_1_is_invalid(store, clock, candidate, ladder):
    with pytest.raises(InvalidInput) as invalid:
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F, ladder=ladder)
    assert invalid.value.members["errors"][0]["pointer"].startswith("/ladder")


def test_a_new_rollout_of_the_same_variant_has_a_new_salt(store, clock, candidate, deploying):
    operate(deploying.id, "rollback", actor="ann", reason="", store=store, clock=clock)
    again = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    assert again.rollout.salt != deploying.salt
    assert len(again.rollout.salt) == 32


def test_the_margin_comes_from_the_champions_labels_of_the_metric(store, clock, candidate):
    def label(n: int, **kw: object) -> FeedbackEvent:
        arm = Arm(family=F, variant=champion(store))
        return FeedbackEvent(
            id=f"fb_{n}", arm=arm, occurred_at=T0, received_at=T0, content_hash=str(n), source="user", **kw
        )  # type: ignore[arg-type]

    events = [label(n, success=n % 5 == 0) for n in range(60)] + [label(100 + n, score=0.9) for n in range(10)]
    keep_events(store, events)
    rollout = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, dry_run=True).rollout
    assert rollout.settings["metric"] == {"field": "success", "source": "user"}
    assert rollout.settings["margin"] == pytest.approx(0.02)  # .10 x 12/60
    given = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, dry_run=True, margin=0.2).rollout
    assert (given.settings["margin"], given.settings["margin_from"]) == (0.2, "given")


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
        id="st_1", family=F, strategy="bootstrap", aim="quality", status="finished", seed=1, budget=Budget(),
        definition={},
        champion=against or champion(store), created_at=T0, created_by="ann", outcome="nominated", winner=candidate,
        finished_at=T0, confirmation={"gates": gates},
    )  # fmt: skip
    store.write(lambda tx: store.studies.add(tx, study))
    return study.id


def test_a_confirmed_winner_starts_unforced_and_still_waits_for_a_person(store, clock, candidate):
    study = confirmed(store, candidate)
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock)
    assert (started.rollout.status, started.rollout.forced, started.rollout.study) == ("validating", False, study)


def test_with_approve_auto_a_confident_winner_is_approved_by_itself(store, clock, candidate):
    confirmed(store, candidate)
    started = start_rollout(family(approve="auto"), candidate, actor="ann", store=store, clock=clock)
    assert started.rollout.status == "approved"
    assert verify_rollout(started.rollout.id, store).ok


@pytest.mark.parametrize(("confidence", "forced"), [(0.9, False), (0.97, True)])
def test_approve_auto_never_approves_low_confidence_or_a_forced_start(store, clock, candidate, confidence, forced):
    confirmed(store, candidate, confidence=confidence, verdict="fail" if forced else "pass")
    started = start_rollout(
        family(approve="auto"), candidate, actor="ann", store=store, clock=clock, confirm=F if forced else None
    )
    assert started.rollout.status == "validating"


def test_a_confirmation_against_another_champion_counts_for_nothing(store, clock, candidate):
    confirmed(store, candidate, against="v_000000000000")
    with pytest.raises(GateNotMet, match="is the champion now"):
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock)


def test_an_unmet_gate_is_named_with_its_figures(store, clock, candidate):
    confirmed(store, candidate, verdict="fail")
    with pytest.raises(GateNotMet, match=r"improvement 0\.200") as refused:
        start_rollout(family(), candidate, actor="ann", store=store, clock=clock)
    assert refused.value.members["gates"][0]["required"] == 0.15


# --- operating --------------------------------------------------------------------------------------------------------


def test_a_rollout_goes_up_the_ladder_and_becomes_champion(store, clock, candidate, deploying):
    first = champion(store)
    assert deploying.share == 0.1
    told = operate(deploying.id, "advance", actor="ann", reason="fine", confirm=F, store=store, clock=clock)
    assert told.what == "stage 1 -> 2 (10 % -> 50 %)"
    assert told.forced
    assert told.text.endswith(f"Undo: detent rollout rollback {F}")
    with pytest.raises(Conflict, match="last stage") as refused:
        operate(deploying.id, "advance", actor="ann", reason="", confirm=F, store=store, clock=clock)
    assert refused.value.members["possible"] == ["hold", "promote", "rollback"]
    told = operate(deploying.id, "promote", actor="ann", reason="fine", confirm=F, store=store, clock=clock)
    assert told.undo == f"detent champion rollback {F}"
    ended = load(store, deploying.id)
    assert (ended.status, ended.outcome, ended.lease_expires_at) == ("deployed", "promoted", None)
    with store.read() as tx:
        reigns = store.champions.history(tx, F)
    assert [(r.variant, r.previous, r.rollout) for r in reigns] == [(first, None, None), (candidate, 1, deploying.id)]
    assert reigns[0].until == reigns[1].since


@pytest.mark.parametrize("act", ["advance", "promote"])
def test_going_up_without_a_gate_needs_the_familys_name(store, clock, deploying, act):
    with pytest.raises(GateNotMet, match="inconclusive never ships by itself") as refused:
        operate(deploying.id, act, actor="ann", reason="", store=store, clock=clock)
    assert refused.value.members["confirm"] == F
    assert load(store, deploying.id).version == deploying.version


def test_a_held_rollout_only_goes_back(store, clock, deploying):
    operate(deploying.id, "hold", actor="ann", reason="wait", store=store, clock=clock)
    again = operate(deploying.id, "hold", actor="ann", reason="wait", store=store, clock=clock)
    assert not again.changed
    for act in ("advance", "promote"):
        with pytest.raises(Conflict, match="held"):
            operate(deploying.id, act, actor="ann", reason="", confirm=F, store=store, clock=clock)
    operate(deploying.id, "rollback", actor="ann", reason="enough", store=store, clock=clock)
    assert (load(store, deploying.id).status, load(store, deploying.id).outcome) == ("rolled_back", "cancelled")
    with pytest.raises(Conflict, match="has ended"):
        operate(deploying.id, "rollback", actor="ann", reason="enough", store=store, clock=clock)


def test_a_rejected_rollout_has_failed_and_was_never_served(store, clock, candidate):
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    operate(started.rollout.id, "reject", actor="bob", reason="no", store=store, clock=clock)
    ended = load(store, started.rollout.id)
    assert (ended.status, ended.outcome, tuple(ended.stage_history)) == ("failed", "cancelled", ())


def test_an_act_meant_for_an_older_version_is_stale_but_rollback_never_is(store, clock, deploying):
    with pytest.raises(StaleVersion):
        operate(deploying.id, "advance", actor="ann", reason="", confirm=F, if_version=1, store=store, clock=clock)
    operate(deploying.id, "rollback", actor="ann", reason="", if_version=1, store=store, clock=clock)


def test_of_two_operators_who_advance_the_same_version_one_is_stale(url, clock, store, deploying):
    other = Database(url)
    outcomes: list[object] = []
    gate = threading.Barrier(2)

    def advance(through: Database) -> None:
        gate.wait()
        try:
            told = operate(
                deploying.id,
                "advance",
                actor="ann",
                reason="",
                confirm=F,
                if_version=deploying.version,
                store=through,
                clock=clock,
            )
            outcomes.append(told.what)
        except DetentError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=advance, args=(s,)) for s in (store, other)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    other.close()
    assert sorted(map(str, outcomes)) == sorted([str(StaleVersion), "stage 1 -> 2 (10 % -> 50 %)"])
    assert load(store, deploying.id).stage == 1
    assert verify_rollout(deploying.id, store).ok


def test_promote_and_champion_change_at_once_end_in_one_valid_state(url, clock, store, candidate, deploying):
    other = Database(url)
    edited = family("Summarize.", "Be brief.", current="2")
    gate = threading.Barrier(2)
    errors: list[DetentError] = []

    def run(act) -> None:
        gate.wait()
        try:
            act()
        except DetentError as error:
            errors.append(error)

    acts = [
        lambda: operate(deploying.id, "promote", actor="a", reason="", confirm=F, store=store, clock=clock),
        lambda: adopt_file_version(
            edited, actor="b", confirm=F, store=other, clock=clock, models=EMBEDDED_ONLY, loaded=None
        ),
    ]
    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    other.close()
    outcome = load(store, deploying.id).outcome
    assert champion(store) == edited.variant().id
    assert (outcome, len(errors)) in [("promoted", 0), ("champion_changed", 1)]
    assert verify_rollout(deploying.id, store).ok


def test_every_change_is_audited_mirrored_and_seen_by_the_serving_processes(store, clock, deploying):
    before = version(store)
    operate(deploying.id, "advance", actor="ann", reason="fine", confirm=F, store=store, clock=clock)
    assert version(store) == before + 1
    assert "rollout.advance" in audited(store)
    with store.read() as tx:
        due = [(i.topic, i.subject) for i in store.outbox.due(tx, clock.now(), 50, topics=TOPICS)]
    assert ("rollout", deploying.id) in due


@pytest.mark.parametrize(("reason", "kept"), [("", "no reason given"), ("  ok ", "ok"), (None, "no reason given")])
def test_the_reason_is_part_of_the_record(store, clock, deploying, reason, kept):
    operate(deploying.id, "hold", actor="ann", reason=reason, store=store, clock=clock)
    with store.read() as tx:
        assert store.rollouts.decisions(tx, deploying.id)[-1].reason == kept


@pytest.mark.parametrize("reason", ["x" * 2001, "\ud800"], ids=["too long", "half a surrogate pair"])
def test_a_reason_that_cannot_be_kept_is_invalid(store, clock, deploying, reason):
    with pytest.raises(InvalidInput):
        operate(deploying.id, "hold", actor="ann", reason=reason, store=store, clock=clock)


def test_an_unknown_rollout_is_not_found(store, clock):
    with pytest.raises(NotFound):
        operate("ro_none", "hold", actor="ann", reason="", store=store, clock=clock)
    with pytest.raises(NotFound):
        verify_rollout("ro_none", store)


# --- the lease --------------------------------------------------------------------------------------------------------


def candidate_unit(rollout: Rollout) -> str:
    for n in range(1000):
        choice = choose(
            family=F, unit=f"u{n}", unit_hmac=None, champion="x",
            rollout=replace(rollout, lease_expires_at=T0 + timedelta(days=1)), overrides={}, now=T0,
        )  # fmt: skip
        if choice.role == "candidate":
            return f"u{n}"
    raise AssertionError("no unit of a thousand in a share of 10 %")


def test_the_candidate_is_served_only_while_the_worker_ticks(store, clock, deploying):
    unit = candidate_unit(deploying)
    assert served(store, clock, unit) == ("candidate", deploying.id)
    clock.pass_seconds(59)
    assert served(store, clock, unit) == ("candidate", deploying.id)
    clock.pass_seconds(1)
    assert served(store, clock, unit) == ("champion", None)
    assert report_unwatched(store, clock) == [deploying.id]
    clock.pass_seconds(100)
    assert tick(store, clock).done == {deploying.id: "resumed"}
    assert served(store, clock, unit) == ("candidate", deploying.id)
    with store.read() as tx:
        assert store.alerts.all(tx, open_only=True) == []
        assert [a.kind for a in store.alerts.all(tx, open_only=False)] == ["rollout_unwatched"]


def test_the_gap_of_a_lapsed_lease_stands_in_the_stage_history(store, clock, deploying):
    clock.pass_seconds(200)
    tick(store, clock)
    first, second = load(store, deploying.id).stage_history
    assert datetime.fromisoformat(first["to"]) == T0 + timedelta(seconds=5 + 60)
    assert datetime.fromisoformat(second["from"]) == T0 + timedelta(seconds=5 + 200)
    assert second["share"] == first["share"]
    assert verify_rollout(deploying.id, store).ok


def test_on_a_scaled_clock_the_gap_is_as_long_as_that_clock_says(store, clock, candidate):
    clock.scale = 60.0
    started = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F)
    assert started.rollout.simulated_clock
    operate(started.rollout.id, "approve", actor="bob", reason="", store=store, clock=clock)
    tick(store, clock)
    clock.pass_seconds(200)
    tick(store, clock)
    first, second = load(store, started.rollout.id).stage_history
    assert datetime.fromisoformat(first["clock_to"]) == T0 + timedelta(minutes=60)
    assert datetime.fromisoformat(second["clock_from"]) == T0 + timedelta(minutes=200)
    assert verify_rollout(started.rollout.id, store).ok


def test_a_tick_renews_without_a_decision_and_may_come_twice(store, clock, deploying):
    clock.pass_seconds(10)
    for _ in range(2):
        assert tick(store, clock).done == {deploying.id: "watched"}
    renewed = load(store, deploying.id)
    assert renewed.version == deploying.version
    assert renewed.lease_expires_at == clock.now() + timedelta(seconds=60)


def test_an_approved_rollout_waits_for_the_tick_and_a_held_one_longer(store, clock, candidate):
    id = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F).rollout.id
    assert tick(store, clock).done == {id: "left"}
    operate(id, "approve", actor="bob", reason="", store=store, clock=clock)
    operate(id, "hold", actor="bob", reason="", store=store, clock=clock)
    assert tick(store, clock).done == {id: "left"}
    operate(id, "resume", actor="bob", reason="", store=store, clock=clock)
    assert tick(store, clock).done == {id: "deployed"}
    assert load(store, id).share == 0.1


def test_a_clock_set_back_neither_moves_decisions_back_nor_keeps_a_lease_alive(store, clock, candidate, deploying):
    clock.pass_seconds(3600)
    tick(store, clock)
    clock.pass_seconds(-3000)
    report = tick(store, clock)
    assert report.at == T0 + timedelta(seconds=3605)
    assert load(store, deploying.id).lease_expires_at == clock.now() + timedelta(seconds=60)


def test_two_ticks_at_once_begin_a_rollout_once(url, store, clock, candidate):
    id = start_rollout(family(), candidate, actor="ann", store=store, clock=clock, confirm=F).rollout.id
    operate(id, "approve", actor="bob", reason="", store=store, clock=clock)
    other = Database(url)
    threads = [threading.Thread(target=tick, args=(s, clock)) for s in (store, other)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    other.close()
    assert len(load(store, id).stage_history) == 1
    assert verify_rollout(id, store).ok


# --- verify -----------------------------------------------------------------------------------------------------------


def test_a_whole_life_verifies(store, clock, candidate, deploying):
    for act in ("hold", "resume", "advance", "promote"):
        clock.pass_seconds(7)
        operate(deploying.id, act, actor="ann", reason=f"now {act}", confirm=F, store=store, clock=clock)
    report = verify_rollout(deploying.id, store)
    assert report.ok, report.text
    assert report.n_decisions == 8
    assert report.head in report.text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "update decisions set content = replace(content, '\"stage\":1', '\"stage\":0') where seq = 5",
            "decision 5 (advance)",
        ),
        ("update decisions set actor = 'eve' where seq = 3", "decision 3 (approve)"),
        ("update decisions set forced = 0 where seq = 5", "decision 5 (advance)"),
        ("delete from decisions where seq = 2", "decision 2 is missing"),
        ("delete from decisions where seq = 5", "version is not what its decisions lead to"),
        ("update decisions set content = substr(content, 2) where seq = 4", "decision 4"),
        ("update decisions set at = 'x' || substr(at, 2) where seq = 4", "cannot be read"),
        ("update rollouts set salt = 'another'", "salt is not what its decisions lead to"),
        ("update rollouts set stage = 0", "stage is not what its decisions lead to"),
        ("update champions set rollout = (select id from rollouts)", "a champion names it"),
    ],
)
def test_whatever_is_changed_by_hand_is_found_and_named(url, store, clock, deploying, change, named):
    operate(deploying.id, "advance", actor="ann", reason="fine", confirm=F, store=store, clock=clock)
    engine = create_engine(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql(change).rowcount == 1
    engine.dispose()
    report = verify_rollout(deploying.id, store)
    assert not report.ok
    assert named in report.text


# --- variants and overrides by hand -----------------------------------------------------------------------------------


def test_the_same_content_is_one_variant_whoever_makes_it(store, clock, candidate):
    draft = VariantDraft(messages=[{"role": "user", "content": "In one sentence: {{document}}"}])
    again = create_variant(family(), draft, actor="bob", store=store, clock=clock)
    assert not again.new
    assert again.record.created_by == "ann"


def test_a_variant_from_another_keeps_what_is_not_changed(store, clock, candidate):
    warmer = create_variant(
        family(),
        VariantDraft(from_variant=candidate, model={"temperature": 0.7}),
        actor="bob",
        store=store,
        clock=clock,
    ).record
    assert warmer.parent == candidate
    assert warmer.variant.model["temperature"] == 0.7
    assert warmer.variant.messages[0]["content"] == "In one sentence: {{document}}"


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (VariantDraft(), "give messages"),
        (VariantDraft(messages=[{"role": "user", "content": "{{dokument}}"}]), "dokument"),
        (VariantDraft(messages=[{"role": "user", "content": "Hello"}]), "no input stands"),
        (VariantDraft(messages=[{"role": "user"}]), "needs a text"),
        (VariantDraft(messages=[{"role": "user", "content": "{{document}} \ud800"}]), "cannot be written as JSON"),
        (
            VariantDraft(messages=[{"role": "user", "content": "{{document}}"}], model={"temperature": float("nan")}),
            "temperature is .*, not nan",
        ),
        (
            VariantDraft(
                messages=[{"role": "user", "content": "{{document}}"}],
                examples=[{"id": "e", "input": {"document": float("nan")}, "output": "b"}],
            ),
            "cannot be written as JSON",
        ),
        (
            VariantDraft(messages=[{"role": "user", "content": "{{document}}"}], examples=[{"id": "e"}]),
            "an example needs",
        ),
        (
            VariantDraft(
                messages=[{"role": "user", "content": "{{document}}"}],
                examples=[{"id": "e", "input": {"text": "a"}, "output": "b"}],
            ),
            "has text; needed: document",
        ),
    ],
)
def test_what_could_not_be_served_is_no_variant(store, clock, draft, said):
    with pytest.raises(InvalidInput, match=said):
        create_variant(family(), draft, actor="ann", store=store, clock=clock)


def test_an_override_serves_one_unit_and_counts_in_no_arm(store, clock, candidate):
    until = T0 + timedelta(hours=1)
    hashed = put_override(
        F, "ann", variant=candidate, until=until, actor="ann", store=store, clock=clock, unit_key=b"k" * 32
    )
    with store.read() as tx:
        assert store.overrides.active(tx, clock.now()) == [(F, hashed, candidate, until)]
    assert "override.put" in audited(store)
    with pytest.raises(NotFound):
        put_override(F, "ann", variant="v_0", until=until, actor="ann", store=store, clock=clock, unit_key=b"k" * 32)
    with pytest.raises(InvalidInput, match="no zone"):
        put_override(
            F,
            "",
            variant=candidate,
            until=until.replace(tzinfo=None),
            actor="a",
            store=store,
            clock=clock,
            unit_key=b"k" * 32,
        )
