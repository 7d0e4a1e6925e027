"""One finding of ``detent doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was found, and what to do where that is not fine."""

    check: str
    verdict: Severity
    detail: str
    advice: str = ""
