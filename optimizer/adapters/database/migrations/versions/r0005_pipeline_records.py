"""What content pipelines report about their items, and its sums by hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pipeline_records",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("received_at", Utc(), nullable=False),
        sa.Column("processing_type", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("quality_score", sa.Float(), nullable=True),
        sa.Column("processing_time_s", sa.Float(), nullable=True),
        sa.Column("exit_checkpoint", sa.String(), nullable=False),
        sa.Column("exit_reason", sa.String(), nullable=False),
        sa.Column("exit_confidence", sa.Float(), nullable=True),
        sa.Column("time_saved_share", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pipeline_records_received_at", "pipeline_records", ["received_at"], unique=False)
    op.create_table(
        "pipeline_hours",
        sa.Column("hour", Utc(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("processing_type", "content_type", "exit_checkpoint", "exit_reason")),
        sa.Column("n", sa.Integer(), nullable=False),
        *(
            sa.Column(name, type_, nullable=False)
            for count, total in (
                ("n_quality", "quality_sum"),
                ("n_time", "time_sum_s"),
                ("n_saved", "saved_share_sum"),
                ("n_saved_time", "saved_time_sum_s"),
                ("n_confidence", "confidence_sum"),
            )
            for name, type_ in ((count, sa.Integer()), (total, sa.Float()))
        ),
        sa.PrimaryKeyConstraint("hour", "processing_type", "content_type", "exit_checkpoint", "exit_reason"),
    )
