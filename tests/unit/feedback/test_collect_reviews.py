"""Production answers in doubt come before a person, a few a day; only what is released there becomes an example."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.dataset.examples import group_of, make_example, split_of
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.settings import ReviewSettings
from optimizer.core.feedback.rating_draws import (
    ReviewPayload,
    SampledInteraction,
    confidence_of_parts,
    first_of_units,
    uncertain_answers,
)
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER
from optimizer.jobs.feedback.answer_review import ReviewsRequest, label_interaction, read_reviews
from optimizer.jobs.feedback.collect_reviews import collect_reviews, is_due, open_reviews
from optimizer.runtime.wiring import sealed_holdout
from tests.rows.ingestion import Installation, family
from tests.stores import FAMILY, arm, feedback, interaction, keep_events, temporary_database
from tests.worlds.contexts import context_of

SETTINGS = ReviewSettings()


class Place:
    """An installation with reported interactions, and the worker's look at them a little later."""

    def __init__(self, here: Installation) -> None:
        self.store, self.clock = here.store, here.clock
        self.family: Family = family()
        self.clock.pass_time(timedelta(minutes=10))
        self.n = 0

    def report(self, id: str, unit: str | None = None, *, input: Any = "", **changes: Any) -> None:
        given = {"document": f"text of {id}"} if input == "" else input
        self.n += 1
        at = self.clock.now() - timedelta(minutes=5)
        of = arm(family=self.family.name, unit_hmac=unit or f"u{self.n}")
        row = interaction(id, of=of, received_at=at, occurred_at=at, input=given, **{"output": "an answer", **changes})
        keep_events(self.store, [row])

    def label(self, of: str, **changes: Any) -> None:
        self.n += 1
        at = self.clock.now() - timedelta(minutes=4)
        given = {"of": arm(family=self.family.name), "received_at": at, "success": None, **changes}
        keep_events(self.store, [feedback(f"fb_{self.n}", interaction=of, **given)])

    def failed(self, id: str, unit: str | None = None, **changes: Any) -> None:
        """An interaction that a user says was bad."""
        self.report(id, unit, **changes)
        self.label(id, success=False)

    def collect(self, **options: Any) -> list[Any]:
        return list(collect_reviews(self.family, store=self.store, clock=self.clock, **options).items)

    def reviews(self) -> list[dict[str, Any]]:
        with self.store.read() as tx:
            return self.store.reviews.page(tx, self.family.name, None)

    def answer(self, review: str, answer: str = "release", **options: Any) -> dict[str, Any]:
        context = context_of(self.store, self.clock, "ben")
        return label_interaction(context, review, answer, family=self.family, **options)

    def open(self, id: str, kind: str, subject: str) -> None:
        now = self.clock.now()
        self.store.write(lambda tx: self.store.reviews.open(tx, id, FAMILY, kind, subject, {}, now))

    def keep(self, split: str, document: str) -> None:
        """An example in a split."""
        group = next(g for g in "abcdefgh" if split_of(g) == split)
        given = {"family": FAMILY, "origin": "import", "created_at": self.clock.now()}
        input, expected = {"document": document}, {"summary": "x"}
        row = make_example(id=group, group=group, input=input, expected=expected, **given)
        self.store.write(lambda tx: self.store.examples.add(tx, [row]))

    def released(self) -> list[Any]:
        """The examples of every split."""
        with self.store.read() as tx:
            found = [e for split in ("train", "dev") for e in self.store.examples.of_split(tx, FAMILY, split=split)]
            return [*found, *sealed_holdout().open(tx, FAMILY, "st_x", None, self.clock.now())]

    def examples(self) -> dict[str, int]:
        with self.store.read() as tx:
            return dict(self.store.examples.counts(tx, self.family.name))


@pytest.fixture
def place() -> Iterator[Place]:
    with temporary_database() as database:
        yield Place(Installation(database))


