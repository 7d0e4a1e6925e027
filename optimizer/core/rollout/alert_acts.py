"""What an alert is about, and the acts by which a person answers it, by its kind as ``alert_chapters.py`` says where it
leads.
"""

from __future__ import annotations

from optimizer.core.rollout.alert_causes import OpenCause
from optimizer.core.serving.rollout import Rollout

OF_ROLLOUT = frozenset(  # their subject is a rollout
    (
        "approval_wanted",
        "candidate_silent",
        "feedback_rates_differ",
        "rollout_unwatched",
        "rollout_watch_failed",
        "shared_incident",
    )
)
OF_LAST = frozenset(("rollout_ended", "champion_worse"))  # about the family's last rollout when it was raised


def rollout_about(alert: OpenCause, last: Rollout | None) -> str | None:
    """Its id; None where the alert is about none. ``last``: the family's newest one when it was raised."""
    if alert.kind in OF_ROLLOUT:
        return alert.subject
    if last is None or alert.kind not in OF_LAST or alert.subject not in (last.family, last.candidate):
        return None
    return last.id
