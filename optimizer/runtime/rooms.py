"""Where what is declared by a decorator is found: each group's rooms, whose modules are imported at the first question.

A module in a room is found by standing there. So nothing in a room imports a heavy library at its top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from optimizer.core.base.registry import Registration, declared

# a package, with the modules right in it, or one module
ROOMS = {
    "detent.kinds": ("optimizer.core.declaration.prompt_kind", "optimizer.content.core.kind"),
    "detent.study_kinds": ("optimizer.jobs.studies.kinds", "optimizer.content.jobs.replayed_study"),
    "detent.parsers": ("optimizer.core.family.parsers",),
    "detent.scorers": (
        "optimizer.core.evaluation.scorers",
        "optimizer.core.evaluation.judging.scorer",
        "optimizer.core.predictor.alignment",
        "optimizer.content.core.search.score",
    ),
    "detent.strategies": (
        "optimizer.core.search.proposers",
        "optimizer.adapters.search",
        "optimizer.content.adapters.replay_search",
    ),
    "detent.exporters": ("optimizer.jobs.families.exporters",),
}


@cache
def declared_in(group: str) -> Sequence[Registration]:
    """What stands in the rooms of a group, in their order; a name means one thing."""
    found: dict[str, Registration] = {}
    for module in (module for room in ROOMS.get(group, ()) for module in _modules(room)):
        for value in vars(module).values():
            record = declared(value)
            if record is None:
                continue
            one = _added(record.name or value.__name__, module, value)
            if found.setdefault(one.name, one).load() is not value:
                raise ValueError(f"{found[one.name].place} and {one.place} declare the same name, {one.name}")
    return tuple(found.values())


def _added(name: str, module: ModuleType, value: Any) -> Registration:
    return Registration(name=name, place=f"{module.__name__}:{value.__qualname__}", package="", load=lambda: value)


def _modules(room: str) -> Iterator[ModuleType]:
    found = import_module(room)
    yield found
    for one in iter_modules(getattr(found, "__path__", ())):
        if not one.ispkg:
            yield import_module(f"{room}.{one.name}")
