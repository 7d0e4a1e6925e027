"""Events have no index of units any more: each row wrote a page of it somewhere, and more with each that is stored."""

from __future__ import annotations

from alembic import op

revision = "0107"
down_revision = "0106"


def upgrade() -> None:
    op.drop_index("ix_interactions_unit", "interactions")
    op.drop_index("ix_feedback_unit_received", "feedback_events")
