"""Forgetting a person: what a worker was asked for, and what it found of them and took away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from optimizer.core.evaluation.run import QueuedRun
from optimizer.core.search.study import Study

FORGOTTEN = "person.forgotten"  # of the watermarks: when somebody was taken out of the store last


class ForgetQuery(TypedDict):
    """``unit``: its HMAC; "" once the run has ended. ``older``: its HMACs under unit keys that were in use before.
    ``own_words``: what families' files say word for word stays.
    """

    unit: str
    older: NotRequired[Sequence[str]]
    own_words: bool
    dry_run: bool


class PlaceCount(TypedDict):
    """``n``: rows of a table, or lines or files of another place."""

    place: str
    n: int


class ForgetResult(TypedDict):
    """Where the person was found.

    Args:
        places: what went, or of a dry run what would go; only where something was found.
        families: those in which it was.
        variants: by family, those that quoted the person.
        champions: by family, which variant serves since, where the champion was one of them.
        first: of a dry run, what somebody has to do before, as sentences.
        not_reached: what stays, and where nothing was looked for, as sentences.
    """

    places: Sequence[PlaceCount]
    families: Sequence[str]
    variants: Mapping[str, Sequence[str]]
    champions: Mapping[str, str]
    first: Sequence[str]
    not_reached: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRun(QueuedRun):
    """One person, in all families. ``n``: parts of the work; ``n_done``: of those, what is done."""

    kind: Literal["forget"] = "forget"
    request: ForgetQuery
    result: ForgetResult | None = None


def holds_up(unfinished: Iterable[QueuedRun], study: Study) -> bool:
    """Whether a study has to wait, which would hold examples in memory, and write them down again. One that has begun
    goes on as long as the forgetting waits for it.
    """
    return any(
        isinstance(run, ForgetRun)
        and not run.request["dry_run"]
        and (study.status == "queued" or run.status == "running")
        for run in unfinished
    )
