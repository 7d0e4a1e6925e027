"""A bar that ten users at once miss is named on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chat_load
import pytest

RESULT: dict[str, Any] = json.loads(
    (Path(chat_load.__file__).parent / "results" / "chat_load.json").read_text(encoding="utf-8")
)


def verdict(**of: float) -> str:
    kept = chat_load.BARS | {"uptime at one kill an hour": chat_load.UPTIME_BAR}
    values = kept | {name.replace("_", " "): value for name, value in of.items()}
    cells = [{**cell, "ours": values.get(cell["case"], cell["ours"])} for cell in RESULT["cells"]]
    return chat_load.page({**RESULT, "cells": cells}).rstrip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({}, "All bars were kept."),
        ({"p95_of_a_chat": 4.01}, "Not kept here: p95 of a chat."),
        ({"chats_that_failed": 0.006}, "Not kept here: chats that failed."),
        ({"uptime_at_one_kill_an_hour": 0.994}, "Not kept here: uptime at one kill an hour."),
    ],
)
def test_a_bar_that_is_missed_is_named(of: dict[str, float], said: str) -> None:
    assert verdict(**of) == said


def test_beside_what_failed_under_kills_stands_the_bar_that_holds_in_peace() -> None:
    (row,) = (line for line in chat_load.page(RESULT).splitlines() if "failed under kills" in line)
    assert row.endswith("| 0.5 % at most, in peace only |")
