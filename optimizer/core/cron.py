"""The five fields of a cron line, checked where they are declared."""

from __future__ import annotations

import re

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_ITEM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")


def check_cron(line: str) -> str:
    """Returns the line; raises ValueError naming the field that no scheduler would understand."""
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f'{line!r} has {len(fields)} fields, and cron takes five: minute hour day month weekday, such as "0 3 * * *"')
    for text, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for item in text.split(","):
            match = _ITEM.fullmatch(item)
            numbers = [int(n) for n in (match.group(1), match.group(2)) if n] if match else []
            if not match or any(not low <= n <= high for n in numbers) or numbers != sorted(numbers) or match.group(3) == "0":
                raise ValueError(f"{text!r} is no {name} ({low} to {high}); use numbers, *, ranges (1-5), lists (1,3) and steps (*/15)")
    return line
