"""Every error that a user can cause or meet. Each sentence says what happened, why, and what to do.

    DetentError
    ├── InvalidInput          the request, file or command is malformed; carries every fault at once
    │   ├── InvalidFamily     a family.yaml that cannot be served
    │   ├── InvalidCondition  a condition of a policy that cannot be read; says at which character
    │   └── KeyReused         an Idempotency-Key that came with another body before
    ├── NotFound              a family, variant, study, rollout, interaction … that does not exist
    ├── Conflict              the state does not allow this now
    │   └── StaleVersion      another caller changed the thing meanwhile
    │       └── PreconditionFailed  said by If-Match or If-None-Match
    ├── Refused               a gate, limit or budget says no; a person may be able to force it
    │   ├── GateNotMet
    │   ├── BudgetTooSmall    refused before any money is spent
    │   └── DatasetTooSmall
    ├── NotAuthenticated · NotAuthorised
    ├── TooLarge · TooMany · Busy
    └── ModelFailed           a model call that gave no usable answer

BudgetExhausted and StudyStopped derive from BaseException on purpose: DSPy's optimizers swallow Exception and
would return a program as if all were well. Only the study job catches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NotRequired, TypeVar

from typing_extensions import TypedDict

from optimizer.core.base.phrasing import without_passwords

T = TypeVar("T")
# What an error quotes of an input is bounded: an answer must not become larger than the request.
MAX_FAULTS = 100
MAX_SAID = 20  # of them in one sentence
MAX_ALIKE = 10  # of one kind that are named
MAX_DETAIL_CHARS = 20_000  # of a whole error; of one fault a tenth
MAX_NAME_CHARS = 100  # of one name within a pointer
MAX_POINTER_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with an input: where (JSON pointer), what and why, and what to do.

    ``n``: the number of faults that it sums up.
    """

    pointer: str
    detail: str
    line: int | None = None
    file: str | None = None
    n: int = 1


def pointer_of(path: Iterable[Any]) -> str:
    """JSON pointer (RFC 6901) of a path of keys and indexes; of a very long key its beginning and an ellipsis."""
    return "".join("/" + shorten(str(part), MAX_NAME_CHARS).replace("~", "~0").replace("/", "~1") for part in path)


