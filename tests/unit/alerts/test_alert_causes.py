"""One cause, one message: which open alert speaks for another one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from optimizer.core.rollout.alert_causes import BROKEN, OpenCause, cause_of
from optimizer.core.rollout.alert_rules import AlertRule
from tests.cases import named
from tests.stores import NOW

RULES = [
    AlertRule(name="errors", metric="errors", above=0.03, explains=("failures", "feedback")),
    AlertRule(name="model_errors", metric="errors", scope="model", above=0.03, explains=("errors", "failures")),
    AlertRule(name="failures", metric="success", below=0.9),
    AlertRule(name="quality", metric="quality", below=0.95),
    AlertRule(name="feedback", metric="feedback", below=0.1),
    AlertRule(name="restarts", metric="restarts", above=2),
    AlertRule(name="budget", metric="budget", above=0.8),
]


def of(subject: str, *, at: float = 0, kind: str = BROKEN, **changes: Any) -> OpenCause:
    usual: dict[str, Any] = {"id": f"al_{subject}_{at}", "family": "triage", "level": "warning"}
    return OpenCause(**{**usual, "kind": kind, "subject": subject, "opened_at": NOW + timedelta(minutes=at), **changes})


def pipeline(figure: str) -> OpenCause:
    return of(f"{figure} warning", kind="pipeline_out_of_range", family=None)


@named(
    ("alert", "others", "cause"),
    {
        "explained in the same minute": (of("failures"), [of("errors")], "errors"),
        "the cause speaks for itself": (of("errors"), [of("failures")], None),
        "was there first": (of("failures"), [of("errors", at=1)], None),
        "a cause that is seen later is told of by then": (of("errors", at=1), [of("failures")], "failures"),
        "what is graver is told of all the same": (of("errors", at=1, level="critical"), [of("failures")], None),
        "the graver one speaks": (of("failures", at=0), [of("errors", at=1, level="critical")], "errors"),
        "of another family": (of("failures"), [of("errors", family="other")], None),
        "of a model for its families": (of("errors"), [of("model_errors m", family=None)], "model_errors m"),
        "what all families have spent is not what one has": (
            of("budget"),
            [of("budget", family=None, at=-1, level="critical")],
            None,
        ),
        "each model for itself": (
            of("model_errors n", family=None, at=1),
            [of("model_errors m", family=None, level="critical")],
            None,
        ),
        "of a family not for the model": (of("model_errors m", family=None), [of("errors")], None),
        "a limit of the champion of the same figure": (
            of("errors"),
            [of("v_1 errors", kind="champion_out_of_limits", at=-1)],
            "v_1 errors",
        ),
        "what the rule of that figure explains": (
            of("failures", at=2),
            [of("v_1 errors", kind="champion_out_of_limits")],
            "v_1 errors",
        ),
        "a drift told already": (of("failures", at=5), [of("success", kind="champion_drift")], "success"),
        "a drift told later": (of("success", kind="champion_drift", at=5), [of("failures")], "failures"),
        "another figure": (of("quality"), [of("success", kind="champion_drift")], None),
        "time saved where fewer are bypassed": (pipeline("avg_time_savings"), [pipeline("bypass_rate")], "bypass_rate"),
        "fewer bypassed, for itself": (pipeline("bypass_rate"), [pipeline("avg_time_savings")], None),
        "another figure of the pipeline": (pipeline("quality_score_avg"), [pipeline("bypass_rate")], None),
        "a process that keeps dying": (
            of("worker", kind="process_restarted", family=None, at=1),
            [of("restarts worker", family=None, level="critical")],
            "restarts worker",
        ),
        "another process that died": (
            of("mlflow", kind="process_restarted", family=None, at=1),
            [of("restarts worker", family=None, level="critical")],
            None,
        ),
        "no figure at all": (of("worker", kind="process_restarted", family=None), [of("errors")], None),
        "of a rule that is no more": (of("gone"), [of("errors")], None),
    },
)
def test_which_open_alert_speaks_for_it(alert: OpenCause, others: list[OpenCause], cause: str | None) -> None:
    found = cause_of(alert, [alert, *others], RULES)
    assert (found.subject.removesuffix(" warning") if found is not None else None) == cause


def test_of_two_that_are_alike_exactly_one_speaks() -> None:
    one, other = of("errors", id="al_1"), of("v_1 errors", kind="champion_out_of_limits", id="al_2")
    spoken = [cause_of(alert, [one, other], RULES) for alert in (one, other)]
    assert [cause is None for cause in spoken].count(True) == 1
