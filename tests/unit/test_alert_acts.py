"""What an alert is about, by its kind, its family and its subject; its sentence is read by people alone."""

from __future__ import annotations

import pytest

from optimizer.core.rollout.alert_acts import OF_LAST, OF_ROLLOUT, rollout_about
from optimizer.core.rollout.alert_causes import OpenCause
from tests.stores import FAMILY, NOW, rollout
from tests.unit.test_alerts_page import alert_kinds

LAST = rollout("ro_2", status="rolled_back", outcome="worse")


def alert(kind: str, subject: str) -> OpenCause:
    return OpenCause(id="al_1", kind=kind, subject=subject, family=FAMILY, level="warning", opened_at=NOW)


@pytest.mark.parametrize(
    ("kind", "subject", "about"),
    [
        ("candidate_silent", "ro_1", "ro_1"),
        ("approval_wanted", "ro_1", "ro_1"),
        ("rollout_ended", FAMILY, "ro_2"),
        ("champion_worse", LAST.candidate, "ro_2"),
        ("champion_worse", "v_cccccccccccc", None),  # of another champion than this rollout made
        ("champion_drift", "success", None),
        ("candidate_waits", "st_1", None),
    ],
)
def test_an_alert_names_the_rollout_that_it_is_about(kind: str, subject: str, about: str | None) -> None:
    assert rollout_about(alert(kind, subject), LAST) == about


def test_of_a_family_without_a_rollout_none_is_named() -> None:
    assert rollout_about(alert("rollout_ended", FAMILY), None) is None


def test_every_kind_that_is_named_there_is() -> None:
    assert alert_kinds() >= OF_ROLLOUT | OF_LAST
