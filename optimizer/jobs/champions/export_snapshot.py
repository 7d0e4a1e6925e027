"""Writes the champions of all families as a snapshot's file, from which ``detent_client`` serves without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.views.prompt import prompt_members
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request


class SnapshotRequest(Request):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """``text``: the file, JSON as ``GET /v1/snapshot`` gives it. ``families``: whose champion stands in it, by each
    name that applications still use.
    """

    families: Sequence[str]
    text: str


def export_snapshot(context: Context, request: SnapshotRequest) -> SnapshotFile:
    """Every family's champion and nothing else, as a file from which a client serves where no server answers:
    `Client(fallback="champions.json")`.

    It holds no candidate, salt, unit or token: nobody who is served from it stands in an arm.
    """
    store, families = context.store, context.families().families
    entries: dict[str, Any] = {}
    with store.read() as tx:
        for name, family in sorted(families.items()):
            champion = store.champions.current(tx, name) if context.access.may_see(name) else None
            if champion is None or (record := store.variants.get(tx, name, champion.variant)) is None:
                continue
            prompt = {
                "family": name,
                "variant": record.variant.id,
                "role": "champion",
                **prompt_members(record.variant, family),
            }
            entries[name] = {"champion": prompt, "privacy": {"store": family.privacy.store}}
        former = store.family_names.former(tx)
    entries |= {old: entries[new] for old, new in sorted(former.items()) if new in entries and old not in entries}
    text = json.dumps(
        {"families": entries},
        ensure_ascii=False,
        indent=1,
        default=lambda value: dict(value) if isinstance(value, Mapping) else list(value),
    )
    return SnapshotFile(families=list(entries), text=f"{text}\n")
