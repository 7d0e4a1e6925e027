"""One look at every family, where a fault of one family does not stop the look at others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog

T = TypeVar("T")
Found = TypeVar("Found")
log = structlog.get_logger(__name__)


def each_family(families: Mapping[str, T], look: Callable[[T], Found | None]) -> list[Found]:
    """What ``look`` returned besides None of what each family's name stands for.

    Raises what kept a family from being looked at, once the others have been.
    """
    results: list[Found] = []
    broken: list[Exception] = []
    for name, family in families.items():
        try:
            result = look(family)
        except Exception as error:
            log.exception("family not looked at", family=name)
            broken.append(error)
            continue
        if result is not None:
            results.append(result)
    if broken:
        raise broken[0]
    return results
