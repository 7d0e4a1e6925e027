"""Examples, their split at ingestion, and frozen Datasets drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Split = Literal["train", "dev", "holdout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One input with its expected output. ``split`` is fixed by the group's hash when the example arrives, for ever.

    ``released`` says whether its text may become a few-shot example (a person released it, or it was imported as curated).
    """

    id: str
    family: str
    input: Mapping[str, Any]
    expected: Mapping[str, Any]
    group: str
    split: Split
    origin: Literal["curated", "import", "correction", "interaction"]
    released: bool
    created_at: datetime
    unit_hmac: str | None = None
    interaction: str | None = None
