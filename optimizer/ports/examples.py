"""Examples with their holdout under seal, and what people are asked: reviews, and repairs of verified graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from optimizer.core.base.answers import Json, Text
from optimizer.core.dataset.examples import Example, Split
from optimizer.core.feedback.rating_draws import ReviewPayload
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RATE_ANSWER, RELEASE
from optimizer.core.graph.verified import VerifiedGraph
from optimizer.ports.transaction import Added, Transaction

if TYPE_CHECKING:
    from optimizer.core.predictor.example_index import ExampleIndex
    from optimizer.core.predictor.student import TaughtStudent
    from optimizer.core.rollout.student_watch import StudentWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleStanding:
    """An Example's split and state, without its text."""

    id: str
    group: str
    split: Split
    released: bool
    interaction: str | None = None  # that it came from


Spelled = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # an expected output, with the labels as its family has them


class Examples(Protocol):
    def add(self, tx: Transaction, rows: Sequence[Example], *, spelled: Spelled | None = None) -> list[Added]:
        """``spelled``: what a stored expected output is read by, so that a row which differs from it in the spelling
        alone is a duplicate; None: every difference counts.
        """

    def of_split(
        self,
        tx: Transaction,
        family: str,
        *,
        split: Literal["train", "dev"],
        released_only: bool = False,
        ids: Collection[str] | None = None,
    ) -> list[Example]:
        """``ids`` None: all there are. The holdout cannot be asked for here, but by ``SealedHoldout`` alone."""

    def named(self, tx: Transaction, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Example]:
        """Those of these names (family, id) that are there and not in a holdout, of many families at once."""

    def holdout_ids(self, tx: Transaction, family: str) -> list[tuple[str, str]]:
        """(id, hash of the expected label) without any text, to fix the selection beforehand."""

    def fingerprints(
        self, tx: Transaction, family: str, of: Callable[[Example], set[int]], *, hidden: bool, any_origin: bool = False
    ) -> set[int]:
        """``of`` applied to the sealed or unreleased examples (``hidden``), or to all others.

        Only the check of leaks calls it: nothing else of the hidden ones comes out, and no look is recorded.

        Args:
            any_origin: the family treats every example outside the holdout as released.
        """

    def set_golden(self, tx: Transaction, family: str, id: str, scenario: str | None) -> None:
        """Makes an example a row of a golden scenario; None: no longer of any. Raises NotFound."""

    def golden(self, tx: Transaction, family: str) -> list[tuple[str, Example]]:
        """(scenario, example) of the examples that are rows of one; none of the holdout."""

    def sealed_among(
        self, tx: Transaction, inputs: Mapping[str, Collection[str]], of: Callable[[Mapping[str, Any]], str]
    ) -> set[tuple[str, str]]:
        """(family, input) of those of the given inputs by family, as ``of`` writes them, that its holdout has, too;
        none of its text.
        """

    def unreleased_among(
        self, tx: Transaction, inputs: Mapping[str, Collection[str]], of: Callable[[Mapping[str, Any]], str]
    ) -> set[tuple[str, str]]:
        """As ``sealed_among``, of those that rows outside the holdout ask, and none that is released."""

    def sealed(self, tx: Transaction, names: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these examples that lie in the holdout."""

    def standing(
        self, tx: Transaction, family: str, *, ids: Sequence[str], groups: Sequence[str]
    ) -> list[ExampleStanding]:
        """The examples that have one of these ids or belong to one of these groups, without any text."""

    def counts(self, tx: Transaction, family: str) -> dict[Split, int]: ...
    def labels(self, tx: Transaction, family: str, field: str) -> dict[str, dict[Split, int]]:
        """How many train and dev examples have this value of ``field``, by value; none of the holdout is counted."""

    def unreleased(self, tx: Transaction, family: str) -> int:
        """How many outside the holdout no person has released."""

    def looks(self, tx: Transaction, family: str, ids: Sequence[str]) -> int:
        """The largest number of studies that have looked at any of these examples."""

    def looked_at(self, tx: Transaction, family: str, study: str | None = None) -> set[str]:
        """Ids of the holdout examples that any study, or this one, has read."""

    def release(self, tx: Transaction, family: str, id: str, by: str) -> None: ...
    def withdraw(self, tx: Transaction, family: str, id: str) -> bool:
        """No longer released; False, and nothing changes, where it has gone or is a golden scenario."""


class SealedHoldout(Protocol):
    """The one door to the holdout. No store and no context has it: a study's run is given it for its confirmation."""

    def open(self, tx: Transaction, family: str, study: str, ids: Sequence[str] | None, at: datetime) -> list[Example]:
        """Records a look per example in the same transaction. ``ids`` None: all there are."""


ReviewStatus = Literal["open", "answered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question to a person, and what was answered. ``subject``: the example or interaction that it is about."""

    id: str
    family: str
    kind: str
    subject: str
    payload: Text[ReviewPayload]
    status: ReviewStatus
    answer: Text[str | None] = None
    answered_by: str | None = None
    created_at: datetime
    answered_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether its answer stays, whatever follows: a rating is an event, and a label has made an example."""
        return self.kind == RATE_ANSWER or (self.kind == LABEL_INTERACTION and self.answer == RELEASE)


class Reviews(Protocol):
    def open(
        self, tx: Transaction, id: str, family: str, kind: str, subject: str, payload: ReviewPayload, at: datetime
    ) -> None: ...
    def get(self, tx: Transaction, id: str) -> Review:
        """Raises NotFound."""

    def page(
        self,
        tx: Transaction,
        family: str | None,
        status: str | None,
        *,
        among: Collection[str] | None = None,
        start: int = 0,
        n: int | None = None,
    ) -> list[Review]:
        """Of the families ``among`` (None: of all), in the order in which they were asked, from that place on, at most
        n (None: all).
        """

    def n_open(self, tx: Transaction, family: str | None, *, among: Collection[str]) -> int: ...
    def of_kind(self, tx: Transaction, family: str, kind: str) -> dict[str, datetime]:
        """Every review of that kind, answered or not: when it was opened, by subject."""

    def answer(self, tx: Transaction, id: str, answer: str, by: str, at: datetime) -> Review:
        """The review as answered. Raises NotFound, and Conflict when it has another answer already."""

    def reopen(self, tx: Transaction, id: str) -> Review:
        """The review as if it had not been answered. Raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedStudent:
    """How a student is doing, as far as its requests have been read: all up to this time, and at it up to this id."""

    family: str
    watch: StudentWatch
    read_until: datetime
    last_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """From when until when a student answered nobody, though variants name it; ``ended_at`` None: it still does not."""

    family: str
    student: str
    since: datetime
    reason: Text[str]
    by: str
    ended_at: datetime | None = None
    ended_by: str | None = None


class Students(Protocol):
    """What studies taught, under the hash of its content."""

    def add(self, tx: Transaction, family: str, taught: TaughtStudent, *, study: str, at: datetime) -> None:
        """One that is there already stays as it is."""

    def get(self, tx: Transaction, family: str, id: str) -> TaughtStudent | None: ...
    def ids(self, tx: Transaction, family: str) -> set[str]: ...
    def drop_unnamed(self, tx: Transaction, family: str, but: str) -> int:
        """Deletes those that no variant names, except this one; returns how many."""

    def taught_by(self, tx: Transaction, family: str, id: str) -> Mapping[str, Json] | None:
        """Its own record of what taught it, read without the student."""

    def study_of(self, tx: Transaction, family: str, id: str) -> str | None:
        """The study that taught it."""

    def has_watches(self, tx: Transaction, family: str) -> bool:
        """Whether one of the family has ever served, though it may have been deleted since."""

    def watch(self, tx: Transaction, family: str, id: str) -> WatchedStudent | None: ...
    def keep_watch(self, tx: Transaction, watched: WatchedStudent) -> None: ...
    def drop_watch(self, tx: Transaction, family: str, id: str) -> None: ...
    def bypass(self, tx: Transaction, bypass: Bypass) -> None: ...
    def bypasses(self, tx: Transaction, family: str | None = None, *, open_only: bool = True) -> list[Bypass]:
        """The newest first."""

    def end_bypass(self, tx: Transaction, family: str, id: str, *, at: datetime, by: str) -> bool:
        """Whether there was one."""


class ExampleIndexes(Protocol):
    """Lists of examples from which the nearest ones are shown, under the hash of their content."""

    def add(self, tx: Transaction, family: str, index: ExampleIndex, *, study: str, at: datetime) -> None:
        """One that is there already stays as it is."""

    def get(self, tx: Transaction, family: str, id: str) -> ExampleIndex | None: ...
    def ids(self, tx: Transaction, family: str) -> set[str]: ...
    def drop_unnamed(self, tx: Transaction, family: str, but: str) -> int:
        """Deletes those that no variant names, except this one; returns how many."""


class Graphs(Protocol):
    def add(self, tx: Transaction, graph: VerifiedGraph) -> None:
        """Raises Conflict where the interaction has one already."""

    def get(self, tx: Transaction, id: str) -> VerifiedGraph | None: ...
    def of_interaction(self, tx: Transaction, family: str, interaction: str) -> VerifiedGraph | None: ...
    def page(
        self, tx: Transaction, *, family: str | None, pending: bool | None, cursor: str | None, limit: int
    ) -> tuple[list[VerifiedGraph], str | None]:
        """Oldest first. ``pending``: those of which a repair is, or is not; None: all."""

    def decide(self, tx: Transaction, before: VerifiedGraph, after: VerifiedGraph) -> None:
        """Keeps one more decision; raises StaleVersion where another was kept since ``before`` was read."""
