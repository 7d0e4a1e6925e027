"""How numbers of things, dollars and times are written for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from optimizer.cli import output
from optimizer.core.base.phrasing import count, did_you_mean, dollars, when


@pytest.mark.parametrize(
    ("n", "text"),
    [
        pytest.param(0, "0 blocks", id="none"),
        pytest.param(1, "1 block", id="one"),
        pytest.param(2, "2 blocks", id="two"),
        pytest.param(12_345, "12,345 blocks", id="many"),
    ],
)
def test_one_thing_is_written_as_one(n: int, text: str) -> None:
    assert count(n, "block") == text


def test_a_plural_that_is_not_made_with_an_s_is_given() -> None:
    assert (count(1, "family", "families"), count(3, "family", "families")) == ("1 family", "3 families")


def test_a_misspelt_name_is_told_the_near_one_and_another_nothing() -> None:
    assert did_you_mean("word_cuont", ["view_count", "word_count"]) == "; did you mean 'word_count'?"
    assert (
        did_you_mean("zzz", ["view_count", "word_count"])
        == did_you_mean("x" * 10**6, ["word_count"])
        == did_you_mean("x", [])
        == ""
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0.00"),
        (0.000023, "$0.000023"),
        (0.0099, "$0.0099"),
        (0.0512, "$0.0512"),
        (0.75, "$0.75"),
        (1234.5, "$1,234.50"),
    ],
)
def test_small_amounts_keep_two_digits_that_count(amount: float, text: str) -> None:
    assert dollars(amount) == text
    assert output.dollars(amount) == text, "a terminal writes what a report writes"


def test_a_time_is_written_in_utc_to_the_second_wherever_it_was_taken() -> None:
    at = datetime(2026, 3, 1, 1, 30, 59, 987_654, tzinfo=timezone(timedelta(hours=2)))
    assert when(at) == "2026-02-28 23:30:59 UTC"
    assert when(at) == when(at.astimezone(UTC))