# --- which ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "doubt"),
    [
        (SampledInteraction(interaction="i", low=0.2, high=0.9), "disputed"),
        (SampledInteraction(interaction="i", low=0.2, high=0.2), "low"),
        (SampledInteraction(interaction="i", low=0.9, high=1.0, confidence=0.3), "unsure"),
        (SampledInteraction(interaction="i", low=0.9, high=1.0, confidence=0.9), None),
        (SampledInteraction(interaction="i"), None),
        (SampledInteraction(interaction="i", low=0.0, high=0.0, is_corrected=True), None),
    ],
)
def test_an_answer_is_in_doubt_where_sources_disagree_or_it_scored_low_or_was_given_unsure(seen, doubt):
    assert [one.doubt for one in uncertain_answers([seen], SETTINGS)] == ([doubt] if doubt else [])


def test_disputed_ones_come_first_and_a_unit_once() -> None:
    unsure = SampledInteraction(interaction="a", confidence=0.1)
    low, disputed = (SampledInteraction(interaction=id, low=0.1, high=high) for id, high in (("b", 0.1), ("c", 1.0)))
    found = uncertain_answers([unsure, low, disputed], SETTINGS)
    assert [one.interaction for one in found] == ["c", "b", "a"]
    units = {"a": "u1", "b": "u2", "c": "u2"}
    assert [one.interaction for one in first_of_units(found, units, known=(), most=5)] == ["c", "a"]
    assert [one.interaction for one in first_of_units(found, units, known={"u2"}, most=5)] == ["a"]
    assert [one.interaction for one in first_of_units(found, {**units, "b": None}, known={"u1"}, most=1)] == ["c"]


def test_the_confidence_is_that_of_the_answer_that_went_out() -> None:
    assert confidence_of_parts([{"confidence": 0.2}, {"confidence": 0.8, "taken": True}]) == 0.8
    assert confidence_of_parts([{"taken": True}]) is None
    assert confidence_of_parts(None) is None


# --- the queue --------------------------------------------------------------------------------------------------------


def test_each_kind_of_doubt_is_put_up_with_its_reason_and_without_a_text(place: Place) -> None:
    place.report("disputed")
    place.label("disputed", score=0.9, source="user")
    place.label("disputed", score=0.1, source="judge")
    place.failed("low")
    place.report("unsure", parts=[{"model": "m", "purpose": "answer", "confidence": 0.2, "taken": True}])
    place.report("fine")
    place.label("fine", success=True)
    assert [one.interaction for one in place.collect(dry_run=True)] == ["disputed", "low", "unsure"]
    assert place.reviews() == []
    place.collect()
    rows = place.reviews()
    assert {row.subject: row.payload["doubt"] for row in rows} == {one: one for one in ("disputed", "low", "unsure")}
    assert all(row.kind == LABEL_INTERACTION and "text of" not in str(row.payload) for row in rows)


def test_what_was_put_up_or_corrected_or_cannot_be_labelled_is_not_put_up(place: Place) -> None:
    place.report("corrected")
    place.label("corrected", expected={"summary": "right"}, success=False)
    place.failed("no input", input=None)
    for value in (1795, None, ""):
        place.failed(f"input {value}", input={"document": value})
    place.failed("failed", output=None, error="timeout")
    place.failed("once")
    assert [one.interaction for one in place.collect()] == ["once"]
    place.clock.pass_time(timedelta(hours=25))
    place.label("once", success=False)
    assert place.collect() == []


def test_no_more_than_per_day(place: Place) -> None:
    place.family = parse_family({**family().model_dump(exclude_none=True), "review": {"per_day": 2}})
    for n in range(4):
        place.failed(f"in_{n}")
    assert len(place.collect()) == 2
    place.clock.pass_time(timedelta(minutes=10))
    place.failed("later")
    assert place.collect() == []
    place.clock.pass_time(timedelta(days=1))
    place.failed("next day")
    assert [one.interaction for one in place.collect()] == ["next day"]


