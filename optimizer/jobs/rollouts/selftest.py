"""Self-test: replays a family's recorded traffic as A against A, and with an injected drop.

The code is the one that runs rollouts: blocks, gates, guardrails, ladder and decisions come from ``watch_rollout.py``.
Only the world is replaced: a clock jumps from cohort to cohort, and a fresh salt per run deals the units of the
reports. No model is called, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Annotated, Any, cast

from pydantic import Field

from optimizer.core.base.answers import members_of
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.evaluation.gates import GateRecord
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Metric
from optimizer.core.forecast.selftest import (
    ENDINGS,
    Cell,
    RecordedRollout,
    Recording,
    Run,
    SelftestReport,
    cell_of,
    summary_of,
)
from optimizer.core.rollout.blocks import ArmName, ReportedRequest
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.rollout.evidence_state import StoredEvidence, as_text
from optimizer.core.rollout.start import overridden_settings
from optimizer.core.rollout.transitions import Act, TransitionRequest, apply, start
from optimizer.core.serving.assignment import cohort_length
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.rollouts.fix_settings import fix_settings, read_champion_record
from optimizer.jobs.rollouts.watch_rollout import look, request_of
from optimizer.ports import Clock, EvidenceRow, Fetches, Store, Transaction, UnitCount, UnitOutcomes

PERIOD = timedelta(days=30)
MAX_REQUESTS = 300_000  # the newest are replayed; older ones would only take memory
TICK = timedelta(seconds=10)
ACTOR = "system:selftest"
PASSES: GateRecord = {
    "name": "selftest",
    "verdict": "pass",
    "value": None,
    "required": None,
    "reason": "a replay, which serves no user",
}


Progress = Callable[[int, int], None]  # runs done, and runs in all


class SelftestRequest(FamilyRequest):
    runs: Annotated[int, Field(ge=1, le=10_000, description="Rollouts of each kind: equal, and with the drop")] = 100
    injected_drop: Annotated[
        float,
        Field(gt=0, le=1, description="Chance that a success of the worse candidate's users becomes a failure"),
    ] = 0.2
    seed: Annotated[int, Field(description="Deals the units; the same seed gives the same result")] = 0
    margin: Annotated[float | None, Field(description="Default: the family's")] = None
    minutes: Annotated[
        float | None,
        Field(gt=0, description="No new run begins after so many minutes; what was done counts. A server takes less"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySelftest(SelftestReport):
    family: str


def read_selftest(context: Context, request: SelftestRequest) -> FamilySelftest:
    """What the gates would have done on the family's own recorded traffic of 30 days: as the champion against itself,
    and against a worse one. Asks no model, writes nothing.

    A server gives it less than a minute, by a process of its own, one at a time: what was done by then counts.
    """
    family = context.family(request.family)
    within = None if context.within is None else context.within.total_seconds() / 60
    limited = request.model_copy(update={"minutes": min(filter(None, (request.minutes, within)), default=None)})
    result = run_selftest(family, limited, store=context.store, clock=context.clock, progress=context.progress)
    return FamilySelftest(**members_of(result), family=family.name)


def run_selftest(
    family: Family, request: SelftestRequest, *, store: Store, clock: Clock, progress: Progress | None = None
) -> SelftestReport:
    """Runs ``runs`` rollouts of the champion against itself, and as many of it against itself with a drop.

    Raises:
        InvalidInput: the margin is out of range.
        NotFound: the family has no champion.
    """
    runs, injected_drop, seed, minutes = request.runs, request.injected_drop, request.seed, request.minutes
    past = _read_basis(family, store, clock, request.margin)
    short = _too_little(past)
    if short is not None:
        return replace(past.report, verdict="cannot_tell", summary=f"Cannot tell: {short}.")
    begun = clock.now()
    equal: list[Run] = []
    worse: list[Run] = []
    for number in range(runs):
        if minutes is not None and number and clock.now() - begun > timedelta(minutes=minutes):
            break
        rng = Random(f"{seed} {number}")
        salt = f"{rng.getrandbits(128):032x}"
        flipped = [n for n in range(len(past.recording.labels)) if rng.random() < injected_drop]
        for runs_of_kind, flips in ((equal, ()), (worse, flipped)):
            runs_of_kind.append(_replay_once(past, RecordedRollout(past.recording, salt=salt, flipped=flips), salt))
            if progress is not None:
                progress(len(equal) + len(worse), 2 * runs)
    mean = sum(label.value for label in past.recording.labels) / len(past.recording.labels)
    cells: tuple[Cell, ...] = (
        cell_of(equal, injected=0.0, drop=0.0),
        cell_of(worse, injected=injected_drop, drop=mean * injected_drop),
    )
    stopped = (
        f" Stopped after {len(equal)} of {runs} runs of each kind, as {minutes:g} minutes were over."
        if len(equal) < runs
        else ""
    )
    summary = summary_of(cells, margin=past.settings["margin"]) + stopped
    return replace(past.report, summary=summary, seed=seed, cells=cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReplayBasis:
    """What is replayed, and the settings of a rollout that started now."""

    family: str
    settings: dict[str, Any]
    ladder: tuple[float, ...]
    recording: Recording
    usual: MinuteSums
    clock_scale: float
    report: SelftestReport


def _read_basis(family: Family, store: Store, clock: Clock, margin: float | None) -> _ReplayBasis:
    settings, now = overridden_settings(family.rollout, ladder=None, margin=margin), clock.now()
    with store.read() as tx:
        fixed = fix_settings(family, settings, read_champion_record(tx, store, family.name, clock))
        recorded = store.traffic.recorded(tx, family.name, now - PERIOD, now)
        since = now - PERIOD if recorded is None else recorded.since
        if recorded is not None and recorded.n_requests > MAX_REQUESTS:
            since = now - (now - since) * (MAX_REQUESTS / recorded.n_requests)
        requests = store.traffic.requests(tx, family.name, since, now)
        metric = fixed["metric"]
        labels = store.traffic.labels(tx, family.name, since, now, field=metric["field"], source=metric["source"])
    since = min([*(r.at for r in requests[:1]), *(label.at for label in labels[:1])], default=since)
    recording = Recording(
        requests,
        labels,
        cohort_minutes=fixed["cohort_minutes"],
        on_clock=_SimulatedClock(since, clock.scale).at_rollout,
    )
    usual = MinuteSums(family=family.name, minute=since)
    for request in requests:
        usual.add_interaction(failed=request.failed, latency_ms=request.latency_ms, cost_usd=request.cost_usd)
    report = SelftestReport(
        verdict="done",
        summary="",
        since=since,
        until=now,
        n_requests=len(requests),
        n_units=len(recording.units),
        n_labelled_units=len(recording.labels_of),
        margin=fixed["margin"],
    )
    return _ReplayBasis(
        family=family.name,
        settings=fixed,
        ladder=settings.ladder,
        recording=recording,
        usual=usual,
        clock_scale=clock.scale,
        report=report,
    )


def _too_little(past: _ReplayBasis) -> str | None:
    """The sentence on what a stage requires and the traffic lacks; None where there is enough."""
    metric, needed = past.settings["metric"], past.settings["min_labelled_per_stage"]
    if past.report.n_labelled_units < needed:
        return (
            f"{past.report.n_labelled_units:,} units with feedback ({metric['field']} by {metric['source']}) in"
            f" {PERIOD.days} days; a stage needs {needed} labels"
        )
    history = past.settings["guardrails"]["min_history"]
    if past.report.n_requests < history:
        return (
            f"{past.report.n_requests:,} reported requests in {PERIOD.days} days; the guardrails need {history} to know"
            " what is usual"
        )
    return None


# --- a recording in the place of the store ----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class RecordedEvidence:
    """A recording whose units are dealt to the arms anew, with what a look reads of a store's parts.

    What looks close stays in memory. ``usual`` holds the champion's sums by minute. ``stage`` is an index into the
    ladder. Every time is real time, except ``cohort_start``.
    """

    replay: RecordedRollout
    usual: MinuteSums
    row: EvidenceRow | None = None
    counted: dict[tuple[int, str], UnitCount] = field(default_factory=dict)
    quality_labelled: int = 0

    def as_store(self) -> Store:
        """A store of the parts that a look reads, each of which is this."""
        parts = ("blocks", "unit_counts", "minute_stats", "observations", "exposures")
        return cast("Store", SimpleNamespace(**dict.fromkeys(parts, self)))

    def keep(self, known: StoredEvidence, units: Mapping[tuple[int, str], UnitCount], at: datetime) -> None:
        """Stores what a look has closed, for the next look."""
        state = known.state
        self.row = EvidenceRow(n_blocks=state.n_blocks, state=as_text(known), updated_at=at)
        self.counted.update(units)
        self.quality_labelled = state.quality.labelled

    def state(self, tx: Transaction, rollout: str) -> EvidenceRow | None:
        """Of ``blocks``: what earlier looks stored; None before the first look."""
        return self.row

    def get(self, tx: Transaction, rollout: str, stage: int, units: Collection[str]) -> Mapping[str, UnitCount]:
        """Of ``unit_counts``."""
        return {unit: self.counted[stage, unit] for unit in units if (stage, unit) in self.counted}

    def of_family(self, tx: Transaction, family: str, since: datetime, **which: str) -> list[MinuteSums]:
        """Of ``minute_stats``: the whole record, as the champion served it."""
        return [self.usual]

    def reported(self, tx: Transaction, rollout: str) -> Mapping[tuple[str, str, float | None], int]:
        """Of ``exposures``."""
        return {}

    def requests(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        """Of ``observations``, as all that follow."""
        return self.replay.requests(rollout, since, until)

    def fetches(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]:
        """No fetches: a unit that fetched and reported nothing is not in the recording."""
        return []

    def cohort_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, ArmName]:
        return self.replay.cohort_units(rollout, stage, cohort_start, received_until)

    def recomputed_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]:
        """No units: every unit of the recording was really served, so each has a token."""
        return {}

    def outcomes(
        self,
        tx: Transaction,
        rollout: Rollout,
        cohort: Cohort,
        units: Collection[str],
        *,
        received_since: datetime,
        received_until: datetime,
        **_: Metric,
    ) -> UnitOutcomes:
        """The outcomes of the one field and source that the recording holds."""
        outcomes = self.replay.outcomes(rollout, cohort.stage, units, received_since, received_until)
        return UnitOutcomes(
            means={unit: mean for unit, (mean, _) in outcomes.items()},
            first_at={unit: at for unit, (_, at) in outcomes.items()},
        )

    def outside(self, tx: Transaction, family: str, since: datetime, until: datetime) -> set[str]:
        """No units: a replay is served without a gap."""
        return set()


# --- one run ----------------------------------------------------------------------------------------------------------


def _replay_once(past: _ReplayBasis, replay: RecordedRollout, salt: str) -> Run:
    """One run, looked at once per cohort, until it ends or the last cohort of the record has matured."""
    begun, end = past.report.since, past.report.until
    assert begun is not None
    assert end is not None
    clock = _SimulatedClock(begun, past.clock_scale)
    evidence = RecordedEvidence(replay=replay, usual=past.usual)
    rollout = _first_stage(past, salt, clock)
    cohort = max(TICK, cohort_length(past.settings["cohort_minutes"]) / past.clock_scale)
    last = end + timedelta(hours=past.settings["feedback_window"]["hours"]) / past.clock_scale + 2 * cohort
    while rollout.is_active and clock.now() < last:
        clock.pass_time(cohort)
        rollout = _look_until_present(rollout, evidence, clock)
    gate = evidence.quality_labelled
    started = datetime.fromisoformat(rollout.stage_history[0]["clock_from"])
    return Run(
        ending=ENDINGS.get(rollout.outcome, "unfinished"),
        labelled=gate,
        hours=(clock.rollout_now() - started).total_seconds() / 3600,
    )


def _look_until_present(rollout: Rollout, evidence: RecordedEvidence, clock: _SimulatedClock) -> Rollout:
    """Looks as a tick does, until the present is reached or a transition follows."""
    while True:
        step = look(None, evidence.as_store(), clock, rollout, clock.now())
        evidence.keep(step.seen.known, step.seen.units, step.seen.at)
        if step.seen.more:
            continue
        return apply(rollout, request_of(step)).rollout if step.has_transition else rollout


def _first_stage(past: _ReplayBasis, salt: str, clock: _SimulatedClock) -> Rollout:
    """A rollout at its first stage, made by the same transitions as any other."""
    draft = Rollout(
        id="selftest",
        family=past.family,
        candidate="A again",
        champion="A",
        aim="quality",
        ladder=past.ladder,
        salt=salt,
        status="pending",
        stage=-1,
        held=False,
        version=0,
        settings=past.settings,
        stage_history=(),
        created_at=clock.now(),
        created_by=ACTOR,
    )

    def request(act: Act) -> TransitionRequest:
        return TransitionRequest(
            act=act, at=clock.now(), clock_at=clock.rollout_now(), actor=ACTOR, reason="self-test", gates=[PASSES]
        )

    rollout = start(draft, request("start"), forced=False).rollout
    steps: tuple[Act, ...] = ("validate", "approve", "deploy")
    for act in steps:
        rollout = apply(rollout, request(act)).rollout
    return rollout


class _SimulatedClock:
    """ports.Clock that jumps. The rollout clock runs ``scale`` times as fast, from its start on."""

    def __init__(self, start: datetime, scale: float) -> None:
        self.scale = scale
        self._start = self._at = start

    def now(self) -> datetime:
        return self._at

    def rollout_now(self) -> datetime:
        return self.at_rollout(self._at)

    def at_rollout(self, at: datetime) -> datetime:
        return self._start + (at - self._start) * self.scale

    def pass_time(self, by: timedelta) -> None:
        self._at += by
