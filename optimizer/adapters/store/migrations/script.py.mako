"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
additive = False  # True: the version before can read and write what this leaves


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
