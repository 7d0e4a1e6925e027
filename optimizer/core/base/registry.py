"""What is known by name: what is built in, and what installed packages add.

Either is declared by a decorator beside the function, which keeps a record with it. Registries find records by asking:
``find_with`` is told from above all rooms how rooms and packages are looked through. No package is imported before a
family or a study names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from optimizer.core.base.errors import InvalidInput

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DECLARED = "__detent__"


def declares(record: Callable[Concatenate[Any, P], Any]) -> Callable[P, Callable[[F], F]]:
    """The decorator that makes such a record of a function or class and keeps it there; what it stands on stays
    as it is.
    """

    def decorator(*args: P.args, **known: P.kwargs) -> Callable[[F], F]:
        def beside(function: F) -> F:
            setattr(function, _DECLARED, record(function, *args, **known))
            return function

        return beside

    return decorator


def declared(value: Any) -> Any:
    """The record that a decorator has kept with it, None without; of a class its own alone."""
    return getattr(value, "__dict__", {}).get(_DECLARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A name that a room or a package adds: where it stands, which distribution in which version has it (empty: it is
    built in), and how it is imported (may raise anything).
    """

    name: str
    place: str
    package: str
    load: Callable[[], Any]


Find = Callable[[str], Sequence[Registration]]


def _nothing(group: str) -> Sequence[Registration]:
    return ()


_rooms: Find = _nothing
_packages: Find = _nothing


def find_with(*, rooms: Find | None = None, packages: Find | None = None) -> None:
    """Says how what is declared in the rooms of a group, and what packages add to it, is found; called once per
    process, from above.
    """
    global _rooms, _packages
    _rooms, _packages = rooms or _rooms, packages or _packages


class Registry(Generic[T]):
    """Records by name.

    Args:
        group: of the entry points that add to it.
        what: one of them, as a word: "strategy".
        kind: the class of its records, which is made of a function alone, too.
        read: the whole record of what is declared or named; raises TypeError or ValueError for what is none.
        reserved: names that mean something else.
    """

    def __init__(
        self,
        group: str,
        what: str,
        kind: type[T],
        read: Callable[[Registration, T], T],
        *,
        reserved: Sequence[str] = (),
    ) -> None:
        self.group, self.what = group, what
        self._kind: Any = kind
        self._read, self._reserved = read, reserved

    @cached_property
    def built_in(self) -> Mapping[str, T]:
        """They go before every package: a name that stands here is never a package's."""
        return {registration.name: self._record(registration) for registration in _rooms(self.group)}

    def __contains__(self, name: str) -> bool:
        return name in self.built_in or name in self.added

    def __getitem__(self, name: str) -> T:
        """Raises KeyError for an unknown name, InvalidInput for a package's that cannot be imported or is none
        of these.
        """
        if name in self.built_in:
            return self.built_in[name]
        added = self.added[name]
        try:
            return self._record(added)
        except (
            Exception
        ) as error:  # importing it runs the package's code, which may raise anything: only families that name it fail
            raise InvalidInput(
                f"The {self.what} {name!r} of the package {added.package} could not be loaded from {added.place} "
                f"({type(error).__name__}: {error}). Repair or update that package, or name another {self.what}."
            ) from error

    def _record(self, registration: Registration) -> T:
        """Of what is declared, is a record itself, or a function alone."""
        loaded = registration.load()
        record = declared(loaded) or loaded
        return self._read(registration, record if isinstance(record, self._kind) else self._kind(loaded))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.built_in, *self.added)

    @property
    def added(self) -> Mapping[str, Registration]:
        """What packages add, without those that are refused."""
        return {
            registration.name: registration
            for registration in self._registrations()
            if self._fault(registration) is None
        }

    @property
    def refused(self) -> tuple[str, ...]:
        """Why each name that a package adds in vain is not taken, as a sentence."""
        return tuple(
            fault for registration in self._registrations() if (fault := self._fault(registration)) is not None
        )

    def _registrations(self) -> Sequence[Registration]:
        return _packages(self.group)

    def _fault(self, entry: Registration) -> str | None:
        why = None
        if entry.name in self.built_in:
            why = "Detent has one of that name"
        elif entry.name in self._reserved:
            why = "the name means something else here"
        elif not _NAME.fullmatch(entry.name):
            why = "a name begins with a small letter and holds small letters, digits and underscores"
        elif others := [
            other.package for other in self._registrations() if other.name == entry.name and other != entry
        ]:
            why = f"{' and '.join(others)} adds the same name"
        if why is None:
            return None
        return (
            f"The {self.what} {entry.name!r} of the package {entry.package} is refused: {why}. Rename it there, or"
            " remove that package."
        )
