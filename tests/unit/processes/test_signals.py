"""What applications see of an answer's use becomes an outcome by the family's own rule, and the rollout's metric."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cases import named
from tests.rows.ingestion import BY_UNIT, FAMILY, Installation, family, temporary_installation, token
from tests.worlds.rated_world import judged_family

SERVED = {"id": "in_1", **BY_UNIT, "output": "a summary", "latency_ms": 10}


@pytest.fixture
def installation() -> Iterator[Installation]:
    with temporary_installation() as made:
        yield made


with_rule = partial(judged_family, judge=None)


def taken(installation: Installation, rule: dict[str, float], *events: Any) -> list[tuple[Any, ...]]:
    """Source, success and score of what became an outcome."""
    installation.families = {FAMILY: with_rule(outcome=rule)}
    answer = installation.send(*events)
    assert answer["rejected"] == []
    return [(one.source, one.success, one.score) for one in installation.feedback()]


@named(
    ("rule", "tags", "outcome"),
    {
        "kept is good": ({"kept": 1}, {"kept": True}, (True, None)),
        "retried is bad": ({"retried": 1}, {"retried": True}, (False, None)),
        "others have no say": ({"retried": 2.5}, {"retried": False, "kept": True}, (True, None)),
        "not escalated is good": ({"escalated": 1}, {"escalated": False}, (True, None)),
        "a share that was changed": ({"edited": 1}, {"edited": 0.25}, (None, 0.75)),
        "all was changed": ({"edited": 1}, {"edited": True}, (None, 0.0)),
        "a weighted sum": ({"kept": 3, "retried": 1}, {"kept": True, "retried": True}, (None, 0.75)),
        "of three": (
            {"kept": 1, "edited": 1, "escalated": 2},
            {"kept": False, "edited": 0.5, "escalated": False},
            (None, 0.625),
        ),
    },
)
def test_tags_make_the_outcome_that_the_rule_says(installation, rule, tags, outcome):
    assert taken(installation, rule, {**SERVED, "tags": tags}) == [("system", *outcome)]


def test_the_outcome_may_come_later_by_interaction_or_token(installation: Installation) -> None:
    late = {"interaction": "in_1", "tags": {"retried": True}}
    by_token = {"assignment": token(), "tags": {"retried": False}}
    outcomes = taken(installation, {"retried": 1}, SERVED, late, by_token)
    assert sorted(outcomes) == [("system", False, None), ("system", True, None)]
    assert installation.send(late)["accepted"] == 1


def test_an_event_with_an_outcome_of_its_own_keeps_it(installation: Installation) -> None:
    thumb = {**BY_UNIT, "success": True, "tags": {"retried": True}}
    by_person = {**SERVED, "id": "in_2", "source": "user", "tags": {"retried": True}}
    assert taken(installation, {"retried": 1}, thumb, by_person) == [("user", True, None)]


def test_without_all_tags_of_the_rule_there_is_no_outcome(installation: Installation) -> None:
    assert taken(installation, {"kept": 1, "retried": 1}, {**SERVED, "tags": {"kept": True}}) == []
    assert installation.interaction("in_1").tags == {"kept": True}


@pytest.mark.parametrize(
    ("rule", "tags"),
    [
        pytest.param({"retried": 1}, {"retried": "yes"}, id="a text"),
        pytest.param({"retried": 1}, {"retried": 0.5}, id="a share of what has none"),
        pytest.param({"edited": 1}, {"edited": 1.5}, id="beyond 1"),
        pytest.param({"edited": 1}, {"edited": [1]}, id="a list"),
        pytest.param({"kept": 1, "edited": 1}, {"kept": True}, id="one that is not all"),
        pytest.param({}, {"kept": True}, id="no rule"),
    ],
)
def test_tags_that_make_no_outcome_and_nothing_beside_them_are_refused(installation, rule, tags):
    installation.families = {FAMILY: with_rule(outcome=rule)}
    assert installation.refusal({**BY_UNIT, "tags": tags}) == "malformed"


def test_a_family_that_keeps_no_texts_has_outcomes_without_their_tags(installation: Installation) -> None:
    installation.families = {FAMILY: with_rule(outcome={"kept": 1}, privacy={"store": "metadata"})}
    assert installation.send({**SERVED, "tags": {"kept": True}})["accepted"] == 1
    [one] = installation.feedback()
    assert (one.success, one.tags) == (True, {})


def test_the_outcome_is_the_rollout_s_metric_unless_the_file_names_another() -> None:
    metric = with_rule(outcome={"retried": 1}).rollout.metric
    assert (metric.field, metric.source) == ("success", "system")
    summed = with_rule(outcome={"retried": 1, "kept": 1}, rollout={"margin": 0.02}).rollout
    assert (summed.metric.field, summed.metric.source, summed.margin) == ("score", "system", 0.02)
    named = with_rule(outcome={"retried": 1}, rollout={"metric": {"field": "success", "source": "user"}}).rollout.metric
    assert named.source == "user"
    assert family().rollout.metric is None
