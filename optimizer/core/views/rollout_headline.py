"""Where a Rollout stands, in one sentence: ``10 %: needs about 400 more labelled users before 25 %``.

Pure; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from optimizer.core.base.phrasing import count, span
from optimizer.core.forecast.plan import Need
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.serving.rollout import Rollout, RolloutOutcome, percent
from optimizer.core.views.rollout_status import ForecastView
from optimizer.core.views.variant_text import named

ENDED: dict[RolloutOutcome, str] = {
    "worse": "The candidate was worse and is taken back",
    "guardrail": "A guardrail took the candidate back",
    "inconclusive": "The rollout ended without enough evidence",
    "invalid": "The rollout ended because its two groups of users did not fit their shares",
    "cancelled": "A person ended the rollout",
    "champion_changed": "Another champion was set, which ended the rollout",
}
NO_ROLLOUT = "No rollout: every user gets the champion"
WAITS_FOR_A_PERSON = ("pending", "validating")


def rollout_headline(rollout: Rollout | None, seen: ForecastView | None) -> str:
    """One sentence for a person, without a full stop.

    Args:
        rollout: the active one of the family, else its last; None where it had none.
        seen: what is known of it; with its forecast
            where the sentence is to name how many users are still needed on average.
    """
    if rollout is None or seen is None:
        return NO_ROLLOUT
    if not rollout.is_active:
        return _ended(rollout, seen)
    if rollout.status in WAITS_FOR_A_PERSON:
        return f"Waits for a person: detent rollout approve {rollout.family}; until then every user gets the champion"
    first = percent(rollout.share if rollout.share is not None else rollout.ladder[0])
    if seen.freeze is not None:
        return f"{first}, frozen: every user gets the champion until {seen.freeze.undo}"
    if rollout.share is None:
        return f"Approved: the worker's next look gives the candidate {first} of the users"
    if not seen.served:
        return f"{first}, but no worker watches: every user gets the champion until one does (detent serve)"
    if rollout.held:
        return f"{first}, {_why_held(rollout)}"
    return f"{first}: {_needs(seen)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeHealth:
    """What a whole home is like.

    Args:
        runs: the API and the worker are alive.
        rollouts: how many are active.
        alerts: the levels of the open ones: info, warning, critical.
        n_faulty: families whose file is refused.
        bad_models: config/models.yaml cannot be used, and the last good one is gone by.
        not_ready: why the server that runs cannot serve or keep what is sent.
        n_refused: programs that were refused for want of a key in the last hour.
        frozen: families that are; None stands for all.
    """

    runs: bool
    rollouts: int
    alerts: Collection[str]
    n_faulty: int
    not_ready: str | None = None
    bad_models: bool = False
    n_refused: int = 0
    frozen: Sequence[str | None] = ()


def home_headline(home: HomeHealth) -> str:
    """One sentence about a whole home: what is wrong comes first."""
    grave = sum(level != "info" for level in home.alerts)
    wrong = [
        *(["nothing watches here (detent serve starts it)"] if not home.runs else []),
        *([f"the server is not ready ({home.not_ready.rstrip('.')})"] if home.not_ready else []),
        *([f"{count(grave, 'alert')} open (below)"] if grave else []),
        *([f"{count(home.n_faulty, 'family file')} refused (detent family validate)"] if home.n_faulty else []),
        *(["the models file is refused (below)"] if home.bad_models else []),
        *([f"{count(home.n_refused, 'program')} refused for want of a key (below)"] if home.n_refused else []),
        *(["every family is frozen"] if None in home.frozen else [f"{family} is frozen" for family in home.frozen]),
    ]
    state = "; ".join(wrong) if wrong else "all is well"
    return (
        f"{state[0].upper()}{state[1:]}; {count(home.rollouts, 'rollout') if home.rollouts else 'no rollout'} under way"
    )


def _ended(rollout: Rollout, seen: ForecastView) -> str:
    if rollout.outcome != "promoted":
        ending = ENDED[rollout.outcome] if rollout.outcome is not None else "The rollout has ended"
        return f"{ending}: every user gets the champion"
    if seen.followed_by is not None:
        return f"Promoted, and followed by {named(seen.followed_by.variant, seen.versions)} since"
    candidate = named(rollout.candidate, seen.versions)
    if seen.holdback is not None:
        return f"Promoted: {candidate} is the champion, and a few users stay on the one before to compare"
    return f"Promoted: {candidate} is the champion"


def _why_held(rollout: Rollout) -> str:
    if rollout.held_by == ACTOR:
        return "held by the worker until the alert below is over"
    return f"held by {rollout.held_by or 'a person'}: it goes no further until detent rollout resume {rollout.family}"


def _needs(seen: ForecastView) -> str:
    """What stands before the next step; users first, since only they come by themselves."""
    step = seen.next_step
    target = "the promotion" if step is None or step.act == "promote" else percent(step.share)
    if not seen.waits_for:
        return f"every gate has passed; the worker's next look goes on to {target}"
    users = _users(seen)
    if users is None:
        return f"waits before {target}: {seen.waits_for[0]}"
    return f"{users} before {target}"


def _users(seen: ForecastView) -> str | None:
    """None where enough users have answered, and something else is missing."""
    need = _need(seen)
    least = max(0, seen.labels.needed_in_stage - seen.labels.in_stage)
    expected = need.labelled if need is not None else None
    if expected is None:
        return f"needs at least {count(least, 'more labelled user')}" if least else None
    if ceil(expected) < 1:
        return None
    hours = need.hours if need is not None else None
    when = f" (about {span(hours)} at this traffic)" if hours else ""
    return f"needs about {count(rounded_up(expected), 'more labelled user')}{when}"


def _need(seen: ForecastView) -> Need | None:
    """Of the present stage, on average."""
    stages = seen.forecast.stages if seen.forecast is not None else ()
    return stages[0].expected if stages else None


def rounded_up(n: float) -> int:
    """To two digits that count, upwards: 12.1 is 13, 398.2 is 400, 1,234 is 1,300. ``n`` is above 0."""
    unit = max(1, 10 ** (floor(log10(n)) - 1))
    return int(ceil(n / unit) * unit)
