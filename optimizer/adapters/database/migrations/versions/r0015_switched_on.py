"""A stored schedule is the switch by which studies start by themselves: it may leave the times to the file, and allow looks at the holdout."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("from_file", "holdout"):
        op.add_column("schedules", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("DELETE FROM schedules WHERE cron IS NULL")  # "never" was what these said, and without a row it is so
