"""A family, keys and a store to send events to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from optimizer.adapters.store import Database
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.feedback.events import FeedbackEvent, Interaction
from optimizer.core.serving.assignment import Assignment, TokenForm, unit_hmac, verify_token
from optimizer.jobs.feedback.ingest_feedback import Intake
from tests.clock import Clock
from tests.stores import FAMILY, NOW, temporary_database, variant

KEYS = [("k1", b"1" * 32)]
UNIT_KEY = b"u" * 32
VARIANT = variant().id
CANDIDATE = variant("In a sentence: {{document}}").id
BY_UNIT = {"family": FAMILY, "unit": "u1"}


def family(name: str = FAMILY, **privacy: Any) -> Family:
    content = [{"role": "user", "content": "Summarize: {{document}}"}]
    return parse_family(
        {
            "name": name,
            "inputs": {"document": {"type": "text"}},
            "output": {"field": "summary", "parser": "text"},
            "prompt": {"current": "1", "versions": {"1": {"content": content}}},
            "privacy": privacy,
        }
    )


def hmac_unit(unit: str) -> str:
    return unit_hmac(UNIT_KEY, unit)


def sign_token(assignment: Assignment, keys: Sequence[tuple[str, bytes]]) -> str:
    return TokenForm.of(assignment, keys).signed(assignment.unit_hmac)


def token(unit: str = "u1", *, keys: Sequence[tuple[str, bytes]] = KEYS, **changes: Any) -> str:
    usual = {"family": FAMILY, "variant": VARIANT, "role": "champion", "issued_at": NOW, "unit_hmac": hmac_unit(unit)}
    return sign_token(Assignment(**{**usual, **changes}), keys)


class Installation:
    """Two families, a clock that stands still, and a way to send events."""

    def __init__(self, store: Database, /, *, scale: float = 1.0, **privacy: Any) -> None:
        self.store = store
        self.clock = Clock(NOW, scale)
        self.families: Mapping[str, Family] = {FAMILY: family(**privacy), "triage": family("triage")}
        for each in (variant(), variant("In a sentence: {{document}}")):
            record = VariantRecord(family=FAMILY, variant=each, source="file", created_at=NOW, created_by="anna")
            store.write(lambda tx, record=record: store.variants.add(tx, record))

    def intake(self, idempotency: tuple[str, str, str] | None = None) -> Intake:
        return Intake(
            store=self.store,
            clock=self.clock,
            families=self.families,
            verify=lambda text: verify_token(text, KEYS, self.clock.now()),
            hmac_unit=hmac_unit,
            actor="app",
            idempotency=idempotency,
        )

    def send(self, *events: Any, idempotency: tuple[str, str, str] | None = None) -> dict[str, Any]:
        return self.intake(idempotency).take(events)

    def refusal(self, event: Any) -> str:
        """The type under which a single event is rejected."""
        answer = self.send(event)
        assert (answer["accepted"], answer["duplicates"], len(answer["rejected"])) == (0, 0, 1)
        assert answer["rejected"][0].keys() - {"errors"} == {"index", "type", "detail"}
        return str(answer["rejected"][0]["type"])

    def interaction(self, id: str, family: str | None = None) -> Interaction:
        with self.store.read() as tx:
            found = self.store.events.interaction(tx, id, family)
        assert found is not None
        return found

    def feedback(self) -> list[FeedbackEvent]:
        with self.store.read() as tx:
            return self.store.events.page_of_feedback(
                tx, family=None, variant=None, since=None, cursor=None, limit=10_000
            )[0]

    def n_interactions(self) -> int:
        with self.store.read() as tx:
            return sum(
                arm.n_interactions for name in self.families for arm in self.store.events.arm_summary(tx, name, None)
            )

    def examples(self) -> list[Example]:
        """Train and dev; the holdout is sealed."""
        with self.store.read() as tx:
            return [e for split in ("train", "dev") for e in self.store.examples.of_split(tx, FAMILY, split=split)]

    def reviews(self) -> list[dict[str, Any]]:
        with self.store.read() as tx:
            return self.store.reviews.page(tx, None, None)


@contextmanager
def temporary_installation(**privacy: Any) -> Iterator[Installation]:
    with temporary_database() as store:
        yield Installation(store, **privacy)


def hours(n: float) -> datetime:
    return NOW + timedelta(hours=n)
