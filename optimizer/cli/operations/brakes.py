"""Brakes: the acts that stop what is served or take it back. They work on the machine itself, whatever the server says.

Who may write the store's file could do anything with it. So that right suffices for a brake, also where the environment
holds a key that may not, has ended or is used up, or the server answers nothing; the record then says
``local:<user>`` and no key's name. To let things go on again (unfreeze, resume, approve) is no brake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from optimizer.cli.operations.local import LocalOperations
from optimizer.cli.operations.protocol import Answer, Operations
from optimizer.cli.operations.remote import RemoteOperations
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

BRAKES = frozenset({"revoke_key"})  # methods of ``Operations``
ABOUT_THE_ACT = (Conflict, Refused, InvalidInput)  # the store would say the same


def with_brakes(remote: RemoteOperations, local: LocalOperations, actor: str) -> Operations:
    """The server's operations, but that a brake which it does not carry out is carried out on the store.

    ``actor``: who acts on the store.
    """
    return cast(Operations, _Brakes(remote, local, actor))


class BrakesOnStore:
    """A client that asks the server, but that a brake which it does not carry out is carried out on the store."""

    def __init__(self, remote: Client, local: Client, actor: str) -> None:
        """``actor``: who acts on the store."""
        self._remote, self._local, self._actor = remote, local, actor

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        return _asked(
            lambda: self._remote.ask(function, request),
            lambda: self._local.ask(function, request),
            is_brake=use_case_of(function).brake,
            actor=self._actor,
        )


class _Brakes:
    def __init__(self, remote: RemoteOperations, local: LocalOperations, actor: str) -> None:
        self._remote, self._local, self._actor = remote, local, actor

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        ask: Callable[..., Answer] = getattr(self._remote, name)

        def call(*given: Any, **named: Any) -> Answer:
            return _asked(
                lambda: ask(*given, **named),
                lambda: getattr(self._local, name)(*given, **named),
                is_brake=name in BRAKES,
                actor=self._actor,
            )

        return call


def _asked(by_server: Callable[[], R], on_store: Callable[[], R], *, is_brake: bool, actor: str) -> R:
    try:
        return by_server()
    except ABOUT_THE_ACT:
        raise
    except DetentError as error:
        if not is_brake:
            raise _with_way_out(error, actor) from None
        if isinstance(error, NotFound):  # to a key for other families nothing is there
            answer = on_store()
            say(f"The server says: {error.detail}\nSo it was done on the store, as {actor}.", "yellow")
            return answer
        say(f"{error.detail}\nSo it is done on the store itself, as {actor}.", "yellow")
        return on_store()


def _with_way_out(error: DetentError, actor: str) -> DetentError:
    if not isinstance(error, NotAuthenticated | NotAuthorised):
        return error
    way_out = f"Without DETENT_API_KEY this account may do it on the store: it is then done as {actor}."
    return type(error)(f"{error.detail} {way_out}", **error.members)
