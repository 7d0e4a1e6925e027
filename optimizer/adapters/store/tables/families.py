"""What families are called, and which inputs stay sealed for who takes the name of a retired one."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, time_field


class FamilyNameRow(Row):
    """Written by families.py. A family without a row has its name for a key."""

    __tablename__ = "family_names"
    name: str = Field(primary_key=True)
    key: str = Field(index=True)  # under which its rows stand in every table
    current: bool  # the name that it has now; else one that it had
    since: datetime = time_field()


class SealedInputRow(Row):
    """Written by families.py: an input that was in the holdout of a retired family of this name, by hash."""

    __tablename__ = "sealed_inputs"
    name: str = Field(primary_key=True)
    input_hash: str = Field(primary_key=True)
    family: str = Field(primary_key=True)  # the retired one, under whose key the looks stand
    example: str = Field(primary_key=True)
