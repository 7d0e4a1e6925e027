"""What an alert is about, by its kind, its family and its subject; its sentence is read by people alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.rollout.alert_causes import OpenCause
from optimizer.core.rollout.alert_chapters import (
    DRIFT,
    OF_CHAMPION,
    OF_LAST,
    OF_ROLLOUT,
    STUDY_STARTED,
    offers_about,
    rollout_about,
)
from optimizer.core.serving.rollout import Champion, Rollout
from tests.stores import FAMILY, NOW, rollout
from tests.unit.alerts.test_alerts_page import alert_kinds

LAST = rollout("ro_2", status="rolled_back", outcome="worse")
DEPLOYING = replace(LAST, status="deploying", stage=0, outcome=None)
HELD = replace(DEPLOYING, held=True, held_by="system:tick")


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
    assert alert_kinds() >= OF_ROLLOUT | OF_LAST | OF_CHAMPION | {DRIFT, STUDY_STARTED}


def champion(**changes: Any) -> Champion:
    return Champion(**{"family": FAMILY, "seq": 2, "variant": "v_new", "since": NOW, "why": "", "by": "ann", **changes})


@pytest.mark.parametrize(
    ("kind", "subject", "last", "acts"),
    [
        ("candidate_silent", "ro_2", DEPLOYING, [("rollback", "ro_2")]),
        ("candidate_silent", "ro_1", DEPLOYING, []),  # of an earlier one
        ("approval_wanted", "ro_2", replace(LAST, status="validating"), [("approve", "ro_2"), ("reject", "ro_2")]),
        ("alert_rule", "errors", DEPLOYING, []),
        ("alert_rule", "errors", HELD, [("resume", "ro_2"), ("rollback", "ro_2")]),
        ("rollout_ended", FAMILY, LAST, []),
        ("champion_worse", "v_new", LAST, [("take-back", FAMILY)]),
        ("champion_out_of_limits", "v_new errors", LAST, [("take-back", FAMILY)]),
        ("champion_out_of_limits", "silence", LAST, []),
        ("champion_drift", "success", None, [("take-back", FAMILY)]),
        ("study_started", "st_1", None, [("cancel-study", "st_1")]),
        ("way_back_broken", "v_old", LAST, []),  # taking back would bring what does not answer
    ],
)
def test_an_alert_offers_the_acts_that_would_not_be_refused_now(
    kind: str, subject: str, last: Rollout | None, acts: list[tuple[str, str]]
) -> None:
    offers = offers_about(alert(kind, subject), last, champion(previous=1))
    assert [(one["act"], one["target"]) for one in offers] == acts


def test_a_champion_without_one_before_it_is_not_offered_to_be_taken_back() -> None:
    assert offers_about(alert("champion_worse", "v_new"), LAST, champion()) == ()
    assert offers_about(alert("champion_worse", "v_new"), LAST, None) == ()
