"""Between reading and storing: the id and the arm of an event, as far as only the store knows them.

Part of ingest_feedback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from optimizer.core.base.phrasing import when
from optimizer.core.family.family import Family
from optimizer.core.feedback.events import Arm
from optimizer.core.feedback.reported import EventRejected, Report, content_hash
from optimizer.core.feedback.stored_rows import EventRow, feedback_row, interaction_row
from optimizer.core.serving.access import EVERYTHING, Access
from optimizer.core.serving.assignment import held_back_until
from optimizer.core.serving.attribution import arm_of_rollout, arm_of_unit, check_interaction
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.ports import Clock, Store, Transaction

Idempotency = tuple[str, str, str]  # (scope: who sends, key, hash of the body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Events of one sender, and the store that they go to.

    Args:
        access: what the sender's key may do; an event of another family, or of a source that needs a right, is
            rejected.
        by_gateway: the events are the gateway's own records of what it answered.
        idempotency: under which the answer is kept, in the transaction of what it says.
    """

    store: Store
    clock: Clock
    families: Mapping[str, Family]
    actor: str
    access: Access = EVERYTHING
    by_gateway: bool = False
    idempotency: Idempotency | None = None


class ReadEvent(NamedTuple):
    """One event after everything that may be slow. ``sent`` is the arm as its token or its own fields name it."""

    position: int  # in its request
    report: Report
    sent: Arm  # family "" when only the interaction can say
    by_token: bool
    token: tuple[str, datetime] | None = None  # what it names as its family, and when it was issued, to the second
    # The interaction's family, whose checks and masks the report has passed, where ``sent`` names none.
    read_for: str = ""
    older_units: Sequence[str] = ()  # the unit's HMACs under keys that were in use before


class PlacedEvent(NamedTuple):
    """One event with its id and its arm."""

    position: int  # in its request
    report: Report
    arm: Arm
    id: str
    content_hash: str
    is_named: bool  # the sender gave its id; an id that is made here is new
    fits_no_stage: bool  # of the rollout that it names, so it is stored in no arm

    @property
    def name(self) -> tuple[str, str]:
        return self.arm.family, self.id

    def interaction(self, at: datetime, sent_by: str, *, by_gateway: bool) -> EventRow:
        return interaction_row(self.report, self.arm, self.id, self.content_hash, at, sent_by, by_gateway=by_gateway)

    def feedback(self, at: datetime, sent_by: str) -> EventRow:
        return feedback_row(self.report, self.arm, self.id, self.content_hash, at, sent_by)


