"""Compares two configurations of a content pipeline on the items that each of them processed. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from optimizer.content.core.records.record import MAX_NAME_CHARS
from optimizer.content.core.search.compare import (
    AbDifference,
    LiveShares,
    Preference,
    compare_live,
    live_difference,
    live_shares,
)
from optimizer.content.jobs.recommend_thresholds import MOST_RECORDS
from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import Fault, InvalidInput, NotFound
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.jobs.studies.recommend_cascade import MAX_HOURS

VersionName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class LiveComparisonRequest(Request):
    conservative: Annotated[VersionName, Field(description="Its config_version, as records carry it")] = "conservative"
    aggressive: Annotated[VersionName, Field(description="Likewise")] = "aggressive"
    hours: Annotated[float, Field(gt=0, le=MAX_HOURS, description="How far back records count")] = 30 * 24.0
    confidence: Annotated[
        float, Field(gt=0, le=0.999999, description="With which both intervals hold together; default .95")
    ] = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison(Preference):
    """``others``: records of this time by any other config_version, "" for those without one.

    ``is_cut``: there are more records than were read, which are the newest. ``satisfaction_more`` and ``errors_more``,
    of the aggressive one, decide nothing; None: fewer than 30 records of one say it.
    """

    since: Annotated[datetime, Field(alias="from")]
    until: datetime
    satisfaction_more: AbDifference | None
    errors_more: AbDifference | None
    conservative: LiveShares
    aggressive: LiveShares
    others: Mapping[str, int]
    is_cut: bool


def compare_live_records(context: Context, request: LiveComparisonRequest) -> LiveComparison:
    """Which of two configurations to choose, by the records that carry their `config_version` (or `variant`): as
    `detent thresholds compare --live`. It is one look, for a test that has run to its end.

    The intervals hold where each item's configuration was drawn by a hash of the item. It is read by a process of its
    own, one at a time.

    Raises:
        NotFound: no record of this time carries one of the names; says which there are.
        InvalidInput: both names are the same.
        DatasetTooSmall: fewer than 30 records of one have a measured quality of full processing, or a time saved.
    """
    names = request.conservative, request.aggressive
    if names[0] == names[1]:
        raise InvalidInput(
            f"{names[0]} would be compared with itself. Name two configurations.",
            [Fault(pointer="/aggressive", detail="is the same as conservative")],
        )
    until = context.clock.now()
    since = until - timedelta(hours=request.hours)
    with context.store.read() as tx:
        read = context.store.pipeline_stats.records(tx, since, MOST_RECORDS + 1)
    records = read[-MOST_RECORDS:]
    n_of = Counter(record.config_version for record in records)
    if unreported := [name for name in names if not n_of[name]]:
        reported = ", ".join(f"{name or 'none named'} ({n:,})" for name, n in n_of.most_common()) or "there are none"
        raise NotFound(
            f"No record of the last {request.hours:g} hours carries config_version {' or '.join(unreported)}."
            f" Records by config_version: {reported}.",
            config_version=unreported[0],
        )
    arms = [(name, [record for record in records if record.config_version == name]) for name in names]
    verdict = compare_live(arms[0], arms[1], confidence=request.confidence)
    both = arms[0][1], arms[1][1]
    return LiveComparison(
        **members_of(verdict),
        since=since,
        until=until,
        satisfaction_more=live_difference(*both, "satisfaction", confidence=request.confidence),
        errors_more=live_difference(*both, "failed", confidence=request.confidence),
        conservative=live_shares(*arms[0]),
        aggressive=live_shares(*arms[1]),
        others={name: n for name, n in sorted(n_of.items()) if name not in names},
        is_cut=len(read) > MOST_RECORDS,
    )
