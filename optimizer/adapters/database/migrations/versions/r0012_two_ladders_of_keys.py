"""Keys hold roles of two ladders. A stored key keeps what it could do, and no more.

Until now read < feedback < operate < admin: ``read`` fetched prompts and read everything, texts included; ``feedback`` also sent events of
every source; ``operate`` also changed things.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True)
AS_BEFORE: dict[str, tuple[str, list[str]]] = {
    "read": ("serve,read-texts", []),
    "feedback": ("feedback,read-texts", ["person", "judge"]),
    "operate": ("feedback,operate", ["person", "judge"]),
    "admin": ("admin", []),
}


def upgrade() -> None:
    new: list[sa.Column[Any]] = [
        sa.Column("sources", JSON, nullable=False, server_default="[]"),
        sa.Column("families", JSON, nullable=True),
        sa.Column("expires_at", Utc(), nullable=True),
        sa.Column("limits", JSON, nullable=False, server_default="{}"),
        sa.Column("previous_hash", sa.String(), nullable=True),
        sa.Column("previous_until", Utc(), nullable=True),
    ]
    for column in new:
        op.add_column("api_keys", column)
    keys = sa.table("api_keys", sa.column("role", sa.String()), sa.column("sources", JSON))
    for before, (roles, sources) in AS_BEFORE.items():
        op.execute(keys.update().where(keys.c.role == before).values(role=roles, sources=sources))
