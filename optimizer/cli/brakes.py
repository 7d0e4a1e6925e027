"""Brakes: the acts that stop what is served or take it back. They work on the machine itself, whatever the server says.

Write access to the store's file suffices for a brake, even without a valid key or a running server: it would allow
anything else as well. The record then says ``local:<user>`` and no key's name. To let things go on again (unfreeze,
resume, approve) is no brake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from optimizer.cli.output import say
from optimizer.core.base.errors import (
    Conflict,
    DetentError,
    InvalidInput,
    NotAuthenticated,
    NotAuthorised,
    NotFound,
    Refused,
)
from optimizer.runtime.use_cases import use_case_of

if TYPE_CHECKING:
    from optimizer.jobs.context import Context
    from optimizer.runtime.client import Client

Q = TypeVar("Q")
R = TypeVar("R")

ABOUT_THE_ACT = (Conflict, Refused, InvalidInput)  # the store would say the same


class BrakesOnStore:
    """A client that asks the server, but that a brake which it does not carry out is carried out on the store."""

    def __init__(self, remote: Client, local: Client, actor: str) -> None:
        """``actor``: who acts on the store."""
        self._remote, self._local, self._actor = remote, local, actor

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        try:
            return self._remote.ask(function, request)
        except ABOUT_THE_ACT:
            raise
        except DetentError as error:
            use_case = use_case_of(function)
            if not use_case.brake:
                if not isinstance(error, NotAuthenticated | NotAuthorised):
                    raise
                way_out = (
                    f"Without DETENT_API_KEY this account may do it on the store: it is then done as {self._actor}."
                )
                raise type(error)(f"{error.detail} {way_out}", **error.members) from None
            done = "read in" if use_case.is_read else "done on"
            if isinstance(error, NotFound):  # to a key for other families nothing is there
                report = self._local.ask(function, request)
                say(f"The server says: {error.detail}\nSo it was {done} the store, as {self._actor}.", "yellow")
                return report
            say(f"{error.detail}\nSo it is {done} the store itself, as {self._actor}.", "yellow")
            return self._local.ask(function, request)
