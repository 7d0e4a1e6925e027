"""Studies that start by themselves say why; open alerts and what was done to a rollout are found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_alerts_closed_kind", "alerts", ["closed_at", "kind"], unique=False, if_not_exists=True)
    op.create_index("ix_audit_subject", "audit", ["subject", "seq"], unique=False, if_not_exists=True)
    op.add_column("studies", sa.Column("trigger", sa.JSON(none_as_null=True), nullable=True))
