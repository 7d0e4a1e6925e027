"""Judged answers are drawn at random and rated by people; their ratings calibrate the judge and bound what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, DatasetTooSmall, InvalidInput, NotAuthorised
from optimizer.core.dataset.examples import make_example, split_of
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.feedback.review_kinds import RATE_ANSWER
from optimizer.core.serving.access import access_of
from optimizer.core.views.judge import CalibrationView, DrawView, JudgeView
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.answer_review import rate_answer
from optimizer.jobs.feedback.calibrate_judge import (
    JudgeReadRequest,
    RatingDrawRequest,
    calibrate_judge,
    draw_ratings,
    read_judge,
)
from optimizer.jobs.request import DryRunRequest
from optimizer.runtime import wiring
from tests.rows.ingestion import Installation
from tests.stores import arm, feedback, keep_events, new_database
from tests.worlds.contexts import context_of
from tests.worlds.rated_world import judge_answers, judged_family, rating

N = 300


class Place:
    """An installation whose judge has scored three hundred answers."""

    def __init__(self, here: Installation, *, is_judged: bool = True) -> None:
        self.here, self.store, self.clock = here, here.store, here.clock
        self.family = judged_family()
        here.families = {self.family.name: self.family}
        if not is_judged:
            judge_answers(here.store, self.family, N, self.clock.now())
        self.clock.pass_time(timedelta(hours=1))

    def draw(self, n: int = 40, **options: Any) -> DrawView:
        return draw_ratings(self.asked(), RatingDrawRequest(family=self.family.name, n=n, **options))

    def asked(self, family: Family | None = None, **more: Any) -> Context:
        return context_of(self.store, self.clock, "ben", family=lambda name: family or self.family, **more)

    def rate(self, review: str, answer: str | None = None) -> dict[str, Any]:
        with self.store.read() as tx:
            asked = self.store.reviews.get(tx, review)
        said = f"{rating(int(asked.subject[3:])):g}" if answer is None else answer
        return rate_answer(review, said, actor="ben", store=self.store, clock=self.clock, intake=self.here.intake())

    def rated(self, n: int) -> Sequence[str]:
        """Reviews of so many drawn answers, each answered."""
        reviews = self.draw(n).reviews
        for review in reviews:
            self.rate(review)
        return reviews

    def calibrate(self, family: Family | None = None, **options: Any) -> CalibrationView:
        asked = self.asked(family, fit_judge=options.pop("fit", wiring.fit_judge))
        return calibrate_judge(asked, DryRunRequest(family=self.family.name, **options))

    def standing(self, **options: Any) -> JudgeView:
        return read_judge(self.asked(), JudgeReadRequest(family=self.family.name, **options))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of which each test has a copy."""
    folder = tmp_path_factory.mktemp("judged")
    with closing(new_database(folder)) as database:
        Place(Installation(database), is_judged=False)
    return folder / "detent.db"


