"""A freeze: only champions are served, nothing advances and no study begins, until an operator unfreezes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import computed_field

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import when
from optimizer.core.base.texts import Text, shown
from optimizer.core.search.study import Study

ALL = ""  # the scope of a freeze of every family
ALERT = "frozen"  # the kind of the alert that is open while a freeze lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One freeze of one family, or of all. ``since`` is real time."""

    scope: str  # a family, or ALL
    reason: Text[str]
    by: str
    since: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def family(self) -> str | None:
        return self.scope or None

    @property
    def undo(self) -> str:
        return unfreeze_command(self.scope)

    @property
    def text(self) -> str:
        """One sentence for a person: what, by whom, since when, why, and the way out."""
        return (
            f"{scope_text(self.scope)} by {self.by} since {when(self.since)} ({shown(self.reason)}); when it may go on:"
            f" {self.undo}"
        )

    @property
    def sentence(self) -> str:
        """The same where no word "Frozen" stands before it."""
        return (
            f"{scope_text(self.scope)} is frozen by {self.by} since {when(self.since)} ({shown(self.reason)}); when it"
            f" may go on: {self.undo}"
        )


def unfreeze_command(scope: str) -> str:
    return f"detent unfreeze {scope}".rstrip()


def scope_text(scope: str) -> str:
    return scope or "every family"


def is_frozen(freezes: Iterable[Freeze], family: str) -> Freeze | None:
    """The freeze under which ``family`` stands: its own before that of all, None when it is free."""
    by_scope = {freeze.scope: freeze for freeze in freezes}
    return by_scope.get(family) or by_scope.get(ALL)


def require_unfrozen(freezes: Iterable[Freeze], family: str, what: str) -> None:
    """Raises Conflict when ``family`` is frozen; ``what`` completes "Cannot …"."""
    freeze = is_frozen(freezes, family)
    if freeze is not None:
        raise Conflict(
            f"Cannot {what}: {freeze.sentence}.",
            family=family,
            frozen_by=freeze.by,
            frozen_since=freeze.since.isoformat(),
            undo=freeze.undo,
        )


def may_run(study: Study, freezes: Iterable[Freeze]) -> bool:
    """False for a queued study of a frozen family; one that has begun goes on,
    since it changes nothing that is served.
    """
    return study.status != "queued" or is_frozen(freezes, study.family) is None
