"""What is learned from: examples, what a person is asked about them, and who looked at the sealed ones;
how far a judge is believed, and what it is asked to do in the background.
"""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint

from optimizer.adapters.store.tables.table import table
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.graph.verified import VerifiedGraph
from optimizer.ports import Bypass, CalibrationRecord, Review

# Written by examples.py.
EXAMPLES = table(
    "examples",
    Example,
    ("family", "id"),
    Index("ix_examples_family_split", "family", "split"),
    Index("ix_examples_unit", "unit_hmac"),
    released_by=str | None,
    content_hash=str,
    shingles=dict,  # field -> hashes of its pairs of words, by which near-duplicates are known
    beside=str | None,  # the near-duplicate whose group it joined
    golden=str | None,  # the golden scenario that it is a row of; such an example is no longer learned from
)

# Written by example_places.py: by which bands of MinHash an example is found.
EXAMPLE_BANDS = table(
    "example_bands",
    None,
    ("family", "band", "example"),
    Index("ix_example_bands_example", "family", "example"),
    family=str,
    band=str,
    example=str,
)

# Written by examples.py. A question to a person, such as whether an example may be released.
REVIEWS = table(
    "reviews",
    Review,
    ("id",),
    Index("ix_reviews_status_created", "status", "created_at", "id"),
    Index(None, "family"),
)

# Written by graphs.py: a graph that a family verified, with the repairs proposed for it. It goes at the same age as its
# interaction, whose ``received_at`` it has.
GRAPHS = table(
    "graphs",
    VerifiedGraph,
    ("id",),
    UniqueConstraint("family", "interaction", name="uq_graphs_interaction"),
    Index("ix_graphs_family_received", "family", "received_at"),
    Index("ix_graphs_unit", "unit_hmac"),
    n_pending=int,
)

# Written by examples.py: every time a confirmation read a sealed example.
HOLDOUT_LOOKS = table(
    "holdout_looks",
    None,
    ("family", "example", "study"),
    family=str,
    example=str,
    study=str,
    looked_at=datetime,
)

# Written by examples.py: how far a judge agreed with people, and the map from its scores to ratings.
JUDGE_CALIBRATIONS = table(
    "judge_calibrations", CalibrationRecord, ("id",), Index(None, "family"), judge=str, created_at=datetime
)

# Written by examples.py: what a study taught a student, and which examples taught it, with its answer to each by what
# had not learned from it.
STUDENTS = table(
    "students",
    None,
    ("family", "id"),
    family=str,
    id=str,  # from the content
    content=dict,
    rows=dict,  # example -> [label, confidence]
    study=str,
    created_at=datetime,
)

# Written by examples.py: how a student that serves is doing, in sums, as far as its requests have been read.
STUDENT_WATCHES = table(
    "student_watches",
    None,
    ("family", "student"),
    family=str,
    student=str,
    state=str,
    read_until=datetime,
    last_id=str,
)

# Written by examples.py: from when until when a student answered nobody.
STUDENT_BYPASSES = table("student_bypasses", Bypass, ("family", "student", "since"))

# Written by examples.py: the examples from which a variant shows a request the nearest ones, as it shows them.
EXAMPLE_INDEXES = table(
    "example_indexes",
    None,
    ("family", "id"),
    family=str,
    id=str,  # from the examples
    examples=list,
    study=str,
    created_at=datetime,
)

# Written by journal.py: what was asked for in the background outside studies.
JUDGE_RUNS = table("judge_runs", JudgeRun, ("id",), Index(None, "family"), Index(None, "status"))
