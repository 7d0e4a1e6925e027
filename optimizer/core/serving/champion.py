"""Champions as a stack: each tenure names the one to fall back to, so that no rollback leads up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import when
from optimizer.core.serving.rollout import Champion

SAID_AGAIN_WITHIN = timedelta(minutes=10)  # two people, or one in a hurry, mean the same step back


def first(*, family: str, variant: str, at: datetime, by: str, why: str) -> Champion:
    """The first tenure, with nothing below it."""
    return Champion(family=family, seq=1, variant=variant, since=at, why=why, by=by)


def next_tenure(
    current: Champion, *, variant: str, at: datetime, by: str, why: str, forced: bool, rollout: str | None = None
) -> Champion:
    """A new tenure on top of the current one. Raises Conflict when ``variant`` is the champion already."""
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
    """A new tenure of the champion before the current one, with the fallback of that earlier tenure.

    After A, then B, falling back makes A champion with nothing below: a second rollback is refused and does not
    bring B back.

    Args:
        to: the variant to go back to, however far below; None: that of the tenure below.
    Raises:
        Conflict: nothing below, ``to`` was never champion, or ``expect`` (the variant that the caller takes for the
            champion) is not the champion.
    """
    current = current_of(history)
    family = current.family
    if expect is not None and expect != current.variant:
        raise Conflict(
            f"Champion rollback of {family} was meant for {expect}, but {current.variant} is the champion since"
            f" {when(current.since)}. Look at the history (detent champion history {family}) and say it again"
            " if it is still meant.",
            champion=current.variant,
            expect=expect,
        )
    below = (
        beneath(history)
        if to is None
        else max((tenure for tenure in history if tenure.variant == to), key=lambda tenure: tenure.seq, default=None)
    )
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


def is_said_again(history: Sequence[Champion], *, expect: str | None, to: str | None, at: datetime) -> bool:
    """Whether this rollback repeats one that is done.

    It names the current champion, or it expects the champion that a rollback replaced in the ten minutes before.
    """
    current, ended = current_of(history), taken_back(history)
    if to is not None:
        return to == current.variant
    return ended is not None and at - current.since < SAID_AGAIN_WITHIN and expect in (None, ended.variant)


def taken_back(history: Sequence[Champion]) -> Champion | None:
    """The tenure that a rollback ended to begin the current one; None where that began otherwise.

    Only the tenure that a rollback begins does not fall back to the tenure just before it.
    """
    current = current_of(history)
    if current.previous == current.seq - 1:
        return None
    return next((tenure for tenure in history if tenure.seq == current.seq - 1), None)


def current_of(history: Sequence[Champion]) -> Champion:
    """The tenure with the highest number; the history must not be empty."""
    return max(history, key=lambda tenure: tenure.seq)


def variant_at(history: Sequence[Champion], at: datetime) -> str | None:
    """The variant that was the champion then; None before the first tenure."""
    tenure = max((tenure for tenure in history if tenure.since <= at), key=lambda each: each.seq, default=None)
    return tenure.variant if tenure is not None else None


def after_promotion(history: Sequence[Champion], rollout: str) -> Champion | None:
    """The tenure after the one that this rollout's promotion began; None while that lasts, or without one."""
    promoted = next((tenure for tenure in history if tenure.rollout == rollout), None)
    return next((tenure for tenure in history if promoted is not None and tenure.seq == promoted.seq + 1), None)


def first_beneath(history: Sequence[Champion], serves: Callable[[str], bool]) -> Champion | None:
    """The tenure to which rollbacks lead down, one after the other, until there is one whose variant still serves."""
    tenures = {tenure.seq: tenure for tenure in history}
    tenure: Champion | None = current_of(history)
    while tenure is not None and (tenure := tenures.get(tenure.previous or 0)) is not None:
        if serves(tenure.variant):
            return tenure
    return None


def beneath(history: Sequence[Champion]) -> Champion | None:
    """The tenure that a champion rollback would bring back."""
    previous = current_of(history).previous
    return next((tenure for tenure in history if tenure.seq == previous), None) if previous is not None else None
