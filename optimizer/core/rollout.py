"""A Rollout and the moves it allows: pure values in, the next Rollout and its Decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Status = Literal["pending", "validating", "approved", "deploying", "deployed", "rolled_back", "failed"]
Outcome = Literal["promoted", "worse", "guardrail", "inconclusive", "invalid", "cancelled", "champion_changed"]

ACTIVE: tuple[Status, ...] = ("pending", "validating", "approved", "deploying")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
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
    settings: Mapping[str, Any]  # frozen with the rollout: margin, metric, gates, guardrails, windows …
    stage_history: Sequence[Mapping[str, Any]]  # [{"share", "from", "to"|None}]: which share held when
    created_at: datetime
    created_by: str
    forced: bool = False
    outcome: Outcome | None = None
    reason: str | None = None
    study: str | None = None
    lease_expires_at: datetime | None = None
    stage_entered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    simulated_clock: bool = False

    @property
    def share(self) -> float | None:
        """Share of units that the candidate gets at this stage; None when it is not served."""
        return self.ladder[self.stage] if self.status == "deploying" and self.stage >= 0 else None

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One link of a rollout's hash chain: what was decided, by whom, on which evidence, and what changed."""

    rollout: str
    seq: int
    kind: str  # start, validate, approve, reject, deploy, advance, hold, resume, promote, rollback, end
    at: datetime
    actor: str
    reason: str
    forced: bool
    content: Mapping[str, Any]  # inputs, rule, verdicts, state before and after
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """One reign. ``previous`` is the reign to fall back to: a champion rollback goes down this chain, never back up."""

    family: str
    seq: int
    variant: str
    since: datetime
    why: str
    by: str
    forced: bool = False
    until: datetime | None = None
    previous: int | None = None
    rollout: str | None = None
