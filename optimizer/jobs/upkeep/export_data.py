"""Exports everything that is kept: rows, families and prompts, and no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optimizer.core.base.errors import Conflict
from optimizer.core.dataset.sealed_rows import EMPTY, HOLDOUT, ORDER, SealedRows
from optimizer.core.family.family import Family
from optimizer.jobs.families.export_variant import export_variant
from optimizer.jobs.ids import new_id
from optimizer.jobs.upkeep.export_folder import SEALED, ExportTarget, ExportWriter, rows_file
from optimizer.jobs.upkeep.later_tables import refuse_later_tables
from optimizer.ports import Clock, Store, Transaction

NOT_IN_IT = (
    "keys of the API, keys that sign tokens, the key that hashes units (var/): units in it stay hashes",
    "settings and models (config/): they name addresses and may name keys",
    "examples.jsonl of families: the rows of train and dev stand in tables/examples.jsonl",
    "functions of your own (metrics, gates), which families name by a dotted path",
    "files beside a family that its scorer names (learned metrics, corpora): copy them",
    "what MLflow and the workflow engine keep",
)
FAMILY_FILES = ("family.yaml", "golden.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataExport:
    """``n_sealed``: rows of the holdout that stand in a file of their own; None: they were not asked for.
    ``n_left_out``, ``n_without_texts``: rows that the holdout is in.
    """

    folder: Path
    tables: Mapping[str, int]
    families: Sequence[str]
    n_sealed: int | None
    n_left_out: int
    n_without_texts: int
    not_in_it: Sequence[str]

    @classmethod
    def of(cls, folder: Path, manifest: Mapping[str, Any]) -> DataExport:
        """As the manifest of ``folder`` tells it."""
        files = manifest["files"]
        return cls(
            folder=folder,
            tables=manifest["tables"],
            families=sorted({name.split("/")[1] for name in files if name.startswith("families/")}),
            n_sealed=files[SEALED]["rows"] if SEALED in files else None,
            n_left_out=manifest["rows_left_out"],
            n_without_texts=manifest["rows_without_texts"],
            not_in_it=manifest["not_in_it"],
        )


@dataclass(kw_only=True)
class _Counts:
    left_out: int = 0
    without_texts: int = 0


def export_data(
    store: Store,
    target: ExportTarget,
    *,
    families: Mapping[str, tuple[Family, Path | None]],
    unit_keys: Sequence[str],
    clock: Clock,
    actor: str,
    sealed: bool,
) -> Mapping[str, Any]:
    """One moment of the store, while servers go on. Rows are never all in memory.

    Args:
        families: the home's, and where the files of each stand.
        unit_keys: names of the keys under which units stand.
        sealed: the holdout too, in a file of its own; it counts as a look at each of its examples.
    Returns:
        The manifest.
    Raises:
        Conflict: an example was sealed while a sealed export began.
    """
    at, look, counts = clock.now(), new_id("ex"), _Counts()
    writer = ExportWriter(target)
    store.write(lambda tx: _record(tx, store, at=at, actor=actor, look=look, sealed=sealed))
    with store.read() as tx:
        tables = [*ORDER, *(name for name in store.tables.names() if name not in ORDER)]
        knowledge = SealedRows()
        for row in store.tables.each(tx, "examples"):
            knowledge.add(row)
        rows = {name: writer.lines(rows_file(name), _open(tx, store, name, knowledge, counts)) for name in tables}
        if sealed:
            writer.lines(SEALED, _sealed(tx, store, tables, knowledge, look))
        prompts = list(_prompts(tx, store, {name: family for name, (family, _) in families.items()}))
    for name, text in prompts:
        writer.content(name, text.encode())
    for name, (_, place) in sorted(families.items()):
        for file in FAMILY_FILES:
            if place is not None and (place / file).is_file():
                writer.content(f"families/{name}/{file}", (place / file).read_bytes())
    return writer.finish(
        {
            "made_by": version("detent-server"),
            "schema": store.tables.revision(),
            "exported_at": at.isoformat(),
            "tables": rows,
            "unit_keys": list(unit_keys),
            "sealed_look": look if sealed else None,
            "rows_left_out": counts.left_out,
            "rows_without_texts": counts.without_texts,
            "not_in_it": list(NOT_IN_IT),
        }
    )


def _record(tx: Transaction, store: Store, *, at: datetime, actor: str, look: str, sealed: bool) -> None:
    """Before anything is read: who has seen the holdout has looked, whether the export ends or not."""
    refuse_later_tables(tx, store, "An export")
    n = store.tables.look_at_holdout(tx, look, at) if sealed else 0
    detail = {"sealed": n} if sealed else {}
    store.audit.add(tx, at=at, actor=actor, action="data.export", family=None, subject=look, detail=detail)


def _open(
    tx: Transaction, store: Store, table: str, sealed: SealedRows, counts: _Counts
) -> Iterator[Mapping[str, Any]]:
    for row in store.tables.each(tx, table):
        if not sealed.seals(table, row):
            yield row
        elif table in EMPTY:
            counts.without_texts += 1
            yield {**row, **EMPTY[table]}
        else:
            counts.left_out += 1


def _sealed(
    tx: Transaction, store: Store, tables: Sequence[str], sealed: SealedRows, look: str
) -> Iterator[Mapping[str, Any]]:
    """Whole rows with their table's name. Raises Conflict where an example was sealed after the look."""
    looks = (row for row in store.tables.each(tx, "holdout_looks") if row["study"] == look)
    looked_at = {(row["family"], row["example"]) for row in looks}
    examples = (row for row in store.tables.each(tx, "examples") if row["split"] == HOLDOUT)
    if late := sorted({(row["family"], row["id"]) for row in examples} - looked_at):
        raise Conflict(
            f"Example {late[0][1]} of {late[0][0]} was sealed between the look and the export, so nothing was written."
            " The looks count. Repeat the command."
        )
    for table in tables:
        for row in store.tables.each(tx, table):
            if sealed.seals(table, row):
                yield {"table": table, "row": row}


def _prompts(tx: Transaction, store: Store, families: Mapping[str, Family]) -> Iterator[tuple[str, str]]:
    """Every variant that ever served, and the one that is rolled out, as the block of a family's file."""
    for name, family in sorted(families.items()):
        ids = [tenure.variant for tenure in store.champions.history(tx, name)]
        rollout = store.rollouts.active(tx, name)
        for id in sorted({*ids, *([rollout.candidate] if rollout is not None else [])}):
            record = store.variants.get(tx, name, id)
            if record is not None:
                yield f"prompts/{name}/{id}.yaml", export_variant(family, record, "yaml")