@pytest.fixture
def place(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Its draws have the same ids in every run, which are their seeds: what is calibrated depends on who is drawn."""
    numbers = count(1)
    monkeypatch.setattr(
        "optimizer.jobs.feedback.calibrate_judge.new_id", lambda prefix: f"{prefix}_{next(numbers):026}"
    )
    shutil.copy(judged, tmp_path)
    with closing(new_database(tmp_path)) as database:
        yield Place(Installation(database))


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_answers_are_drawn_at_random_and_each_review_keeps_their_chance(place: Place) -> None:
    told = place.draw(30, dry_run=True)
    assert (told.reviews, told.n, told.frame) == ((), 30, N)
    with place.store.read() as tx:
        assert place.store.reviews.page(tx, place.family.name, None) == [], "a dry run opens nothing"
    made = place.draw(30)
    assert (made.frame, made.n, len(made.reviews)) == (N, 30, 30)
    with place.store.read() as tx:
        reviews = [place.store.reviews.get(tx, id) for id in made.reviews]
    assert [one.payload["place"] for one in reviews if one] == list(range(30))
    assert {one.payload["inclusion"] for one in reviews if one} == {0.1}
    assert {one.kind for one in reviews if one} == {RATE_ANSWER}
    numbers = [int(one.subject[3:]) for one in reviews if one]
    assert len(set(numbers)) == 30
    assert numbers != sorted(numbers)


def test_what_was_drawn_is_not_drawn_again(place: Place) -> None:
    first, second = place.draw(250), place.draw(250)
    assert (second.frame, second.n) == (50, 50)
    with place.store.read() as tx:
        assert len(place.store.reviews.of_kind(tx, place.family.name, RATE_ANSWER)) == N
    assert not set(first.reviews) & set(second.reviews)
    with pytest.raises(DatasetTooSmall, match="has scored 300 answers, all of which were drawn before"):
        place.draw(1)


def test_what_the_sealed_holdout_asks_is_not_drawn(place: Place) -> None:
    of = {"family": place.family.name, "origin": "import", "created_at": place.clock.now()}
    group = next(each for each in "abcdefgh" if split_of(each) == "holdout")
    rows = [
        make_example(id=f"ex_{i}", group=group, input={"document": f"Text of {i}"}, expected={"summary": "x"}, **of)
        for i in range(10)
    ]
    place.store.write(lambda tx: place.store.examples.add(tx, rows))
    report = place.draw(N)
    assert (report.frame, report.n) == (N - 10, N - 10)
    with place.store.read() as tx:
        drawn = place.store.reviews.of_kind(tx, place.family.name, RATE_ANSWER)
    assert not drawn.keys() & {f"in_{i}" for i in range(10)}
    with pytest.raises(DatasetTooSmall, match="drawn before or ask what the sealed holdout asks"):
        place.draw(1)


def test_what_was_drawn_for_another_judge_has_the_same_chance_as_all_others(place: Place) -> None:
    place.draw(290)
    place.family = judged_family(model="other")
    judge_answers(place.store, place.family, N, place.clock.now(), first=N)
    again = {"score": 0.5, "success": None, "source": "judge", "tags": {"judge": judge_identity(place.family)}}
    old = [
        feedback(f"again_{i}", of=arm(unit_hmac=f"u{i}"), interaction=f"in_{i}", received_at=place.clock.now(), **again)
        for i in range(N)
    ]
    keep_events(place.store, old)
    place.clock.pass_time(timedelta(hours=1))
    made = place.draw(300)
    assert (made.frame, made.inclusion) == (2 * N, 0.5)
    with place.store.read() as tx:
        drawn = [place.store.reviews.get(tx, id) for id in made.reviews]
    n_old = sum(int(one.subject[3:]) < N for one in drawn if one)
    assert 110 < n_old < 190


def test_what_was_scored_just_now_is_drawn_a_minute_later(place: Place) -> None:
    place.family = judged_family(model="other")
    judge_answers(place.store, place.family, 5, place.clock.now() - timedelta(seconds=N + 5), first=N)
    with pytest.raises(DatasetTooSmall, match=r"5 answers of .* can be drawn in a minute"):
        place.draw()
    place.clock.pass_seconds(70)
    assert place.draw(5).frame == 5


def test_a_family_without_a_judge_or_without_texts_has_nothing_to_draw(place: Place) -> None:
    place.family = judged_family(judge=None)
    with pytest.raises(InvalidInput, match="has no judge"):
        place.draw()
    place.family = judged_family(privacy={"store": "metadata"})
    with pytest.raises(InvalidInput, match="no text of them is kept"):
        place.draw()
    place.family = judged_family(model="other")
    with pytest.raises(DatasetTooSmall, match="its judge has scored none"):
        place.draw()


# --- rating -----------------------------------------------------------------------------------------------------------


def test_a_rating_stays_and_is_feedback_of_a_person(place: Place) -> None:
    review = place.draw(30).reviews[0]
    answered = place.rate(review, "0.750")
    assert (answered.answer, answered.status) == ("0.75", "answered")
    assert place.rate(review, "0.75") == answered
    with pytest.raises(Conflict, match="answered '0\\.75'"):
        place.rate(review, "1")
    with place.store.read() as tx:
        events = place.store.events.feedback_of(tx, [(place.family.name, answered.subject)])
        said = place.store.traffic.ratings(tx, place.family.name, [answered.subject], "person")
    assert [(one.source, one.score) for one in events if one.source == "person"] == [("person", 0.75)]
    assert said == {answered.subject: 0.75}


def test_what_is_no_rating_is_refused(place: Place) -> None:
    review = place.draw(30).reviews[0]
    for answer in ("1.1", "-0.1", "nan", "good", "", "release"):
        with pytest.raises(InvalidInput, match="a number from 0 to 1"):
            place.rate(review, answer)


def test_an_answer_that_cannot_be_rated_is_no_feedback(place: Place) -> None:
    answered = place.rate(place.draw(30).reviews[0], "unrated")
    with place.store.read() as tx:
        assert place.store.traffic.ratings(tx, place.family.name, [answered.subject], "person") == {}


def test_a_key_that_may_not_speak_as_a_person_rates_nothing(place: Place) -> None:
    review = place.draw(30).reviews[0]
    intake = replace(place.here.intake(), access=access_of(["feedback"], now=place.clock.now()))
    with pytest.raises(NotAuthorised):
        rate_answer(review, "1", actor="app", store=place.store, clock=place.clock, intake=intake)
    with place.store.read() as tx:
        assert place.store.reviews.get(tx, review).status == "open"


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_figure_holds_the_quality_of_all_answers_and_is_narrower_than_the_ratings_alone(place: Place) -> None:
    assert place.standing().figure.why_not == "no answers of this judge were drawn for rating"
    place.rated(60)
    figure = place.standing().figure
    truth = sum(map(rating, range(N))) / N
    assert figure.mean is not None
    assert figure.low < truth < figure.high
    assert figure.judge_mean > figure.high  # too generous: as a quality it would be wrong
    people = figure.people_high - figure.people_low
    assert figure.high - figure.low < 0.8 * people
    assert figure.width_after_next_50 < figure.high - figure.low


def test_a_variants_figure_rests_on_its_own_answers(place: Place) -> None:
    place.rated(2)
    assert place.standing(variant="v_none").figure.n_judged == 0
    assert place.standing(variant=arm().variant).figure.n_judged == N


def test_nothing_but_drawn_ratings_moves_the_interval(place: Place) -> None:
    """Thumbs, corrections, ratings that an application reports and answers in doubt train the map alone."""
    drawn = place.rated(40)
    with place.store.read() as tx:
        rated = {place.store.reviews.get(tx, review).subject for review in drawn}
    before = place.standing().figure
    of = arm(family=place.family.name)
    now = place.clock.now()
    said: list[dict[str, Any]] = [
        {"source": "user", "success": True},
        {"source": "user", "success": None, "score": 0.0},
        {"source": "person", "success": None, "score": 0.0},
        {"source": "person", "success": False, "expected": {"summary": "other"}},
        {"source": "system", "success": False},
    ]
    rows = [
        feedback(f"fb_{i}_{k}", of=of, interaction=f"in_{i}", received_at=now, **changes)
        for i in range(0, N, 3)
        for k, changes in enumerate(said)
    ]
    keep_events(place.store, rows)
    place.store.write(
        lambda tx: place.store.reviews.open(tx, "rv_x", place.family.name, "label_interaction", "in_1", {}, now)
    )
    place.store.write(lambda tx: place.store.reviews.answer(tx, "rv_x", "release", "ben", now))
    assert place.standing().figure == before
    trained_on = rated | {f"in_{i}" for i in range(0, N, 3)}
    assert place.calibrate().n == len(trained_on), "all of it trains the map"


# --- calibrating ------------------------------------------------------------------------------------------------------


def test_the_answers_of_one_unit_calibrate_no_judge(place: Place) -> None:
    place.family = judged_family(model="other")
    judge_answers(place.store, place.family, 25, place.clock.now(), first=N, unit="bot")
    place.clock.pass_time(timedelta(hours=1))
    place.rated(25)
    with pytest.raises(DatasetTooSmall, match="25 rated answers are all of one unit"):
        place.calibrate()


def test_twenty_ratings_calibrate_the_judge_until_it_changes(place: Place) -> None:
    reviews = place.draw(40).reviews
    for review in reviews[:19]:
        place.rate(review)
    with pytest.raises(DatasetTooSmall, match="rated 19, and 20 are needed"):
        place.calibrate()
    assert "no ratings by people" in str(place.standing().uncalibrated)
    place.rate(reviews[19])
    assert (place.calibrate(dry_run=True).n, place.standing().history) == (20, []), "a dry run keeps none"
    record = place.calibrate()
    assert (record.n, record.method) == (20, "platt")
    assert record.mapped(0.5) < 0.3 < 0.8 < record.mapped(1.0)
    assert place.standing().uncalibrated is None
    assert place.standing().calibration == record
    place.family = judged_family(model="other")
    changed = place.standing()
    assert changed.calibration is None
    assert "judge has changed" in str(changed.uncalibrated)
    assert changed.history == [record]


def test_the_agreement_is_told_with_its_intervals(place: Place) -> None:
    place.rated(70)
    agreement = place.calibrate().agreement
    for each in (agreement.spearman, agreement.kappa, agreement.weighted_kappa, agreement.mapped_error):
        assert each.low < each.value < each.high
    assert agreement.mapped_error.value < 0.5 * agreement.raw_error.value
    assert agreement.less_than_mean.high < 0
