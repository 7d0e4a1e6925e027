"""What an alert is about, and the acts by which a person answers it, by its kind as ``alert_chapters.py`` says where it
leads.
"""

from __future__ import annotations

from optimizer.core.base.answers import ActOffer
from optimizer.core.rollout.alert_causes import BROKEN, OpenCause
from optimizer.core.rollout.transitions import answers_on
from optimizer.core.serving.rollout import Champion, Rollout

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
OF_CHAMPION = frozenset(("champion_worse", "champion_out_of_limits"))  # where their subject begins with its variant
DRIFT, STUDY_STARTED = "champion_drift", "study_started"


def rollout_about(alert: OpenCause, last: Rollout | None) -> str | None:
    """Its id; None where the alert is about none. ``last``: the family's newest one when it was raised."""
    if alert.kind in OF_ROLLOUT:
        return alert.subject
    if last is None or alert.kind not in OF_LAST or alert.subject not in (last.family, last.candidate):
        return None
    return last.id


def offers_about(alert: OpenCause, last: Rollout | None, champion: Champion | None) -> tuple[ActOffer, ...]:
    """Of an open one, those that would not be refused as the family's newest rollout and its champion are now."""
    if alert.kind == STUDY_STARTED:
        return (ActOffer(act="cancel-study", target=alert.subject),)
    if last is not None and (alert.subject == last.id or (alert.kind == BROKEN and last.held)):
        return answers_on(last)
    if champion is None or champion.previous is None:
        return ()
    is_about_it = alert.kind == DRIFT or (alert.kind in OF_CHAMPION and alert.about == champion.variant)
    return (ActOffer(act="take-back", target=champion.family),) if is_about_it else ()
