"""Operations on the store of this home, where no server runs. Each job is imported where it is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from optimizer.cli.output import plain
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.views.judge import judge_run_view
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from optimizer.cli.operations.protocol import Answer
    from optimizer.cli.session import Session
    from optimizer.core.base.values import Aim, Budget
    from optimizer.core.serving.access import Access


class LocalOperations:
    """Runs the job of each change in this process, as the person at this machine.

    A change is one writing transaction, so a server or worker that starts meanwhile sees all of it or nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

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
        from optimizer.jobs.scheduling.set_schedule import set_schedule

        report = set_schedule(
            self._session.family(family), cron=cron, from_file=from_file, holdout=holdout, strategy=strategy, aim=aim,
            reason=reason, **self._by,
        )  # fmt: skip
        return _as_json(report)

    def unset_schedule(self, family: str, *, reason: str | None) -> Answer:
        from optimizer.jobs.scheduling.set_schedule import unset_schedule

        report = unset_schedule(self._session.family(family), reason=reason, **self._by)
        return _as_json(report)

    def answer_review(self, review: str, answer: str, *, expected: Any, as_answered: bool) -> Answer:
        from optimizer.jobs.feedback.answer_review import answer_review

        with self._session.store.read() as tx:
            family = self._session.store.reviews.get(tx, review).family
        return _as_json(
            answer_review(
                review, answer, family=self._session.family(family), expected=expected, as_answered=as_answered,
                intake=self._session.intake, **self._by,
            )
        )  # fmt: skip

    def score_answers(self, family: str, n: int, *, days: float, budget: Budget, dry_run: bool) -> Answer:
        from optimizer.jobs.studies.evaluations.create_judge_run import score_answers

        made = score_answers(
            self._session.family(family), n=n, days=days, budget=budget, dry_run=dry_run, **self._by, **self._spending
        )
        return _as_json(judge_run_view(made) if isinstance(made, JudgeRun) else made)

    def check_judge(self, family: str, n: int, *, beside: str | None, budget: Budget, dry_run: bool) -> Answer:
        from optimizer.jobs.studies.evaluations.create_judge_run import check_biases

        made = check_biases(
            self._session.family(family),
            n=n,
            beside=beside,
            budget=budget,
            dry_run=dry_run,
            **self._by,
            **self._spending,
        )
        return _as_json(judge_run_view(made) if isinstance(made, JudgeRun) else made)

    def stop_judge_run(self, run: str) -> Answer:
        from optimizer.jobs.studies.evaluations.create_judge_run import stop_judge_run

        return _as_json(judge_run_view(stop_judge_run(run, **self._by)))

    def calibrate_judge(self, family: str, *, dry_run: bool) -> Answer:
        from optimizer.jobs.feedback.calibrate_judge import calibrate_judge

        made = calibrate_judge(self._session.family(family), fit=wiring.fit_judge, dry_run=dry_run, **self._by)
        return _as_json(made)

    def draw_ratings(self, family: str, n: int, *, days: float, dry_run: bool) -> Answer:
        from optimizer.jobs.feedback.draw_ratings import draw_ratings

        made = draw_ratings(self._session.family(family), n, days=days, dry_run=dry_run, **self._by)
        return _as_json(made)

    def create_key(self, name: str, access: Access, *, close_keyless_from: datetime | None = None) -> Answer:
        from optimizer.jobs.upkeep.manage_keys import create_key

        known = self._session.families.families.keys()
        report = create_key(name, access, families=known, close_keyless_from=close_keyless_from, **self._by)
        return _as_json(report)

    def rotate_key(self, name: str, grace: timedelta) -> Answer:
        from optimizer.jobs.upkeep.manage_keys import rotate_key

        return _as_json(rotate_key(name, grace=grace, **self._by))

    def undo_rotation(self, name: str) -> Answer:
        from optimizer.jobs.upkeep.manage_keys import undo_rotation

        return _as_json(undo_rotation(name, **self._by))

    def revoke_key(self, name: str) -> Answer:
        from optimizer.jobs.upkeep.manage_keys import revoke_key

        return _as_json(revoke_key(name, **self._by))

    def reset_clock(self, *, reason: str | None) -> Answer:
        from optimizer.jobs.upkeep.reset_clock import reset_clock

        return _as_json(reset_clock(reason, **self._by))

    @property
    def _by(self) -> dict[str, Any]:
        """Who acts, where, and when."""
        return {"actor": self._session.actor, "store": self._session.store, "clock": self._session.clock}

    @property
    def _models(self) -> dict[str, Any]:
        return {"models": wiring.open_models(self._session.settings)}

    @property
    def _spending(self) -> dict[str, Any]:
        """What a study or a judge run asks and may spend."""
        return {**self._models, "usd_per_month": self._session.settings.usd_per_month}


def _as_json(values: Any) -> Answer:
    """The values as they would come over the wire."""
    answer: Answer = json.loads(json.dumps(values, default=plain))
    return answer
