"""Rollouts, and the two hash chains of each: what was decided, and on what; what is served now, and the version by
which the processes notice a change.
"""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint

from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.tables.table import table
from optimizer.core.rollout.blocks import StoredBlock
from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Decision, Freeze, Rollout
from optimizer.ports import EvidenceRow

# Written by rollouts.py.
ROLLOUTS = table(
    "rollouts",
    Rollout,
    ("id",),
    Index("ix_rollouts_family_status", "family", "status"),
    UniqueConstraint("active_family"),
    active_family=str | None,  # the family while active, else NULL: one active rollout per family
)

# Written by rollouts.py: one hash chain per rollout, appended in the transaction that raises its version.
DECISIONS = table(
    "decisions",
    Decision,
    ("rollout", "seq"),
    content=str,  # canonical JSON, as hashed
)

# Written by rollouts.py: what a rollout's tick closed, one hash chain per rollout; never changed.
COHORT_BLOCKS = table(
    "cohort_blocks",
    StoredBlock,
    ("rollout", "seq"),
    Index("ix_cohort_blocks_kind", "rollout", "kind", "seq"),  # quality blocks are one in thousands
    without=("text",),
    content=str,  # JSON as hashed, floats in full
)

# Written by rollouts.py: what one look counted units for, once per stage; the last row that names a unit holds.
ROLLOUT_UNITS = table(
    "rollout_units",
    None,
    ("rollout", "n_blocks"),
    rollout=str,
    n_blocks=int,  # of the rollout, after the look
    # JSON: {stage: {unit: [start of the cohort it counts in, values in guardrail blocks, minute of the last]}}
    counts=str,
)

# Written by rollouts.py: what the tick knows after the last block; the same again from the blocks alone.
ROLLOUT_WATCHES = table("rollout_watches", EvidenceRow, ("rollout",), rollout=str)

# Written by serving.py.
CHAMPIONS = table(
    "champions",
    Champion,
    ("family", "seq"),
    UniqueConstraint("family", "current", name="uq_champions_one_current"),
    current=bool | None,  # True for the one that serves, else NULL
)

# Written by serving.py: a unit that gets a named variant for testing, counted in no arm.
OVERRIDES = table(
    "overrides",
    Override,
    ("family", "unit_hmac"),
    family=str,
    unit_hmac=str,
    created_by=str,
    created_at=datetime,
)

# Written by serving.py: where only champions are served until an operator unfreezes.
FREEZES = table(
    "freezes",
    Freeze,
    ("scope",),
    scope=FamilyKey(),  # a family, or "" for all
)

# Written by serving.py: one counter, raised in every transaction that changes what is served.
SERVING_VERSION = table(
    "serving_version",
    None,
    ("id",),
    id=int,
    version=int,
    ticked_at=datetime | None,  # the worker's last tick
)
