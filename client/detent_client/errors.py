"""What the client raises, all under ``DetentError``. Where a fallback was given it raises none of them.

DetentError
├── Unavailable           no snapshot has come yet, or it is too old
├── UnknownFamily         the snapshot has no such family
├── NeedsServer           the server alone can answer for this family
├── InvalidInput          the prompt cannot be filled in with what was given
└── InvalidAssignment     a text that is no assignment
"""

from __future__ import annotations

from collections.abc import Sequence


class DetentError(Exception):
    """Its text says what happened, why, and what to do."""


class Unavailable(DetentError):
    """No snapshot or answer is at hand."""


class UnknownFamily(DetentError):
    """No family of that name is served."""


class NeedsServer(DetentError):
    """The server alone can answer for this family."""


class InvalidInput(DetentError):
    """``pointers``: JSON pointers to what is wrong, as the server names them."""

    def __init__(self, detail: str, pointers: Sequence[str]) -> None:
        super().__init__(detail)
        self.pointers = tuple(pointers)


class InvalidAssignment(DetentError):
    """A text that is no assignment."""
