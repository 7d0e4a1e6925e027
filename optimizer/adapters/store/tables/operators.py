"""What people and other systems are told, and what they did; keys of the API, what they have used, and who came
without one.
"""

from datetime import datetime

from sqlalchemy import Index, text

from optimizer.adapters.store.tables.table import table
from optimizer.ports import Alert, AlertSilence, AuditEntry, CallerRecord, KeyRecord, OutboxItem

# Written by alerts.py. At most one open alert per (kind, family, subject).
ALERTS = table(
    "alerts",
    Alert,
    ("id",),
    Index("ix_alerts_closed_kind", "closed_at", "kind"),  # the open ones, at every tick
    Index(None, "kind"),
)

# Written by alerts.py: alerts of a rule, of a family or of a rule in a family that send no message until then. The rule
# is "" for all of the family's, the family "" for all families.
ALERT_SILENCES = table("alert_silences", AlertSilence, ("rule", "family"))

# Written by alerts.py: what MLflow and the alert channels still have to hear.
OUTBOX = table(
    "outbox",
    OutboxItem,
    ("seq",),
    Index("ix_outbox_unsent", "topic", "sent_at", sqlite_where=text("sent_at IS NULL")),
    Index(None, "not_before"),
    Index(None, "sent_at"),
    numbered=True,  # "sent" must not hit a later item
    created_at=datetime,
    sent_at=datetime | None,
)

# Written by alerts.py: every change an actor caused.
AUDIT = table(
    "audit",
    AuditEntry,
    ("seq",),
    Index("ix_audit_subject", "subject", "seq"),
    Index(None, "at"),
    numbered=True,
)

# Written by api_keys.py. Only the SHA-256 of the secret is kept, and after a rotation for a while that of the one
# before it.
API_KEYS = table(
    "api_keys",
    KeyRecord,
    ("name",),
    Index(None, "secret_hash"),
    without=("access",),  # whose fields are these:
    role=str,  # at most one of each ladder, with commas between
    sources=list,
    families=list | None,
    expires_at=datetime | None,
    limits=dict,
)

# Written by api_keys.py: who sent requests without a key, or was refused, in the last day.
CALLERS = table("callers", CallerRecord, ("kind", "name"))

# Written by api_keys.py: the running window alone.
KEY_USAGE = table("key_usage", None, ("key", "limit", "window"), key=str, limit=str, window=datetime, used=float)
