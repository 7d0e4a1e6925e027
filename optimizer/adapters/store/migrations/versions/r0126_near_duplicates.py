"""Examples carry hashes by which near-duplicates are known, those that are there already too; no group changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.example_places import packed
from optimizer.core.dataset.near_duplicates import bands_of, shingles_of

revision = "0126"
down_revision = "0125"

AT_ONCE = 500


def upgrade() -> None:
    op.add_column("examples", sa.Column("shingles", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("examples", sa.Column("beside", sa.String(), nullable=True))
    bands = op.create_table(
        "example_bands",
        *(sa.Column(name, sa.String(), primary_key=True) for name in ("family", "band", "example")),
    )
    examples = sa.table(
        "examples",
        *(sa.column(name, sa.String()) for name in ("family", "id")),
        *(sa.column(name, sa.JSON()) for name in ("input", "shingles")),
    )
    c, db = examples.c, op.get_bind()
    after = ("", "")
    while page := db.execute(
        sa.select(c.family, c.id, c.input)
        .where(sa.tuple_(c.family, c.id) > sa.tuple_(*map(sa.literal, after)))
        .order_by(c.family, c.id)
        .limit(AT_ONCE)
    ).all():
        for row in page:
            shingles = shingles_of(row.input or {})
            own = (c.family == row.family) & (c.id == row.id)
            db.execute(sa.update(examples).where(own).values(shingles=packed(shingles)))
            if shingles:
                values = [{"family": row.family, "band": band, "example": row.id} for band in bands_of(shingles)]
                db.execute(sa.insert(bands), values)
        after = (page[-1].family, page[-1].id)
