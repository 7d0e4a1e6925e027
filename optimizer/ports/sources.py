"""What comes from files: families, and the rows of imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from optimizer.core.base.errors import InvalidFamily
from optimizer.core.family.family import Family


class FamilySource(Protocol):
    """The family files: the last good definition of each, and what is wrong with the present file.

    ``former_names``: the present name by each former one, under which ``families`` finds it, too; as the store has it.
    """

    former_names: Mapping[str, str]

    @property
    def families(self) -> Mapping[str, Family]: ...
    @property
    def problems(self) -> Mapping[str, InvalidFamily]: ...
    def changed(self) -> bool:
        """Cheap: looks at times and sizes only."""

    def load(self) -> None:
        """Read what changed; a file that is wrong leaves its last good definition standing."""

    def retired(self) -> Mapping[str, Family]:
        """Retired name -> the family, for those whose file was put aside and can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row as a source gives it.

    ``where`` names it for a person (line 12, scipy.fft.fft); ``rejected`` says why it is no example.
    """

    where: str
    input: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    group: str | None = None
    rejected: str | None = None
