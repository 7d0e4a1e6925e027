"""The changes that a person makes from a terminal, wherever they are carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from optimizer.core.base.values import Aim, Budget
    from optimizer.core.serving.access import Access

Answer = Mapping[str, Any]
"""What the REST route of the change answers, as JSON: ``docs/reference/rest.md`` lists the members."""


class Operations(Protocol):
    """Each method makes one change and answers as its REST route does.

    Raises the DetentError of the job that makes the change.

    ``reason`` None: none was given. Families, variants, rollouts and studies are meant by name or id.
    """

    # variants and studies
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
        """``cron`` None: the file's times with ``from_file``, else none."""

    def unset_schedule(self, family: str, *, reason: str | None) -> Answer: ...

    # reviews
    def answer_review(self, review: str, answer: str, *, expected: Any, as_answered: bool) -> Answer:
        """``expected``: the value of the output field; None: not said."""

    # judges
    def score_answers(self, family: str, n: int, *, days: float, budget: Budget, dry_run: bool) -> Answer:
        """The run, queued for a worker, or what it would take."""

    def check_judge(self, family: str, n: int, *, beside: str | None, budget: Budget, dry_run: bool) -> Answer:
        """The run, queued for a worker, or what it would take."""

    def stop_judge_run(self, run: str) -> Answer: ...
    def calibrate_judge(self, family: str, *, dry_run: bool) -> Answer: ...
    def draw_ratings(self, family: str, n: int, *, days: float, dry_run: bool) -> Answer: ...

    # the installation
    def create_key(self, name: str, access: Access, *, close_keyless_from: datetime | None = None) -> Answer: ...
    def rotate_key(self, name: str, grace: timedelta) -> Answer: ...
    def undo_rotation(self, name: str) -> Answer: ...
    def revoke_key(self, name: str) -> Answer: ...
    def reset_clock(self, *, reason: str | None) -> Answer: ...
