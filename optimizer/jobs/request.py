"""Requests to use cases. Unknown members are refused: a misspelt option must not be taken for the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from optimizer.core.base.errors import (
    MAX_ALIKE,
    MAX_DETAIL_CHARS,
    MAX_FAULTS,
    MAX_NAME_CHARS,
    MAX_POINTER_CHARS,
    InvalidInput,
    pointer_of,
    shorten,
)
from optimizer.core.feedback.event_kinds import MAX_NAME_CHARS as MAX_UNIT_CHARS, NAME, TIME

NAMED = 5  # of what is wrong
Reason = Annotated[str, Field(max_length=2000)]


def unit_fault(unit: str) -> str | None:
    """Why this cannot be a unit: one that no event could name is served to nobody."""
    if NAME.keep(unit) is not None and "\0" not in unit:
        return None
    return f"a unit is {NAME.holds}, not blank and without U+0000; this one has {len(unit)}"


def _unit(unit: str) -> str:
    if (fault := unit_fault(unit)) is not None:
        raise ValueError(fault)
    return unit


Unit = Annotated[str, Field(min_length=1, max_length=MAX_UNIT_CHARS), AfterValidator(_unit)]


class StrictModel(BaseModel):
    """A part of a JSON body: a value of another type is none that was meant, and is refused.

    Unknown members are refused, each with a fault of its own while they are few: faults of a hostile body are
    counted and not made, since its schema finds twenty thousand of them in one step, which holds up who is served
    meanwhile.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """In JSON 5.0 and 1e3 are whole numbers, too."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        n_known = len(cls.model_fields)
        if not isinstance(value, dict) or len(value) <= n_known + MAX_ALIKE:
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        names = known.union(cls.model_fields)
        unknown = [name for name in value if name not in names]
        if len(unknown) <= MAX_ALIKE:
            return value
        raise ValueError(
            f"{len(unknown):,} members are not known, such as {_listed(unknown)}; known are {', '.join(sorted(known))}"
        )


class Request(StrictModel):
    """A request to one use case, or to several with equal requests.

    Over HTTP a member is in the path where the use case's path names it, in a header where it is marked so, else in the
    query of a GET or DELETE and in the body of all others. Query and command line have texts, of which values are read.
    """

    model_config = ConfigDict(strict=False)


class PageRequest(Request):
    """Of a list, page by page."""

    cursor: Annotated[str | None, Field(max_length=500, description="`next_cursor` of the page before, unchanged")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=1000, description="How many items a page has at most")] = 100


class FamilyRequest(Request):
    """Of one family."""

    family: str


class ItemRequest(Request):
    """Of one thing that has an id."""

    id: str


class ItemActRequest(ItemRequest):
    reason: Reason = ""


class DryRunRequest(FamilyRequest):
    dry_run: Annotated[bool, Field(description="Say what would be, and keep nothing")] = False


class FamilyPageRequest(PageRequest):
    """Of all families, or of one."""

    family: Annotated[str | None, Field(max_length=200)] = None


class ItemPageRequest(PageRequest):
    """Of what belongs to one thing."""

    id: str


class Header:
    """Marks a member that comes in the header of its name: ``if_match``, ``if_none_match``."""


def from_validation(problems: Sequence[Mapping[str, Any]], *, is_typed: bool = False) -> InvalidInput:
    """All of pydantic's faults as one InvalidInput.

    ``pointer`` is a JSON pointer into the body, or names the parameter; its words alone are told where a person typed
    them.
    """
    faults = []
    for fault in problems[:MAX_FAULTS]:
        where, *path = fault["loc"] or ("body",)
        pointer = shorten(pointer_of(path), MAX_POINTER_CHARS)
        detail = shorten(str(fault["msg"]).removeprefix("Value error, "), MAX_DETAIL_CHARS // 10)
        faults.append({"in": str(where), "pointer": pointer, "detail": detail})
    count = "One fault" if len(problems) == 1 else f"{len(problems)} faults"
    listed = "; ".join(
        f"{f['pointer'].strip('/').replace('/', ' ')}: {f['detail']}".removeprefix(": ")
        if is_typed
        else f"{f['in']} {f['pointer'] or '/'}: {f['detail']}"
        for f in faults[:5]
    )
    more = f"; and {len(problems) - 5} more in `errors`" if len(problems) > 5 else ""
    them = "it and send the request" if len(problems) == 1 else "them and send it"
    if len(problems) > len(faults):
        faults.append({"in": "body", "pointer": "", "detail": f"and {len(problems) - len(faults):,} more"})
    return InvalidInput(f"{count} in the request: {listed}{more}. Correct {them} again.", errors=faults)


def invalid(error: ValidationError) -> InvalidInput:
    """The same for a request that was not sent: its members count as a body's."""
    return from_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()], is_typed=True)


def _few_wrong(value: Any) -> Any:
    if isinstance(value, list):
        wrong = [place for place, item in enumerate(value) if not isinstance(item, dict)]
        if len(wrong) > MAX_ALIKE:
            raise ValueError(
                f"{len(wrong):,} entries are no objects, such as those at {_listed(wrong)} (counted from 0)"
            )
    return value


def _listed(of: list[Any]) -> str:
    return ", ".join(shorten(str(item), MAX_NAME_CHARS) for item in of[:NAMED])


def _no_number(value: Any) -> Any:
    """Pydantic takes seconds since 1970 too, also as text."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and ":" in value):
        raise ValueError(f"must be {TIME.holds}")
    return value


def _in_utc(at: datetime) -> datetime:
    # Unlike that of an event, a time of a request may be the epoch, which is how some say "from the beginning".
    # Read twice, first of the body or the query: the bounds are those of its UTC form.
    if not 1 < at.year < 9999 or not 1970 <= (utc := at.astimezone(UTC)).year < 9999:
        raise ValueError("a time from 1970 on and before 9999 is needed")
    return utc


Name = Annotated[str, Field(min_length=1, max_length=200)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_no_number), AfterValidator(_in_utc)]
Objects = Annotated[list[dict[str, Any]], BeforeValidator(_few_wrong)]
EntityTags = Annotated[str | None, Header()]
"""Of If-Match or If-None-Match, as it came."""
