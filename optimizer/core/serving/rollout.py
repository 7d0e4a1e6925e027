"""A Rollout, its Decisions, the Champions it makes, and freezes, as values.

``transitions.py`` says what may happen to a Rollout next. While a Freeze lasts, only champions are served, nothing
advances and no study begins, until an operator unfreezes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import computed_field
from typing_extensions import TypedDict

from optimizer.core.base.answers import ActOffer, Record, Text, shown
from optimizer.core.base.errors import Conflict, NotFound, Refused
from optimizer.core.base.phrasing import when
from optimizer.core.search.study import Study
from optimizer.core.serving.access import EVERYTHING, Access

Status = Literal["pending", "validating", "approved", "deploying", "deployed", "rolled_back", "failed"]
RolloutOutcome = Literal["promoted", "worse", "guardrail", "inconclusive", "invalid", "cancelled", "champion_changed"]

ACTIVE: tuple[Status, ...] = ("pending", "validating", "approved", "deploying")
FALLEN: tuple[RolloutOutcome, ...] = ("worse", "guardrail")  # on evidence; inconclusive is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of real time in which every user got the champion: no worker watched the rollout, or its family was
    frozen.
    """

    since: datetime
    until: datetime


StageSpan = TypedDict(
    "StageSpan", {"share": float, "from": str, "to": str | None, "clock_from": str, "clock_to": str | None}
)
"""How long the candidate was served with a share, without a lapse; RFC 3339, None while it still is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One gradual exposure of a Candidate.

    All times are real time, apart from ``clock_from`` and ``clock_to`` in the stage history: those are the rollout
    clock's, on which stages, cohorts and windows are measured.
    """

    id: str
    family: str
    candidate: str
    champion: str  # the Variant that served when the rollout started, and to which it falls back
    aim: str
    ladder: tuple[float, ...]
    salt: str
    status: Status
    stage: int  # index into ladder; -1 before the candidate was served
    held: bool
    version: int
    settings: Record[Mapping[str, Any]]  # frozen with the rollout: margin, metric, gates, guardrails, windows …
    stage_history: Sequence[StageSpan]  # which share held when
    created_at: datetime
    created_by: str
    forced: bool = False
    outcome: RolloutOutcome | None = None
    reason: Text[str | None] = None
    held_by: str | None = None  # the actor of the hold; the tick takes back only its own
    study: str | None = None
    lease_expires_at: datetime | None = None
    stage_entered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    simulated_clock: bool = False

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> float | None:
        """Share of units that the candidate gets at this stage; None when it is not served."""
        return self.ladder[self.stage] if self.status == "deploying" and self.stage >= 0 else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One link of a rollout's hash chain: what was decided, by whom, on which evidence, and what changed."""

    rollout: str
    seq: int
    kind: str  # start, validate, approve, reject, deploy, lapse, advance, hold, resume, promote, rollback, end
    at: datetime
    actor: str
    reason: Text[str]
    forced: bool
    content: Record[Mapping[str, Any]]  # inputs, rule, verdicts, state before and after
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """One tenure as champion.

    ``previous``: the tenure to fall back to; a champion rollback only goes down this chain.
    """

    family: str
    seq: int
    variant: str
    since: datetime
    why: Text[str]
    by: str
    forced: bool = False
    until: datetime | None = None
    previous: int | None = None
    rollout: str | None = None


def refuse_other_clock(rollout: Rollout, scale: float) -> None:
    """A rollout goes on by a clock like the one that it began on.

    By scaled time its days would be minutes, and its record would not say so; by real time the moments on its record
    would lie ahead, and nothing would count until they are reached.

    Args:
        scale: of the rollout clock of the process that wants to go on with it; 1 is real time.
    Raises:
        Refused: the clock is scaled and the rollout not marked as simulated, or the other way round.
    """
    if (scale != 1.0) == rollout.simulated_clock:
        return
    began, here, way = ("real", f"runs the clock of rollouts {scale:g} times as fast", "dev, DETENT_CLOCK_SCALE unset")
    if rollout.simulated_clock:
        began, here, way = ("scaled", "runs on real time", "demo, or with DETENT_CLOCK_SCALE as it was")
    raise Refused(
        f"Rollout {rollout.id} of {rollout.family} began on {began} time, and this process {here}. Run it under the"
        f" profile that it began with (detent serve --profile {way}), or end it: detent rollout rollback"
        f" {rollout.family}.",
        rollout=rollout.id,
        offers=[ActOffer(act="rollback", target=rollout.id)],
    )


