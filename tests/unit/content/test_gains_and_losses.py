"""What gains is said to gain, what loses to lose; what rounds to nothing has no sign."""

from __future__ import annotations

import pytest

from optimizer.content.core.search.compare import AbDifference
from optimizer.core.base.phrasing import change_text, points_lost, signed, signed_interval


@pytest.mark.parametrize(
    ("loss", "said", "named"),
    [
        (0.0123, "loses 1.23 points", "a loss of 1.23 points"),
        (-0.0367, "gains 3.67 points", "a gain of 3.67 points"),
        (0.0, "loses nothing", "no loss"),
        (-0.00001, "loses nothing", "no loss"),
    ],
)
def test_a_negative_loss_is_a_gain(loss: float, said: str, named: str) -> None:
    assert (points_lost(loss), change_text(loss)) == (said, named)


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (-0.0004, 3, "0.000"),
        (-0.0, 3, "0.000"),
        (0.0004, 3, "0.000"),
        (-0.0006, 3, "-0.001"),
        (0.1, 3, "+0.100"),
        (-0.4, 0, "0"),
        (-10.0, 0, "-10"),
        (0.004, 2, "0.00"),
    ],
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(value: float, digits: int, said: str) -> None:
    assert signed(value, digits) == said


def test_an_interval_that_ends_at_nothing_is_written_so() -> None:
    assert signed_interval(-0.0004, 0.012) == "0.000 to +0.012"
    assert signed_interval(-0.3, -0.004, digits=2) == "-0.30 to 0.00"
    assert str(AbDifference(estimate=-0.0001, low=-0.02, high=0.0004)) == "0.000 (-0.020 to 0.000)"
