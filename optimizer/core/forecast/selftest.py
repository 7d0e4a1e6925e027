"""A family's recorded traffic as a rollout would have seen it: its units dealt anew by a salt, its stages as they move.

And how often such rollouts would have shipped or rolled back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor
from typing import Literal, get_args

from optimizer.core.base.values import Interval, grouped
from optimizer.core.feedback.traffic import PastLabel, PastRequest
from optimizer.core.rollout.blocks import ArmName, ReportedRequest
from optimizer.core.rollout.cohorts import stage_of
from optimizer.core.serving.assignment import N_BUCKETS, bucket, cohort_start
from optimizer.core.serving.rollout import Rollout
from optimizer.core.statistics.interval import wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    number: int  # place in the recording
    assigned_at: datetime  # start of the request that it followed
    received_at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _ServingSpan:
    """One entry of a stage history; a unit is the candidate's if its bucket lies below ``limit``."""

    since: datetime
    until: datetime | None
    stage: int
    limit: int


class Recording:
    """Requests and outcomes in the order in which they happened, indexed once for all runs."""

    def __init__(
        self,
        requests: Sequence[PastRequest],
        labels: Sequence[PastLabel],
        *,
        cohort_minutes: float,
        on_clock: Callable[[datetime], datetime],
    ) -> None:
        """Args: ``on_clock`` turns real time into the rollout clock's."""
        self.requests = requests
        self.labels = labels
        self.starts = [request.at for request in requests]
        self.labels_of: dict[str, list[_Label]] = {}
        self.reports: dict[datetime, list[tuple[str, datetime, datetime]]] = {}  # cohort -> unit, assigned, received
        own = grouped((request.unit_hmac, request.at) for request in requests)
        for number, label in enumerate(labels):
            # The last of the ascending `times` that is not after `at`; without one, `at` itself.
            times = own.get(label.unit_hmac, ())
            place = bisect_right(times, label.at)
            assigned_at = times[place - 1] if place else label.at
            recorded = _Label(number=number, assigned_at=assigned_at, received_at=label.at, value=label.value)
            self.labels_of.setdefault(label.unit_hmac, []).append(recorded)
        reports = [(r.unit_hmac, r.at, r.at) for r in requests]
        reports += [
            (unit, label.assigned_at, label.received_at) for unit, ones in self.labels_of.items() for label in ones
        ]
        for unit, at, received_at in reports:
            self.reports.setdefault(cohort_start(on_clock(at), cohort_minutes), []).append((unit, at, received_at))

    @property
    def units(self) -> set[str]:
        return {request.unit_hmac for request in self.requests} | set(self.labels_of)


