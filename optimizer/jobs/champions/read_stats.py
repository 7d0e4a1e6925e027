"""Reads a family's success, score, errors, latency and cost by hour, by day, or over a time, per variant and model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.minute_sums import DAY, HOUR, MinuteSums, merge, quantile
from optimizer.core.serving.family_names import definition
from optimizer.core.views.rollout_status import ReportedSums
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.roll_up_minutes import DAYS, MINUTES
from optimizer.jobs.request import FamilyRequest, Moment, Request
from optimizer.ports import DaySums

By = Literal["hour", "day", "model"]
USUAL: Mapping[By, timedelta] = {"hour": timedelta(days=1), "day": timedelta(days=30), "model": timedelta(days=7)}
# minutes are read one by one, days are summed up already
LONGEST: Mapping[By, timedelta] = {"hour": timedelta(days=7), "day": timedelta(days=3660), "model": timedelta(days=31)}

MOST_FAMILIES = 100
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow(ReportedSums):
    """Sums of one variant and model; ``start`` of the hour or day, None over the whole time. Tokens are None where no
    request named them.
    """

    start: datetime | None
    model: str | None
    p95_latency_ms: float | None
    cost_usd: float
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def success_share(self) -> float | None:
        return self.n_success / self.n_labelled if self.n_labelled else None

    @property
    def error_share(self) -> float | None:
        return self.n_errors / self.n_interactions if self.n_interactions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsTime:
    by: By
    since: datetime
    until: datetime
    summed_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackStats(StatsTime):
    """``items``: in order of time where there is a ``start``.

    ``since`` and ``until`` are those of what was summed up: whole minutes, and by day whole days of UTC. What came in
    after ``summed_until`` (None: nothing is summed up yet) is not in it.
    """

    items: Sequence[StatsRow]
    next_cursor: None = None


class StatsRequest(FamilyRequest):
    by: Annotated[By | None, Field(description="One row per hour or day, or per variant and model of all the time")] = (
        None
    )
    since: Annotated[Moment | None, Field(description="Received at or after this time")] = None
    until: Annotated[Moment | None, Field(description="Received before this time")] = None


def read_stats(context: Context, request: StatsRequest) -> FeedbackStats:
    """How success, score, errors, latency and cost moved, per variant and model, by when events were received.

    By day it reads whole days of UTC, 30 unless `since` says otherwise, ten years at most; by hour one day, 7 at most;
    by model 7 days, 31 at most, both of what is summed up of each minute, two minutes late, with a p95 right to 5 %.

    Raises InvalidInput where the time is empty or longer than is read at once.
    """
    context.family(request.family)
    family, by, since, until = request.family, request.by or "day", request.since, request.until
    store = context.store
    end = until or context.clock.now()
    begin = since or end - USUAL[by]
    if begin >= end:
        raise _wrong_time(f"{begin.isoformat()} (since) does not lie before {end.isoformat()} (until)")
    if end - begin > LONGEST[by]:
        other = ", or ask by day" if by != "day" else ""
        raise _wrong_time(f"by {by} at most {LONGEST[by].days:,} days are read at once; ask for a shorter time{other}")
    begin = _start_of(begin, by)
    with store.read() as tx:
        if by == "day":
            end = _start_of(end - timedelta(microseconds=1), by) + A_DAY
            days = store.performance.days(tx, [family], begin.date().isoformat(), end.date().isoformat())
            items = [_row_of_day(day) for day in days]
        else:
            minutes = store.minute_stats.within(
                tx, family, begin, end, lengths=(HOUR,) if by == "hour" else (HOUR, DAY)
            )
            items = _rows_of(minutes, by)
        summed_until = store.minute_stats.watermark(tx, DAYS if by == "day" else MINUTES)
    return FeedbackStats(by=by, since=begin, until=end, summed_until=summed_until, items=items)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRow(StatsRow):
    family: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FamiliesStats(StatsTime):
    """As ``FeedbackStats``, of several families."""

    items: Sequence[FamilyRow]


class FamiliesStatsRequest(Request):
    families: Annotated[
        str, Field(min_length=1, max_length=10_000, description=f"Their names with commas, at most {MOST_FAMILIES}")
    ]
    by: Annotated[Literal["hour", "day"], Field(description="Of the last day by hour, or of thirty by day")] = "hour"
    since: Annotated[Moment | None, Field(description="In or after the hour or day of this time")] = None


def read_stats_of_families(context: Context, request: FamiliesStatsRequest) -> FamiliesStats:
    """How several families did in the last day by hour, or in thirty days by day, per variant and model.

    Raises InvalidInput where more families are named than are read at once, or an earlier time; NotFound for an unknown
    one.
    """
    store, now, by = context.store, context.clock.now(), request.by
    since, step = _start_of(request.since or now - USUAL[by], by), timedelta(hours=1) if by == "hour" else A_DAY
    requested = dict.fromkeys(name.strip() for name in request.families.split(","))
    if len(requested) > MOST_FAMILIES:
        raise InvalidInput(f"At most {MOST_FAMILIES} families are read at once, and {len(requested)} are named.")
    if not timedelta() <= now - since <= USUAL[by] + step:
        raise _wrong_time(f"{since.isoformat()} (since) lies in the future, or further back than is read at once")
    for name in requested:
        context.require_family(name)
    files = context.families()
    declared, problems = files.families, files.problems  # each look at them makes them anew
    unread = problems.keys() - declared.keys()  # may serve all the same, and its sums need no file
    present = {name: name if name in unread else definition(name, declared, problems).name for name in requested}
    names, rows = sorted({*present.values()}), defaultdict[str, list[StatsRow]](list)
    with store.read() as tx:
        if by == "day":
            end = _start_of(now, by) + A_DAY
            for day in store.performance.days(tx, names, since.date().isoformat(), end.date().isoformat()):
                rows[day.family].append(_row_of_day(day))
        else:
            minutes = defaultdict[str, list[MinuteSums]](list)
            for sums in store.minute_stats.hours(tx, names, since, now):
                minutes[sums.family].append(sums)
            rows.update((family, _rows_of(own, by)) for family, own in minutes.items())
        summed_until = store.minute_stats.watermark(tx, DAYS if by == "day" else MINUTES)
    return FamiliesStats(
        by=by,
        since=since,
        until=now,
        summed_until=summed_until,
        items=[FamilyRow(family=name, **members_of(row)) for name in requested for row in rows[present[name]]],
    )


def _row_of_day(row: DaySums) -> StatsRow:
    return StatsRow(
        start=datetime.fromisoformat(row.day).replace(tzinfo=UTC),
        variant=row.variant or None,
        model=row.model or None,
        **{n: v for n, v in members_of(row).items() if n not in ("family", "day", "variant", "model")},
    )


def _rows_of(minutes: Iterable[MinuteSums], by: By) -> list[StatsRow]:
    groups: dict[tuple[datetime | None, str, str], list[MinuteSums]] = {}
    for minute in minutes:
        start = _start_of(minute.minute, by) if by == "hour" else None
        groups.setdefault((start, minute.variant, minute.model), []).append(minute)
    return [
        StatsRow(start=start, variant=variant or None, model=model or None, **_figures(group))
        for (start, variant, model), group in sorted(groups.items(), key=lambda item: (str(item[0][0]), *item[0][1:]))
    ]


def _wrong_time(detail: str) -> InvalidInput:
    return InvalidInput(f"These statistics cannot be read: {detail}.", [Fault(pointer="/since", detail=detail)])


def _start_of(at: datetime, by: By) -> datetime:
    utc = at.astimezone(UTC)
    if by == "day":
        return datetime.combine(utc.date(), time(), UTC)
    return utc.replace(minute=0 if by == "hour" else utc.minute, second=0, microsecond=0)


def _figures(minutes: list[MinuteSums]) -> dict[str, Any]:
    n = {
        name: sum(getattr(minute, name) for minute in minutes)
        for name in (
            "n_errors",
            "n_latency",
            "latency_sum_ms",
            "cost_sum_usd",
            "n_tokens",
            "input_tokens",
            "output_tokens",
            "n_success",
            "success_sum",
            "n_score",
            "score_sum",
        )
    }
    return {
        "n_interactions": sum(minute.n for minute in minutes if minute.source == ""),
        "n_errors": n["n_errors"],
        "mean_latency_ms": n["latency_sum_ms"] / n["n_latency"] if n["n_latency"] else None,
        "p95_latency_ms": quantile(merge(minute.latency_histogram for minute in minutes), 0.95),
        "cost_usd": n["cost_sum_usd"],
        "input_tokens": n["input_tokens"] if n["n_tokens"] else None,
        "output_tokens": n["output_tokens"] if n["n_tokens"] else None,
        "n_labelled": n["n_success"],
        "n_success": n["success_sum"],
        "n_scored": n["n_score"],
        "mean_score": n["score_sum"] / n["n_score"] if n["n_score"] else None,
    }
