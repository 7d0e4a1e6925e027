"""Champions as a stack: each reign names the one to fall back to, so that going back never comes up again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import when
from optimizer.core.serving.rollout import Champion

SAID_AGAIN_WITHIN = timedelta(minutes=10)  # two people, or one in a hurry, mean the same step back


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
        family=current.family,
        seq=current.seq + 1,
        variant=variant,
        since=at,
        why=why,
        by=by,
        forced=forced,
        previous=current.seq,
        rollout=rollout,
    )


def fall_back(
    history: Sequence[Champion], *, expect: str | None, at: datetime, by: str, why: str, to: str | None = None
) -> Champion:
    """The reign before the current one, as a new reign with that one's own way back.

    A, then B on top: falling back reigns A again with nothing below, so that a second time is refused instead of
    bringing B back.

    Args:
        to: the variant to go back to, however far below; None: that of the reign beneath.
    Raises:
        Conflict: nothing below, ``to`` has never reigned, or ``expect`` (the variant that the caller takes for the
            champion) is not the champion.
    """
    current = reigning(history)
    family = current.family
    if expect is not None and expect != current.variant:
        raise Conflict(
            f"Champion rollback of {family} was meant for {expect}, but {current.variant} is the champion since"
            f" {when(current.since)}. Look at the history (detent champion history {family}) and say it again"
            " if it is still meant.",
            champion=current.variant,
            expect=expect,
        )
    below = beneath(history) if to is None else _last_of(history, to)
    if below is None:
        without = (
            f"{family} has no champion before {current.variant} to go back to"
            if to is None
            else f"{to} has never been a champion of {family}, so there is no going back to it"
        )
        raise Conflict(
            f"{without}. To serve another variant now: detent champion set {family} {to or 'VARIANT'} --reason WHY"
            f" --confirm {family}.",
            champion=current.variant,
        )
    return Champion(
        family=family,
        seq=current.seq + 1,
        variant=below.variant,
        since=at,
        why=why,
        by=by,
        previous=below.previous,
    )


def _last_of(history: Sequence[Champion], variant: str) -> Champion | None:
    return max((reign for reign in history if reign.variant == variant), key=lambda reign: reign.seq, default=None)


def is_said_again(history: Sequence[Champion], *, expect: str | None, to: str | None, at: datetime) -> bool:
    """Whether a champion rollback asks for what has been done: the reign that it names is the current one, or that
    began by a rollback in the ten minutes before, of the champion that this one expects.
    """
    current, ended = reigning(history), taken_back(history)
    if to is not None:
        return to == current.variant
    return ended is not None and at - current.since < SAID_AGAIN_WITHIN and expect in (None, ended.variant)


def taken_back(history: Sequence[Champion]) -> Champion | None:
    """The reign that ended with the rollback by which the current one began; None where that began otherwise.

    A rollback goes down the stack: its reign does not fall back to the one just before it, as every other does.
    """
    current = reigning(history)
    if current.previous == current.seq - 1:
        return None
    return next((reign for reign in history if reign.seq == current.seq - 1), None)


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
