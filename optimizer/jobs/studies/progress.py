"""What a running study tells its observer: plain events with sentences, independent of a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from optimizer.core.search.study import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """One moment of a study. ``n_calls`` and ``usd`` are spent so far; ``eta_s`` is None until the pace is known."""

    kind: Literal["started", "call", "trial", "confirming", "finished"]
    study: str
    family: str
    text: str
    n_trials: int  # done
    n_trials_most: int
    n_calls: int
    usd: float
    best_score: float | None = None
    champion_score: float | None = None
    eta_s: float | None = None
    trial: Trial | None = None


ProgressCallback = Callable[[StudyProgress], None]


def unwatched(event: StudyProgress) -> None:
    """The observer of a study that is not watched."""
