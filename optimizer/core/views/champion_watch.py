"""What a champion is compared with after a promotion or a switch by force, in a sentence. Pure; nothing is decided."""

from __future__ import annotations

from datetime import datetime

from optimizer.core.base.phrasing import when
from optimizer.core.rollout.switch_watch import PERIOD, SwitchWatch
from optimizer.core.serving.assignment import HOLDBACK_SHARE, Holdback
from optimizer.core.serving.rollout import Champion


def watch_in_words(
    champion: Champion, *, holdback: Holdback | None, switch: SwitchWatch | None, now: datetime
) -> str | None:
    """None where nobody is held back on the champion before and no switch is watched.

    Args:
        champion: its present term.
        holdback: that its promotion or adoption brought, over or not.
        switch: of this term; None before the first outcome, and for a champion that evidence spoke for.
    """
    current = holdback if holdback is not None and now < holdback.until else None
    is_watched = champion.forced and champion.seq > 1 and now < champion.since + PERIOD
    if current is None and not is_watched:
        return None
    parts = [f"{champion.variant} serves since {when(champion.since)}{' by force' if champion.forced else ''}"]
    if current is not None:
        parts.append(f"{HOLDBACK_SHARE:.0%} of the users keep {current.variant} until {when(current.until)} to compare")
    if is_watched:
        parts.append(_watched(switch, until=champion.since + PERIOD))
    return f"{'; '.join(parts)} (back: detent champion rollback {champion.family})"


def _watched(switch: SwitchWatch | None, *, until: datetime) -> str:
    if switch is None:
        return f"watched until {when(until)}, from its first outcome on"
    if switch.alarm is not None:
        return "it does worse, and an alert tells how much"
    if not switch.comparisons:
        return "there is nothing to compare it with, so only its errors, latency and cost are watched"
    before = f" with {switch.reference.text}" if switch.reference is not None else " with those users"
    return f"its outcomes are compared{before} until {when(until)}, and an alert tells when they are worse"
