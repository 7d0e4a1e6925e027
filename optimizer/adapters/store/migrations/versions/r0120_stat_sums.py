"""Minutes summed up by hour and day, with their scores and what checks found, so that a month is read in some rows; and
labels of outcomes by when they came.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0120"
down_revision = "0119"

COUNTS = (
    "n",
    "n_errors",
    "n_latency",
    "n_cost",
    "n_success",
    "success_sum",
    "n_score",
    "n_low_scores",
    "n_with_parts",
    "n_retried",
    "n_tools_ignored",
)
AMOUNTS = ("latency_sum_ms", "cost_sum_usd", "score_sum", "score_squares")
COUNTED = ("latency_histogram", "cost_histogram", "issues", "scores")


def upgrade() -> None:
    for name in ("issues", "scores"):
        op.add_column("minute_stats", sa.Column(name, sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "stat_sums",
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("minutes", sa.Integer(), primary_key=True),
        sa.Column("start", sa.DateTime(timezone=True), primary_key=True),
        *(sa.Column(name, sa.String(), primary_key=True) for name in ("variant", "model", "source")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        *(sa.Column(name, sa.Float(), nullable=False) for name in AMOUNTS),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in COUNTED),
    )
    op.create_index(
        "ix_feedback_labelled",
        "feedback_events",
        ["family", "received_at", "label"],
        sqlite_where=sa.text("label IS NOT NULL"),
        postgresql_where=sa.text("label IS NOT NULL"),
    )
