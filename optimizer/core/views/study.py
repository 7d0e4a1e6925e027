"""A study as people and programs see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optimizer.core.base.answers import members_of
from optimizer.core.base.values import Spend
from optimizer.core.search.study import UNFINISHED, Study, study_view
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


def view_of_study(study: Study, spend: Spend, *, is_worker_running: bool) -> StudyView:
    """``spend``: what the journal says by now; while a study runs, its row has what it had spent after a trial."""
    shown = study_view(study)
    if study.status in UNFINISHED:
        shown = replace(shown, spend=replace(study.spend, usd=spend.usd, n_calls=spend.n_calls, n_lost=spend.n_lost))
    is_interrupted = study.status in ("running", "confirming") and not is_worker_running
    return StudyView(**members_of(shown), is_interrupted=is_interrupted)
