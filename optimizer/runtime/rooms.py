"""Finds what a decorator declares: each group has rooms, whose modules are imported at the first question.

A module belongs to a room by lying in it. So no module of a room imports a heavy library at its top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from optimizer.core.base.registry import Registration, record_of

# Each room is a package, whose direct modules count, or one module.
ROOMS = {
    "detent.kinds": ("optimizer.core.declaration.prompt_kind", "optimizer.content.core.kind"),
    "detent.study_kinds": ("optimizer.jobs.studies.kinds", "optimizer.content.jobs.replayed_study"),
    "detent.parsers": ("optimizer.core.family.parsers",),
    "detent.scorers": (
        "optimizer.core.evaluation.metrics",
        "optimizer.core.evaluation.judging.judgement",
        "optimizer.core.predictor.attach",
        "optimizer.content.core.search.score",
    ),
    "detent.strategies": (
        "optimizer.core.search.proposers",
        "optimizer.adapters.search",
        "optimizer.content.adapters.replay_search",
    ),
    "detent.exporters": ("optimizer.jobs.families.exporters",),
    "detent.prompt_sources": ("optimizer.adapters.prompt_sources",),
}


@cache
def declared_in(group: str) -> Sequence[Registration]:
    """What the rooms of a group declare, in their order. A name has one meaning."""
    entries: dict[str, Registration] = {}
    for module in (module for room in ROOMS.get(group, ()) for module in _modules(room)):
        for value in vars(module).values():
            record = record_of(value)
            if record is None:
                continue
            entry = _added(record.name or value.__name__, module, value)
            if entries.setdefault(entry.name, entry).load() is not value:
                raise ValueError(f"{entries[entry.name].place} and {entry.place} declare the same name, {entry.name}")
    return tuple(entries.values())


def _added(name: str, module: ModuleType, value: Any) -> Registration:
    return Registration(name=name, place=f"{module.__name__}:{value.__qualname__}", package="", load=lambda: value)


def _modules(room: str) -> Iterator[ModuleType]:
    package = import_module(room)
    yield package
    for module in iter_modules(getattr(package, "__path__", ())):
        if not module.ispkg:
            yield import_module(f"{room}.{module.name}")
