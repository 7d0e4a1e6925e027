"""A correction becomes an example once a person has released it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.dataset.examples import group_of, make_example, split_of
from optimizer.core.family.variant import VariantRecord
from optimizer.jobs.dataset.release_example import release_example
from optimizer.jobs.feedback.answer_review import withdraw_answer
from optimizer.jobs.request import ItemRequest
from optimizer.ports import Review
from tests.rows.ingestion import Installation, hmac_unit, token
from tests.stores import FAMILY, NOW, minutes, study, variant
from tests.worlds.contexts import context_of

BETTER = {"assignment": token(), "expected": {"summary": "better"}}


def document(split: str, n: int = 0) -> str:
    """The n-th text whose group falls into a split."""
    return [text for i in range(200) if split_of(group_of({"document": (text := f"text {i}")}, None)) == split][n]


def made_later(text: str) -> VariantRecord:
    return VariantRecord(
        family=FAMILY, variant=variant(text), source="person", created_by="anna", created_at=minutes(9)
    )


def subject_of(store: Any, tx: Any) -> str:
    (review,) = store.reviews.page(tx, None, None)
    return str(review.subject)


class TestCorrections:
    def test_a_correction_with_its_input_becomes_an_example_that_waits_for_a_person(self, here: Installation) -> None:
        input = {"document": document("train")}
        here.send({**BETTER, "id": "a", "input": {**input, "more": 1}})
        (example,) = here.examples()
        assert (example.input, example.expected, example.split) == (input, {"summary": "better"}, "train")
        assert (example.origin, example.released, example.unit_hmac) == ("correction", False, hmac_unit("u1"))
        (review,) = here.reviews()
        asked = review.kind, review.subject, review.family, review.status
        assert asked == ("release_example", example.id, FAMILY, "open")

    def test_the_input_may_be_that_of_its_interaction(self, here: Installation) -> None:
        here.send({"id": "in", "assignment": token(), "input": {"document": document("dev")}, "output": "x"})
        here.send({"interaction": "in", "expected": {"summary": "better"}})
        (example,) = here.examples()
        assert (example.split, example.interaction) == ("dev", "in")

    def test_the_input_may_come_in_the_same_request(self, here: Installation) -> None:
        report = {"id": "in", "assignment": token(), "input": {"document": document("train")}, "output": "x"}
        assert here.send({"interaction": "in", "expected": {"summary": "better"}}, report)["accepted"] == 2
        assert len(here.examples()) == 1

    def test_without_any_input_it_is_feedback_alone(self, here: Installation) -> None:
        assert here.send(BETTER)["accepted"] == 1
        assert here.examples() == []

    @pytest.mark.parametrize("more", [{}, {"input": {"document": "x"}}], ids=["alone", "with its input"])
    def test_a_label_that_the_family_does_not_have_is_refused_and_not_quoted(
        self, here: Installation, more: dict[str, Any]
    ) -> None:
        output = here.families[FAMILY].output.model_copy(update={"parser": "label", "labels": ("billing", "technical")})
        here.families = {FAMILY: here.families[FAMILY].model_copy(update={"output": output})}
        answer = here.send(
            {"assignment": token(), "expected": {"summary": "bilding"}, **more},
            {"assignment": token(), "expected": {"summary": "Billing "}, "input": {"document": document("train")}},
        )
        (refused,) = answer["rejected"]
        assert [example.expected for example in here.examples()] == [{"summary": "billing"}]
        assert (answer["accepted"], refused["index"], refused["type"]) == (1, 0, "malformed")
        assert refused["detail"] == f"/expected has as 'summary' no label of family {FAMILY!r}; did you mean 'billing'?"

    @pytest.mark.parametrize("value", [1795, None, ["a"]])
    def test_an_input_that_no_example_may_have_is_refused(self, here: Installation, value: Any) -> None:
        answer = here.send({**BETTER, "input": {"document": value}})
        (refused,) = answer["rejected"]
        assert (answer["accepted"], refused["type"], here.examples()) == (0, "malformed", [])
        assert refused["detail"].startswith(f"/input teaches family {FAMILY!r} nothing: the input 'document' is ")
        assert "1795" not in refused["detail"]

    def test_an_empty_input_is_one_that_may_be_asked_and_its_correction_is_feedback_alone(
        self, here: Installation
    ) -> None:
        event = {**BETTER, "input": {"document": ""}, "score": 0.5}
        assert (here.send(event)["accepted"], here.examples()) == (1, [])

    @pytest.mark.parametrize("value", [1795, ""])
    def test_one_on_an_interaction_that_reported_such_an_input_is_feedback_alone(
        self, here: Installation, value: Any
    ) -> None:
        here.send({"id": "in", "assignment": token(), "input": {"document": value}, "output": "x"})
        assert here.send({"interaction": "in", "expected": {"summary": "better"}})["accepted"] == 1
        assert here.examples() == []

    def test_no_review_shows_the_holdout(self, here: Installation) -> None:
        here.send({**BETTER, "input": {"document": document("holdout")}})
        with here.store.read() as tx:
            assert here.store.examples.counts(tx, FAMILY) == {"train": 0, "dev": 0, "holdout": 1}
        assert here.reviews() == []

    def test_one_that_says_what_examples_of_two_splits_say_is_set_aside_and_counted(self, here: Installation) -> None:
        letter = "my parcel of last week has not come yet and the courier says that it was never sent can you look"
        for split in ("train", "holdout"):
            group = next(name for name in "abcdefgh" if split_of(name) == split)
            row = make_example(
                family=FAMILY,
                id=group,
                group=group,
                input={"document": f"{letter} {group}"},
                expected={"summary": "x"},
                origin="import",
                created_at=NOW,
            )
            here.store.write(lambda tx, row=row: here.store.examples.add(tx, [row]))
        answer = here.send({**BETTER, "input": {"document": letter}})
        assert (answer["accepted"], answer["set_aside"]) == (1, 1)
        assert [example.origin for example in here.examples()] == ["import"]
        assert here.reviews() == []

    def test_one_that_a_retired_family_has_sealed_is_set_aside_and_counted(self, here: Installation) -> None:
        group = next(name for name in "abcdefgh" if split_of(name) == "holdout")
        input, expected, names = {"document": document("train")}, {"summary": "x"}, here.store.family_names
        about = {"family": FAMILY, "group": group, "origin": "import", "created_at": NOW}
        row = make_example(input=input, expected=expected, **about)
        here.store.write(lambda tx: here.store.examples.add(tx, [row]))
        here.store.write(lambda tx: names.retire(tx, FAMILY, NOW))
        here.store.write(lambda tx: names.claim(tx, FAMILY, NOW))
        answer = here.send({"family": FAMILY, "unit": "u", "input": input, "expected": {"summary": "better"}})
        assert (answer["accepted"], answer.get("set_aside")) == (1, 1)
        assert here.examples() == []

    def test_families_that_trust_their_users_need_no_review(self, install: Callable[..., Installation]) -> None:
        here = install(examples_from="any")
        here.send({**BETTER, "input": {"document": document("train")}})
        assert [example.released for example in here.examples()] == [True]
        assert here.reviews() == []

    def test_sending_it_again_makes_no_second_example(self, here: Installation) -> None:
        event = {**BETTER, "id": "a", "input": {"document": document("train")}}
        here.send(event, event)
        here.send(event)
        assert (len(here.examples()), len(here.reviews())) == (1, 1)


class TestRelease:
    @pytest.fixture
    def asked(self, here: Installation) -> Installation:
        here.send({**BETTER, "input": {"document": document("train")}})
        return here

    def answer(self, here: Installation, answer: str, review: str | None = None) -> Review:
        return release_example(review or here.reviews()[0].id, answer, actor="ben", store=here.store, clock=here.clock)

    def test_a_person_releases_it_and_is_on_record(self, asked: Installation) -> None:
        assert self.answer(asked, "release").answered_by == "ben"
        self.answer(asked, "release")
        assert [example.released for example in asked.examples()] == [True]
        with asked.store.read() as tx:
            (entry,) = asked.store.audit.page(tx, None, 9)[0]
        assert (entry["actor"], entry["action"], entry["detail"]["answer"]) == ("ben", "release_example", "release")

    def test_a_person_keeps_it_back_for_good(self, asked: Installation) -> None:
        self.answer(asked, "keep_back")
        with pytest.raises(Conflict):
            self.answer(asked, "release")
        assert [example.released for example in asked.examples()] == [False]

    def test_other_answers_and_reviews_are_refused(self, asked: Installation) -> None:
        with pytest.raises(InvalidInput, match="keep_back"):
            self.answer(asked, "maybe")
        with pytest.raises(NotFound):
            self.answer(asked, "release", "rv_9")
        asked.store.write(lambda tx: asked.store.reviews.open(tx, "rv_x", FAMILY, "approve_lesson", "x", {}, NOW))
        with pytest.raises(InvalidInput, match="approve_lesson"):
            self.answer(asked, "release", "rv_x")

    def withdraw(self, here: Installation) -> Review:
        context = context_of(here.store, here.clock, "cleo")
        return withdraw_answer(context, ItemRequest(id=here.reviews()[0].id))

    @pytest.mark.parametrize("answer", ["release", "keep_back"])
    def test_an_answer_is_taken_back_and_the_question_waits_again(self, asked: Installation, answer: str) -> None:
        asked.clock.pass_time(timedelta(minutes=5))
        self.answer(asked, answer)
        for _ in range(2):  # repeating it changes nothing
            taken_back = self.withdraw(asked)
            assert (taken_back.status, taken_back.answer, taken_back.answered_by) == ("open", None, None)
        (example,) = asked.examples()
        assert not example.released
        with asked.store.read() as tx:
            entries = asked.store.audit.page(tx, None, 9)[0]
        (entry,) = [entry for entry in entries if entry["action"] == "withdraw_answer"]
        assert (entry["actor"], entry["detail"]["answer"]) == ("cleo", answer)
        other = "keep_back" if answer == "release" else "release"
        assert self.answer(asked, other).answer == other

    @pytest.mark.parametrize(
        ("made", "named"),
        [
            (lambda store, tx: store.studies.add(tx, study("st_before", status="finished", finished_at=NOW)), None),
            (lambda store, tx: store.studies.add(tx, study("st_other", family="triage", status="queued")), None),
            (lambda store, tx: store.studies.add(tx, study("st_runs")), "st_runs"),
            (lambda store, tx: store.studies.add(tx, study("st_9", status="failed", finished_at=minutes(9))), "st_9"),
            (lambda store, tx: store.variants.add(tx, made_later("Another one: {{document}}")), "v_"),
            (lambda store, tx: store.examples.set_golden(tx, FAMILY, subject_of(store, tx), "s"), "golden"),
        ],
    )
    def test_a_release_stays_once_something_may_hold_its_text(
        self, asked: Installation, made: Callable[[Any, Any], object], named: str | None
    ) -> None:
        asked.clock.pass_time(timedelta(minutes=5))
        self.answer(asked, "release")
        asked.store.write(lambda tx: made(asked.store, tx))
        if named is None:
            self.withdraw(asked)
        else:
            with pytest.raises(Conflict, match=named):
                self.withdraw(asked)
        (example,) = asked.examples()
        assert example.released == (named is not None)

    @pytest.mark.parametrize(("kind", "why"), [("rate_answer", "rating"), ("label_interaction", "label")])
    def test_ratings_and_labels_stay(self, here: Installation, kind: str, why: str) -> None:
        here.store.write(lambda tx: here.store.reviews.open(tx, "rv_1", FAMILY, kind, "in_1", {}, NOW))
        here.store.write(lambda tx: here.store.reviews.answer(tx, "rv_1", "release", "ben", NOW))
        with pytest.raises(Conflict, match=why):
            self.withdraw(here)
