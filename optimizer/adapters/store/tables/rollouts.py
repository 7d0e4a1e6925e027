"""Rollouts, and the two hash chains of each: what was decided, and on what; what is served now, and the version by
which the processes notice a change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.tables.row import Row, json_field, time_field


class RolloutRow(Row):
    """Written by rollouts.py."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_family_status", "family", "status"),)
    id: str = Field(primary_key=True)
    family: str
    # The family while active, else NULL: one active rollout per family.
    active_family: str | None = Field(default=None, unique=True)
    candidate: str
    champion: str
    aim: str
    ladder: list[float] = json_field()
    salt: str
    status: str
    stage: int
    held: bool
    held_by: str | None = None
    version: int
    forced: bool
    outcome: str | None = None
    reason: str | None = None
    study: str | None = None
    settings: dict[str, Any] = json_field()
    stage_history: list[dict[str, Any]] = json_field()
    lease_expires_at: datetime | None = time_field(nullable=True)
    stage_entered_at: datetime | None = time_field(nullable=True)
    created_by: str
    created_at: datetime = time_field()
    started_at: datetime | None = time_field(nullable=True)
    ended_at: datetime | None = time_field(nullable=True)
    simulated_clock: bool = False


class DecisionRow(Row):
    """Written by rollouts.py: one hash chain per rollout, appended in the transaction that raises its version."""

    __tablename__ = "decisions"
    rollout: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    kind: str
    actor: str
    reason: str
    forced: bool
    content: str  # canonical JSON, as hashed
    previous_hash: str
    hash: str
    at: datetime = time_field()


class CohortBlockRow(Row):
    """Written by rollouts.py: what a rollout's tick closed, one hash chain per rollout; never changed."""

    __tablename__ = "cohort_blocks"
    __table_args__ = (Index("ix_cohort_blocks_kind", "rollout", "kind", "seq"),)  # quality blocks are one in thousands
    rollout: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    kind: str  # quality, late, guardrails, baseline
    content: str  # JSON as hashed, floats in full
    previous_hash: str
    hash: str
    closed_at: datetime = time_field()


class RolloutUnitsRow(Row):
    """Written by rollouts.py: what one look counted units for, once per stage;
    the last row that names a unit holds.
    """

    __tablename__ = "rollout_units"
    rollout: str = Field(primary_key=True)
    n_blocks: int = Field(primary_key=True)  # of the rollout, after the look
    counts: (
        str  # JSON: {stage: {unit: [start of the cohort it counts in, values in guardrail blocks, minute of the last]}}
    )


class RolloutWatchRow(Row):
    """Written by rollouts.py: what the tick knows after the last block; the same again from the blocks alone."""

    __tablename__ = "rollout_watches"
    rollout: str = Field(primary_key=True)
    n_blocks: int
    state: str  # JSON, floats in full
    updated_at: datetime = time_field()


class ChampionRow(Row):
    """Written by serving.py."""

    __tablename__ = "champions"
    __table_args__ = (UniqueConstraint("family", "current", name="uq_champions_one_current"),)
    family: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    current: bool | None = None  # True for the one that serves, else NULL
    variant: str
    previous: int | None = None
    rollout: str | None = None
    why: str
    by: str
    forced: bool = False
    since: datetime = time_field()
    until: datetime | None = time_field(nullable=True)


class OverrideRow(Row):
    """Written by serving.py: a unit that gets a named variant for testing, counted in no arm."""

    __tablename__ = "overrides"
    family: str = Field(primary_key=True)
    unit_hmac: str = Field(primary_key=True)
    variant: str
    until: datetime = time_field()
    created_by: str
    created_at: datetime = time_field()
    unit_hash: str | None = None  # salted, for clients that decide in process; None of one from before there were such


class FreezeRow(Row):
    """Written by serving.py: where only champions are served until an operator unfreezes."""

    __tablename__ = "freezes"
    scope: str = Field(primary_key=True, sa_type=FamilyKey)  # a family, or "" for all
    reason: str
    by: str
    since: datetime = time_field()


class ServingVersionRow(Row):
    """Written by serving.py: one counter, raised in every transaction that changes what is served."""

    __tablename__ = "serving_version"
    id: int = Field(primary_key=True)
    version: int
    ticked_at: datetime | None = time_field(nullable=True)  # the worker's last tick