def test_what_others_put_up_meanwhile_counts_within_the_day(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.family = parse_family({**family().model_dump(exclude_none=True), "review": {"per_day": 1}})
    place.failed("in_0")
    write = place.store.write

    def after_another(fn: Any) -> Any:
        write(lambda tx: place.store.reviews.open(tx, "rv", FAMILY, LABEL_INTERACTION, "other", {}, place.clock.now()))
        return write(fn)

    monkeypatch.setattr(place.store, "write", after_another)
    assert place.collect() == []
    assert [review.subject for review in place.reviews()] == ["other"]


def test_a_unit_is_put_up_once_in_a_week(place: Place) -> None:
    for day, expected in ((0, 1), (2, 0), (6, 1)):
        place.clock.pass_time(timedelta(days=day))
        for n in range(2):
            place.failed(f"in_{day}_{n}", "same")
        assert len(place.collect()) == expected, day


def test_a_look_is_due_once_a_day_and_never_where_nothing_may_be_shown(place: Place) -> None:
    assert is_due(place.family, store=place.store, clock=place.clock)
    place.collect()
    assert not is_due(place.family, store=place.store, clock=place.clock)
    place.clock.pass_time(timedelta(days=1))
    assert is_due(place.family, store=place.store, clock=place.clock)
    for changes in ({"review": {"per_day": 0}}, {"privacy": {"store": "metadata"}}):
        quiet = parse_family({**family("quiet").model_dump(exclude_none=True), **changes})
        assert not is_due(quiet, store=place.store, clock=place.clock)
        assert not collect_reviews(quiet, store=place.store, clock=place.clock).items


# --- the answer -------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(place: Place) -> tuple[Place, str]:
    place.failed("in_1")
    place.collect()
    assert place.examples() == {"train": 0, "dev": 0, "holdout": 0}
    return place, place.reviews()[0].id


def test_a_released_answer_becomes_an_example_split_by_its_hash(asked: tuple[Place, str]) -> None:
    place, review = asked
    row = place.answer(review, expected={"summary": "what it should have been"})
    assert (row.status, row.answer) == ("answered", "release")
    split = split_of(group_of({"document": "text of in_1"}, None))
    assert place.examples()[split] == sum(place.examples().values()) == 1
    with place.store.read() as tx:
        (standing,) = place.store.examples.standing(tx, FAMILY, ids=["ia_in_1"], groups=())
    assert standing.released
    assert place.answer(review, expected={"summary": "x"}).answered_by == "ben"  # repeating it changes nothing
    assert sum(place.examples().values()) == 1


def test_an_answer_to_what_examples_of_two_splits_say_becomes_none_and_can_be_kept_back(place: Place) -> None:
    letter = "my parcel of last week has not come yet and the courier says that it was never sent can you look"
    place.keep("train", f"{letter} train")
    place.keep("holdout", f"{letter} holdout")
    place.report("in_9", input={"document": letter})
    place.open("rv_9", LABEL_INTERACTION, "in_9")
    with pytest.raises(Conflict, match=r"examples of another split.*review answer rv_9 keep_back"):
        place.answer("rv_9", as_answered=True)
    assert sum(place.examples().values()) == 2
    assert place.answer("rv_9", "keep_back").answer == "keep_back"


@pytest.mark.parametrize("value", [1795, None, ""])
def test_an_answer_to_what_no_example_may_ask_becomes_none(place: Place, value: Any) -> None:
    place.report("in_9", input={"document": value})
    place.open("rv_9", LABEL_INTERACTION, "in_9")
    with pytest.raises(InvalidInput, match=r"the input 'document' is .*review answer rv_9 keep_back"):
        place.answer("rv_9", as_answered=True)
    assert sum(place.examples().values()) == 0


def test_an_answer_to_what_a_retired_family_has_sealed_becomes_no_example(place: Place) -> None:
    letter = next(t for i in range(9) if split_of(group_of({"document": (t := f"letter {i}")}, None)) != "holdout")
    place.keep("holdout", letter)
    names = place.store.family_names
    place.store.write(lambda tx: names.retire(tx, FAMILY, place.clock.now()))
    place.store.write(lambda tx: names.claim(tx, FAMILY, place.clock.now()))
    place.report("in_9", input={"document": letter})
    place.open("rv_9", LABEL_INTERACTION, "in_9")
    with pytest.raises(Conflict, match=r"sealed holdout of a retired family.*review answer rv_9 keep_back"):
        place.answer("rv_9", as_answered=True)
    assert sum(place.examples().values()) == 0


def test_what_the_sealed_holdout_asks_is_put_up_for_nobody_and_shown_to_nobody(place: Place) -> None:
    for id in ("in_1", "in_2"):
        place.report(id)
        place.label(id, score=0.0)
        place.open(f"rv_{id}", RATE_ANSWER, id)
    place.keep("holdout", "text of in_1")
    assert [one.interaction for one in place.collect()] == ["in_2"]
    families = SimpleNamespace(families={FAMILY: place.family})
    context = context_of(place.store, place.clock, families=lambda: families)
    of_ratings = {one.subject: one for one in read_reviews(context, ReviewsRequest()).items if one.kind == RATE_ANSWER}
    assert (of_ratings["in_1"].input, of_ratings["in_1"].output) == (None, None)
    assert (of_ratings["in_2"].input, of_ratings["in_2"].output) == ({"document": "text of in_2"}, "an answer")


def test_no_review_of_what_the_sealed_holdout_asks_is_opened_nor_counted_among_those_of_the_day(place: Place) -> None:
    place.family = place.family.model_copy(update={"review": ReviewSettings(per_day=1)})
    for id in ("in_1", "in_2"):
        place.report(id)
    place.keep("holdout", "text of in_1")
    doubts = {id: ReviewPayload(doubt="divided", why="the judge's members differ") for id in ("in_1", "in_2")}
    now = place.clock.now()
    assert place.store.write(lambda tx: open_reviews(tx, place.store, place.family, doubts, now)).keys() == {"in_2"}


def test_an_answer_that_was_right_is_its_own_expectation(asked: tuple[Place, str]) -> None:
    place, review = asked
    place.answer(review, as_answered=True)
    (one,) = place.released()
    assert (one.expected, one.origin, one.interaction) == ({"summary": "an answer"}, "interaction", "in_1")
    with place.store.read() as tx:
        assert place.store.audit.page(tx, None, 10)[0][0]["action"] == LABEL_INTERACTION


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"say what its summary should have been \(--expected TEXT\).*\(--as-answered\)"),
        ({"expected": {"summary": "x"}, "as_answered": True}, "not both"),
        ({"expected": {"topic": "x"}}, "no 'summary'"),
        ({"expected": {"summary": " "}}, "cannot be read"),
        ({"answer": "yes"}, "release or keep_back"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_and_the_review_stays_open(asked, options, says):
    place, review = asked
    with pytest.raises(InvalidInput, match=says):
        place.answer(review, **options)
    assert place.reviews()[0].status == "open"
    with pytest.raises(NotFound):
        place.answer("rv_unknown", as_answered=True)


def of_labels(*labels: str) -> Family:
    output = {"field": "topic", "parser": "label", "labels": list(labels)}
    given = family().model_dump(exclude_none=True)
    return parse_family({**given, "output": output, "scorer": {"exact_match": 1.0}})


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("billling", r"Say --expected LABEL, known are billing, other, delivery; did you mean billing\?"),
        ("zzz", r"known are other, billing, delivery\.$"),
    ],
)
def test_a_label_that_the_family_does_not_have_is_refused_with_those_it_has(asked, said, says):
    place, review = asked
    place.family = of_labels("other", "billing", "delivery")
    with pytest.raises(InvalidInput, match=says) as caught:
        place.answer(review, expected={"topic": said})
    assert [fault.pointer for fault in caught.value.faults] == ["/expected"]
    with pytest.raises(InvalidInput, match="--expected LABEL, known are other, billing, delivery"):
        place.answer(review, as_answered=True)  # "an answer" is no label either
    place.answer(review, expected={"topic": "Billing"})
    assert place.released()[0].expected == {"topic": "billing"}


def test_a_family_of_many_labels_names_some_and_where_the_others_stand(asked: tuple[Place, str]) -> None:
    place, review = asked
    place.family = of_labels(*(f"label {n}" for n in range(100)))
    with pytest.raises(InvalidInput, match=r"label 19, \.\.\. 100 in all: output.labels of its family.yaml"):
        place.answer(review)


def test_masks_hold_for_what_a_person_writes(asked: tuple[Place, str]) -> None:
    place, review = asked
    place.family = family(mask=["email"])
    place.answer(review, expected={"summary": "write to anna@example.org"})
    assert "anna@" not in str(place.released()[0].expected)
