"""Forecasts a rollout: before its start from its settings and recorded traffic, while it runs from its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf

from optimizer.core.base.minute_sums import HOUR, ceiling, floor
from optimizer.core.evaluation.gates import missed_gates
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import RolloutForecast, forecast_rollout
from optimizer.core.forecast.outcomes import OutcomeForecast, SignalledAnswer, compare_outcomes
from optimizer.core.forecast.plan import Lift, Progress, lift_of, plan_of
from optimizer.core.rollout import evidence_state
from optimizer.core.rollout.cohorts import served_for
from optimizer.core.rollout.start import gates_on_record, most_labelled, overridden_settings
from optimizer.core.search.study import Study
from optimizer.core.serving.rollout import Rollout, visible
from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.quality_gate import ALPHA_SHIP, NESTED
from optimizer.jobs.record_change import require_variant
from optimizer.jobs.rollouts.fix_settings import ChampionRecord, fix_settings, read_champion_record
from optimizer.jobs.studies.read_studies import confirming_study
from optimizer.ports import Clock, EvidenceRow, Store, Transaction

RECENT = timedelta(days=7)
AT_MOST = timedelta(days=30)  # is read where the last seven days hold no labels
MOST_TAGGED = 5000  # newest outcomes with signals that are read


def recorded_traffic(
    tx: Transaction, store: Store, family: str, metric: Metric, now: datetime
) -> RecordedTraffic | None:
    """The traffic of the last seven days, or of thirty where seven hold no label of the metric; None
    without reports.
    """

    def of_last(time: timedelta) -> RecordedTraffic | None:
        # What came before the last whole hour stays as it is, so the store reads it once.
        settled = store.traffic.recorded(tx, family, ceiling(now - time, HOUR), floor(now, HOUR))
        if settled is not None and settled.hours >= 24 and settled.label_rate(metric.field, metric.source):
            return settled
        return store.traffic.recorded(tx, family, now - time, now)

    recent = of_last(RECENT)
    return recent if recent is not None and recent.label_rate(metric.field, metric.source) else of_last(AT_MOST)


def read_recent(family: Family, *, store: Store, clock: Clock) -> tuple[ChampionRecord, RecordedTraffic | None]:
    """What the settings and the forecast of a start rest on: weeks of sums and the champion's newest outcomes.

    It reads in a transaction of its own, so that no writer waits. Raises NotFound where there is no champion.
    """
    with store.read() as tx:
        record = read_champion_record(tx, store, family.name, clock)
        metric = family.rollout.metric or most_labelled(record.labels)
        return record, recorded_traffic(tx, store, family.name, metric, clock.now())


def forecast_start(
    rollout: Rollout, *, traffic: RecordedTraffic | None, study: Study | None, forced: bool, clock: Clock
) -> RolloutForecast:
    """The forecast of a rollout that has not begun.

    Args:
        study: the one whose confirmation compares the candidate with the champion.
    """
    lift = lift_of(study.confirmation if study is not None else None, forced=forced)
    return forecast_rollout(plan_of(rollout.settings, rollout.ladder, lift, clock_scale=clock.scale), traffic)


def forecast_family(
    family: Family,
    variant: str | None = None,
    *,
    store: Store,
    clock: Clock,
    ladder: Sequence[float] | None = None,
    margin: float | None = None,
) -> RolloutForecast:
    """The forecast as if ``variant`` started now; without one, of a candidate that no study confirmed.

    Raises:
        NotFound: the family has no such variant, or no champion.
        InvalidInput: ladder or margin out of range.
    """
    settings = overridden_settings(family.rollout, ladder=ladder, margin=margin)
    record, traffic = read_recent(family, store=store, clock=clock)
    with store.read() as tx:
        if variant is not None:
            require_variant(tx, store, family.name, variant)
        study = confirming_study(tx, store, family.name, variant) if variant is not None else None
    aim = study.aim if study is not None else settings.gates.aim
    forced = variant is not None and bool(
        missed_gates(gates_on_record(study, variant=variant, champion=record.champion, aim=aim))
    )
    lift = lift_of(study.confirmation if study is not None else None, forced=forced)
    fixed = fix_settings(family, settings, record, candidate=variant or "", study=study)
    plan = plan_of(fixed, settings.ladder, lift, clock_scale=clock.scale)
    return forecast_rollout(plan, traffic)


def forecast_outcomes(family: Family, *, store: Store, clock: Clock) -> tuple[OutcomeForecast, ...]:
    """A forecast per metric that the family's rule under ``outcome`` allows, for an equal candidate.

    The metrics are thumbs, each signal, and all together. Raises NotFound where there is no champion.
    """
    if not family.outcome:
        return ()
    record, traffic = read_recent(family, store=store, clock=clock)
    plan = plan_of(fix_settings(family, family.rollout, record), family.rollout.ladder, Lift(), clock_scale=clock.scale)
    now = clock.now()
    with store.read() as tx:
        tagged_outcomes = store.traffic.tagged(tx, family.name, now - AT_MOST, now, MOST_TAGGED)
        names = {interaction for interaction, _ in tagged_outcomes if interaction is not None}
        thumbs = store.traffic.ratings(tx, family.name, names, "user")
    answers = [SignalledAnswer(tags=tags, thumb=thumbs.get(interaction or "")) for interaction, tags in tagged_outcomes]
    return compare_outcomes(plan, traffic, family.outcome, answers)


def forecast_active(rollout_id: str, *, store: Store, clock: Clock) -> RolloutForecast:
    """What a rollout still needs, from its evidence so far. Raises NotFound."""
    with store.read() as tx:
        rollout = visible(store.rollouts.get(tx, rollout_id), rollout_id)
        if not rollout.is_active:
            ended = f"The rollout has ended ({rollout.outcome or 'no outcome'}): nothing is left to forecast."
            return RolloutForecast(verdict="ended", summary=ended)
        study = store.studies.get(tx, rollout.study) if rollout.study is not None else None
        progress = _progress(store.blocks.state(tx, rollout.id), rollout, clock.rollout_now())
        metric = Metric.model_validate(rollout.settings["metric"])
        traffic = recorded_traffic(tx, store, rollout.family, metric, clock.now())
    lift = lift_of(study.confirmation if study is not None else None, forced=rollout.forced)
    return forecast_rollout(plan_of(rollout.settings, rollout.ladder, lift, clock_scale=clock.scale), traffic, progress)


def _progress(stored: EvidenceRow | None, rollout: Rollout, clock_now: datetime) -> Progress:
    """Where the rollout stands after its last closed block; at its beginning if it is not served yet."""
    if not rollout.stage_history:
        return Progress()
    state = (
        evidence_state.from_text(stored.state).state if stored is not None else evidence_state.begin(rollout.settings)
    )
    gate = state.quality
    whole = state.whole_days
    passed = {m: gate.peaks[f"ship{m}"] >= threshold(ALPHA_SHIP) for m in NESTED}
    grown = {m: inf if passed[m] else gate.of(f"ship{m}").log_e for m in NESTED}
    stood = whole is not None and whole.peak("ship1") >= threshold(ALPHA_SHIP)
    if whole is not None and not stood:
        grown[1] = min(grown[1], whole.of("ship1").log_e)
    return Progress(
        stage=rollout.stage,
        labelled=gate.labelled,
        labelled_in_stage=gate.labelled_in_stage if gate.stage == rollout.stage else 0,
        grown=grown,
        hours=_hours(served_for(rollout, clock_now)),
        stage_hours=_hours(served_for(rollout, clock_now, share=rollout.ladder[rollout.stage])),
        begun=True,
        n_days=0 if whole is None else whole.n,
        stood=stood,
    )


def _hours(length: timedelta) -> float:
    return max(0.0, length.total_seconds() / 3600)
