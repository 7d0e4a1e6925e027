"""What holds of a judged figure for any ratings, any judge, and whatever else people say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from optimizer.core.feedback.rating_draws import Draw, DrawnAnswer, JudgedAnswer, JudgedFigure
from optimizer.core.statistics.prediction_powered import MOST_SLOPE, RatedAnswer, powered_mean
from tests.rows.judged_figures import judged_figure

START = datetime(2026, 11, 1, tzinfo=UTC)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
pairs = st.lists(st.tuples(shares, shares), min_size=20, max_size=60)  # (score, rating)
WHOLE = st.tuples(pairs, st.lists(shares, max_size=80))  # and the scores of answers that were not drawn


def figure(pairs: list[tuple[float, float]], others: list[float], *, late: list[float] | None = None) -> JudgedFigure:
    """All of ``pairs`` drawn and rated; ``late`` scores came after the draw."""
    scores = [*(score for score, _ in pairs), *others]
    judged = [
        JudgedAnswer(interaction=f"in_{i}", score=score, judged_at=START + timedelta(seconds=i))
        for i, score in enumerate(scores)
    ]
    judged += [
        JudgedAnswer(interaction=f"late_{i}", score=score, judged_at=START + timedelta(days=2))
        for i, score in enumerate(late or [])
    ]
    until = START + timedelta(days=1)
    draw = Draw(id="dr_1", judge="j_1", since=START, until=until, frame=len(scores), n=len(pairs))
    answers = [
        DrawnAnswer(draw=draw, place=i, interaction=f"in_{i}", rating=rating) for i, (_, rating) in enumerate(pairs)
    ]
    return judged_figure(judged, answers, judge="j_1")


@given(WHOLE)
def test_the_interval_lies_on_the_scale_and_holds_its_estimate(whole: tuple[list[tuple[float, float]], list[float]]):
    found = figure(*whole)
    assert 0 <= found.interval.lower <= found.found.mean + 1e-9
    assert found.found.mean - 1e-9 <= found.interval.upper <= 1
    assert 0 <= found.found.slope <= MOST_SLOPE
    assert found.found.people.lower - 1e-9 <= found.found.people_mean <= found.found.people.upper + 1e-9
    assert found.interval.upper - found.interval.lower > 0.01  # sixty ratings never tell it for certain


@given(WHOLE, st.lists(shares, max_size=30))
def test_answers_that_no_draw_could_have_taken_change_nothing(whole, late):
    assert figure(*whole, late=late) == figure(*whole)


@given(pairs, st.lists(shares, max_size=80), st.floats(-0.4, 0.4))
def test_an_offset_of_the_judge_changes_nothing(pairs, others, offset):
    plain = figure(pairs, others)
    moved = figure([(score + offset, rating) for score, rating in pairs], [score + offset for score in others])
    if abs(plain.found.slope - moved.found.slope) < 1e-6:  # else the scores are the same but for rounding
        assert moved.interval.lower == pytest.approx(plain.interval.lower, abs=1e-4)
        assert moved.interval.upper == pytest.approx(plain.interval.upper, abs=1e-4)


@given(pairs, shares)
def test_a_judge_that_always_says_the_same_leaves_the_ratings_alone(pairs, score):
    rated = [RatedAnswer(score=score, rating=rating) for _, rating in pairs]
    found = powered_mean(score, 1000, rated)
    assert found.slope == 0
    assert found.mean == pytest.approx(found.people_mean)


@given(WHOLE, st.data())
def test_an_answer_that_cannot_be_rated_never_narrows_the_interval_below_its_best_and_worst_case(whole, data):
    """Whatever it would have been rated, that interval's ends lie within those of the unrated one at 0 and at 1."""
    given_pairs, others = whole
    pairs = [*given_pairs, (0.5, 0.5)]  # so that twenty are left
    place = data.draw(st.integers(0, len(pairs) - 1))

    def with_rating(rating: float) -> JudgedFigure:
        return figure([(s, rating if i == place else r) for i, (s, r) in enumerate(pairs)], others)

    scores = [*(score for score, _ in pairs), *others]
    judged = [
        JudgedAnswer(interaction=f"in_{i}", score=score, judged_at=START + timedelta(seconds=i))
        for i, score in enumerate(scores)
    ]
    until = START + timedelta(days=1)
    draw = Draw(id="dr_1", judge="j_1", since=START, until=until, frame=len(scores), n=len(pairs))
    answers = [
        DrawnAnswer(draw=draw, place=i, interaction=f"in_{i}", rating=rating) for i, (_, rating) in enumerate(pairs)
    ]
    answers[place] = replace(answers[place], rating=None, is_unrated=True)
    found, low, high = judged_figure(judged, answers, judge="j_1"), with_rating(0.0), with_rating(1.0)
    assert found.interval.lower == low.interval.lower
    assert found.interval.upper == high.interval.upper
