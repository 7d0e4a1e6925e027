"""What waits to be told to others: studies, rollouts and prompts to MLflow, alerts to people; and the mirror in which
people review studies and rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import Study, Trial
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    seq: int
    topic: str
    subject: str
    payload: Mapping[str, Any]
    attempts: int
    not_before: datetime
    last_error: str | None


class Outbox(Protocol):
    def add(self, tx: Transaction, topic: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        """Replaces an unsent item of the same topic and subject: the mirror reads the store, not the
        payload, for bulk.
        """

    def due(self, tx: Transaction, now: datetime, limit: int, *, topics: Collection[str]) -> list[OutboxItem]:
        """Unsent items of these topics whose time has come, oldest first."""

    def unsent(self, tx: Transaction, *, topics: Collection[str]) -> list[OutboxItem]:
        """Due or not, oldest first."""

    def oldest(self, tx: Transaction, topic: str) -> OutboxItem | None:
        """The first unsent item, due or not: where messages go out in their order, the others wait for it."""

    def sent(self, tx: Transaction, seq: int, at: datetime) -> None: ...
    def failed(self, tx: Transaction, seq: int, error: str, not_before: datetime) -> None: ...
    def withdraw(self, tx: Transaction, topic: str, subject: str) -> bool:
        """Deletes what waits unsent of this topic and subject; False where nothing does."""

    def backlog(self, tx: Transaction, *, topics: Collection[str]) -> int: ...
    def discard(self, tx: Transaction, topic: str) -> int:
        """Deletes the unsent rows of a topic to which nobody listens any more; returns how many."""

    def last(self, tx: Transaction, topic: str, subject: str) -> Mapping[str, Any] | None:
        """The payload of the newest item, sent or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvidence:
    """What a Tracker may show of a Study beside the Study and its Trials;
    built by ``jobs/outbox/mirror_outbox.py``, never with holdout text.
    """

    variants: Mapping[str, Variant]
    # Of the search, by variant, in the order of the dev examples; with texts where ``shown_variants`` has the variant.
    results: Mapping[str, Sequence[ExampleResult]]
    examples: Mapping[str, Example]  # train and dev examples of the dataset whose text is released
    confirmation: Mapping[str, Sequence[ExampleResult]]  # by variant, without outputs
    description: str = ""  # of the family


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAlias:
    """An alias that a person moved in the prompt registry, and that was put back. None = the alias was not set."""

    family: str
    alias: str
    found: str | None
    restored: str | None


class Tracker(Protocol):
    """The mirror of studies and rollouts that people review (MLflow). Every method may be repeated without harm."""

    def mirror_study(self, study: Study, trials: Sequence[Trial], extras: StudyEvidence) -> str | None:
        """Returns the id under which people find the study there."""

    def mirror_prompt(self, family: str, variant: Variant, aliases: Sequence[str], tags: Mapping[str, str]) -> None:
        """Registers the Variant (once) and points exactly these aliases at it."""

    def restore_aliases(self, family: str, wanted: Mapping[str, str]) -> list[MovedAlias] | None:
        """Makes the aliases champion, candidate and previous agree
        with ``wanted`` (alias > variant id); returns what differed, None where nothing of the family was ever sent.
        """

    def rename_family(self, was: str, family: str, *, is_shown: bool) -> None:
        """What stands there under the name ``was`` has this name from now on; it is removed from view where it is not
        shown. Prompts go, since they are sent again under the new name.
        """

    def mirror_rollout(self, rollout: Rollout, decisions: Sequence[Decision]) -> str | None:
        """Returns the id under which people find the rollout there."""

    def attach_page(self, run: str, name: str, page: str) -> None:
        """Puts an HTML page beside what was mirrored under the id ``run``, in the place of one of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What makes the report of a study or of a rollout as one HTML page that loads nothing."""

    study: Callable[[Study], str]
    rollout: Callable[[Rollout], str]
