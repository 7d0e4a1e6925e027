"""One event as a client sends it, read field by field and stripped of personal data.

A misspelt ``sucess`` is unknown, and refused. Which fields there are is declared in ``events.py``; ``stored_rows.py``
makes rows of what was read. A correction, where a user says what the output should have been, becomes an Example with
its input, split by hash like every other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from optimizer.core.base.canonical import canonical_json, digest, is_unicode, read_json
from optimizer.core.base.errors import Fault, InvalidInput, faults_text, first_alike, pointer_of
from optimizer.core.dataset.examples import Example, correction_example, make_example
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.masking import Masker
from optimizer.core.family.rendering import with_own_labels
from optimizer.core.family.settings import SIGNALS
from optimizer.core.feedback.event_kinds import TIME, EventField, fields_in
from optimizer.core.feedback.events import Address, Arm, Event, FeedbackEvent, Interaction, Part

MAX_DEPTH = 20
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 knows no larger one
CLOCK_SKEW = timedelta(hours=24)

WHO_AND_WHERE = {**fields_in(Address), **fields_in(Arm)}  # stand in the arm
FIELDS: Mapping[str, EventField] = {
    **fields_in(Event),
    **WHO_AND_WHERE,
    **fields_in(Interaction),
    **fields_in(FeedbackEvent),
}
OF_INTERACTION = frozenset(name for name, field in FIELDS.items() if field.reports == "interaction")
OF_OUTCOME = frozenset(name for name, field in FIELDS.items() if field.reports == "outcome")
REPORTING = tuple(
    name for what in ("interaction", "outcome") for name, field in FIELDS.items() if field.reports == what
)
_KINDS = {name: field.kind for name, field in FIELDS.items()}
_TIMES = frozenset(name for name, kind in _KINDS.items() if kind is TIME)


def read_fields(raw: Mapping[Any, Any], *, now: datetime) -> tuple[dict[str, Any], list[Fault]]:
    """The event's values as kept, without those that are null, and everything wrong with it."""
    values: dict[str, Any] = {}
    faults = list[Fault]()
    unknown = list[Any]()
    for name, value in raw.items():
        kind = _KINDS.get(name)
        if kind is None:
            unknown.append(name)
        elif value is not None:
            try:
                check_json(value)
                values[name] = kind.check(value)
            except ValueError as error:
                faults.append(Fault(pointer=pointer_of([name]), detail=str(error)))
    if unknown:
        foreign = first_alike(
            unknown,
            lambda name: Fault(pointer=pointer_of([name]), detail="is not a field of an event"),
            "are no fields of an event",
        )
        foreign[0] = replace(foreign[0], detail=f"{foreign[0].detail}; known are {', '.join(FIELDS)}")
        faults += foreign
    if not _TIMES.isdisjoint(values):
        ahead = "lies more than a day in the future; check the sender's clock"
        late = [name for name in values if name in _TIMES and values[name] - now > CLOCK_SKEW]
        faults += [Fault(pointer=f"/{name}", detail=ahead) for name in late]
    return values, faults


