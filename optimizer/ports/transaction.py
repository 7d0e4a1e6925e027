"""What stands for an open transaction, and what becomes of a row in it."""

from __future__ import annotations

from typing import Any, Literal

Transaction = Any  # sqlalchemy.Connection in the database adapter
Added = Literal[
    "accepted", "duplicate", "id_conflict"
]  # what became of a row; id_conflict: the id is there with other content
