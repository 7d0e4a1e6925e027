"""What keeps a study from starting by itself although a trigger fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.base.phrasing import when
from optimizer.core.base.texts import Text
from optimizer.core.family.family import Family
from optimizer.core.search.study import Study
from optimizer.core.serving.assignment import Holdback
from optimizer.core.serving.freezes import Freeze
from optimizer.core.serving.rollout import Rollout

EXAMPLES_PER_HOLDOUT = 1 / 0.18  # one in five lands in the holdout; a little more, since that is drawn by hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Why no study starts, without a full stop. ``needs_person``: waiting alone changes nothing, so an alert opens."""

    reason: Text[str]
    needs_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What of a family is exposed, or about to be.

    Args:
        freeze: which serves its champion only.
        rollout: its active one. It decides first: whatever was found meanwhile would have to be compared anew.
        holdback: the one under way. A rollout would end it, and with it the guardrail that takes the promotion back.
        nominated: the study whose candidate waits for its rollout; another search would meet the same obstacle.
    """

    freeze: Freeze | None
    rollout: Rollout | None
    holdback: Holdback | None
    nominated: Study | None


def kept_from_starting(
    family: Family, exposure: Exposure, *, unfinished: Sequence[Study], max_studies: int, n_holdout: int
) -> Guard | None:
    """The first guard that says no, the one that needs a person before all others; None when a study may start.

    Args:
        unfinished: the studies of all families that are queued, running or confirming.
        n_holdout: the family's sealed examples.
    """
    n, needed = n_holdout, family.rollout.gates.n
    if n < needed:
        return Guard(
            reason=(
                f"{family.name} has {n} holdout examples and rollout.gates.n asks for {needed}, so nothing that a study"
                f" finds could pass its gates. Import more (about {round(needed * EXAMPLES_PER_HOLDOUT)} in all: detent"
                f" import FILE --family {family.name}), lower rollout.gates.n, or let nothing start by itself: detent"
                f" family schedule {family.name} --off"
            ),
            needs_person=True,
        )
    own = next((study for study in unfinished if study.family == family.name), None)
    if own is not None:
        return Guard(reason=f"study {own.id} of {family.name} is {own.status}, and a family has one at a time")
    if exposure.freeze is not None:
        return Guard(reason=exposure.freeze.sentence)
    if (rollout := exposure.rollout) is not None:
        return Guard(reason=f"rollout {rollout.id} of {rollout.candidate} is {rollout.status}, and decides first")
    if (holdback := exposure.holdback) is not None:
        return Guard(
            reason=(
                f"the promotion by rollout {holdback.rollout} is watched in its holdback until {when(holdback.until)}"
            )
        )
    if (nominated := exposure.nominated) is not None:
        return Guard(reason=f"candidate {nominated.winner} of study {nominated.id} waits for its rollout")
    if len(unfinished) >= max_studies:
        return Guard(reason=f"{len(unfinished)} studies are under way, and max_studies allows {max_studies} at once")
    return None
