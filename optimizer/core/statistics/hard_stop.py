"""The stop without statistics: ten failures of the candidate in a row, from several units, while the champion works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

RUN = 10
MIN_UNITS = 3
CHAMPION_FAILURES = 5  # of its last ten: from here on the incident is shared

Finding = Literal["none", "failing", "alone", "shared_incident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRequest:
    """``champion_n`` and ``champion_failed``: the champion's requests between the candidate's request
    before and this one.
    """

    unit: str
    failed: bool
    champion_n: int = 0
    champion_failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRun:
    """The last ten requests of each arm, in the order in which they ended,
    and what the candidate's last one made of them.

    Only a request of the candidate changes ``finding``: when both arms recover, the champion with more traffic shows it
    first, and the candidate's failures of before say nothing about now.

    failing          ten in a row while the champion works: roll back
    alone            ten in a row, and the champion, which worked before, was not asked meanwhile
    shared_incident  the champion fails as well: hold and alert
    """

    candidate: tuple[CandidateRequest, ...] = ()
    champion: tuple[bool, ...] = ()  # failed
    champion_n: int = 0  # since the candidate's last request
    champion_failed: int = 0
    finding: Finding = "none"

    def after_candidate(self, unit: str, *, failed: bool) -> FailureRun:
        request = CandidateRequest(
            unit=unit, failed=failed, champion_n=self.champion_n, champion_failed=self.champion_failed
        )
        last = (*self.candidate, request)[-RUN:]
        return FailureRun(
            candidate=last,
            champion=self.champion,
            finding=_finding(last, self.champion, self.finding) if failed else "none",
        )

    def after_champion(self, failed: Sequence[bool]) -> FailureRun:
        """``failed``: of its next requests, in order."""
        return FailureRun(
            candidate=self.candidate,
            champion=(*self.champion, *failed)[-RUN:],
            champion_n=self.champion_n + len(failed),
            champion_failed=self.champion_failed + sum(failed),
            finding=self.finding,
        )

    @property
    def n_units(self) -> int:
        return len({request.unit for request in self.candidate})


def _finding(candidate: Sequence[CandidateRequest], champion: Sequence[bool], before: Finding) -> Finding:
    """Shared too when most of the champion's requests meanwhile failed, few as they are where its share is small."""
    if len(candidate) < RUN or not all(r.failed for r in candidate) or len({r.unit for r in candidate}) < MIN_UNITS:
        return "none"
    n, failed = sum(r.champion_n for r in candidate[1:]), sum(r.champion_failed for r in candidate[1:])
    if sum(champion) >= CHAMPION_FAILURES or (n > 0 and 2 * failed >= n):
        return "shared_incident"
    if n == 0:
        return "shared_incident" if before == "shared_incident" else "alone"
    return "failing"
