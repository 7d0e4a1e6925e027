"""Events as people and programs see them: what each class declares, with the members of its arm beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from pydantic import Field

from optimizer.core.base.answers import Json, Redaction, Text
from optimizer.core.feedback.event_kinds import fields_in
from optimizer.core.feedback.events import PARTS, Arm, Event, FeedbackEvent, Interaction

INNER = ("arm", "content_hash")
TEXTS_OF_PARTS = ("output", "error", "issues", "unmeasured")
text: Any = Text  # of what is put together here, which no checker can follow


def part_without_texts(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in TEXTS_OF_PARTS}


parts_hidden = Redaction(lambda parts: [part_without_texts(part) for part in parts])


def _view_of(event: type[Event], name: str, **more: tuple[Any, Any]) -> type[Any]:
    """Each field is declared once, in its event's class, which says what is private of it; ``more``: members of the
    view alone, each with its default.
    """
    hints = {**get_type_hints(event), **get_type_hints(Arm)}
    declared = fields_in(event)

    def shown(name: str, hint: Any) -> Any:
        if name in declared and declared[name].kind is PARTS:
            return Annotated[hint, parts_hidden]
        return text[hint] if name in declared and declared[name].private else hint

    members = [(name, shown(name, hint)) for name, hint in hints.items() if name not in INNER]
    others = [(one, hint, field(default=default)) for one, (hint, default) in more.items()]
    return make_dataclass(
        name, [*members, *others], frozen=True, slots=True, kw_only=True, namespace={"__doc__": event.__doc__}
    )


# The sealed holdout asks the same, so that its texts are not shown.
SEALED: tuple[Any, Any] = Annotated[bool, Field(exclude_if=lambda sealed: not sealed)], False
InteractionView = _view_of(Interaction, "InteractionView", sealed=SEALED)
# ``lowest_score``: of the feedback on it, where a failure counts as 0 and a success as 1.
FoundInteraction = _view_of(Interaction, "FoundInteraction", sealed=SEALED, lowest_score=(float | None, None))
FeedbackView = _view_of(FeedbackEvent, "FeedbackView")
# ``later_parts``: calls that came after the answer; left out where none did.
InteractionWithFeedback = _view_of(
    Interaction,
    "InteractionWithFeedback",
    sealed=SEALED,
    feedback=(Sequence[FeedbackView], ()),  # type: ignore[valid-type]
    later_parts=(
        Annotated[Sequence[Mapping[str, Json]] | None, parts_hidden, Field(exclude_if=lambda parts: parts is None)],
        None,
    ),
)


def members_of(event: Event) -> dict[str, Any]:
    """The event's members by name, as its view takes them."""
    own = {one.name: getattr(event, one.name) for one in fields(event) if one.name not in INNER}
    return own | {one.name: getattr(event.arm, one.name) for one in fields(event.arm)}
