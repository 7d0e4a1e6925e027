"""What is learned from: examples, what a person is asked about them, and who looked at the sealed ones;
how far a judge is believed, and what it is asked to do in the background.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, json_field, time_field


class ExampleRow(Row):
    """Written by examples.py."""

    __tablename__ = "examples"
    __table_args__ = (Index("ix_examples_family_split", "family", "split"), Index("ix_examples_unit", "unit_hmac"))
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    input: dict[str, Any] = json_field()
    expected: dict[str, Any] = json_field()
    group: str
    split: str
    origin: str
    released: bool
    released_by: str | None = None
    unit_hmac: str | None = None
    interaction: str | None = None
    content_hash: str
    shingles: dict[str, str] = json_field()  # field -> hashes of its pairs of words, by which near-duplicates are known
    beside: str | None = None  # the near-duplicate whose group it joined
    golden: str | None = None  # the golden scenario that it is a row of; such an example is no longer learned from
    created_at: datetime = time_field()


class ExampleBandRow(Row):
    """Written by example_places.py: by which bands of MinHash an example is found."""

    __tablename__ = "example_bands"
    __table_args__ = (Index("ix_example_bands_example", "family", "example"),)
    family: str = Field(primary_key=True)
    band: str = Field(primary_key=True)
    example: str = Field(primary_key=True)


class ReviewRow(Row):
    """Written by examples.py. A question to a person, such as whether an example may be released."""

    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_status_created", "status", "created_at", "id"),)
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    kind: str
    subject: str
    payload: dict[str, Any] = json_field()
    status: str
    answer: str | None = None
    answered_by: str | None = None
    created_at: datetime = time_field()
    answered_at: datetime | None = time_field(nullable=True)


class GraphRow(Row):
    """Written by graphs.py: a graph that a family verified, with the repairs proposed for it."""

    __tablename__ = "graphs"
    __table_args__ = (
        UniqueConstraint("family", "interaction", name="uq_graphs_interaction"),
        Index("ix_graphs_family_received", "family", "received_at"),
        Index("ix_graphs_unit", "unit_hmac"),
    )
    id: str = Field(primary_key=True)
    family: str
    interaction: str
    unit_hmac: str | None = None
    given: dict[str, Any] = json_field()
    repairs: list[dict[str, Any]] = json_field()
    unreadable: list[dict[str, Any]] = json_field()
    n_pending: int
    received_at: datetime = time_field()  # of the interaction: both go at the same age
    created_by: str
    created_at: datetime = time_field()


class HoldoutLookRow(Row):
    """Written by examples.py: every time a confirmation read a sealed example."""

    __tablename__ = "holdout_looks"
    family: str = Field(primary_key=True)
    example: str = Field(primary_key=True)
    study: str = Field(primary_key=True)
    looked_at: datetime = time_field()


class JudgeCalibrationRow(Row):
    """Written by examples.py: how far a judge agreed with people, and the map from its scores to ratings."""

    __tablename__ = "judge_calibrations"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    judge: str
    calibration: dict[str, Any] = json_field()
    agreement: dict[str, Any] = json_field()
    created_by: str
    created_at: datetime = time_field()


class StudentRow(Row):
    """Written by examples.py: what a study taught a student, and which examples taught it, with its answer to each by
    what had not learned from it.
    """

    __tablename__ = "students"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)  # from the content
    content: dict[str, Any] = json_field()
    rows: dict[str, list[Any]] = json_field()  # example -> [label, confidence]
    study: str
    created_at: datetime = time_field()


class StudentWatchRow(Row):
    """Written by examples.py: how a student that serves is doing, in sums, as far as its requests have been read."""

    __tablename__ = "student_watches"
    family: str = Field(primary_key=True)
    student: str = Field(primary_key=True)
    state: str
    read_until: datetime = time_field()
    last_id: str


class StudentBypassRow(Row):
    """Written by examples.py: from when until when a student answered nobody."""

    __tablename__ = "student_bypasses"
    family: str = Field(primary_key=True)
    student: str = Field(primary_key=True)
    since: datetime = time_field(primary_key=True)
    reason: str
    by: str
    ended_at: datetime | None = time_field(nullable=True)
    ended_by: str | None = None


class ExampleIndexRow(Row):
    """Written by examples.py: the examples from which a variant shows a request the nearest ones, as it shows them."""

    __tablename__ = "example_indexes"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)  # from the examples
    examples: list[dict[str, Any]] = json_field()
    study: str
    created_at: datetime = time_field()


class JudgeRunRow(Row):
    """Written by journal.py: what was asked for in the background outside studies."""

    __tablename__ = "judge_runs"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    kind: str
    judge: str
    request: dict[str, Any] = json_field()
    budget: dict[str, Any] = json_field()
    status: str = Field(index=True)
    n: int
    n_done: int = 0
    stop_requested: bool = False
    result: dict[str, Any] | None = json_field(nullable=True)
    error: str | None = None
    error_type: str | None = None
    created_by: str
    created_at: datetime = time_field()
    started_at: datetime | None = time_field(nullable=True)
    finished_at: datetime | None = time_field(nullable=True)
