"""Table variants: written once per (family, content), never changed."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, select

from optimizer.adapters.database.engine import insert_new, table
from optimizer.adapters.database.tables import VariantRow
from optimizer.core.variant import Variant
from optimizer.ports import VariantRecord

VARIANTS = table(VariantRow)
_PLAIN = ("family", "source", "created_at", "created_by", "note", "file_version", "parent", "study")


class VariantTable:
    """ports.Variants on the database."""

    def add(self, tx: Connection, record: VariantRecord) -> bool:
        row = {name: getattr(record, name) for name in _PLAIN}
        return insert_new(tx, VARIANTS, [{**row, "id": record.variant.id, "content": record.variant.content()}]) > 0

    def get(self, tx: Connection, family: str, id: str) -> VariantRecord | None:
        row = tx.execute(select(VARIANTS).where(VARIANTS.c.family == family, VARIANTS.c.id == id)).mappings().first()
        return None if row is None else _record(row)

    def of_family(self, tx: Connection, family: str) -> list[VariantRecord]:
        query = select(VARIANTS).where(VARIANTS.c.family == family).order_by(VARIANTS.c.created_at, VARIANTS.c.id)
        return [_record(row) for row in tx.execute(query).mappings()]

    def ids(self, tx: Connection, family: str) -> set[str]:
        return set(tx.execute(select(VARIANTS.c.id).where(VARIANTS.c.family == family)).scalars())


def _record(row: RowMapping) -> VariantRecord:
    return VariantRecord(variant=Variant.from_content(row["content"]), **{name: row[name] for name in _PLAIN})
