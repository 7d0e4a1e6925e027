"""What is sent again counts once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from optimizer.core.base.errors import InvalidInput, KeyReused
from tests.rows.ingestion import Installation, token
from tests.stores import FAMILY, NOW, minutes


class TestUniqueness:
    def test_same_content_is_a_duplicate_and_other_content_a_conflict(self, here: Installation) -> None:
        event = {"id": "a", "assignment": token(), "success": True, "occurred_at": "2026-11-20T08:00:00Z"}
        assert here.send(event)["accepted"] == 1
        here.clock.pass_time(timedelta(hours=1))
        again = here.send(
            event,
            {**event, "success": False},
            {**event, "occurred_at": "2026-11-20T09:00:00+01:00"},
            {**event, "family": FAMILY},
        )
        assert (again["accepted"], again["duplicates"]) == (0, 3)
        assert [(r["index"], r["type"]) for r in again["rejected"]] == [(1, "id_conflict")]
        assert here.feedback()[0].received_at == NOW

    def test_an_id_names_one_event_whatever_its_kind(self, here: Installation) -> None:
        here.send({"id": "a", "assignment": token(), "output": "x"})
        assert here.refusal({"id": "a", "assignment": token(), "success": True}) == "id_conflict"
        assert here.refusal({"id": "a", "assignment": token(), "output": "x", "success": True}) == "id_conflict"
        assert here.feedback() == []

    def test_the_same_content_under_a_newer_token_of_the_arm_is_a_duplicate(self, here: Installation) -> None:
        here.send({"id": "a", "assignment": token(), "success": True})
        assert here.send({"id": "a", "assignment": token(issued_at=minutes(5)), "success": True})["duplicates"] == 1
        assert here.refusal({"id": "a", "assignment": token("u2"), "success": True}) == "id_conflict"

    def test_families_do_not_share_ids(self, here: Installation) -> None:
        assert (
            here.send(*({"id": "a", "family": name, "unit": "u", "score": 1} for name in (FAMILY, "triage")))[
                "accepted"
            ]
            == 2
        )


class TestIdempotency:
    EVENT = {"assignment": token(), "success": True}  # noqa: RUF012 - without an id only the key tells a repetition

    def test_the_same_key_and_body_give_the_first_answer_again(self, here: Installation) -> None:
        first = here.send(self.EVENT, {"x": 1}, idempotency=("app", "key", "hash"))
        assert here.send(self.EVENT, {"x": 1}, idempotency=("app", "key", "hash")) == first
        assert first["accepted"] == 1
        assert len(here.feedback()) == 1

    def test_another_body_under_the_same_key_is_refused(self, here: Installation) -> None:
        here.send(self.EVENT, idempotency=("app", "key", "hash"))
        with pytest.raises(KeyReused, match="key") as refused:
            here.send(self.EVENT, idempotency=("app", "key", "other"))
        assert refused.value.slug == "idempotency-key-reused"
        assert isinstance(refused.value, InvalidInput)
        assert len(here.feedback()) == 1

    def test_senders_do_not_share_keys(self, here: Installation) -> None:
        here.send(self.EVENT, idempotency=("app", "key", "hash"))
        assert here.send(self.EVENT, idempotency=("other", "key", "other hash"))["accepted"] == 1
