"""The keys of the api, and those of the installation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from optimizer.core.serving.access import Access
from optimizer.ports.transaction import Transaction

CallerKind = Literal["keyless", "refused"]  # let in without a key, turned away for want of a right one
Limited = Literal["requests_per_minute", "calls_per_day", "usd_per_day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is stored: hashes, never secrets.

    After a rotation the secret before it is valid, too, until ``previous_until``.
    """

    name: str
    access: Access
    secret_hash: str
    created_at: datetime
    revoked_at: datetime | None = None
    previous_hash: str | None = None
    previous_until: datetime | None = None
    keyless_until: datetime | None = None  # on the first key: until when requests without one are still served


class CallerRecord(NamedTuple):
    """A program by what it calls itself, seen in the last day; ``n_requests``: since it was away for a day."""

    kind: CallerKind
    name: str
    n_requests: int
    last_at: datetime


class ApiKeys(Protocol):
    def add(
        self,
        tx: Transaction,
        name: str,
        access: Access,
        secret_hash: str,
        at: datetime,
        keyless_until: datetime | None = None,
    ) -> None:
        """The name is new: the caller has looked in the same transaction."""

    def close_keyless(self, tx: Transaction, at: datetime) -> None:
        """Requests without a key go on until then at most."""

    def revoke(self, tx: Transaction, name: str, at: datetime) -> None:
        """Changes nothing where it was revoked before."""

    def remove(self, tx: Transaction, name: str) -> None:
        """Removes a key without a trace. Call ``unmark`` once that is committed."""

    def unmark(self) -> None:
        """Notes that a person removed the last key, which is no loss of keys.

        Call it after the commit: a process that still sees the key would note again that there are some.
        """

    def replace_secret(
        self, tx: Transaction, name: str, secret_hash: str, previous_hash: str | None, previous_until: datetime | None
    ) -> None: ...
    def get(self, tx: Transaction, name: str) -> KeyRecord | None: ...
    def all(self, tx: Transaction) -> Sequence[KeyRecord]: ...
    def add_callers(self, tx: Transaction, counts: Mapping[tuple[CallerKind, str], int], at: datetime) -> None:
        """Adds the requests of callers until ``at``.

        Callers last seen over a day before are forgotten, and of very many those that were seen least.
        """

    def callers(self, tx: Transaction, since: datetime) -> Sequence[CallerRecord]:
        """Callers seen since then, the last one first."""


class KeyUsage(Protocol):
    """What keys have used of their limits, counted for all processes together.

    ``window`` is the start of the running minute or day.
    """

    def take(self, tx: Transaction, key: str, limit: Limited, window: datetime, amount: float, most: float) -> bool:
        """Counts ``amount`` and returns True, or False where it would pass ``most``; nothing is counted then."""

    def take_some(self, tx: Transaction, key: str, limit: Limited, window: datetime, most: int) -> int:
        """Takes a part of what is left of ``most`` and returns it: at least 1, or 0 where nothing is left."""

    def give_back(self, tx: Transaction, key: str, limit: Limited, window: datetime, amount: float) -> None:
        """What was taken and not used."""

    def used(self, tx: Transaction, window: datetime) -> dict[str, dict[Limited, float]]:
        """Key -> limit -> what was used of it in the windows that begin then."""


KeyKind = Literal["token", "unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationKey:
    """``name``: says nothing of the secret. ``rotated_at``: when its file says that it took over from an earlier one;
    None where there was none.
    """

    name: str
    n_older: int
    rotated_at: datetime | None
    is_in_environment: bool = False


class InstallationKeys(Protocol):
    def newest(self, kind: KeyKind) -> InstallationKey: ...
    def rotate(self, kind: KeyKind, at: datetime) -> str:
        """Makes a new key the newest; returns its name. The others stay for what they have signed or stored."""
