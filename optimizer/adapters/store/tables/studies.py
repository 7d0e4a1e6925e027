"""Studies with their trials and their schedule, and the journal of what they asked models."""

from sqlalchemy import Index, UniqueConstraint

from optimizer.adapters.store.tables.table import table
from optimizer.core.base.values import ExampleResult
from optimizer.core.scheduling.schedule import StoredSchedule
from optimizer.core.search.study import Study, Trial
from optimizer.ports import JournalEntry, TierAnswers

# Written by studies.py.
STUDIES = table(
    "studies",
    Study,
    ("id",),
    Index(None, "family"),
    Index(None, "status"),
    Index(None, "created_at"),
    UniqueConstraint("active_family"),
    active_family=str | None,  # the family until the study ends, then NULL: one study per family
)

# Written by studies.py.
TRIALS = table("trials", Trial, ("study", "number"))

# Written by studies.py: one row per (study, purpose, variant, example).
TRIAL_RESULTS = table(
    "trial_results",
    ExampleResult,
    ("study", "purpose", "variant", "example"),
    study=str,
    purpose=str,  # search or confirmation
    variant=str,
)

# Written by studies.py: what every tier made of a study's training examples, as numbers; of no text and no example's
# id.
TIER_ANSWERS = table("tier_answers", TierAnswers, ("study",), study=str)

# Written by journal.py: the journal, one row per attempt on the wire.
LM_CALLS = table(
    "lm_calls",
    JournalEntry,
    ("id",),
    Index("ix_lm_calls_key_status", "key", "status"),
    # All of ``spend``: it is asked before every call.
    Index("ix_lm_calls_study", "study", "status", "cost_usd", "reserved_usd"),
    cost_usd=float | None,
    input_tokens=int | None,
    output_tokens=int | None,
    latency_ms=float | None,
)

# Written by studies.py: that a person lets a family's studies start by themselves, and when.
SCHEDULES = table("schedules", StoredSchedule, ("family",))
