"""The evidence state: all closed blocks of a Rollout, added up into what is known.

The same blocks always give the same state. ``next_action.py`` says what follows from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from optimizer.core.rollout.blocks import (
    FIRST_PREVIOUS_HASH,
    SECONDS,
    SHARE_DECIMALS,
    GuardrailLimits,
    StoredBlock,
    comparison_of,
)
from optimizer.core.rollout.start import assumed_mean
from optimizer.core.serving.assignment import cohort_length, cohort_minutes
from optimizer.core.statistics.guardrails import FailureRun, Guardrail, GuardrailKind
from optimizer.core.statistics.late_labels import LateLabels
from optimizer.core.statistics.outcomes import Block
from optimizer.core.statistics.quality_gate import QualityGate, WholeDays
from optimizer.core.statistics.sample_ratio import is_silent, label_rates_differ, sample_ratio_log_e

GUARDRAILS: tuple[GuardrailKind, ...] = ("errors", "latency", "cost")
ERRORS_UNKNOWN = 0.05  # the first bets assume it; the evidence is valid from any start
SILENCE_WINDOW_S = (
    600  # the stretch in which fetches and reports are compared; while nothing is wrong another one follows
)
LIMIT_WINDOW_MIN = 60
DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCounts:
    """Matured units of one stage, and how many gave feedback; ``ratio_peak`` is the highest log e-value so far."""

    units_c: int = 0
    units_b: int = 0
    labelled_c: int = 0
    labelled_b: int = 0
    ratio_peak: float = 0.0
    rates_differ: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Fetches and reports of both arms since ``since``.

    ``found_at``: since when the candidate reports less than half as often as the champion.
    """

    stage: int = -1
    window: int = 1  # which stretch of its stage
    since: datetime | None = None
    fetches_c: int = 0
    fetches_b: int = 0
    reports_c: int = 0
    reports_b: int = 0
    found_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The candidate's requests of one minute, which the absolute limits read."""

    minute: int  # since 1970
    n_latency: int = 0
    n_slow: int = 0
    n_cost: int = 0
    cost_usd: float = 0.0
    cost_squares: float = 0.0


NOT_SILENT = Silence()
NO_FAILURES = FailureRun()
NO_LATE_LABELS = LateLabels()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceState:
    """What is known after ``n_blocks`` blocks."""

    quality: QualityGate
    whole_days: WholeDays | None = None  # None: the rollout does not wait for them
    late: LateLabels = NO_LATE_LABELS
    n_blocks: int = 0
    head: str = FIRST_PREVIOUS_HASH
    guardrails: Mapping[GuardrailKind, Guardrail] = field(default_factory=dict)
    baseline: Mapping[str, Any] | None = None
    failures: FailureRun = NO_FAILURES
    stages: Mapping[int, StageCounts] = field(default_factory=dict)
    silence: Silence = NOT_SILENT
    minutes: tuple[Minute, ...] = ()
    seen_until: datetime | None = None  # end of the last guardrail block that held anything
    n_left_out: int = 0
    by_key: Mapping[str, float] = field(default_factory=dict)  # key -> labelled units that it brought
    recomputed: Mapping[str, int] = field(default_factory=dict)  # "stage/arm/key" -> units that count without a token
    n_beyond_exposures: int = 0  # units that did not, since their key had reported too few exposures
    compared: tuple[int, ...] = ()  # stages in which requests of both arms stood in one guardrail comparison

    @property
    def alarmed(self) -> tuple[GuardrailKind, ...]:
        return tuple(kind for kind in GUARDRAILS if kind in self.guardrails and self.guardrails[kind].alarmed)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvidence:
    """An EvidenceState, and how far the tick has read. No decision rests on the latter."""

    state: Annotated[EvidenceState, Field(alias="watch")]  # as it is called where it is stored
    # Stage -> start of its last closed cohort, on the rollout clock.
    cohorts: Mapping[int, datetime] = field(default_factory=dict)
    # The same of those whose late labels are counted.
    late_cohorts: Mapping[int, datetime] = field(default_factory=dict)
    guardrails_until: datetime | None = None  # end of the last guardrail block, empty or not; real time
    # HMACs of the units of the candidate's last requests; blocks hold only numbers for them.
    last_units: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, str]:
        """Unit -> its number in the blocks, of the candidate's last requests."""
        return dict(
            zip(reversed(self.last_units), (r.unit for r in reversed(self.state.failures.candidate)), strict=False)
        )


STORED_EVIDENCE: TypeAdapter[StoredEvidence] = TypeAdapter(StoredEvidence)


