"""Rollouts that are watched: blocks, units, minute sums, freezes and the champion's drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cohort_blocks",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("closed_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "seq"),
    )
    op.create_index("ix_cohort_blocks_kind", "cohort_blocks", ["rollout", "kind", "seq"], unique=False)
    op.create_table(
        "drift_detectors",
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("reign", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("read_until", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("family"),
    )
    op.create_table(
        "freezes",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("since", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "minute_stats",
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("minute", Utc(), nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("n_errors", sa.Integer(), nullable=False),
        sa.Column("n_latency", sa.Integer(), nullable=False),
        sa.Column("latency_sum_ms", sa.Float(), nullable=False),
        sa.Column("latency_histogram", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("n_cost", sa.Integer(), nullable=False),
        sa.Column("cost_sum_usd", sa.Float(), nullable=False),
        sa.Column("cost_histogram", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("n_success", sa.Integer(), nullable=False),
        sa.Column("success_sum", sa.Integer(), nullable=False),
        sa.Column("n_score", sa.Integer(), nullable=False),
        sa.Column("score_sum", sa.Float(), nullable=False),
        sa.Column("score_squares", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("family", "minute", "variant", "model", "source"),
    )
    op.create_table(
        "rollout_units",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("unit_hmac", sa.String(), nullable=False),
        sa.Column("cohort_start", Utc(), nullable=True),
        sa.Column("n_values", sa.Integer(), nullable=False),
        sa.Column("last_minute", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("rollout", "stage", "unit_hmac"),
    )
    op.create_table(
        "rollout_watches",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("updated_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("rollout"),
    )
    op.create_table(
        "watermarks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.drop_index(op.f("ix_feedback_rollout"), table_name="feedback_events")
    op.create_index("ix_feedback_rollout_cohort", "feedback_events", ["rollout", "cohort_start"], unique=False)
    op.drop_index(op.f("ix_interactions_rollout"), table_name="interactions")
    op.create_index("ix_interactions_rollout_cohort", "interactions", ["rollout", "cohort_start"], unique=False)
    op.create_index("ix_interactions_rollout_occurred", "interactions", ["rollout", "occurred_at"], unique=False)
    op.add_column("rollouts", sa.Column("held_by", sa.String(), nullable=True))
    op.drop_index(op.f("ix_feedback_unit"), table_name="feedback_events")
    op.create_index("ix_feedback_unit_received", "feedback_events", ["unit_hmac", "received_at"], unique=False)
