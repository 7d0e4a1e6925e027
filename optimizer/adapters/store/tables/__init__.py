"""All tables, one module per concept; importing this package fills the metadata.

One module of the store writes each table; the comment above the table names it. retention.py removes old rows.
``table.py`` has what tables are declared with. Start at ``events.py``.
"""

from optimizer.adapters.store.tables import (  # noqa: F401 - fills the metadata
    examples,
    operators,
    performance,
    rollouts,
    studies,
    variants,
)
from optimizer.adapters.store.tables.events import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.table import METADATA, Utc

__all__ = ["FEEDBACK_EVENTS", "INTERACTIONS", "METADATA", "Utc"]