def begin(settings: Mapping[str, Any]) -> EvidenceState:
    """The state before the first block.

    The errors guardrail runs from the start, latency and cost from the first baseline on. Rollouts whose settings are
    older than ``whole_days`` or ``roll_weights`` lack it, and keep the rule that they began with.
    """
    metric, margins = settings.get("metric") or {}, settings.get("guardrails") or {}
    gate = QualityGate.start(
        margin=float(settings["margin"]),
        champion_mean=assumed_mean(settings),
        kind="binary" if metric.get("field", "success") == "success" else "score",
    )
    errors = Guardrail.start("errors", champion_mean=ERRORS_UNKNOWN, margin=margins.get("error_margin"))
    if not settings.get("whole_days"):
        return EvidenceState(quality=gate, guardrails={"errors": errors})
    days = WholeDays.start(gate, settings.get("roll_weights"))
    return EvidenceState(quality=gate.with_roll2(), whole_days=days, guardrails={"errors": errors})


def whole_day(settings: Mapping[str, Any]) -> timedelta:
    """The period at whose ends the claims have to stand: a day, or a week where the rollout has to last that long."""
    return WEEK if timedelta(hours=float(settings.get("min_duration_hours", 24))) >= WEEK else DAY


def after(
    state: EvidenceState, block: StoredBlock, settings: Mapping[str, Any], ladder: Sequence[float]
) -> EvidenceState:
    """The state one block later."""
    if block.kind == "guardrails":  # nearly all of them
        return _guardrails(state, block)
    following = replace(state, n_blocks=block.seq, head=block.hash)
    if block.kind == "late":
        comparison = comparison_of(block.content, "late")
        return (
            following
            if comparison is None
            else replace(following, late=state.late.after(comparison, block.content["hours"]))
        )
    return (
        _baseline(following, block.content, settings)
        if block.kind == "baseline"
        else _quality(following, block.content, settings, ladder)
    )


def limits_of(state: EvidenceState, settings: Mapping[str, Any]) -> GuardrailLimits:
    """The limits that turn latency and cost into outcomes, by the last baseline.

    The latency limit is higher where the confirmation measured a slower candidate.
    """
    baseline = state.baseline or {}
    limit, factor = (
        baseline.get("latency_limit_ms"),
        float((settings.get("guardrails") or {}).get("latency_factor") or 1.0),
    )
    return GuardrailLimits(
        latency_ms=None if limit is None else float(limit) * factor,
        cost_cap_usd=baseline.get("cost_cap_usd"),
        absolute_latency_ms=(settings.get("limits") or {}).get("p95_latency_ms"),
    )


