"""What gains is said to gain, what loses to lose."""

from __future__ import annotations

import pytest

from optimizer.core.base.phrasing import change_text, points_lost


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
