"""Makes a metric from users' thumbs, so that a family without expected outputs can be searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optimizer.core.base.errors import DatasetTooSmall, GateNotMet, InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import parse_output
from optimizer.core.feedback.events import FeedbackEvent
from optimizer.core.predictor.attach import (
    EARLIER,
    LEAST_AREA,
    LEAST_OF_A_KIND,
    LEAST_THUMBS,
    Alignment,
    alignment_features,
    text_of,
)
from optimizer.ports import Clock, Store

# (features, whether users liked it, unit) of each answer, the earliest thumb first; and what to note of them
Learn = Callable[[Sequence[dict[str, float | None]], Sequence[bool], Sequence[str], dict[str, Any]], Alignment]
MOST = 20_000  # thumbs, the latest
_PAGE = 1000


def align_family(family: Family, *, store: Store, clock: Clock, learn: Learn) -> Alignment:
    """Learns from the earlier seven tenths of the thumbs which answers users like, and judges it on the later ones.

    A thumb is feedback of source ``user`` on an interaction whose texts are kept: its ``success``, else whether its
    ``score`` is .5 or more; the latest one counts. Nothing is written.

    Raises:
        InvalidInput: the family keeps no texts.
        DatasetTooSmall: fewer than ``LEAST_THUMBS``, or too few of a kind.
        GateNotMet: what was learned does not tell later thumbs apart well enough; ``members`` has the figures.
    """
    if family.privacy.store == "metadata":
        raise InvalidInput(
            f"{family.name} cannot be aligned: its privacy.store is metadata, so that no answer is kept."
        )
    thumbs = _thumbs(family, store)
    with store.read() as tx:
        interactions = store.events.interactions(
            tx, [each.interaction for each in thumbs if each.interaction is not None]
        )
    rows: list[tuple[dict[str, float | None], bool, str]] = []
    for thumb in thumbs:
        interaction = next(
            (each for each in interactions.get(str(thumb.interaction), ()) if each.arm.family == family.name), None
        )
        if interaction is None or interaction.output is None or interaction.input is None:
            continue
        read = parse_output(family.output, interaction.output)
        if read.error is None:
            numbers = alignment_features(family.declared_inputs(interaction.input), text_of(read.value))
            rows.append(
                (
                    numbers,
                    thumb.success if thumb.success is not None else (thumb.score or 0.0) >= 0.5,
                    interaction.arm.unit_hmac or interaction.id,
                )
            )
    later = [liked for _, liked, _ in rows[int(len(rows) * EARLIER) :]]
    fewest = min(sum(later), len(later) - sum(later))
    if len(rows) < LEAST_THUMBS or fewest < LEAST_OF_A_KIND:
        raise DatasetTooSmall(
            f"{family.name} cannot be aligned: {len(rows)} answers with their texts have a user's thumb, and"
            f" {LEAST_THUMBS} are needed, of the latest {1 - EARLIER:.0%} at least {LEAST_OF_A_KIND} up and"
            f" {LEAST_OF_A_KIND} down (now {sum(later)} and {len(later) - sum(later)}). Report more feedback of source"
            " user.",
            n_rows=len(rows),
            n_required=LEAST_THUMBS,
        )
    noted = {"family": family.name, "thumbs": len(rows), "at": clock.now().isoformat()}
    aligned = learn([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], noted)
    if not aligned.is_enough:
        raise GateNotMet(
            f"{family.name} was not aligned: on {aligned.n_later} later thumbs a liked answer scores above a disliked"
            f" one {aligned.area:.2f} of the times (95 % interval {aligned.low:.2f} to {aligned.high:.2f}; chance is"
            f" .50), and {LEAST_AREA:.2f} with an interval above .50 is needed. Numbers of request and answer do not"
            " say what these users like; use a judge.",
            alignment=aligned.as_data(),
        )
    return aligned


def _thumbs(family: Family, store: Store) -> list[FeedbackEvent]:
    """The latest of each interaction, in the order in which they were received."""
    thumbs, cursor = dict[str, FeedbackEvent](), None
    while True:
        with store.read() as tx:
            events, cursor = store.events.page_of_feedback(
                tx, family=family.name, variant=None, since=None, cursor=cursor, limit=_PAGE
            )
        for event in events:
            is_thumb = event.source == "user" and (event.success is not None or event.score is not None)
            if is_thumb and event.interaction is not None:
                thumbs.pop(event.interaction, None)
                thumbs[event.interaction] = event
        if cursor is None:
            return list(thumbs.values())[-MOST:]
