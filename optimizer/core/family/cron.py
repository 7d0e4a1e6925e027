"""The five fields of a cron line: checked where they are declared, and when they fire, in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_ITEM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", re.ASCII)
_RANGE = re.compile(r"\b(\d+)-(\d+)(?:/\d+)?(?![\d/])", re.ASCII)
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)
MAX_CHARS = 500  # the worker reads the line again at each of its looks
MOST_COUNTED = 1000  # times that passed while no worker looked; more are not counted


def check_cron(line: str) -> str:
    """Returns the line; raises ValueError naming the field that no scheduler would understand."""
    if len(line) > MAX_CHARS:
        raise ValueError(
            f"a line of {len(line):,} characters is longer than a schedule may be ({MAX_CHARS}); use ranges and steps"
        )
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(
            f'{line!r} has {len(fields)} fields, and cron takes five: minute hour day month weekday, such as "0 3 *'
            ' * *"'
        )
    for text, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for item in text.split(","):
            match = _ITEM.fullmatch(item)
            numbers = [int(n) for n in (match.group(1), match.group(2)) if n] if match else []
            if (
                not match
                or any(not low <= n <= high for n in numbers)
                or numbers != sorted(numbers)
                or match.group(3) == "0"
            ):
                raise ValueError(
                    f"{text!r} is no {name} ({low} to {high}); use numbers, *, ranges (1-5), lists (1,3) and steps"
                    " (*/15)"
                )
    if next_fire(line, _ANY_DAY) is None:
        raise ValueError(
            f"{line!r} names no day that exists, so it would never fire; leave it out (null) when that is meant"
        )
    return line


def next_fire(line: str, after: datetime) -> datetime | None:
    """The first full minute later than ``after`` at which the line fires; None for one that never does."""
    return next(_fires(line, after), None)


def count_fires(line: str, since: datetime, until: datetime) -> int:
    """How often the line fires in (since, until], at most ``MOST_COUNTED``."""
    n = 0
    for at in islice(_fires(line, since), MOST_COUNTED):
        if at > until:
            break
        n += 1
    return n


def _fires(line: str, after: datetime) -> Iterator[datetime]:
    """The next time, as croniter reads the line: with a day of month and a weekday, either of them suffices.

    A range of one number is first written as that number, since croniter takes ``5-5`` for every value.
    """
    from croniter import CroniterBadDateError, croniter

    line = _RANGE.sub(lambda match: match[1] if int(match[1]) == int(match[2]) else match[0], line)
    try:
        times = croniter(line, after.astimezone(UTC))
        while True:
            yield times.get_next(datetime)
    except CroniterBadDateError:
        return
