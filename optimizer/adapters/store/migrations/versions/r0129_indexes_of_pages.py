"""What pages look for is found by an index: the turns of a conversation, the reviews that wait, and what
MLflow and the channels of alerts still have to hear.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0129"
down_revision = "0128"
additive = True


def upgrade() -> None:
    named = sa.text("conversation IS NOT NULL")
    op.create_index(
        "ix_interactions_conversation",
        "interactions",
        ["conversation", "family", "received_at"],
        sqlite_where=named,
        postgresql_where=named,
    )
    unsent = sa.text("sent_at IS NULL")
    op.create_index("ix_outbox_unsent", "outbox", ["topic", "sent_at"], sqlite_where=unsent, postgresql_where=unsent)
    op.create_index("ix_reviews_status_created", "reviews", ["status", "created_at", "id"])
