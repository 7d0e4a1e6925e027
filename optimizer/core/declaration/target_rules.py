"""Rules of the ``targets`` of a family: one suite, or several by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.evaluation.suites import DEFAULT, FULL, GOLDEN
from optimizer.core.family.settings import is_named

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = {FULL: "it means every suite of the family", DEFAULT: "it means the suite that has no name"}


def target_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of plain data; parts of a wrong type are passed over, since that has been found fault with already."""
    targets = data.get("targets")
    if not isinstance(targets, Mapping):
        return
    inputs = data.get("inputs")
    known = [name for name in inputs if isinstance(name, str)] if isinstance(inputs, Mapping) else []
    if not is_named(targets):
        yield from _tools(targets, ["targets"], known)
        return
    for name, suite in targets.items():
        at = ["targets", name]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            detail = "a suite is named by 1 to 40 small letters, digits and underscores, a letter first"
            yield Fault(pointer=pointer_of(at), detail=detail)
        elif name in _RESERVED:
            detail = f"no suite can have the name {name!r}: {_RESERVED[name]}; choose another"
            yield Fault(pointer=pointer_of(at), detail=detail)
        elif isinstance(suite, Mapping) and _asks_nothing(suite, is_golden=name == GOLDEN):
            yield Fault(pointer=pointer_of(at), detail="it asks nothing, so no candidate could meet it; name a target")
        yield from _tools(suite, at, known)


def _asks_nothing(suite: Mapping[str, Any], *, is_golden: bool) -> bool:
    """Golden scenarios are asked for the usual regression where the file says nothing of it."""
    targets = {name for name, target in suite.items() if target is not None} - {"n"}
    return not targets and not (is_golden and "regression" not in suite)


def _tools(suite: Any, at: Sequence[str], known: Sequence[str]) -> Iterator[Fault]:
    used = suite.get("tools_used") if isinstance(suite, Mapping) else None
    named = used.get("inputs") if isinstance(used, Mapping) else None
    if not isinstance(named, Sequence) or isinstance(named, str):
        return
    for i, name in enumerate(named):
        if isinstance(name, str) and name not in known:
            hint = did_you_mean(name, known) or f"; declared: {', '.join(known) or 'none'}"
            yield Fault(
                pointer=pointer_of([*at, "tools_used", "inputs", i]), detail=f"the family has no input {name!r}{hint}"
            )