def identity(rollout: Rollout) -> dict[str, Any]:
    """What stays the same from start to end, as plain JSON values."""
    return {
        "id": rollout.id,
        "family": rollout.family,
        "candidate": rollout.candidate,
        "champion": rollout.champion,
        "aim": rollout.aim,
        "ladder": list(rollout.ladder),
        "salt": rollout.salt,
        "settings": dict(rollout.settings),
        "study": rollout.study,
        "simulated_clock": rollout.simulated_clock,
        "created_at": iso(rollout.created_at),
        "created_by": rollout.created_by,
    }


def state(rollout: Rollout) -> dict[str, Any]:
    """What moves change, as plain JSON values. The lease is left out: a heartbeat is no decision."""
    return {
        "status": rollout.status,
        "stage": rollout.stage,
        "held": rollout.held,
        "held_by": rollout.held_by,
        "version": rollout.version,
        "forced": rollout.forced,
        "outcome": rollout.outcome,
        "reason": rollout.reason,
        "stage_history": [dict(s) for s in rollout.stage_history],
        "stage_entered_at": iso_or_none(rollout.stage_entered_at),
        "started_at": iso_or_none(rollout.started_at),
        "ended_at": iso_or_none(rollout.ended_at),
    }


def from_record(fixed: Mapping[str, Any], changing: Mapping[str, Any]) -> Rollout:
    """The inverse of ``identity`` and ``state``.

    Raises KeyError, TypeError or ValueError where one of them is damaged.
    """
    times = {
        k: None if changing[k] is None else datetime.fromisoformat(changing[k])
        for k in ("stage_entered_at", "started_at", "ended_at")
    }
    return Rollout(
        **{
            **fixed,
            **changing,
            **times,
            "ladder": tuple(fixed["ladder"]),
            "created_at": datetime.fromisoformat(fixed["created_at"]),
            "stage_history": tuple(changing["stage_history"]),
        }
    )


def iso(at: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds, so that texts sort as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def iso_or_none(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def percent(share: float) -> str:
    return f"{share * 100:g} %"


def ladder_text(ladder: Sequence[float]) -> str:
    return " > ".join(percent(share) for share in ladder)


def visible(rollout: Rollout | None, id: str, access: Access = EVERYTHING) -> Rollout:
    """The rollout; to a key for other families it does not exist. Raises NotFound."""
    if rollout is None or not access.may_see(rollout.family):
        raise NotFound(f"There is no rollout {id!r}. See them with: detent rollout status FAMILY.", rollout=id)
    return rollout


ALL = ""  # the scope of a freeze of every family
ALERT = "frozen"  # the kind of the alert that is open while a freeze lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One freeze of one family, or of all. ``since`` is real time."""

    scope: str  # a family, or ALL
    reason: Text[str]
    by: str
    since: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def family(self) -> str | None:
        return self.scope or None

    @property
    def undo(self) -> str:
        return unfreeze_command(self.scope)

    @property
    def text(self) -> str:
        """One sentence for a person: what, by whom, since when, why, and the way out."""
        return (
            f"{scope_text(self.scope)} by {self.by} since {when(self.since)} ({shown(self.reason)}); when it may go on:"
            f" {self.undo}"
        )

    @property
    def sentence(self) -> str:
        """The freeze in a sentence that needs no word "Frozen" before it."""
        return (
            f"{scope_text(self.scope)} is frozen by {self.by} since {when(self.since)} ({shown(self.reason)}); when it"
            f" may go on: {self.undo}"
        )


def unfreeze_command(scope: str) -> str:
    return f"detent unfreeze {scope}".rstrip()


def scope_text(scope: str) -> str:
    return scope or "every family"


def is_frozen(freezes: Iterable[Freeze], family: str) -> Freeze | None:
    """The freeze under which ``family`` stands: its own before that of all, None when it is free."""
    by_scope = {freeze.scope: freeze for freeze in freezes}
    return by_scope.get(family) or by_scope.get(ALL)


def require_unfrozen(freezes: Iterable[Freeze], family: str, what: str) -> None:
    """Raises Conflict when ``family`` is frozen; ``what`` completes "Cannot …"."""
    freeze = is_frozen(freezes, family)
    if freeze is not None:
        raise Conflict(
            f"Cannot {what}: {freeze.sentence}.",
            family=family,
            frozen_by=freeze.by,
            frozen_since=freeze.since.isoformat(),
            undo=freeze.undo,
        )


def may_run(study: Study, freezes: Iterable[Freeze]) -> bool:
    """False for a queued study of a frozen family. One that has begun goes on, since it changes nothing
    that is served.
    """
    return study.status != "queued" or is_frozen(freezes, study.family) is None