def check_json(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what JSON readers accept and databases do not: NaN, NUL, half surrogate pairs, endless
    nesting.
    """
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("holds the character U+0000, which databases do not keep; leave it out")
        if not is_unicode(value):
            raise ValueError("holds half of a surrogate pair, which is no Unicode text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError("holds a whole number beyond 2^53; send it as a text")
    elif depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str):
                raise ValueError("has a member whose name is no text")
            check_json(key)
            check_json(member, depth + 1)
    elif isinstance(value, list | tuple):
        for member in value:
            check_json(member, depth + 1)


_NO_TEXT = frozenset((bool, int, float, datetime))
NOT_KEPT = "(text not kept)"  # an error without its text is still an error


class EventRejected(InvalidInput, slug="event-rejected"):
    """One event that is not taken. ``type`` is the word for it in the answer's list of rejected events."""

    def __init__(self, type: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail, faults, type=type)
        self.type = type


class Report(NamedTuple):
    """``values`` holds those fields of the contract that were given, checked.

    A report may be of an interaction, of an outcome, or of both.
    """

    values: Mapping[str, Any]
    is_interaction: bool
    is_feedback: bool

    def get(self, name: str) -> Any:
        return self.values.get(name)


def read_report(raw: Any, *, now: datetime, of_no_family: bool = False) -> Report:
    """Reads an event. Raises EventRejected (malformed) with everything that is wrong.

    Unless ``of_no_family``, an event that belongs to nothing is wrong, too.
    """
    if not isinstance(raw, (dict, Mapping)):  # dict first: that check is cheap, and the abstract class's is not
        raise EventRejected(
            "malformed", "An event is a JSON object with the fields of the reference, such as assignment and success."
        )
    values, faults = read_fields(raw, now=now)
    is_interaction, is_feedback = not OF_INTERACTION.isdisjoint(values), not OF_OUTCOME.isdisjoint(values)
    if not ("assignment" in values and (is_interaction or is_feedback) and "assigned_at" not in values):
        faults = faults or [Fault(pointer="", detail=gap) for gap in ([] if of_no_family else _gaps(values))]
    if faults:
        raise EventRejected("malformed", f"The event is malformed: {faults_text(faults)}.", faults)
    return Report(values=values, is_interaction=is_interaction, is_feedback=is_feedback)


def check_texts(report: Report, most: int) -> None:
    """Raises EventRejected (text_too_long) where a text or a name, at any depth, has more than ``most``
    bytes of UTF-8.
    """
    for value in report.values.values():
        if type(value) not in _NO_TEXT and not (type(value) is str and 4 * len(value) <= most):
            break
    else:
        return
    faults = [
        Fault(pointer=pointer_of(path), detail=f"has {n:,} bytes, and one text of an event has at most {most:,}")
        for path, n in _long_texts(report.values, most, ())
    ]
    if faults:
        raise EventRejected(
            "text_too_long",
            f"The event is not kept: {faults_text(faults)}. Shorten it, or raise limits.event_text_bytes.",
            faults,
        )


def _long_texts(value: Any, most: int, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
    if isinstance(value, str):
        if 4 * len(value) > most and (n := len(value.encode())) > most:
            yield path, n
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _long_texts(name, most, (*path, name))
            yield from _long_texts(item, most, (*path, name))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _long_texts(item, most, (*path, place))


def _gaps(values: Mapping[str, Any]) -> list[str]:
    gaps = []
    signals = not frozenset(SIGNALS).isdisjoint(values.get("tags") or ())  # which the family's rule may make an outcome
    if OF_INTERACTION.isdisjoint(values) and OF_OUTCOME.isdisjoint(values) and not signals:
        gaps.append(f"it reports nothing; give at least one of {', '.join(REPORTING)}")
    if not ("assignment" in values or "interaction" in values or ("family" in values and "unit" in values)):
        gaps.append(
            "it belongs to nothing; give the assignment token, or family and unit, or the id of its interaction"
        )
    if (
        "assignment" not in values
        and "rollout" in values
        and not {"family", "variant", "unit", "assigned_at"} <= values.keys()
    ):
        gaps.append("a rollout without a token needs family, variant, unit and assigned_at beside it")
    if "assigned_at" in values and "rollout" not in values:
        gaps.append("assigned_at only has a meaning beside a rollout")
    return gaps


def protect(report: Report, *, store: str, masker: Masker) -> Report:
    """The report as a Family's ``privacy`` allows it to be stored: ``metadata`` drops every text, else texts are
    masked.
    """
    if store != "metadata" and not masker:
        return report
    values = _protected(report.values, FIELDS, store=store, masker=masker)
    if "parts" in values:
        values["parts"] = protect_parts(values["parts"], store=store, masker=masker)
    return Report(values=values, is_interaction=report.is_interaction, is_feedback=report.is_feedback)


def protect_parts(parts: Sequence[Mapping[str, Any]], *, store: str, masker: Masker) -> list[dict[str, Any]]:
    """The texts of an interaction's parts as its own: outputs and errors; names and numbers stay."""
    return [_protected(part, _PART_FIELDS, store=store, masker=masker) for part in parts]


_PART_FIELDS = fields_in(Part)


def _protected(
    values: Mapping[str, Any], fields: Mapping[str, EventField], *, store: str, masker: Masker
) -> dict[str, Any]:
    protected = dict(values)
    for name in values:
        private = fields[name].private
        if private is None:
            continue
        if store == "metadata" and private == "dropped":
            del protected[name]
        elif store == "metadata" and private == "replaced":
            protected[name] = NOT_KEPT
        elif masker:
            protected[name] = masker.mask(protected[name])
    return protected


def content_hash(report: Report, arm: Arm) -> str:
    """Equal for an event that is sent again, even under a newer token of the same arm.

    It covers what is stored, never what was masked. ``arm`` is the arm as token or event name it.
    """
    content: dict[str, Any] = {"arm": [arm.variant, arm.rollout, arm.unit_hmac]}
    for name, value in report.values.items():
        if name not in WHO_AND_WHERE:
            content[name] = value.timestamp() if isinstance(value, datetime) else value
    return digest(canonical_json(content))


def check_correction(family: Family, report: Report) -> None:
    """Raises EventRejected (malformed) where ``expected``, or the input beside it, has not the form that the family
    declares.
    """
    expected, input = report.get("expected"), report.get("input")
    if expected is None:
        return
    if family.output.field not in expected:
        detail = (
            f"has no {family.output.field!r}, which is the output of family {family.name!r}; it has"
            f" {', '.join(expected)}"
        )
        raise EventRejected("malformed", f"/expected {detail}.", [Fault(pointer="/expected", detail=detail)])
    try:
        kind_of(family).check_correction(family, input, expected)
    except InvalidInput as unusable:
        raise EventRejected("malformed", unusable.detail, unusable.faults) from None


def typed_value(parser: str, text: str) -> Any:
    """The value of the output field as a person types it: JSON where the output is JSON or a list, else the text."""
    if parser not in ("json", "list"):
        return text
    try:
        return read_json(text)
    except ValueError as error:
        raise InvalidInput(
            f"What was expected is no JSON ({error}), and the family's output is read as {parser}. In a shell put it in"
            " single quotes."
        ) from error


def example_of(family: Family, event: FeedbackEvent, input: Mapping[str, Any] | None) -> Example | None:
    """The example of a correction; None where the input was not reported, is not stored or holds an empty text, and
    then it is feedback only.
    """
    if event.expected is None or input is None:
        return None
    try:
        kind_of(family).check_correction(family, input, event.expected)
    except InvalidInput:
        return None
    if not kind_of(family).may_lack_inputs and family.input_fault(family.declared_inputs(input)) is not None:
        return None
    return make_example(
        id=correction_example(event.id),
        family=family.name,
        input=kind_of(family).kept_of(family.declared_inputs(input)),
        expected=with_own_labels(family.output, event.expected),
        origin="correction",
        released=family.privacy.examples_from == "any",
        created_at=event.received_at,
        unit_hmac=event.arm.unit_hmac,
        interaction=event.interaction,
    )
