"""Bands are found by their example, which takes them along when it goes."""

from __future__ import annotations

from alembic import op

revision = "0127"
down_revision = "0126"
additive = True


def upgrade() -> None:
    op.create_index("ix_example_bands_example", "example_bands", ["family", "example"])
