"""Things that are known by name: those built in, and those that installed packages add.

A decorator beside a function declares it and attaches a record to it. Registries look records up: ``find_with``, called
from above all rooms, says how to go through rooms and packages. No package is imported before a family or a study names
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from optimizer.core.base.errors import InvalidInput

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DECLARED = "__detent__"


def declares(record: Callable[Concatenate[Any, P], Any]) -> Callable[P, Callable[[F], F]]:
    """The decorator that makes such a record of a function or class and attaches it. The function stays as it is."""

    def decorator(*args: P.args, **known: P.kwargs) -> Callable[[F], F]:
        def beside(function: F) -> F:
            setattr(function, _DECLARED, record(function, *args, **known))
            return function

        return beside

    return decorator


def record_of(value: Any) -> Any:
    """The record that a decorator has kept with it, None without; of a class its own alone."""
    return getattr(value, "__dict__", {}).get(_DECLARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A name that a room or a package adds.

    It says where the thing is, which distribution and version it comes from (empty: built in), and how to import it
    (may raise anything).
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
    """Sets how the declarations of a group's rooms and packages are found; called once per process, from above."""
    global _rooms, _packages
    _rooms, _packages = rooms or _rooms, packages or _packages


def _with_name(added: Registration, record: Any) -> Any:
    return replace(record, name=added.name)


class Registry(Generic[T]):
    """Records by name.

    Args:
        group: of the entry points that add to it.
        what: what one of them is called: "strategy".
        kind: the class of its records; a function alone can become one, too.
        read: completes what is declared or named to a record, by default with its name; raises TypeError or ValueError
            for anything else.
        reserved: names that mean something else.
    """

    def __init__(
        self,
        group: str,
        what: str,
        kind: type[T],
        read: Callable[[Registration, T], T] = _with_name,
        *,
        reserved: Sequence[str] = (),
    ) -> None:
        self.group, self.what = group, what
        self._kind: Any = kind
        self._read, self._reserved = read, reserved

    @cached_property
    def built_in(self) -> Mapping[str, T]:
        """Those built in. Their names win over every package's."""
        return {registration.name: self._record(registration) for registration in _rooms(self.group)}

    def __contains__(self, name: str) -> bool:
        return name in self.built_in or name in self.added

    def __getitem__(self, name: str) -> T:
        """Raises KeyError for an unknown name. Raises InvalidInput where a package's cannot be imported, or is of
        another kind.
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
        """The record of what is declared, which may be a record itself or a function alone."""
        loaded = registration.load()
        record = record_of(loaded) or loaded
        return self._read(registration, record if isinstance(record, self._kind) else self._kind(loaded))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.built_in, *self.added)

    @property
    def added(self) -> Mapping[str, Registration]:
        """What packages add, without those that are refused."""
        return {
            registration.name: registration
            for registration in _packages(self.group)
            if self._fault(registration) is None
        }

    @property
    def refused(self) -> tuple[str, ...]:
        """Why each name that a package adds in vain is not taken, as a sentence."""
        return tuple(
            fault for registration in _packages(self.group) if (fault := self._fault(registration)) is not None
        )

    def _fault(self, entry: Registration) -> str | None:
        why = None
        if entry.name in self.built_in:
            why = "Detent has one of that name"
        elif entry.name in self._reserved:
            why = "the name means something else here"
        elif not _NAME.fullmatch(entry.name):
            why = "a name begins with a small letter and holds small letters, digits and underscores"
        elif others := [
            other.package for other in _packages(self.group) if other.name == entry.name and other != entry
        ]:
            why = f"{' and '.join(others)} adds the same name"
        if why is None:
            return None
        return (
            f"The {self.what} {entry.name!r} of the package {entry.package} is refused: {why}. Rename it there, or"
            " remove that package."
        )
