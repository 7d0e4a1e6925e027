"""Variants, what an evaluation found of them, and the playbooks that their texts hold; what families are
called, and which inputs stay sealed for who takes the name of a retired one.
"""

from datetime import datetime

from sqlalchemy import Index

from optimizer.adapters.store.tables.table import table
from optimizer.core.evaluation.suite import EvaluationBatch
from optimizer.core.family.variant import VariantRecord
from optimizer.core.search.playbook.entries import Entry

# Written by variants.py. After the insert only a draft's origin changes, once it is saved or put to use.
VARIANTS = table("variants", VariantRecord, ("family", "id"), without=("variant",), id=str, content=dict)

# Written by variants.py: one Variant on one Dataset, summed up.
EVALUATION_BATCHES = table("evaluation_batches", EvaluationBatch, ("id",), Index(None, "family"))

# Written by variants.py. No row is removed: an entry that has gone says why.
PLAYBOOK_ENTRIES = table(
    "playbook_entries",
    Entry,
    ("family", "id"),
    family=str,
    created_at=datetime,
    changed_at=datetime,
    changed_by=str,
)

# Written by variants.py: which steps of a study a playbook has taken in; 0 is how it stood before. Ids and counts, no
# text.
PLAYBOOK_STEPS = table(
    "playbook_steps", None, ("study", "step"), study=str, step=int, family=str, record=list, at=datetime
)

# Written by families.py. A family without a row has its name for a key.
FAMILY_NAMES = table(
    "family_names",
    None,
    ("name",),
    Index(None, "key"),
    name=str,
    key=str,  # under which its rows stand in every table
    current=bool,  # the name that it has now; else one that it had
    since=datetime,
)

# Written by families.py: an input that was in the holdout of a retired family of this name, by hash.
SEALED_INPUTS = table(
    "sealed_inputs",
    None,
    ("name", "input_hash", "family", "example"),
    name=str,
    input_hash=str,
    family=str,  # the retired one, under whose key the looks stand
    example=str,
)
