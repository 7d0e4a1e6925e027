"""Until when rows are kept: whole days, the strictest family for what belongs to none,
and longer while something still needs them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from optimizer.core.feedback.retention import RetentionLimit, RetentionNeed, cut

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def day(n: int) -> datetime:
    """Midnight so many days before today's."""
    return datetime(2026, 11, 20, tzinfo=UTC) - timedelta(days=n)


def test_rows_are_kept_for_whole_days() -> None:
    assert cut(NOW, 90) == RetentionLimit(before=day(90))
    assert cut(NOW, 1).before == day(1), "the sums of yesterday may still be made again"


def test_the_oldest_thing_that_is_still_needed_holds_everything_younger() -> None:
    holds = [
        RetentionNeed(since=day(95), why="a rollout"),
        RetentionNeed(since=day(120), why="the sums"),
        RetentionNeed(since=day(2), why="a watch"),
    ]
    assert cut(NOW, 90, holds) == RetentionLimit(before=day(120), held_by="the sums")


def test_what_needs_only_younger_rows_holds_nothing() -> None:
    assert cut(
        NOW, 90, [RetentionNeed(since=day(90), why="a rollout"), RetentionNeed(since=NOW, why="a watch")]
    ) == RetentionLimit(before=day(90))