def shorten(text: str, chars: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def faults_text(faults: Sequence[Fault], *, places: bool = True) -> str:
    """Faults as part of a sentence: the first twenty, with places that the details do not name, and how many more there
    are.
    """
    shown = "; ".join(
        f"{fault.pointer} {fault.detail}".strip() if places else fault.detail for fault in faults[:MAX_SAID]
    )
    n_more = sum(fault.n for fault in faults[MAX_SAID:])
    return f"{shown}; and {n_more:,} more" if n_more else shown


def first_alike(places: Sequence[T], fault: Callable[[T], Fault], others: str) -> list[Fault]:
    """A fault for each of the first ten places, and one that counts the others.

    A hostile body has a hundred thousand; a fault for each would hold up the users that are served meanwhile.

    Args:
        others: what the others are, after "and 5 more".
    """
    faults = [fault(place) for place in places[:MAX_ALIKE]]
    n_more = len(places) - MAX_ALIKE
    return [*faults, Fault(pointer="", detail=f"and {n_more:,} more {others}", n=n_more)] if n_more > 0 else faults


class DetentError(Exception):
    """Base of all errors with a sentence for the user; ``members`` become named members of the problem document.

    ``title`` is the slug in words where a class with a slug of its own names no other.
    """

    slug = "error"
    title = "Error"

    def __init_subclass__(cls, *, slug: str | None = None, title: str | None = None) -> None:
        if slug is not None:
            cls.slug, cls.title = slug, title or slug.replace("-", " ").capitalize()

    def __init__(self, detail: str, **members: Any) -> None:
        self.detail = shorten(detail, MAX_DETAIL_CHARS)
        super().__init__(self.detail)
        self.members: Mapping[str, Any] = members


class InvalidInput(DetentError, slug="invalid-input"):
    """``faults`` are the first hundred, and how many more there are; none in what was read back from an answer."""

    faults: tuple[Fault, ...] = ()

    def __init__(self, detail: str, faults: Sequence[Fault] = (), **members: Any) -> None:
        super().__init__(detail, **members)
        listed = [
            fault
            if (len(fault.pointer) <= MAX_POINTER_CHARS and len(fault.detail) <= MAX_DETAIL_CHARS // 10)
            else replace(
                fault,
                pointer=shorten(fault.pointer, MAX_POINTER_CHARS),
                detail=shorten(fault.detail, MAX_DETAIL_CHARS // 10),
            )
            for fault in faults[:MAX_FAULTS]
        ]
        more = sum(fault.n for fault in faults[MAX_FAULTS:])
        self.faults = (*listed, Fault(pointer="", detail=f"and {more:,} more")) if more > 0 else tuple(listed)
        if faults:
            self.members = {**members, "errors": [_member(fault) for fault in self.faults]}


class FaultMember(TypedDict):
    """A fault as a problem document has it; ``line`` and ``file`` where it has a place in a file."""

    pointer: str
    detail: str
    line: NotRequired[int]
    file: NotRequired[str]


def _member(fault: Fault) -> FaultMember:
    """Spelt out: ``asdict`` copies each value deeply, and a hostile body has a hundred thousand of them."""
    member: FaultMember = {"pointer": fault.pointer, "detail": fault.detail}
    if fault.line is not None:
        member["line"] = fault.line
    if fault.file is not None:
        member["file"] = fault.file
    return member


class InvalidFamily(InvalidInput, slug="invalid-family", title="Invalid family file"):
    """The family's file has faults, each with a line."""


class InvalidCondition(InvalidInput, slug="invalid-condition"):
    """``position``: offset of the character, from 0; the length of the text where something is missing at its end."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        start = 0 if len(text) <= 80 else max(0, position - 40)
        shown = ("…" if start else "") + text[start : start + 80] + ("…" if len(text) > start + 80 else "")
        super().__init__(
            f"Condition {shown!r} is refused at character {position}: {reason}.", position=position, reason=reason
        )
        self.position = position
        self.reason = reason


class KeyReused(InvalidInput, slug="idempotency-key-reused", title="Idempotency-Key reused"):
    """The Idempotency-Key came before with another request."""


class NotFound(DetentError, slug="not-found"):
    """What was named is not here."""


class Conflict(DetentError, slug="conflict"):
    """The present state does not allow it."""


class StaleVersion(Conflict, slug="stale-version", title="Changed in between"):
    """The thing has another version than the one that was read."""


class PreconditionFailed(StaleVersion, slug="precondition-failed"):
    """If-Match or If-None-Match does not match."""


class PreconditionRequired(DetentError, slug="precondition-required"):
    """A change as a whole says what it replaces."""


class Refused(DetentError, slug="refused"):
    """A limit or rule says no."""


class GateNotMet(Refused, slug="gate-not-met"):
    """A person may go past it, as forced."""


class BudgetTooSmall(Refused, slug="budget-too-small"):
    """The budget cannot pay for search and confirmation."""


class DatasetTooSmall(Refused, slug="dataset-too-small"):
    """Too few examples."""


class NotAuthenticated(DetentError, slug="not-authenticated"):
    """No key, or none that opens."""


class NotAuthorised(DetentError, slug="not-authorised"):
    """The key does not reach."""


class TooLarge(DetentError, slug="too-large"):
    """A body, or what it holds."""


class TooMany(DetentError, slug="too-many-requests"):
    """More than a limit in a time, or at once."""


class Busy(DetentError, slug="busy"):
    """``said``: what a driver or library said, with addresses and paths. It is for the log and this machine's terminal
    only. ``passes``: whether it helps to ask again by and by, as after every one that was read back from an answer.
    """

    said: str | None = None
    passes = True

    def __init__(self, detail: str, *, said: str | None = None, passes: bool = True, **members: Any) -> None:
        super().__init__(detail, **members)
        self.said, self.passes = said, passes


NOT_ASKED = frozenset({"paused", "busy", "limit"})  # kinds of ModelFailed for a model that was left alone


class ModelFailed(DetentError, slug="model-failed", title="Model call failed"):
    """A model call without a usable answer; ``kind`` says why (timeout, rate_limit, http, malformed, library,
    unreachable).

    ``said``: what the provider or a library said. It may hold addresses, keys or the prompt, so it goes to logs and
    never into an answer. Three kinds say that the model was not asked: paused (it failed too often of late), busy (too
    many wait for it) and limit (the key has used up what it may). ``retry_after_s`` goes with them.
    """

    kind = "unknown"
    said: str | None = None

    def __init__(self, detail: str, *, kind: str = "unknown", said: str | None = None, **members: Any) -> None:
        super().__init__(detail, kind=kind, **members)
        self.kind = kind
        self.said = without_passwords(said) if said is not None else None

    @classmethod
    def unsent(cls, busy: Busy) -> ModelFailed:
        """The failure of a call that was not sent, since the store or the model's queue took no more."""
        return cls(busy.detail, kind="busy", sent=False, **busy.members)


class BudgetExhausted(BaseException):
    """The next call would pass the study's cap; nothing was sent."""


class StudyStopped(BaseException):
    """A user cancelled the study, or its time is over; nothing was sent."""
