"""What follows from an EvidenceState: the transition that the tick requests, or what it waits for.

The function is pure, so that ``detent rollout verify`` can ask it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from optimizer.core.base.phrasing import count
from optimizer.core.rollout.blocks import excess_of_one_key
from optimizer.core.rollout.cohorts import late_hours, running_time, served_for
from optimizer.core.rollout.evidence_state import WEEK, EvidenceState, whole_day
from optimizer.core.serving.rollout import Rollout, RolloutOutcome, percent
from optimizer.core.statistics.late_labels import COUNTED
from optimizer.core.statistics.outcomes import Hypothesis, Sums, clip_rate, threshold
from optimizer.core.statistics.projection import divergence
from optimizer.core.statistics.sample_ratio import ALPHA_RATIO
from optimizer.core.statistics.stopping_rule import RolloutPosition, e_value_text, stopping_rule

NextAct = Literal["advance", "promote", "rollback", "hold", "resume", "wait"]
ACTOR = "system:tick"
SILENT_FOR = timedelta(minutes=5)
LATENCY_WINDOW_MIN = 15
MIN_LATENCIES = 100  # fewer do not show a 95th percentile
SLOW_SHARE = 0.05  # what may lie above a 95th percentile
ALPHA_LIMIT = 1e-5  # small, since the test runs again on every quarter of an hour for weeks
MIN_COSTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAction:
    """What the tick does next, and why.

    ``evidence`` goes into the Decision, and verification computes it again. ``alerts`` maps a kind to its sentence;
    each alert stays open for as long as it is in here.
    """

    act: NextAct
    reason: str
    evidence: Mapping[str, Any]
    alerts: Mapping[str, str]
    outcome: RolloutOutcome = "cancelled"  # of a rollback
    waits_for: tuple[str, ...] = ()


def next_action(rollout: Rollout, state: EvidenceState, *, at: datetime, clock_at: datetime) -> NextAction:
    """What the gravest finding asks for: invalid, guardrail, worse, next step, inconclusive, in this order.

    Where none of these is so, the tick may hold the rollout or end its own hold; else it waits.

    Args:
        rollout: in status deploying.
        at, clock_at: real time and the rollout clock's.
    """
    # A person should know of these while they last. Each also withholds the next step.
    alerts = {}
    if state.failures.finding == "shared_incident":
        alerts["shared_incident"] = "requests of both arms fail, so the fault is probably not the candidate's"
    if state.silence.found_at is not None:
        alerts["candidate_silent"] = _silence_text(state)
    counts = state.stages.get(rollout.stage)
    if counts is not None and counts.rates_differ:
        alerts["feedback_rates_differ"] = (
            f"feedback rates differ: {counts.labelled_c} of {counts.units_c} units of the candidate gave feedback, and "
            f"{counts.labelled_b} of {counts.units_b} of the champion"
        )
    standing = _standing(rollout, state, at=at, clock_at=clock_at, alerts=alerts)
    verdict = stopping_rule(standing)
    act: NextAct = "wait"
    outcome: RolloutOutcome = "cancelled"
    if verdict.action in ("advance", "promote"):
        act = "advance" if verdict.action == "advance" else "promote"
    elif verdict.action in ("invalid", "inconclusive"):
        act, outcome = "rollback", "invalid" if verdict.action == "invalid" else "inconclusive"
    elif verdict.action == "roll_back":
        act, outcome = "rollback", "guardrail" if standing.guardrail_alarm is not None else "worse"
    reason = verdict.reason
    if act == "wait":
        act, reason = _hold(rollout, alerts) or (act, reason)
    # What the decision rests on, as plain JSON; `head` ties it to every byte of every block.
    evidence = {
        "act": act,
        "outcome": outcome if act == "rollback" else None,
        "reason": reason,
        "blocks": state.n_blocks,
        "head": state.head,
        "log_e": {
            **standing.peaks,
            **{f"guardrail_{kind}": g.evidence.peak for kind, g in state.guardrails.items()},
            **(state.late.peaks if state.late.labelled else {}),  # older rollouts count no late labels
        },
        "labelled": state.quality.labelled,
        "labelled_in_stage": standing.labelled_in_stage,
        **({"whole_days": standing.whole.as_record()} if standing.whole is not None else {}),
        **({"by_key": dict(state.by_key)} if state.by_key else {}),  # older blocks do not record keys
    }
    return NextAction(
        act=act, reason=reason, outcome=outcome, alerts=alerts, waits_for=verdict.missing, evidence=evidence
    )


def guardrail_alarm(rollout: Rollout, state: EvidenceState, *, at: datetime) -> str | None:
    """The sentence that says why the candidate has to go, whatever its labels say; None where nothing is wrong."""
    for kind in state.alarmed:
        guardrail = state.guardrails[kind]
        allowed = {
            "errors": f"{_points(guardrail.margin)} more errors",
            "latency": f"{_points(guardrail.margin)} more slow requests",
            "cost": f"{guardrail.margin:g} times the cost",
        }[kind]
        return (
            f"guardrail {kind}: evidence {e_value_text(guardrail.evidence.peak)} against at most {allowed} than the"
            f" champion's, {1 / guardrail.alpha:.0f} suffices, after {guardrail.n_candidate} outcomes of the candidate"
        )
    # Ten failures in a row. A champion that serves at least half of the units counts as working where it was not asked
    # meanwhile.
    alone = state.failures.finding == "alone" and rollout.share is not None and rollout.share <= 0.5
    if alone or state.failures.finding == "failing":
        run = state.failures
        return (
            f"{len(run.candidate)} requests of the candidate failed in a row, from {count(run.n_units, 'unit')}, while"
            " the champion works"
        )
    found_at, seen_until = state.silence.found_at, state.seen_until or at
    # Without traffic the clock of silence stands still.
    if found_at is not None and min(at, seen_until) - found_at >= SILENT_FOR:
        return f"{_silence_text(state)}, for longer than {SILENT_FOR.total_seconds() / 60:g} minutes"
    limits = dict(rollout.settings.get("limits") or {})
    if rollout.outcome == "promoted":  # it serves nearly all users now, on whom the champion before would spend as much
        limits.pop("cost_usd_per_hour", None)
    # The family's absolute limits on time and money compare with no other arm.
    now = int(at.timestamp()) // 60
    recent = [m for m in state.minutes if m.minute > now - LATENCY_WINDOW_MIN]
    n, slow = sum(m.n_latency for m in recent), sum(m.n_slow for m in recent)
    latency = limits.get("p95_latency_ms")
    share = slow / max(1, n)
    # More than 5 % were slow, beyond chance, by the Chernoff bound. Chance matters: at a true 2 %, six of 100 requests
    # are slow in one quarter of an hour out of sixty.
    is_slow = share > SLOW_SHARE and n * divergence(clip_rate(share), SLOW_SHARE) >= threshold(ALPHA_LIMIT)
    if latency is not None and n >= MIN_LATENCIES and is_slow:
        return (
            f"{percent(share)} of the candidate's last {n} requests took longer than {latency:g} ms, the family's"
            " limit of the 95th percentile"
        )
    costs = sum((Sums(n=m.n_cost, total=m.cost_usd, squares=m.cost_squares) for m in recent), start=Sums())
    per_call = limits.get("cost_usd_per_call")
    if per_call is not None and costs.n >= MIN_COSTS:
        # Above the limit beyond chance: 4.8 standard errors, since exp(-4.8^2 / 2) is ``ALPHA_LIMIT``.
        mean, variance = costs.mean or 0.0, costs.variance or 0.0
        if mean > per_call and costs.n * (mean - per_call) ** 2 >= 2 * variance * threshold(ALPHA_LIMIT):
            return (
                f"the candidate's last {costs.n:g} requests cost {costs.total / costs.n:.4g} dollars each, and the"
                f" family's limit is {per_call:g}"
            )
    hourly, spent = limits.get("cost_usd_per_hour"), sum(m.cost_usd for m in state.minutes if m.minute > now - 60)
    if hourly is not None and spent > hourly:
        return (
            f"the candidate's requests of the last hour cost {spent:.4g} dollars, and the family's limit is {hourly:g}"
            " an hour"
        )
    return None


def _standing(
    rollout: Rollout, state: EvidenceState, *, at: datetime, clock_at: datetime, alerts: Mapping[str, str]
) -> RolloutPosition:
    settings, gate = rollout.settings, state.quality
    served, in_stage = served_for(rollout, clock_at), served_for(rollout, clock_at, share=rollout.ladder[rollout.stage])
    days = float(settings.get("max_days", 30))
    waits_for: list[str] = []
    if state.baseline is None:  # no step is taken before that, even after a person forced one
        needed = (settings.get("guardrails") or {}).get("min_history", 500)
        waits_for.append(
            f"the guardrails need {needed} reported requests of the champion to compare with; they are summed up within"
            " two minutes"
        )
    if rollout.stage not in state.compared:
        # Labels alone advance no candidate: where reports come too late, or not at all, the guardrails see nothing.
        waits_for.append(
            "the guardrails have not compared requests of both arms at this stage yet; they count what is reported"
            " within 15 minutes of its start"
        )
    # It only withholds a step. Guardrails, and proof that the candidate is worse, act on evidence from any key.
    max_share = settings.get("max_share_per_key")
    excess = excess_of_one_key(state.by_key, 1.0 if max_share is None else float(max_share))
    if excess is not None:
        waits_for.append(excess)
    hypothesis = state.late.later
    return RolloutPosition(
        ladder=rollout.ladder,
        stage=rollout.stage,
        peaks=gate.peaks,
        whole=state.whole_days,
        whole_name="week" if whole_day(settings) == WEEK else "day",
        labelled_in_stage=gate.labelled_in_stage if gate.stage == rollout.stage else 0,
        min_labelled=int(settings.get("min_labelled_per_stage", 200)),
        dwell_over=in_stage >= timedelta(minutes=float(settings.get("min_dwell_minutes", 0))),
        min_duration_over=served >= timedelta(hours=float(settings.get("min_duration_hours", 24))),
        held=rollout.held,
        sample_ratio_alarm=any(counts.ratio_peak >= threshold(ALPHA_RATIO) for counts in state.stages.values()),
        guardrail_alarm=guardrail_alarm(rollout, state, at=at),
        labels_later=(
            None
            if hypothesis is None
            else _later_text(rollout, state, hypothesis, state.late.peaks[hypothesis.name], "come later")
        ),
        budget_spent=f"{days:g} days are over" if running_time(rollout, clock_at) >= timedelta(days=days) else None,
        max_labelled=int(settings.get("max_labelled", 8000)),
        labelled=gate.labelled,
        waits_for=(*waits_for, *_late_labels(rollout, state), *alerts.values()),
    )


def _late_labels(rollout: Rollout, state: EvidenceState) -> tuple[str, ...]:
    """What a promotion still has to know of labels that come after the window; older rollouts do not count them."""
    late, used = state.late, state.quality.labelled
    if late_hours(rollout) is None or rollout.stage < len(rollout.ladder) - 1:
        return ()
    if late.labelled < COUNTED * used:
        return (
            (
                f"late labels have been counted of {late.labelled} labelled units, and half of the {used} used are"
                " needed: a cohort's are counted once its feedback window has passed a second time"
            ),
        )
    if late.suspected is None:
        return ()
    return (_later_text(rollout, state, late.suspected, late.of(late.suspected.name).log_e, "may come later"),)


def _later_text(rollout: Rollout, state: EvidenceState, hypothesis: Hypothesis, log_e: float, come_later: str) -> str:
    """The sentence on an arm whose labels come later, with the window in which both could be compared."""
    window, late = float(rollout.settings["feedback_window"]["hours"]), state.late
    slower, other = ("candidate", "champion") if hypothesis.name == "candidate_later" else ("champion", "candidate")
    slow, quick = (late.candidate, late.champion) if slower == "candidate" else (late.champion, late.candidate)
    needed = slow.window_needed(window)
    advice = (
        f"a window of more than {2 * window:.3g} hours is needed"
        if needed is None
        else f"a window of about {math.ceil(needed) if needed > 10 else needed:.3g} hours would do"
    )
    return (
        f"labels {come_later} in the {slower}'s arm: {slow.late} of {slow.labelled} of its labels came after the"
        f" feedback window of {window:.3g} hours, and {quick.late} of {quick.labelled} of the {other}'s (evidence"
        f" {e_value_text(log_e)}, {1 / hypothesis.alpha:.0f} suffices), and labels in time compare the arms only where"
        f" both are as quick; {advice} (rollout.feedback_window.hours)"
    )


def _hold(rollout: Rollout, alerts: Mapping[str, str]) -> tuple[NextAct, str] | None:
    """The tick holds while both arms fail or the candidate is silent. It ends its own holds, not a person's."""
    why = [alerts[kind] for kind in ("shared_incident", "candidate_silent") if kind in alerts]
    if why and not rollout.held:
        return "hold", "; ".join(why)
    if not why and rollout.held and rollout.held_by == ACTOR:
        return "resume", "what it was held for is over"
    return None


def _points(margin: float) -> str:
    return f"{margin * 100:g} point{'' if margin == 0.01 else 's'}"


def _silence_text(state: EvidenceState) -> str:
    s = state.silence
    return (
        f"the candidate's users report nothing or little: {s.reports_c} reports on {s.fetches_c} fetches, the"
        f" champion's {s.reports_b} on {s.fetches_b}"
    )
