"""What rules of alerts ask of a minute beside its errors and scores: low scores, answers that a policy asked for again,
and answers that did not use the results of their tools.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0117"
down_revision = "0116"


def upgrade() -> None:
    for name in ("n_low_scores", "n_with_parts", "n_retried", "n_tools_ignored"):
        op.add_column("minute_stats", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
