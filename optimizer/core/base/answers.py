"""What answers are made of: pages of lists, JSON of strangers, entity tags (RFC 9110), and texts that some keys may not
read.

A member that holds a text by a person or a model is annotated: ``reason: Text[str]``. For a key of role read its answer
has null in that place, and clients accept the null.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, cast

from typing_extensions import TypedDict

from optimizer.core.base.errors import Fault, InvalidInput, PreconditionFailed

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
    from pydantic_core import core_schema

# Inputs, outputs and metadata of users, models and foreign packages: their members cannot be named here.
Json = Any
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """``next_cursor`` is opaque; None on the last page. Most are made by the store, some here."""

    items: Sequence[T]
    next_cursor: str | None = None


class ActOffer(TypedDict):
    """What a person may do about it, as the pages name it. ``target``: the id of the rollout or study that the act is
    on, else the family; "" for all.
    """

    act: Literal[
        "approve",
        "reject",
        "advance",
        "hold",
        "resume",
        "promote",
        "rollback",
        "take-back",
        "unfreeze",
        "cancel-study",
    ]
    target: str


def members_of(value: Any) -> dict[str, Any]:
    """The members of a dataclass by name, as they are: ``asdict`` makes dicts of those inside."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def of_members(kind: type[T], members: Mapping[str, Any]) -> T:
    """The record whose members, as JSON has them, are in a mapping."""
    adapter: TypeAdapter[T] = _adapter(cast(Any, kind))
    return adapter.validate_python(members)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # what only prints a help text starts without it

    return TypeAdapter(kind)


def page_of(items: Sequence[T], cursor: str | None, limit: int) -> Page[T]:
    """One page of a list that is there whole; raises InvalidInput for a cursor not made here."""
    return page_read(lambda start, n: items[start : start + n], cursor, limit)


def page_read(read: Callable[[int, int], Sequence[T]], cursor: str | None, limit: int) -> Page[T]:
    """One page of a list of which ``read`` gives the items from a place on, at most so many; raises as ``page_of``."""
    start = _offset(cursor) if cursor is not None else 0
    items = read(start, limit + 1)
    return Page(items=items[:limit], next_cursor=cursor_of(start + limit) if len(items) > limit else None)


def cursor_of(start: int) -> str:
    """Of the page that begins at this place of a list."""
    return base64.urlsafe_b64encode(f"offset:{start}".encode()).decode().rstrip("=")


def _offset(cursor: str) -> int:
    try:
        word, _, number = (
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode().partition(":")
        )
        if word == "offset" and number.isascii() and number.isdigit() and len(number) < 12:
            return int(number)
    except ValueError:  # base64's own error is one
        pass
    raise InvalidInput(
        "This cursor was not made by this server; take next_cursor of the page before, unchanged.",
        [Fault(pointer="/cursor", detail="unknown cursor")],
    )


def etag_of(content: bytes) -> str:
    """A strong tag of these bytes, quotes included."""
    return f'"{sha256(content).hexdigest()[:32]}"'


def is_listed(etag: str, header: str | None) -> bool:
    """Whether an If-Match or If-None-Match header names this tag (``*`` names every tag).

    Weak tags compare by their text.
    """
    if header is None:
        return False
    if header.strip() == "*":
        return True
    wanted = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") == wanted for tag in header.split(","))


def check_preconditions(current: str | None, *, if_match: str | None, if_none_match: str | None) -> None:
    """Raises PreconditionFailed where the resource is not in the state that the sender of a PUT saw.

    ``current`` None means that it does not exist.
    """
    if if_match is not None and (current is None or not is_listed(current, if_match)):
        raise PreconditionFailed(
            f"If-Match asked for {if_match}, and the resource has {current or 'never been written'}. Read it again and"
            " decide anew.",
            current=current,
        )
    if if_none_match is not None and current is not None and is_listed(current, if_none_match):
        raise PreconditionFailed(
            f"If-None-Match asked for a resource that is not {if_none_match}, and it is {current}.",
            current=current,
        )


FIGURES_ONLY: Mapping[str, bool] = {"texts": False}  # the context in which an answer is written without texts

TEXTS = frozenset(
    {
        # what users sent, what models answered, what people made of it
        "input",
        "output",
        "expected",
        "label",
        "tags",
        "error",
        "conversation",
        "parts",
        "later_parts",
        "payload",
        "answer",
        # what prompts are made of, and what searches tried and learned
        "messages",
        "examples",
        "tools",
        "response_format",
        "policy",
        "stop",
        "definition",
        "space",
        "params",
        "findings",
        # sentences that people wrote, or that may quote them
        "note",
        "reason",
        "reasons",
        "why",
        "detail",
        "description",
        "problem",
        "last_error",
    }
)


def shown(text: str | None) -> str:
    """A declared text as a terminal prints it; where the key may not read it, a note that says so."""
    return "not shown to this key" if text is None else text


def figures_of(value: Any) -> Any:
    """JSON without declared members, and with every member of TEXTS set to null, at any depth."""
    if isinstance(value, list | tuple):
        return [figures_of(item) for item in value]
    if isinstance(value, Mapping):
        return {name: None if name in TEXTS else figures_of(item) for name, item in value.items()}
    return value


HIDDEN = "Null, or without its texts, for a key of role `read`."


def figures_alone(answer: T) -> T:
    """As a key that may not read texts is answered."""
    adapter: TypeAdapter[T] = _adapter(cast(Any, type(answer)))
    return adapter.validate_python(adapter.dump_python(answer, context=dict(FIGURES_ONLY)))


class Redaction:
    """How a member is written for a key that may not read texts; ``instead``: what of it stays."""

    def __init__(self, instead: Callable[[Any], Any]) -> None:
        self.instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        from pydantic_core import core_schema  # what only reads values starts without it

        inner = handler(source)
        return core_schema.nullable_schema(
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(self._written, info_arg=True, schema=inner),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        inner = handler(schema)
        return {**inner, "description": " ".join([*filter(None, [inner.get("description")]), HIDDEN])}

    def _written(self, value: Any, write: Callable[[Any], Any], info: Any) -> Any:
        return write(self.instead(value) if info.context == FIGURES_ONLY and value is not None else value)


Text = Annotated[T, Redaction(lambda text: None)]
Record = Annotated[T, Redaction(figures_of)]
"""A record of Detent's own whose members are not declared: figures stay, members that TEXTS names are hidden."""
