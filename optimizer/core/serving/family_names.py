"""Names that a family had: a renamed family is found under its former names.

One that was retired has a name such as ``triage~1``, since a new family may take the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from optimizer.core.base.errors import InvalidFamily, NotFound

V = TypeVar("V")
RETIRED = "~"  # in no name of a family's file


def is_retired(name: str) -> bool:
    return RETIRED in name


def next_free(name: str, names: Iterable[str]) -> str:
    """``name~n`` with the smallest n from 1 that is not taken."""
    known, n = set(names), 1
    while f"{name}{RETIRED}{n}" in known:
        n += 1
    return f"{name}{RETIRED}{n}"


class FamilyMap(dict[str, V]):
    """Families by their present names, which alone are listed; a former name finds the same family."""

    def __init__(self, by_name: Mapping[str, V], former: Mapping[str, str]) -> None:
        """Args: ``former``: the present name by each former one."""
        super().__init__(by_name)
        self.former = {old: new for old, new in former.items() if new in by_name and old not in by_name}

    def __missing__(self, name: str) -> V:
        return dict.__getitem__(self, self.former[name])

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.former

    def get(self, name: str, default: V | None = None) -> V | None:  # type: ignore[override]
        return dict.get(self, self.former.get(name, name), default)


def by_name(values: Mapping[str, V], former: Mapping[str, str]) -> Mapping[str, V]:
    """A ``FamilyMap`` where a family was renamed, else the mapping as it is, which every request reads in the usual
    case.
    """
    return FamilyMap(values, former) if former else values


def former_of(values: Mapping[str, V]) -> Mapping[str, str]:
    """The present name by each former one that is found."""
    return values.former if isinstance(values, FamilyMap) else {}


def no_family(name: str) -> NotFound:
    """Names no other: a key for named families learns nothing of the rest."""
    return NotFound(f"There is no family {name!r} here; `detent family list` shows those that exist.", family=name)


def definition(name: str, values: Mapping[str, V], problems: Mapping[str, InvalidFamily]) -> V:
    """The definition of a family whose file exists. Raises InvalidFamily where it was never readable, NotFound for
    others.
    """
    known = values.get(name)
    if known is not None:
        return known
    if (problem := problems.get(name)) is not None:
        raise InvalidFamily(problem.detail, problem.faults)
    raise no_family(name)


def retired_family(name: str) -> NotFound:
    return NotFound(f"The family {name!r} was retired. Undo: detent family restore {name}.", family=name)
