"""What is known by name: what is built in, and what installed packages add.

The core only asks: ``find_with`` is told by the edge how packages are looked through, and without it there are none.
Nothing is imported before a family or a study names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from optimizer.core.base.errors import InvalidInput

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A name that a package adds: where it stands, which distribution in which version has it,
    and how it is imported (may raise anything).
    """

    name: str
    place: str
    package: str
    load: Callable[[], Any]


Find = Callable[[str], Sequence[Added]]


def _no_packages(group: str) -> Sequence[Added]:
    return ()


_find: Find = _no_packages


def find_with(find: Find) -> None:
    """Says how the packages of a group are found; called once per process, by the edge."""
    global _find
    _find = find


class Registry(Generic[T]):
    """Records by name.

    Args:
        group: of the entry points that add to it.
        what: one of them, as a word: "strategy".
        built_in: goes before every package: a name that stands here is never a package's.
        reserved: names that mean something else.
        read: the record of what a package's entry point names; raises TypeError or ValueError for what is none.
    """

    def __init__(
        self,
        group: str,
        what: str,
        built_in: Mapping[str, T],
        read: Callable[[Added, Any], T],
        *,
        reserved: Sequence[str] = (),
    ) -> None:
        self.group, self.what, self.built_in = group, what, built_in
        self._read, self._reserved = read, reserved

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
            return self._read(added, added.load())
        except (
            Exception
        ) as error:  # importing it runs the package's code: whatever it raises concerns those alone who name it
            raise InvalidInput(
                f"The {self.what} {name!r} of the package {added.package} could not be loaded from {added.place} "
                f"({type(error).__name__}: {error}). Repair or update that package, or name another {self.what}."
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.built_in, *self.added)

    @property
    def added(self) -> Mapping[str, Added]:
        """What packages add, without those that are refused."""
        return {one.name: one for one in self._found() if self._fault(one) is None}

    @property
    def refused(self) -> tuple[str, ...]:
        """Why each name that a package adds in vain is not taken, as a sentence."""
        return tuple(fault for one in self._found() if (fault := self._fault(one)) is not None)

    def _found(self) -> Sequence[Added]:
        return _find(self.group)

    def _fault(self, one: Added) -> str | None:
        why = None
        if one.name in self.built_in:
            why = "Detent has one of that name"
        elif one.name in self._reserved:
            why = "the name means something else here"
        elif not _NAME.fullmatch(one.name):
            why = "a name begins with a small letter and holds small letters, digits and underscores"
        elif others := [other.package for other in self._found() if other.name == one.name and other != one]:
            why = f"{' and '.join(others)} adds the same name"
        if why is None:
            return None
        return (
            f"The {self.what} {one.name!r} of the package {one.package} is refused: {why}. Rename it there, or remove"
            " that package."
        )
