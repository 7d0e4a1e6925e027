"""What production reports: what was served, what users made of it, how often it was fetched."""

from datetime import datetime

from sqlalchemy import Index, text

from optimizer.adapters.store.tables.table import table
from optimizer.core.feedback.events import FeedbackEvent, Interaction, LaterParts
from optimizer.ports import TruncatedInput

_LABELLED = text("label IS NOT NULL")
_IN_CONVERSATION = text("conversation IS NOT NULL")
_FAILED = text("error IS NOT NULL")

# Written by events.py.
# Every index ends in what grows with time or with the id, so that new rows go to its end: one in the order of units
# would write another page for each row (docs/adr/0034-events-have-no-unit-index.md). Conversations have one, which only
# events pay for that name theirs.
INTERACTIONS = table(
    "interactions",
    Interaction,
    ("family", "id"),
    Index("ix_interactions_family_received", "family", "received_at"),
    Index("ix_interactions_id", "id"),  # outcomes may name their interaction without its family
    Index("ix_interactions_rollout_occurred", "rollout", "occurred_at"),  # guardrail blocks
    Index("ix_interactions_rollout_cohort", "rollout", "cohort_start"),  # quality blocks
    Index("ix_interactions_conversation", "conversation", "family", "received_at", sqlite_where=_IN_CONVERSATION),
    Index("ix_interactions_failed", "family", "received_at", sqlite_where=_FAILED),
)

# Written by events.py.
FEEDBACK_EVENTS = table(
    "feedback_events",
    FeedbackEvent,
    ("family", "id"),
    Index("ix_feedback_family_received", "family", "received_at"),
    Index("ix_feedback_rollout_cohort", "rollout", "cohort_start"),
    Index("ix_feedback_interaction", "family", "interaction"),
    Index("ix_feedback_labelled", "family", "received_at", "label", sqlite_where=_LABELLED),
)

# Written by events.py. One row per interaction of which calls came after its answer.
LATER_PARTS = table(
    "later_parts",
    LaterParts,
    ("family", "interaction"),
    Index("ix_later_parts_family_received", "family", "received_at"),
)

# Written by events.py, in the transaction of the events themselves.
IDEMPOTENCY_KEYS = table(
    "idempotency_keys",
    None,
    ("key", "scope"),
    Index(None, "created_at"),
    key=str,
    scope=str,  # who sent it: key name or address
    body_hash=str,
    answer=dict,
    created_at=datetime,
)

# Written by serving.py. Fetches per arm and 10 s; ``client`` is "api" or a client that decides in process.
EXPOSURE_COUNTS = table(
    "exposure_counts",
    None,
    ("family", "variant", "rollout", "stage", "window_start", "client"),
    family=str,
    variant=str,
    rollout=str,  # "" outside a rollout: NULL has no place in a key
    stage=str,
    window_start=datetime,
    client=str,
    n_exposed=int,
    sent_by=str | None,  # the key by which such a client reported
)

# Written by serving.py, in the transaction of the windows: their sums by arm and the key that reported them.
EXPOSURE_SUMS = table(
    "exposure_sums",
    None,
    ("rollout", "family", "variant", "stage", "sent_by"),
    rollout=str,  # "" outside a rollout
    family=str,
    variant=str,
    stage=str,
    sent_by=str,  # "" where the server counted itself
    n_exposed=int,
)

# Written by serving.py, in the transaction of the fetches: how many of a variant's showed nearest examples.
EXAMPLE_RENDERINGS = table("example_renderings", None, ("family", "variant"), family=str, variant=str, n_nearest=int)

# Written by serving.py: requests of which an input was longer than its ``max_chars``, and so was cut.
TRUNCATED_INPUTS = table("truncated_inputs", TruncatedInput, ("family", "input"))
