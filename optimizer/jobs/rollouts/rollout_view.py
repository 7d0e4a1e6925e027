"""Reads all that people see of a rollout: the one reader for REST, command line and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from optimizer.core.base.answers import members_of
from optimizer.core.rollout.blocks import ArmName, StoredBlock, comparison_of, key_shares
from optimizer.core.rollout.cohorts import closing_time, running_time
from optimizer.core.rollout.evidence_state import EvidenceState, begin, from_text
from optimizer.core.rollout.next_action import next_action
from optimizer.core.serving import champion
from optimizer.core.serving.assignment import is_served
from optimizer.core.serving.rollout import Freeze, Rollout, is_frozen
from optimizer.core.statistics.outcomes import Block
from optimizer.core.views import rollout_evidence
from optimizer.core.views.rollout_status import ForecastView, Hours, OpenAlert, RolloutView, SilenceView
from optimizer.core.views.rollout_story import ActiveStanding
from optimizer.jobs.rollouts.forecast_rollout import forecast_active
from optimizer.jobs.rollouts.read_candidate import current_holdback
from optimizer.ports import Clock, EvidenceRow, Store, Transaction

LATE_DAYS = 7.0  # of the rollout clock; late feedback of older cohorts is not counted, or it would grow with traffic
OF_FAMILY = ("rollout_ended", "champion_worse")  # kinds of alerts whose subject is the family or its champion


def rollout_view(tx: Transaction, store: Store, clock: Clock, rollout: Rollout) -> RolloutView:
    """The view as the stored blocks give it, without a forecast, which would read a week of traffic.

    ``with_forecast`` adds the forecast.
    """
    stored = store.blocks.state(tx, rollout.id)
    state = from_text(stored.state).state if stored is not None else begin(rollout.settings)
    start = begin(rollout.settings).quality
    blocks = comparisons(store.blocks.of_rollout(tx, rollout.id, kind="quality"))
    now, clock_now = clock.now(), clock.rollout_now()
    freeze = is_frozen(store.freezes.all(tx), rollout.family)
    held_back = current_holdback(tx, store, clock, rollout.family)
    if held_back is not None and (held_back.rollout != rollout.id or freeze is not None):
        held_back = None
    followed_by = champion.after_promotion(store.champions.history(tx, rollout.family), rollout.id)
    arms = rollout_evidence.arms_of(rollout, state, blocks, _late_feedback(tx, store, clock, rollout))
    records = (
        store.variants.get(tx, rollout.family, id)
        for id in [rollout.candidate, rollout.champion, *([followed_by.variant] if followed_by else [])]
    )
    versions = {r.variant.id: r.file_version for r in records if r is not None and r.file_version is not None}
    latest = store.rollouts.latest(tx, rollout.family)
    is_last = latest is None or latest.id == rollout.id
    alerts = tuple(
        OpenAlert(kind=a.kind, level=a.level, detail=a.detail, opened_at=a.opened_at)
        for a in store.alerts.all(tx, open_only=True, family=rollout.family)
        if a.subject == rollout.id or (is_last and a.kind in OF_FAMILY)
    )
    settings, history = rollout.settings, rollout.stage_history
    ended_at = history[-1]["clock_to"] if history else None
    running = running_time(rollout, clock_now if ended_at is None else datetime.fromisoformat(ended_at))
    return RolloutView(
        verdict=rollout_evidence.verdict_of(state.quality, state.whole_days),
        n_blocks=state.n_blocks,
        head=state.head,
        metric="{field} by {source}".format(**rollout.settings["metric"]),
        margin=state.quality.margin,
        gates=rollout_evidence.gates_of(state.quality, state.whole_days),
        guardrails=rollout_evidence.guardrails_of(state),
        not_guarded=rollout_evidence.idle_guardrails(state),
        difference=rollout_evidence.difference_of(start, blocks),
        arms=arms,
        left_out=state.n_left_out,
        late_alert=rollout_evidence.late_alert(arms),
        stages=rollout_evidence.stages_of(rollout, state, held_back=held_back is not None),
        labels=rollout_evidence.labels_of(rollout, state),
        hours=Hours(
            running=running.total_seconds() / 3600,
            least=float(settings.get("min_duration_hours", 24)),
            allowed=24 * float(settings.get("max_days", 30)),
            window=float(settings["feedback_window"]["hours"]),
        ),
        silence=SilenceView(
            since=state.silence.since,
            found_at=state.silence.found_at,
            fetches={"candidate": state.silence.fetches_c, "champion": state.silence.fetches_b},
            reports={"candidate": state.silence.reports_c, "champion": state.silence.reports_b},
        ),
        waits_for=_waits_for(rollout, state, now, clock_now),
        next_step=rollout_evidence.next_step_of(rollout),
        lease_expires_at=rollout.lease_expires_at,
        served=freeze is None and is_served(rollout, now),
        freeze=freeze,
        holdback=held_back,
        alerts=alerts,
        looked_at=stored.updated_at if stored is not None else None,
        keys=key_shares(state.by_key),
        max_share_per_key=float(rollout.settings.get("max_share_per_key") or 1.0),
        beyond_exposures=state.n_beyond_exposures,
        followed_by=followed_by,
        versions=versions,
    )


def active_standing(
    rollout: Rollout, evidence: EvidenceRow | None, freezes: Iterable[Freeze], clock: Clock
) -> ActiveStanding:
    """Where an active rollout stands, as the view says it, from the evidence that was read for all active ones."""
    state = from_text(evidence.state).state if evidence is not None else begin(rollout.settings)
    freeze, now = is_frozen(freezes, rollout.family), clock.now()
    step, gates = rollout_evidence.next_step_of(rollout), rollout_evidence.gates_of(state.quality, state.whole_days)
    return ActiveStanding(
        freeze=freeze,
        served=freeze is None and is_served(rollout, now),
        waits_for=_waits_for(rollout, state, now, clock.rollout_now()),
        next_step=step,
        labels=rollout_evidence.labels_of(rollout, state),
        gate=next((gate for gate in gates if step is not None and gate.name == step.asks), None),
    )


def with_forecast(view: RolloutView, rollout: Rollout, *, store: Store, clock: Clock) -> ForecastView:
    """The view with what an active rollout still needs, which it reads in transactions of its own.

    If the rollout changed meanwhile, the view stays without a forecast.
    """
    forecast = None
    if rollout.is_active:
        forecast = forecast_active(rollout.id, store=store, clock=clock)
        with store.read() as tx:
            now = store.rollouts.get(tx, rollout.id)
        if now is None or now.version != rollout.version:
            forecast = None
    return ForecastView(**members_of(view), forecast=forecast)


def comparisons(blocks: list[StoredBlock]) -> list[Block]:
    """The quality blocks among these, as the gate takes them."""
    comparisons_read = (comparison_of(b.content, "outcomes") for b in blocks if b.kind == "quality")
    return [block for block in comparisons_read if block is not None]


def _waits_for(rollout: Rollout, state: EvidenceState, now: datetime, clock_now: datetime) -> tuple[str, ...]:
    return () if rollout.status != "deploying" else next_action(rollout, state, at=now, clock_at=clock_now).waits_for


def _late_feedback(tx: Transaction, store: Store, clock: Clock, rollout: Rollout) -> Mapping[ArmName, tuple[int, int]]:
    """Arm -> (feedback received after its cohort closed, all feedback), of cohorts that closed within LATE_DAYS."""
    if not rollout.stage_history:
        return {}
    now, clock_now = clock.now(), clock.rollout_now()
    window = closing_time(rollout)
    ended_at = rollout.stage_history[-1]["clock_to"]
    # Nothing is closed afterwards.
    until = min(clock_now, datetime.fromisoformat(ended_at)) if ended_at is not None else clock_now
    last = until - window
    return store.observations.late_feedback(
        tx,
        rollout,
        last - timedelta(days=LATE_DAYS),
        last,
        lambda begun: now - (clock_now - begun - window) / clock.scale,
    )
