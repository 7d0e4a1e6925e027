"""How students that serve are doing is kept, and when they were bypassed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0121"
down_revision = "0120"


def upgrade() -> None:
    op.create_table(
        "student_watches",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("family", "student", "state", "last_id")),
        sa.Column("read_until", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("family", "student"),
    )
    op.create_table(
        "student_bypasses",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("family", "student", "reason", "by")),
        sa.Column("since", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("family", "student", "since"),
    )