class ArmFinder:
    """Finds each event's arm, with the interactions that events of this request name: stored, or reported beside them.

    To a key for named families those of others do not exist. ``ids``: for events that bring none.
    """

    def __init__(
        self, delivery: Delivery, tx: Transaction, reads: Iterable[ReadEvent], now: datetime, ids: Iterator[str]
    ) -> None:
        self._ids = ids
        self._store = delivery.store
        self._tx = tx
        self._now = now
        self._clock_scale = delivery.clock.scale
        named = {id for read in reads if (id := read.report.get("interaction")) is not None}
        self._names_any = bool(named)
        stored = self._store.events.interactions(tx, named) if named else {}
        visible = {
            id: [interaction for interaction in ones if delivery.access.may_see(interaction.arm.family)]
            for id, ones in stored.items()
        }
        self._stored = {(interaction.arm.family, interaction.id) for ones in visible.values() for interaction in ones}
        self._arms = {
            id: {interaction.arm.family: interaction.arm for interaction in ones} for id, ones in visible.items()
        }
        self._variants: dict[str, set[str]] = {}
        self._rollouts: dict[str, tuple[Rollout | None, datetime | None]] = {}
        self._since: dict[str, datetime | None] = {}

    def arm_of(self, read: ReadEvent) -> Arm:
        if read.token is not None:
            self._check_token(*read.token)
        if read.by_token and not self._names_any:
            return read.sent
        served = arm_of_interaction(read, self._arms)
        if served is not None and not read.sent.family and served.family != read.read_for:
            # Its family changed between reading and now: the report has the masks of another one.
            raise unknown_interaction(read)
        if served is not None:
            is_older = served.unit_hmac in read.older_units
            check_interaction(replace(read.sent, unit_hmac=served.unit_hmac) if is_older else read.sent, served)
        if read.by_token:
            return read.sent
        if served is not None:
            return served
        if not read.sent.family or read.sent.unit_hmac is None:
            raise unknown_interaction(read)
        family, rollout = read.sent.family, read.sent.rollout
        if rollout is None:
            return arm_of_unit(read.sent, self._known_variants(family))
        if rollout not in self._rollouts:
            record = self._store.rollouts.get(self._tx, rollout)
            self._rollouts[rollout] = (record, self._held_back_until(record) if record is not None else None)
        record, until = self._rollouts[rollout]
        arm = arm_of_rollout(
            read.report, read.sent, record, now=self._now, clock_scale=self._clock_scale, held_back_until=until
        )
        return arm if arm is not None else arm_of_unit(read.sent, self._known_variants(family))

    def _known_variants(self, family: str) -> set[str]:
        if family not in self._variants:
            self._variants[family] = self._store.variants.ids(self._tx, family)
        return self._variants[family]

    def _check_token(self, family: str, issued_at: datetime) -> None:
        if family not in self._since:
            self._since[family] = self._store.family_names.since(self._tx, family)
        since = self._since[family]
        if since is not None and issued_at < since.replace(microsecond=0):
            raise EventRejected(
                "token_of_retired_family",
                f"The assignment token was issued at {when(issued_at)}, and since {when(since)} another family of this"
                f" name, {family!r}, serves: the token's own was retired, and its outcomes count for no other. Fetch"
                " the prompt again and send the new token.",
            )

    def place(self, read: ReadEvent, arm: Arm) -> PlacedEvent:
        report = read.report
        id, named = report.values.get("id"), report.values.get("interaction")
        if id is None and named is not None and report.is_interaction:
            if (arm.family, named) in self._stored and report.is_feedback:
                # What was reported first of an interaction stays; the outcome counts.
                report = report._replace(is_interaction=False)
            else:
                id = named
        is_named = id is not None
        if id is None:
            id = f"{'in' if report.is_interaction else 'fb'}_{next(self._ids)}"
        if self._names_any and report.is_interaction:
            self._arms.setdefault(id, {}).setdefault(arm.family, arm)
        content = content_hash(report, read.sent) if is_named else ""  # only who names an event can send it again
        return PlacedEvent(
            position=read.position,
            report=report,
            arm=arm,
            id=id,
            content_hash=content,
            is_named=is_named,
            fits_no_stage=read.sent.rollout is not None and arm.rollout is None,
        )

    def _held_back_until(self, rollout: Rollout) -> datetime | None:
        """A week after the promotion, unless another rollout or champion ended the holdback before."""
        freezes = freezes_of(self._tx, self._store, rollout.family, self._now)
        over = held_back_until(rollout, self._clock_scale, freezes)
        if over is None:
            return None
        history = self._store.champions.history(self._tx, rollout.family)
        following = self._store.rollouts.following(self._tx, rollout)
        ends = [tenure.until for tenure in history if tenure.rollout == rollout.id] + [
            following.created_at if following is not None else None
        ]
        return min([over, *(end for end in ends if end is not None)])


def arm_of_interaction(read: ReadEvent, known: Mapping[str, Mapping[str, Arm]]) -> Arm | None:
    """The arm of the interaction that an event names, of the event's family where it has one; None: it is not known.

    Raises:
        EventRejected: several families have an interaction of that id, and the event names none of them.
    """
    arms = known.get(read.report.get("interaction"), {})
    if read.sent.family or len(arms) < 2:
        return arms.get(read.sent.family) if read.sent.family else next(iter(arms.values()), None)
    raise EventRejected(
        "unknown_interaction",
        f"Families {', '.join(sorted(arms))} all have an interaction {read.report.get('interaction')!r}; name the"
        " family.",
    )


def unknown_interaction(read: ReadEvent) -> EventRejected:
    return EventRejected(
        "unknown_interaction",
        f"There is no interaction {read.report.get('interaction')!r} to take the arm from. Report it first, or send its"
        " assignment token.",
    )