def as_text(known: StoredEvidence) -> str:
    """JSON with all digits of each float and sorted members, so that equal evidence has one text. ``from_text`` reads
    it.
    """
    return json.dumps(
        STORED_EVIDENCE.dump_python(known, mode="json", by_alias=True),
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def from_text(text: str) -> StoredEvidence:
    return STORED_EVIDENCE.validate_json(text)


def _baseline(state: EvidenceState, content: Mapping[str, Any], settings: Mapping[str, Any]) -> EvidenceState:
    """The state with new limits.

    A guardrail that runs keeps its evidence: what it bets next depends on earlier data only.
    """
    margins = settings.get("guardrails") or {}
    guardrails: dict[GuardrailKind, Guardrail] = dict(state.guardrails)
    if not guardrails["errors"].n_blocks:
        guardrails["errors"] = Guardrail.start(
            "errors", champion_mean=float(content["error_rate"]), margin=margins.get("error_margin")
        )
    if "latency" not in guardrails and content.get("latency_exceed") is not None:
        guardrails["latency"] = Guardrail.start(
            "latency", champion_mean=float(content["latency_exceed"]), margin=margins.get("latency_margin")
        )
    if "cost" not in guardrails and content.get("cost_mean"):
        guardrails["cost"] = Guardrail.start(
            "cost",
            champion_mean=float(content["cost_mean"]),
            champion_variance=content.get("cost_variance"),
            margin=margins.get("cost_ratio"),
        )
    return replace(state, baseline=dict(content), guardrails=guardrails)


def _whole_days(
    state: EvidenceState,
    content: Mapping[str, Any],
    comparison: Block | None,
    settings: Mapping[str, Any],
    ladder: Sequence[float],
) -> WholeDays | None:
    """The whole days with this cohort's outcomes.

    The holdback lasts a week, so its days are days in any case.
    """
    if state.whole_days is None:
        return None
    day = DAY if content["stage"] == len(ladder) else whole_day(settings)
    start, cohort = datetime.fromisoformat(content["cohort"]), cohort_length(cohort_minutes(settings))
    days = state.whole_days.until(start, state.quality, day=day, cohort=cohort)
    counted = None if comparison is None else state.quality.counted(comparison)
    return days if counted is None else days.after(counted)


def _quality(
    state: EvidenceState, content: Mapping[str, Any], settings: Mapping[str, Any], ladder: Sequence[float]
) -> EvidenceState:
    stage, units = int(content["stage"]), content["units"]
    before = state.stages.get(stage, StageCounts())
    labelled = {arm: sum(k for _, k in values) for arm, values in content["outcomes"].items()}
    counts = replace(
        before,
        units_c=before.units_c + units["candidate"],
        units_b=before.units_b + units["champion"],
        labelled_c=before.labelled_c + labelled["candidate"],
        labelled_b=before.labelled_b + labelled["champion"],
    )
    share = ladder[stage] if stage < len(ladder) else None
    ratio = sample_ratio_log_e(counts.units_c, counts.units_b, pi=share) if share is not None else 0.0
    differ = label_rates_differ(counts.labelled_c, counts.labelled_b, units_c=counts.units_c, units_b=counts.units_b)
    counts = replace(counts, ratio_peak=max(before.ratio_peak, ratio), rates_differ=before.rates_differ or differ)
    comparison = comparison_of(content, "outcomes")
    quality = state.quality if comparison is None else state.quality.after(comparison)
    recomputed = dict(state.recomputed)
    for arm, by_key in content.get("recomputed", {}).items():
        for key, n in by_key.items():
            recomputed[recomputed_name(stage, arm, key)] = recomputed.get(recomputed_name(stage, arm, key), 0) + int(n)
    new_by_key = content.get("by_key", {})
    return replace(
        state,
        quality=quality,
        whole_days=_whole_days(state, content, comparison, settings, ladder),
        stages={**state.stages, stage: counts},
        n_left_out=state.n_left_out + int(content["left_out"]),
        by_key={
            key: round(state.by_key.get(key, 0.0) + float(new_by_key.get(key, 0.0)), SHARE_DECIMALS)
            for key in sorted({*state.by_key, *new_by_key})
        },
        recomputed=recomputed,
        n_beyond_exposures=state.n_beyond_exposures + sum(content.get("beyond_exposures", {}).values()),
    )


def recomputed_name(stage: int, arm: str, key: str) -> str:
    """How ``EvidenceState.recomputed`` names these units."""
    return f"{stage}/{arm}/{key}"


def _guardrails(state: EvidenceState, block: StoredBlock) -> EvidenceState:
    content, guardrails = block.content, dict(state.guardrails)
    for kind, guardrail in state.guardrails.items():
        comparison = comparison_of(content, kind)
        if comparison is not None:
            guardrails[kind] = guardrail.after(comparison)
    failures = state.failures
    for unit, failed, before in content["last"]["candidate"]:
        if before:
            failures = failures.after_champion([flag == "1" for flag in before])
        failures = failures.after_candidate(unit, failed=failed)
    failures = failures.after_champion([flag == "1" for flag in content["last"]["champion"]])
    begun, stage = datetime.fromisoformat(content["from"]), int(content["stage"])
    is_compared = any(guardrails[kind].n_blocks > before.n_blocks for kind, before in state.guardrails.items())
    sums = content["candidate"]
    minute = int(begun.timestamp()) // 60
    oldest = minute - LIMIT_WINDOW_MIN
    recent = (
        state.minutes
        if not state.minutes or state.minutes[0].minute > oldest
        else tuple([m for m in state.minutes if m.minute > oldest])
    )  # in order of time
    same_minute = Minute(minute=minute)
    if recent and recent[-1].minute == minute:
        recent, same_minute = recent[:-1], recent[-1]
    present_minute = Minute(
        minute=minute,
        n_latency=same_minute.n_latency + sums["n_latency"],
        n_slow=same_minute.n_slow + sums["n_slow"],
        n_cost=same_minute.n_cost + sums["n_cost"],
        cost_usd=same_minute.cost_usd + sums["cost_usd"],
        cost_squares=same_minute.cost_squares + sums["cost_squares"],
    )
    return replace(
        state,
        n_blocks=block.seq,
        head=block.hash,
        guardrails=guardrails,
        compared=(*state.compared, stage) if is_compared and stage not in state.compared else state.compared,
        failures=failures,
        silence=_silence(state.silence, content, begun),
        minutes=((*recent, present_minute)),
        seen_until=datetime.fromtimestamp(begun.timestamp() + SECONDS, begun.tzinfo),
    )


def _silence(before: Silence, content: Mapping[str, Any], begun: datetime) -> Silence:
    stage, fetches, reports = int(content["stage"]), content["fetches"], content["reports"]
    if stage < before.stage:  # tokens of the stage before: neither arm's present share
        return before
    old = (
        before.since is not None
        and (begun - before.since).total_seconds() >= SILENCE_WINDOW_S
        and before.found_at is None
    )
    if before.stage != stage or before.since is None or old:
        before = Silence(stage=stage, window=before.window + 1 if before.stage == stage else 1, since=begun)
    counted = Silence(
        stage=before.stage,
        window=before.window,
        since=before.since,
        found_at=before.found_at,
        fetches_c=before.fetches_c + fetches["candidate"],
        fetches_b=before.fetches_b + fetches["champion"],
        reports_c=before.reports_c + reports["candidate"],
        reports_b=before.reports_b + reports["champion"],
    )
    silent = is_silent(
        counted.reports_c,
        counted.reports_b,
        fetches_c=counted.fetches_c,
        fetches_b=counted.fetches_b,
        window=counted.window,
    )
    if not silent:
        return counted if counted.found_at is None else replace(counted, found_at=None)
    return counted if counted.found_at is not None else replace(counted, found_at=begun)
