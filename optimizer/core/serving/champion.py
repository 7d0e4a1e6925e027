"""Champions as a stack: each reign names the one to fall back to, so that going back never comes up again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import when
from optimizer.core.serving.rollout import Champion


def first(*, family: str, variant: str, at: datetime, by: str, why: str) -> Champion:
    """The reign with nothing below it."""
    return Champion(family=family, seq=1, variant=variant, since=at, why=why, by=by)


def succeed(
    current: Champion, *, variant: str, at: datetime, by: str, why: str, forced: bool, rollout: str | None = None
) -> Champion:
    """A new reign on top of the current one. Raises Conflict when ``variant`` already reigns."""
    if variant == current.variant:
        raise Conflict(
            f"{variant} already is the champion of {current.family}, since {when(current.since)}. There is nothing to"
            " change.",
            champion=variant,
        )
    return Champion(
        family=current.family, seq=current.seq + 1, variant=variant, since=at, why=why, by=by, forced=forced,
        previous=current.seq, rollout=rollout
    )  # fmt: skip


def fall_back(history: Sequence[Champion], *, expect: str | None, at: datetime, by: str, why: str) -> Champion:
    """The reign before the current one, as a new reign with that one's own way back.

    A, then B on top: falling back reigns A again with nothing below, so that a second time is refused instead of
    bringing B back.

    Raises:
        Conflict: nothing below, or ``expect`` (the variant that the caller takes for the champion) is not the champion.
    """
    current = reigning(history)
    if expect is not None and expect != current.variant:
        raise Conflict(
            f"Champion rollback of {current.family} was meant for {expect}, but {current.variant} is the champion since"
            f" {when(current.since)}. Look at the history (detent champion history {current.family}) and say it again"
            " if it is still meant.",
            champion=current.variant,
            expect=expect,
        )
    below = beneath(history)
    if below is None:
        raise Conflict(
            f"{current.family} has no champion before {current.variant} to go back to. To serve another variant, start"
            f" a rollout: detent rollout start {current.family} VARIANT.",
            champion=current.variant,
        )
    return Champion(
        family=current.family,
        seq=current.seq + 1,
        variant=below.variant,
        since=at,
        why=why,
        by=by,
        previous=below.previous,
    )


def reigning(history: Sequence[Champion]) -> Champion:
    """The reign with the highest number; the history must not be empty."""
    return max(history, key=lambda reign: reign.seq)


def variant_reigning_at(history: Sequence[Champion], at: datetime) -> str | None:
    """The variant that was the champion then; None before the first reign."""
    reign = max((one for one in history if one.since <= at), key=lambda one: one.seq, default=None)
    return reign.variant if reign is not None else None


def after_promotion(history: Sequence[Champion], rollout: str) -> Champion | None:
    """The reign that followed the one which this rollout's promotion began;
    None while that lasts, or where there was none.
    """
    promoted = next((reign for reign in history if reign.rollout == rollout), None)
    return next((reign for reign in history if promoted is not None and reign.seq == promoted.seq + 1), None)


def beneath(history: Sequence[Champion]) -> Champion | None:
    """The reign that a champion rollback would bring back."""
    previous = reigning(history).previous
    return next((reign for reign in history if reign.seq == previous), None) if previous is not None else None
