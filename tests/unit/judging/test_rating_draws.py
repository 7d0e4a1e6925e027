"""Answers are drawn at random for people's ratings, and only those say how good all judged answers are."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from optimizer.core.feedback.rating_draws import (
    Draw,
    DrawnAnswer,
    JudgedAnswer,
    JudgedFigure,
    draw_interactions,
    drawn_of,
    inclusion,
)
from tests.rows.judged_figures import judged_figure

START = datetime(2026, 11, 1, tzinfo=UTC)
JUDGE = "j_1"


def judged(n: int, *, first: int = 0, day: int = 0) -> list[JudgedAnswer]:
    return [
        JudgedAnswer(
            interaction=f"in_{i}", score=0.3 + 0.7 * _rating(i), judged_at=START + timedelta(days=day, seconds=i)
        )
        for i in range(first, first + n)
    ]


def _rating(i: int) -> float:
    return random.Random(i).choice([0.0, 0.5, 1.0])


def draw(answers: list[JudgedAnswer], n: int, *, id: str = "dr_1", days: int = 1) -> Draw:
    until = START + timedelta(days=days)
    return Draw(id=id, judge=JUDGE, since=START, until=until, frame=len(answers), n=n)


def rated(made: Draw, interactions: list[str], *, n_answered: int | None = None) -> list[DrawnAnswer]:
    answered = len(interactions) if n_answered is None else n_answered
    return [
        DrawnAnswer(draw=made, place=i, interaction=id, rating=_rating(int(id[3:])) if i < answered else None)
        for i, id in enumerate(interactions)
    ]


def figure_of(n_answered: int = 40, n: int = 40, population: int = 400) -> JudgedFigure:
    answers = judged(population)
    made = draw(answers, n)
    some = draw_interactions([each.interaction for each in answers], n, seed="dr_1")
    return judged_figure(answers, rated(made, some, n_answered=n_answered), judge=JUDGE)


def test_what_is_drawn_is_the_same_again_and_another_for_another_seed() -> None:
    ids = [f"in_{i}" for i in range(100)]
    assert draw_interactions(ids, 10, seed="a") == draw_interactions(ids[::-1], 10, seed="a")
    assert draw_interactions(ids, 10, seed="a") != draw_interactions(ids, 10, seed="b")


def test_every_answer_is_drawn_equally_often() -> None:
    ids = [f"in_{i}" for i in range(20)]
    counts = dict.fromkeys(ids, 0)
    for seed in range(4000):
        for each in draw_interactions(ids, 5, seed=f"dr_{seed}"):
            counts[each] += 1
    assert all(900 < n < 1100 for n in counts.values())


def test_a_review_keeps_what_is_needed_to_weigh_it() -> None:
    made = draw(judged(200), 50)
    payload = made.payload(3)
    assert payload["inclusion"] == 0.25
    assert drawn_of("in_7", payload, "0.75") == DrawnAnswer(draw=made, place=3, interaction="in_7", rating=0.75)
    assert drawn_of("in_7", payload, None) == DrawnAnswer(draw=made, place=3, interaction="in_7")
    assert drawn_of("in_7", payload, "unrated").is_unrated


def test_the_figure_holds_the_mean_rating_of_all() -> None:
    found = figure_of()
    truth = sum(_rating(i) for i in range(400)) / 400
    assert found.found is not None
    assert found.interval.lower < truth < found.interval.upper
    assert (found.n_rated, found.n_judged, found.n_waiting) == (40, 400, 0)
    assert found.judge_mean == pytest.approx(0.3 + 0.7 * truth)
    assert found.interval.upper - found.interval.lower < 0.1  # the judge knows the ratings, but for their scale


def test_too_few_ratings_cannot_tell() -> None:
    found = figure_of(n_answered=19)
    assert found.interval is None
    assert "19 answers drawn at random are rated" in found.why_not
    assert "needs 20, and 21 wait" in found.why_not
    assert figure_of(n_answered=20).interval is not None


def test_only_the_leading_answers_of_a_draw_count() -> None:
    """A person who skips what is hard would choose; what is answered behind the first gap waits."""
    answers = judged(400)
    made = draw(answers, 40)
    some = rated(made, draw_interactions([each.interaction for each in answers], 40, seed="dr_1"))
    gap = [replace(each, rating=None) if each.place == 25 else each for each in some]
    assert judged_figure(answers, gap, judge=JUDGE).n_rated == 25


def test_draws_of_another_judge_do_not_count() -> None:
    answers = judged(400)
    made = replace(draw(answers, 40), judge="j_2")
    found = judged_figure(answers, rated(made, [f"in_{i}" for i in range(40)]), judge=JUDGE)
    assert found.why_not == "no answers of this judge were drawn for rating"


def test_a_later_draw_takes_from_what_the_first_left() -> None:
    """100 answers on the first day of which 50 are drawn, then 100 more, and 75 of the 150 that were not."""
    first = draw(judged(100), 50)
    second = Draw(id="dr_2", judge=JUDGE, since=START, until=START + timedelta(days=3), frame=150, n=75)
    old, new = judged(1)[0], judged(1, first=500, day=2)[0]
    answered = {"dr_1": 50, "dr_2": 75}
    assert inclusion(old, [first, second], answered) == pytest.approx(0.5 + 0.5 * 0.5)
    assert inclusion(new, [first, second], answered) == pytest.approx(0.5)
    assert inclusion(old, [first, second], {"dr_1": 10, "dr_2": 75}) == pytest.approx(0.1 + 0.5 * 0.5)


def test_draws_of_unlike_shares_are_weighed_back() -> None:
    """The bad first day was drawn from four times as densely as the good second one."""
    bad = [replace(each, score=0.5) for each in judged(100)]
    good = [replace(each, score=0.5) for each in judged(400, first=100, day=2)]
    first = Draw(id="dr_1", judge=JUDGE, since=START, until=START + timedelta(days=1), frame=100, n=40)
    second = Draw(
        id="dr_2", judge=JUDGE, since=START + timedelta(days=1), until=START + timedelta(days=5), frame=400, n=40
    )
    ratings = [
        *(replace(each, rating=0.0) for each in rated(first, [one.interaction for one in bad[:40]])),
        *(replace(each, rating=1.0) for each in rated(second, [one.interaction for one in good[:40]])),
    ]
    found = judged_figure([*bad, *good], ratings, judge=JUDGE)
    assert found.found.people_mean == pytest.approx(0.8)


def test_the_next_fifty_narrow_it() -> None:
    answers = [replace(each, score=0.5) for each in judged(2000)]
    made = rated(draw(answers, 40), draw_interactions([each.interaction for each in answers], 40, seed="dr_1"))
    found = judged_figure(answers, made, judge=JUDGE)
    assert found.width_after_next == pytest.approx(
        (found.interval.upper - found.interval.lower) * (40 / 90) ** 0.5, rel=0.05
    )
