"""What stands for an open transaction, and what becomes of a row in it."""

from typing import Any, Literal

Transaction = Any  # sqlalchemy.Connection in the database adapter
# What became of a row. joined: it was accepted, into the group of a near-duplicate; id_conflict: the id is there with
# other content; sealed: it was in the holdout of a retired family of this name, and would not be now; two_splits: it is
# nearly the same as rows of another split.
Added = Literal["accepted", "joined", "duplicate", "id_conflict", "sealed", "two_splits"]
