"""What decides which Variant is served: champions, overrides, freezes, and the version of it all."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Freeze
from optimizer.ports.transaction import Transaction


class Champions(Protocol):
    def current(self, tx: Transaction, family: str) -> Champion | None: ...
    def all_current(self, tx: Transaction) -> list[Champion]:
        """The current champion of every family, by family."""

    def history(self, tx: Transaction, family: str) -> list[Champion]: ...
    def put(self, tx: Transaction, champion: Champion) -> None:
        """Ends the current tenure at ``champion.since`` and starts this one."""

    def end(self, tx: Transaction, family: str, at: datetime) -> None:
        """Ends the current tenure, and none follows."""

    def resume(self, tx: Transaction, family: str) -> Champion | None:
        """Lets the last tenure go on as if it had not ended; None where there never was one."""


class Overrides(Protocol):
    def put(self, tx: Transaction, family: str, unit_hmac: str, override: Override, by: str, at: datetime) -> None: ...
    def active(self, tx: Transaction, now: datetime) -> list[tuple[str, str, Override]]:
        """(family, unit_hmac, override)."""


class Freezes(Protocol):
    """``scope``: a family, or "" for all."""

    def put(self, tx: Transaction, scope: str, reason: str, by: str, at: datetime) -> None: ...
    def remove(self, tx: Transaction, scope: str) -> bool:
        """False when there was none."""

    def all(self, tx: Transaction) -> list[Freeze]: ...


class ServingVersion(Protocol):
    def bump(self, tx: Transaction) -> None: ...
    def read(self, tx: Transaction) -> tuple[int, datetime | None]:
        """(version, last tick)."""

    def mark(self, tx: Transaction) -> object:
        """Equal to an earlier one only where nothing at all was committed between the two transactions."""

    def ticked(self, tx: Transaction, at: datetime) -> None: ...


class FamilyNames(Protocol):
    """What families are called.

    A name that is none of these is its family's only one. Every other part of the store takes present and former names,
    and gives the present one.
    """

    def former(self, tx: Transaction) -> dict[str, str]:
        """The present name by each former one, those of retired families included."""

    def names_of(self, tx: Transaction, name: str) -> set[str]:
        """Every name that the family of this one has or had."""

    def retired(self, tx: Transaction, name: str) -> str | None:
        """The present name, such as ``triage~1``, of the family that was last retired under this one."""

    def since(self, tx: Transaction, name: str) -> datetime | None:
        """Since when the name, which may be a former one, has meant its present family; None: always."""

    def rename(self, tx: Transaction, old: str, new: str, at: datetime) -> None:
        """Keys for the old name are for the new one too, and what is sealed for either is sealed for ``new``.

        Open alerts whose subject is the old name are about the new one.

        Raises Conflict where the family has opened rows that are sealed for ``new``.
        """

    def next_retired(self, tx: Transaction, name: str) -> str:
        """The name that ``retire`` would give it."""

    def retire(self, tx: Transaction, name: str, at: datetime) -> str:
        """Frees the name, and keeps its holdout sealed for who takes it; the name that the family has from now on."""

    def restore(self, tx: Transaction, retired: str, name: str, at: datetime) -> None:
        """Gives a retired family its name back, which nobody has. Looks of other families of that name count for it."""

    def claim(self, tx: Transaction, name: str, at: datetime) -> str | None:
        """Lets a new family have this name, under which nothing of a retired one is found any more.

        Returns the family that has it as a former name, and keeps it; None: the name may be used.
        """

    def n_sealed(self, tx: Transaction, name: str) -> int:
        """Inputs that stay sealed for a family of this name, since they were in the holdout of a retired one."""
