"""A study as people and programs see it."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.base.answers import members_of
from optimizer.core.search.study import Study, study_view
from optimizer.core.views.study_headline import next_step


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyView(Study):
    """``is_interrupted``: it says that it runs, and no process is there to run it: that one was stopped or killed.
    ``findings`` of one that ended: ``trivial_baselines`` (what needs no model and scores how much; for read-texts),
    ``leaks`` (refused proposals), ``run_off``. ``trigger``: why it started by itself, None where a person asked for it.
    """

    is_interrupted: bool = False

    @property
    def state(self) -> str:
        if self.is_interrupted:
            return f"{self.status}: interrupted"
        return self.status + (f": {self.outcome}" if self.outcome else "")

    @property
    def then(self) -> str:
        """The next command."""
        if self.is_interrupted:
            resume = f"detent study resume {self.id}, or with `detent serve`"
            return f"no process runs it; what was answered is kept. Go on: {resume}"
        return next_step(self)


def view_of_study(study: Study, *, is_worker_running: bool = True) -> StudyView:
    is_interrupted = study.status in ("running", "confirming") and not is_worker_running
    return StudyView(**members_of(study_view(study)), is_interrupted=is_interrupted)