class RecordedRollout:
    """One run.

    ``flipped``: numbers of the labels that become 0 where their unit is the candidate's: the injected drop.
    """

    def __init__(self, recording: Recording, *, salt: str, flipped: Collection[int] = ()) -> None:
        self._recording = recording
        self._salt = salt
        self._flipped = frozenset(flipped)
        self._buckets: dict[str, int] = {}
        self._history: tuple[int, list[_ServingSpan]] = (-1, [])

    def requests(self, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        """Requests that started in [since, until) while the rollout served."""
        low, high = bisect_left(self._recording.starts, since), bisect_left(self._recording.starts, until)
        requests = []
        for past in self._recording.requests[low:high]:
            served = self._served(rollout, past.at)
            if served is not None:
                requests.append(
                    ReportedRequest(
                        unit_hmac=past.unit_hmac,
                        arm=self._arm(past.unit_hmac, served),
                        at=past.at,
                        counted_at=past.at,
                        stage=served.stage,
                        failed=past.failed,
                        timed_out=past.timed_out,
                        latency_ms=past.latency_ms,
                        cost_usd=past.cost_usd,
                    )
                )
        return requests

    def cohort_units(
        self, rollout: Rollout, stage: int, cohort: datetime, received_until: datetime
    ) -> dict[str, ArmName]:
        arms: dict[str, ArmName] = {}
        for unit, at, received_at in self._recording.reports.get(cohort, ()):
            served = self._served(rollout, at)
            if served is not None and served.stage == stage and received_at <= received_until:
                arms[unit] = self._arm(unit, served)
        return arms

    def outcomes(
        self, rollout: Rollout, stage: int, units: Collection[str], assigned_since: datetime, received_until: datetime
    ) -> dict[str, tuple[float, datetime]]:
        """Unit -> the mean of its outcomes of the stage, and when the first of them was received.

        Outcomes of earlier assignments came too late for their cohort.
        """
        outcomes = {}
        for unit in units:
            values, first_at = [], received_until
            for label in self._recording.labels_of.get(unit, ()):
                served = self._served(rollout, label.assigned_at)
                if served is None or served.stage != stage:
                    continue
                if label.assigned_at >= assigned_since and label.received_at <= received_until:
                    is_flipped = label.number in self._flipped and self._arm(unit, served) == "candidate"
                    values.append(0.0 if is_flipped else label.value)
                    first_at = min(first_at, label.received_at)
            if values:
                outcomes[unit] = sum(sorted(values)) / len(values), first_at
        return outcomes

    def _arm(self, unit: str, served: _ServingSpan) -> ArmName:
        if unit not in self._buckets:
            self._buckets[unit] = bucket(self._salt, unit)
        return "candidate" if self._buckets[unit] < served.limit else "champion"

    def _served(self, rollout: Rollout, at: datetime) -> _ServingSpan | None:
        if self._history[0] != rollout.version:
            self._history = rollout.version, _history(rollout)
        return next((s for s in self._history[1] if s.since <= at and (s.until is None or at < s.until)), None)


def _history(rollout: Rollout) -> list[_ServingSpan]:
    spans = []
    for entry in rollout.stage_history:
        stage = stage_of(rollout.ladder, entry["share"])
        assert stage is not None
        until = None if entry["to"] is None else datetime.fromisoformat(entry["to"])
        limit = floor(entry["share"] * N_BUCKETS)
        spans.append(_ServingSpan(since=datetime.fromisoformat(entry["from"]), until=until, stage=stage, limit=limit))
    return spans


Ending = Literal["shipped", "rolled_back", "inconclusive", "invalid", "unfinished"]
ENDINGS: dict[str | None, Ending] = {
    "promoted": "shipped",
    "worse": "rolled_back",
    "guardrail": "rolled_back",
    "inconclusive": "inconclusive",
    "invalid": "invalid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One replayed rollout. ``ending`` unfinished: the record ended first. Hours are the rollout clock's."""

    ending: Ending
    labelled: int
    hours: float


PROMISED = 0.05  # of the rollouts, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequency:
    """``n`` of all runs, with a 95 % interval of the share in [0, 1]; its upper end counts the unfinished runs in."""

    n: int
    share: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All runs with one injected drop.

    ``drop``: by how much the candidate's mean is lower, absolute; 0 = A against A.
    """

    injected: float  # chance that a success of the candidate's units becomes a failure
    drop: float
    n_runs: int
    endings: dict[Ending, Frequency]
    mean_labelled: float | None  # of the runs that ended; None where none did
    mean_hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """``cannot_tell``: too little traffic was recorded, and ``summary`` says what is missing;
    there are no cells then."""

    verdict: Literal["done", "cannot_tell"]
    summary: str
    since: datetime | None = None
    until: datetime | None = None
    n_requests: int = 0
    n_units: int = 0
    n_labelled_units: int = 0
    margin: float | None = None
    seed: int = 0
    cells: tuple[Cell, ...] = ()


def cell_of(runs: Sequence[Run], *, injected: float, drop: float) -> Cell:
    """An unfinished run may end in any way.

    Args:
        runs: at least one.
    """
    ended = [run for run in runs if run.ending != "unfinished"]
    counts = {name: sum(run.ending == name for run in runs) for name in get_args(Ending)}
    endings = {}
    for name, n in counts.items():
        most = n if name == "unfinished" else n + counts["unfinished"]
        interval = Interval(lower=wilson_interval(n, len(runs)).lower, upper=wilson_interval(most, len(runs)).upper)
        endings[name] = Frequency(n=n, share=n / len(runs), interval=interval)
    return Cell(
        injected=injected,
        drop=drop,
        n_runs=len(runs),
        endings=endings,
        mean_labelled=sum(run.labelled for run in ended) / len(ended) if ended else None,
        mean_hours=sum(run.hours for run in ended) / len(ended) if ended else None,
    )


def summary_of(cells: Sequence[Cell], *, margin: float) -> str:
    """What the cells say about the two promises, in words."""
    sentences = []
    for cell in cells:
        unfinished = cell.endings["unfinished"].n
        wrong: Ending = "rolled_back" if cell.drop == 0 else "shipped"
        ending = cell.endings[wrong]
        low, high = 100 * ending.interval.lower, 100 * ending.interval.upper
        is_promised = cell.drop == 0 or cell.drop >= margin
        promise = (
            f"at most {100 * PROMISED:g} in 100 are promised"
            if is_promised
            else "smaller than the margin, so that is allowed"
        )
        did = "been rolled back" if wrong == "rolled_back" else "shipped"
        would = f"would have {did} in {ending.n} of {cell.n_runs} runs ({low:.1f} to {high:.1f} %; {promise})"
        rest = f"; in {unfinished} runs the record ended first" if unfinished else ""
        if is_promised and ending.n <= PROMISED * cell.n_runs < ending.n + unfinished:
            sentences.append(f"Cannot tell for {_who(cell, margin)}, which {would}{rest}.")
        else:
            sentences.append(f"{_who(cell, margin).capitalize()} {would}{rest}.")
    return " ".join(sentences)


def _who(cell: Cell, margin: float) -> str:
    if cell.drop == 0:
        return "an equal candidate"
    return f"a candidate worse by {100 * cell.drop:.1f} points ({cell.drop / margin:.1f} margins)"
