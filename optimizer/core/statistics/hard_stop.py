"""The stop without statistics: ten failures of the candidate in a row, from several units, while the champion works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

RUN = 10
MIN_UNITS = 3
CHAMPION_FAILURES = 5  # of its last ten: from here on the incident is shared

Finding = Literal["none", "failing", "shared_incident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRun:
    """The last ten requests of each arm, in the order in which they ended."""

    candidate: tuple[tuple[str, bool], ...] = ()  # (unit's HMAC, failed)
    champion: tuple[bool, ...] = ()

    def after_candidate(self, unit: str, *, failed: bool) -> FailureRun:
        return replace(self, candidate=(*self.candidate, (unit, failed))[-RUN:])

    def after_champion(self, *, failed: bool) -> FailureRun:
        return replace(self, champion=(*self.champion, failed)[-RUN:])

    @property
    def finding(self) -> Finding:
        """``failing``: roll back. ``shared_incident``: hold and alert, since the champion fails as well."""
        failed = len(self.candidate) == RUN and all(f for _, f in self.candidate)
        if not failed or len({u for u, _ in self.candidate}) < MIN_UNITS:
            return "none"
        return "failing" if sum(self.champion) < CHAMPION_FAILURES else "shared_incident"
