"""The quality of judged answers with its interval, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from optimizer.core.views.judge import JudgedFigureView


def told_figure(figure: JudgedFigureView) -> str:
    if figure.why_not is not None:
        beside = f" The judge's own mean, {figure.judge_mean:.2f}, is no quality." if figure.n_judged else ""
        return f"Quality: cannot tell. {figure.why_not[0].upper()}{figure.why_not[1:]}.{beside}"
    assert figure.low is not None
    assert figure.high is not None
    unrated = f", {figure.n_unrated} of them not to be rated" if figure.n_unrated else ""
    waiting = f" {count(figure.n_waiting, 'drawn answer')} to rate." if figure.n_waiting else ""
    return (
        f"Quality of {count(figure.n_judged, 'judged answer')}: {figure.mean:.2f}, 95 % interval"
        f" {figure.low:z.2f} to {figure.high:.2f}, by {count(figure.n_rated + figure.n_unrated, 'answer')}"
        f" drawn at random{unrated}. The ratings alone say {figure.people_mean:.2f}, {figure.people_low:z.2f} to"
        f" {figure.people_high:.2f}; the judge alone {figure.judge_mean:.2f}. 50 more ratings would narrow the"
        f" interval from {figure.high - figure.low:.2f} to about {figure.width_after_next_50:.2f}.{waiting}"
    )
