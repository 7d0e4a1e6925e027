"""Starts a rollout: fixes its settings, checks the gates on record, and waits for approval."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Text, members_of
from optimizer.core.base.errors import Conflict, GateNotMet
from optimizer.core.base.values import Aim
from optimizer.core.evaluation.gates import IMPROVED, GateRecord, missed_gates
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.suite import gates_of_suites, suites_of
from optimizer.core.family.family import Family
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import RolloutForecast
from optimizer.core.rollout.start import (
    LABEL_WINDOW_DAYS,
    NEWEST,
    earlier_rollback_gate,
    gates_on_record,
    in_process_gate,
    overridden_settings,
    start_hindrance,
)
from optimizer.core.rollout.transitions import TransitionRequest, answers_on, apply, start
from optimizer.core.serving.rollout import Decision, Rollout, is_frozen, ladder_text, require_unfrozen
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.families.vouch_for_judge import judge_gates, without_judge_gate
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import (
    RolloutChange,
    checked_reason,
    list_draft,
    log_head,
    record_transition,
    require_variant,
)
from optimizer.jobs.request import FamilyRequest, Name, Reason, Share
from optimizer.jobs.rollouts.change_champion import fall_of
from optimizer.jobs.rollouts.fix_settings import ChampionRecord, current_champion, fix_settings
from optimizer.jobs.rollouts.forecast_rollout import forecast_start, read_recent
from optimizer.jobs.rollouts.watch_rollout import ENDED
from optimizer.jobs.studies.read_studies import confirming_study
from optimizer.ports import Clock, Store, Transaction

AUTO_ACTOR = "system:auto"


class RolloutRequest(FamilyRequest):
    variant: Name
    aim: Aim | None = None
    ladder: Annotated[list[Share], Field(min_length=1, max_length=50)] | None = None
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    dry_run: bool = False
    study: Annotated[
        str | None,
        Field(description="The study whose confirmation speaks for the candidate; default: the last one that did"),
    ] = None
    confirm: Annotated[
        str | None, Field(description="The family's name: starts past a gate that is not met, recorded as forced")
    ] = None
    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport(RolloutChange):
    """What a start did, or under ``dry_run`` would do: the rollout with its frozen settings, and the gates that speak
    for it. ``plan``: variants, ladder, aim and margin in words; ``hindrance``: why nothing would start now.
    """

    plan: str
    hindrance: Text[str | None] = None
    gates: Sequence[GateRecord]
    forecast: RolloutForecast
    dry_run: bool = False


def start_rollout(context: Context, request: RolloutRequest) -> StartReport:
    """Starts a rollout against the champion. With `dry_run` nothing is made, and 200 says what would happen.

    A gate that is not met is 409 `gate-not-met` naming it, unless `confirm` is the family's name:
    then it starts as forced.
    """
    family = context.family(request.family)
    return make_rollout(
        family,
        request,
        actor=context.actor,
        store=context.store,
        clock=context.clock,
        scorer_for=context.scorer_for,
    )


def make_rollout(
    family: Family,
    request: RolloutRequest,
    *,
    actor: str,
    store: Store,
    clock: Clock,
    scorer_for: Callable[[Family], Scorer],
) -> StartReport:
    """Makes the rollout in one transaction; under ``dry_run`` only says what would happen.

    Raises:
        NotFound: the family has no such variant or no champion, or there is no such study.
        InvalidInput: ladder, margin or aim out of range.
        Conflict: the variant is the champion, another rollout is active, or the family is frozen.
        InvalidFamily: the family has a suite, and its scorer cannot be loaded.
        GateNotMet: a gate has not passed, or the rollout would not end within its limits, and ``confirm`` is not the
            family's name.
    """
    record, traffic = read_recent(family, store=store, clock=clock)
    with store.read() as tx:
        has_suites = bool(suites_of(with_kept_golden(tx, store, family)))
    basis = _Basis(
        family=family,
        request=request,
        actor=actor,
        reason=checked_reason(request.reason) if request.reason else None,
        record=record,
        traffic=traffic,
        scorer_version=scorer_for(family).version if has_suites else "",
    )
    if request.dry_run:
        with store.read() as tx:
            draft = _draft_start(tx, store, clock, basis)
            freeze = is_frozen(store.freezes.all(tx), family.name)
        forced = bool(draft.missed)
        plan = _plan(draft.rollout)
        what = f"would start a rollout of {plan}"
        if forced:
            what += "; forced, since" if draft.basis.is_confirmed else "; refused unless confirmed, since"
            what += " not every gate is met"
        hindrances = [f"{freeze.sentence}."] if freeze is not None else []
        hindrances += [draft.hindrance.detail] if draft.hindrance is not None else []
        hindrance = " ".join(hindrances) or None
        next_ = None if draft.hindrance is not None else start_command(draft.basis.request, forced=forced)
        if hindrance is not None:
            what = f"nothing would start: {hindrance} After that it {what}"
        return StartReport(
            **members_of(replace(draft.rollout, forced=forced)),
            what=what,
            why=_gates_text(draft),
            next=freeze.undo if freeze is not None else next_,
            changed=False,
            plan=plan,
            hindrance=hindrance,
            gates=draft.gates,
            forecast=draft.forecast,
            dry_run=True,
        )
    decisions: list[Decision] = []
    report = store.write(lambda tx: _write_start(tx, store, clock, basis, decisions))
    for decision in decisions:
        log_head(decision)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What a start rests on: its request, and the champion's recent record."""

    family: Family
    request: RolloutRequest
    actor: str
    reason: str | None
    record: ChampionRecord
    traffic: RecordedTraffic | None
    scorer_version: str  # empty where the family has no suite

    @property
    def is_confirmed(self) -> bool:
        return self.request.confirm == self.family.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A rollout that is not stored yet."""

    rollout: Rollout
    gates: Sequence[GateRecord]
    forecast: RolloutForecast
    basis: _Basis
    hindrance: Conflict | None  # why it cannot start: none was reported, or none could get it

    @property
    def missed(self) -> list[GateRecord]:
        return missed_gates(self.gates)


def _draft_start(tx: Transaction, store: Store, clock: Clock, basis: _Basis) -> _Draft:
    name, variant = basis.family.name, basis.request.variant
    settings = overridden_settings(basis.family.rollout, ladder=basis.request.ladder, margin=basis.request.margin)
    candidate = require_variant(tx, store, name, variant)
    champion = current_champion(tx, store, name)
    if champion.variant == variant:
        raise Conflict(f"Cannot start a rollout of {variant}: it is the champion of {name} already.", champion=variant)
    if champion.variant != basis.record.champion:
        raise Conflict(
            f"Cannot start a rollout of {variant}: {champion.variant} became the champion of {name} while it was"
            " prepared. Start it again.",
            champion=champion.variant,
        )
    active = store.rollouts.active(tx, name)
    if active is not None:
        raise Conflict(
            f"Cannot start a rollout of {variant}: {name} has rollout {active.id} of {active.candidate}"
            f" ({active.status}). End that one first (detent rollout rollback {name}), or wait for it.",
            rollout=active.id,
            rollout_status=active.status,
            offers=list(answers_on(active)),
        )
    evidence = confirming_study(tx, store, name, variant, aim=basis.request.aim, named=basis.request.study)
    aim = basis.request.aim or (evidence.aim if evidence is not None else settings.gates.aim)
    now = clock.now()
    since = now - timedelta(days=LABEL_WINDOW_DAYS)
    n, n_reported = store.observations.reporters(tx, name, since, NEWEST)
    why_not = start_hindrance(name, candidate.variant, n=n, n_reported=n_reported)
    hindrance = Conflict(f"Cannot start a rollout of {variant}: {why_not}.") if why_not is not None else None
    rollout = Rollout(
        id=new_id("ro"),
        family=name,
        candidate=variant,
        champion=champion.variant,
        aim=aim,
        ladder=settings.ladder,
        salt=secrets.token_hex(16),
        status="pending",
        stage=-1,
        held=False,
        version=0,
        settings=fix_settings(basis.family, settings, basis.record, candidate=variant, study=evidence),
        stage_history=(),
        created_at=now,
        created_by=basis.actor,
        study=evidence.id if evidence is not None else None,
        simulated_clock=clock.scale != 1.0,
    )
    gates = without_judge_gate(gates_on_record(evidence, variant=variant, champion=champion.variant, aim=aim))
    scored_by = (evidence.confirmation or {}).get("judge") if evidence is not None else None
    metric_source = rollout.settings["metric"]["source"]
    judged = judge_gates(
        basis.family,
        store,
        tx,
        metric_source=metric_source,
        scored_by=scored_by,
        variants=[candidate.variant],
    )
    if metric_source == "judge" and not missed_gates(judged):  # another gate in the file does not replace it
        rollout = replace(rollout, settings={**rollout.settings, "judge": judge_identity(basis.family)})
    gates += judged
    gates += earlier_rollback_gate(fall_of(tx, store, name, variant, against=champion.variant))
    n_decided = store.exposures.decided_in_process(tx, name, champion.variant)
    serving = require_variant(tx, store, name, champion.variant)
    gates += in_process_gate(candidate.variant, serving.variant, n_decided=n_decided, n_reported=n_reported)
    family = with_kept_golden(tx, store, basis.family)
    batches = store.performance.batches(tx, name)
    version = basis.scorer_version
    gates += gates_of_suites(family, batches, variant, champion=champion.variant, scorer_version=version)
    forecast = forecast_start(
        rollout, traffic=basis.traffic, study=evidence, forced=bool(missed_gates(gates)), clock=clock
    )
    gate = forecast.gate()
    all_gates = gates if gate is None else [*gates, gate]
    return _Draft(rollout=rollout, gates=all_gates, forecast=forecast, basis=basis, hindrance=hindrance)


def _write_start(tx: Transaction, store: Store, clock: Clock, basis: _Basis, decisions: list[Decision]) -> StartReport:
    """Args:
    decisions: a list that takes the decisions which are written.
    """
    require_unfrozen(store.freezes.all(tx), basis.family.name, f"start a rollout of {basis.request.variant}")
    draft = _draft_start(tx, store, clock, basis)
    if draft.hindrance is not None:
        raise draft.hindrance
    forced = bool(draft.missed)
    if forced and not basis.is_confirmed:
        name, variant = basis.family.name, basis.request.variant
        obstacle = "; ".join(f"{g['name']}: {g['reason']}" for g in draft.missed)
        wrong = f" (confirm was {basis.request.confirm!r})" if basis.request.confirm is not None else ""
        evidence = any(g["name"] != "forecast" for g in draft.missed)
        way_out = f"Collect the evidence (detent study run {name}), or start it" if evidence else "Or start it"
        raise GateNotMet(
            f"Cannot start a rollout of {variant}: not every gate is met. {obstacle}. {way_out} "
            f"as forced with confirm = {name}{wrong}: {start_command(basis.request, forced=True)}.",
            gates=draft.missed,
            confirm=name,
        )
    list_draft(tx, store, require_variant(tx, store, basis.family.name, basis.request.variant))
    store.rollouts.add(tx, draft.rollout)
    # So that the next attempt finds it on record.
    store.alerts.close(tx, ENDED, draft.rollout.family, draft.rollout.family, draft.rollout.created_at)

    def transition_request(act: Any, actor: str, reason: str) -> TransitionRequest:
        return TransitionRequest(
            act=act,
            at=draft.rollout.created_at,
            clock_at=clock.rollout_now(),
            actor=actor,
            reason=reason,
            confirm=basis.request.confirm,
            gates=draft.gates,
        )

    transitions = [
        start(draft.rollout, transition_request("start", basis.actor, basis.reason or "started by hand"), forced=forced)
    ]
    transitions.append(
        apply(transitions[-1].rollout, transition_request("validate", basis.actor, _why(draft, _gates_text(draft))))
    )
    if _approves_itself(draft):
        why = _why(draft, f"approve: auto, every gate is met at confidence {IMPROVED:g} or more")
        transitions.append(apply(transitions[-1].rollout, transition_request("approve", AUTO_ACTOR, why)))
    decisions[:] = [record_transition(tx, store, t) for t in transitions]
    rollout = transitions[-1].rollout
    plan = _plan(rollout)
    waits = "approved by itself" if rollout.status == "approved" else "waiting for approval"
    return StartReport(
        **members_of(rollout),
        what=f"rollout {rollout.id} of {plan}; {waits}",
        why=_why(draft, _gates_text(draft)),
        undo=f"detent rollout rollback {rollout.family}",
        next=f"detent rollout {'status' if rollout.status == 'approved' else 'approve'} {rollout.family}",
        plan=plan,
        gates=draft.gates,
        forecast=draft.forecast,
    )


def _approves_itself(draft: _Draft) -> bool:
    """Whether the rollout needs no person's approval: never where it was forced, and only on evidence of an
    improvement.
    """
    sure = [(g["value"] or 0) >= IMPROVED for g in draft.gates if g["name"] in ("confidence", "quality", "saving")]
    return draft.rollout.settings["approve"] == "auto" and not draft.missed and bool(sure) and all(sure)


def _why(draft: _Draft, facts: str) -> str:
    """The recorded reason: the person's reason first, then the facts."""
    reason = draft.basis.reason
    return f"{reason.rstrip('.')}; {facts}" if reason else facts


def _gates_text(draft: _Draft) -> str:
    reasons = [str(g["reason"]) for g in draft.gates]
    return "; ".join(reasons if draft.forecast.gate() is not None else [*reasons, draft.forecast.summary])


def start_command(request: RolloutRequest, *, forced: bool) -> str:
    """The command that starts what was asked for: with another margin or ladder it would be another rollout."""
    options = {
        "aim": request.aim,
        "ladder": ",".join(f"{share:g}" for share in request.ladder) if request.ladder is not None else None,
        "margin": f"{request.margin:g}" if request.margin is not None else None,
        "study": request.study,
        "confirm": request.family if forced else None,
    }
    option_text = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    return f"detent rollout start {request.family} {request.variant}{option_text}"


def _plan(rollout: Rollout) -> str:
    return (
        f"{rollout.candidate} against {rollout.champion}, ladder {ladder_text(rollout.ladder)} > 100 %, aim"
        f" {rollout.aim}, margin {rollout.settings['margin']:g} ({rollout.settings['margin_from']})"
    )
