"""An evaluation says which targets it was checked against and what was found, and a result how often a model was asked again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluation_batches", sa.Column("suite", sa.String(), nullable=True))
    op.add_column("evaluation_batches", sa.Column("checks", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("trial_results", sa.Column("n_retries", sa.Integer(), nullable=False, server_default="0"))
