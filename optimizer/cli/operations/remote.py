"""Operations by the server of this home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from optimizer.cli.operations.protocol import Answer

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from optimizer.core.base.values import Aim, Budget
    from optimizer.core.serving.access import Access
    from optimizer.runtime.api_client import ApiClient


class RemoteOperations:
    """Asks the running server for each change, so that it serves what changed at once."""

    def __init__(self, server: ApiClient) -> None:
        self._server = server

    def set_schedule(
        self,
        family: str,
        *,
        cron: str | None,
        from_file: bool,
        holdout: bool,
        strategy: str | None,
        aim: Aim | None,
        reason: str | None,
    ) -> Answer:
        body = {"on": True, "holdout": holdout, "strategy": strategy, "aim": aim, "reason": reason or ""}
        if cron is not None or not from_file:
            body["cron"] = cron
        answer: Answer = self._server.put(f"/v1/families/{_quoted(family)}/schedule", body)
        return answer

    def unset_schedule(self, family: str, *, reason: str | None) -> Answer:
        answer: Answer = self._server.delete(f"/v1/families/{_quoted(family)}/schedule", reason=reason)
        return answer

    def answer_review(self, review: str, answer: str, *, expected: Any, as_answered: bool) -> Answer:
        body = {"answer": answer, "expected": expected, "as_answered": as_answered}
        return self._post(f"reviews/{_quoted(review)}/answer", body)

    def score_answers(self, family: str, n: int, *, days: float, budget: Budget, dry_run: bool) -> Answer:
        body = {"n": n, "days": days, "budget": _given(asdict(budget)), "dry_run": dry_run}
        return self._post(f"families/{_quoted(family)}/judge/scores", body)

    def check_judge(self, family: str, n: int, *, beside: str | None, budget: Budget, dry_run: bool) -> Answer:
        body = {"n": n, "beside": beside, "budget": _given(asdict(budget)), "dry_run": dry_run}
        return self._post(f"families/{_quoted(family)}/judge/checks", body)

    def stop_judge_run(self, run: str) -> Answer:
        return self._post(f"judge-runs/{_quoted(run)}/cancel", {})

    def calibrate_judge(self, family: str, *, dry_run: bool) -> Answer:
        return self._post(f"families/{_quoted(family)}/judge/calibrations", {"dry_run": dry_run})

    def draw_ratings(self, family: str, n: int, *, days: float, dry_run: bool) -> Answer:
        return self._post(f"families/{_quoted(family)}/rating-draws", {"n": n, "days": days, "dry_run": dry_run})

    def create_key(self, name: str, access: Access, *, close_keyless_from: datetime | None = None) -> Answer:
        from optimizer.jobs.upkeep.manage_keys import shown_access

        closes = close_keyless_from.isoformat() if close_keyless_from is not None else None
        return self._post("keys", {"name": name, **shown_access(access), "close_keyless_from": closes})

    def rotate_key(self, name: str, grace: timedelta) -> Answer:
        return self._post(f"keys/{_quoted(name)}/rotate", {"grace_s": grace.total_seconds()})

    def undo_rotation(self, name: str) -> Answer:
        return self._post(f"keys/{_quoted(name)}/rotate", {"undo": True})

    def revoke_key(self, name: str) -> Answer:
        return self._post(f"keys/{_quoted(name)}/revoke", {})

    def reset_clock(self, *, reason: str | None) -> Answer:
        return self._post("clock/reset", {"reason": reason})

    def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        answer: Answer = self._server.post(f"/v1/{path}", body)
        return answer


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _quoted(name: str) -> str:
    return quote(name, safe="")
