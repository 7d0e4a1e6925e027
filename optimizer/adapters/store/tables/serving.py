"""What is served now, and the version by which the processes notice a change."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.tables.row import Row, time_field


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
