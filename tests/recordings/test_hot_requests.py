"""Random requests to the hot routes are answered as they were, and counted as they were."""

from __future__ import annotations

import pytest

from tests.recordings.hot_requests import FEW, N, differing


def test_the_first_requests_are_answered_as_they_were() -> None:
    told = differing(FEW)
    assert told == [], "\n".join(told[:5])


@pytest.mark.long
def test_all_requests_are_answered_as_they_were() -> None:
    told = differing(N)
    assert told == [], "\n".join(told[:5])
