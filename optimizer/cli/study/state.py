"""How a study stands, for people: also that no process runs it any more, which its row in the store cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.core.search.study import Study
    from optimizer.host.config import Settings


def is_interrupted(settings: Settings, study: Study) -> bool:
    """It says that it runs, and no process of this home is there to run it: it was stopped or killed."""
    from optimizer.host import run_files

    return study.status in ("running", "confirming") and not run_files.ProcessLock(settings, "worker").is_held()


def state_of(settings: Settings, study: Study) -> str:
    if is_interrupted(settings, study):
        return f"{study.status}: interrupted"
    return study.status + (f": {study.outcome}" if study.outcome else "")


def then_of(settings: Settings, study: Study) -> str:
    """The next command."""
    from optimizer.core.views.study_headline import next_step

    if is_interrupted(settings, study):
        resume = f"detent study resume {study.id}, or with `detent serve`"
        return f"no process runs it; what was answered is kept. Go on: {resume}"
    return next_step(study)
