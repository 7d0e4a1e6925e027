"""What may follow what in the life of a study."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from optimizer.core.base.errors import Conflict
from optimizer.core.search.study import ENDED, UNFINISHED, Study, StudyStatus
from optimizer.jobs.studies.transitions import NEXT, next_status
from tests import stores


def study(status: StudyStatus) -> Study:
    return stores.study(strategy="confirm", status=status)


@pytest.mark.parametrize(("before", "after"), list(product(get_args(StudyStatus), repeat=2)))
def test_a_status_follows_or_is_refused(before: StudyStatus, after: StudyStatus) -> None:
    if after in NEXT[before]:
        assert next_status(study(before), after) == after
    else:
        with pytest.raises(Conflict, match=f"is {before}, and cannot become {after}"):
            next_status(study(before), after)


def test_what_has_ended_begins_only_by_waiting_again_and_what_finished_never() -> None:
    assert {NEXT[status] for status in ENDED} == {(), ("queued",)}
    assert NEXT["finished"] == ()
    assert all(set(ENDED) - {"finished"} <= set(NEXT[status]) for status in UNFINISHED)


def test_a_study_whose_stored_strategy_is_confirm_has_that_mode() -> None:
    assert study("queued").mode == "confirm"
