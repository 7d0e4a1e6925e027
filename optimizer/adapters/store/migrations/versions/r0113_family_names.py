"""Names of families that were renamed or retired, and what stays sealed for who takes the name of a retired one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0113"
down_revision = "0112"


def upgrade() -> None:
    op.create_table(
        "family_names",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_family_names_key", "family_names", ["key"])
    op.create_table(
        "sealed_inputs",
        *(sa.Column(name, sa.String(), primary_key=True) for name in ("name", "input_hash", "family", "example")),
    )
