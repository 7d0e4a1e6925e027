"""What ratings say of answers that are all at hand."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.feedback.rating_draws import DrawnAnswer, JudgedAnswer, JudgedFigure, figure_by_sums, windows_of


def judged_figure(judged: Sequence[JudgedAnswer], drawn_answers: Sequence[DrawnAnswer], *, judge: str) -> JudgedFigure:
    """As a job finds it by the sums of the store; ``judged``: by this judge."""
    windows = windows_of(drawn_answers, judge)
    within = [each for each in judged if any(since <= each.judged_at < until for since, until in windows)]
    scores = {each.interaction: each.score for each in within}
    mean = sum(scores.values()) / len(scores) if scores else None
    return figure_by_sums(len(scores), mean, within, drawn_answers, judge=judge)
