"""One cause, one message: which open alert speaks for another one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from optimizer.core.rollout.alert_causes import BROKEN, OpenCause, cause_of
from optimizer.core.rollout.alert_rules import AlertRule
from tests.stores import NOW

RULES = [
    AlertRule(name="errors", metric="errors", above=0.03, explains=("failures", "feedback")),
    AlertRule(name="model_errors", metric="errors", scope="model", above=0.03, explains=("errors", "failures")),
    AlertRule(name="failures", metric="success", below=0.9),
    AlertRule(name="quality", metric="quality", below=0.95),
    AlertRule(name="feedback", metric="feedback", below=0.1),
]


def of(subject: str, *, at: float = 0, kind: str = BROKEN, **changes: Any) -> OpenCause:
    usual: dict[str, Any] = {"id": f"al_{subject}_{at}", "family": "triage", "level": "warning"}
    return OpenCause(**{**usual, "kind": kind, "subject": subject, "opened_at": NOW + timedelta(minutes=at), **changes})


@pytest.mark.parametrize(
    ("alert", "others", "cause"),
    [
        pytest.param(of("failures"), [of("errors")], "errors", id="explained in the same minute"),
        pytest.param(of("errors"), [of("failures")], None, id="the cause speaks for itself"),
        pytest.param(of("failures"), [of("errors", at=1)], None, id="was there first"),
        pytest.param(
            of("errors", at=1), [of("failures")], "failures", id="a cause that is seen later is told of by then"
        ),
        pytest.param(
            of("errors", at=1, level="critical"), [of("failures")], None, id="what is graver is told of all the same"
        ),
        pytest.param(
            of("failures", at=0), [of("errors", at=1, level="critical")], "errors", id="the graver one speaks"
        ),
        pytest.param(of("failures"), [of("errors", family="other")], None, id="of another family"),
        pytest.param(
            of("errors"), [of("model_errors m", family=None)], "model_errors m", id="of a model for its families"
        ),
        pytest.param(of("model_errors m", family=None), [of("errors")], None, id="of a family not for the model"),
        pytest.param(
            of("errors"),
            [of("v_1 errors", kind="champion_out_of_limits", at=-1)],
            "v_1 errors",
            id="a limit of the champion of the same figure",
        ),
        pytest.param(
            of("failures", at=2),
            [of("v_1 errors", kind="champion_out_of_limits")],
            "v_1 errors",
            id="what the rule of that figure explains",
        ),
        pytest.param(
            of("failures", at=5), [of("success", kind="champion_drift")], "success", id="a drift told already"
        ),
        pytest.param(of("success", kind="champion_drift", at=5), [of("failures")], "failures", id="a drift told later"),
        pytest.param(of("quality"), [of("success", kind="champion_drift")], None, id="another figure"),
        pytest.param(of("worker", kind="process_restarted", family=None), [of("errors")], None, id="no figure at all"),
        pytest.param(of("gone"), [of("errors")], None, id="of a rule that is no more"),
    ],
)
def test_which_open_alert_speaks_for_it(alert: OpenCause, others: list[OpenCause], cause: str | None) -> None:
    found = cause_of(alert, [alert, *others], RULES)
    assert (found.subject if found is not None else None) == cause


def test_of_two_that_are_alike_exactly_one_speaks() -> None:
    one, other = of("errors", id="al_1"), of("v_1 errors", kind="champion_out_of_limits", id="al_2")
    spoken = [cause_of(alert, [one, other], RULES) for alert in (one, other)]
    assert [cause is None for cause in spoken].count(True) == 1
