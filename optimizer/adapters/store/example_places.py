"""Where new examples stand beside their stored near-duplicates, known by hashes: no text of a stored row is read."""

from __future__ import annotations

import base64
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, tuple_

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.rows import Name, chunks
from optimizer.adapters.store.tables.examples import EXAMPLE_BANDS as BANDS, EXAMPLES
from optimizer.core.dataset.examples import Example
from optimizer.core.dataset.near_duplicates import (
    ExamplePlace,
    Shingles,
    are_near_duplicates,
    bands_of,
    place_of,
    shingles_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedExample:
    """``place`` None: it stands in no split without a near-duplicate in another."""

    place: ExamplePlace | None
    shingles: Shingles
    bands: Sequence[str]


def placed_examples(
    tx: Connection, family: str, rows: Sequence[Example], *, sealed: Collection[str]
) -> dict[str, PlacedExample]:
    """By id where each new row of a family stands; rows before it in ``rows`` count as stored.

    ``sealed``: ids that may stand in the holdout alone. Where they would not, nothing is placed beside them.
    """
    read = {row.id: shingles_of(row.input) for row in rows}
    bands = {id: bands_of(shingles) for id, shingles in read.items()}
    known: dict[str, tuple[ExamplePlace, Shingles]] = {}
    holders = defaultdict[str, list[str]](list)
    columns = EXAMPLES.c.id, EXAMPLES.c.group, EXAMPLES.c.split, EXAMPLES.c.beside, EXAMPLES.c.shingles
    holds = (EXAMPLES.c.family == BANDS.c.family) & (EXAMPLES.c.id == BANDS.c.example)
    for some in chunks(sorted({band for of_row in bands.values() for band in of_row})):
        query = select(*columns, BANDS.c.band).join(BANDS, holds)
        query = query.where(BANDS.c.family == family, BANDS.c.band.in_(some))
        for other in tx.execute(query.order_by(EXAMPLES.c.created_at, EXAMPLES.c.id)):
            holders[other.band].append(other.id)
            if other.id not in known:
                before = ExamplePlace(id=other.id, group=other.group, split=other.split, beside=other.beside)
                known[other.id] = (before, unpacked(other.shingles))
    order = {id: at for at, id in enumerate(known)}
    placed: dict[str, PlacedExample] = {}
    for row in rows:
        own = read[row.id]
        candidates = {id for band in bands[row.id] for id in holders[band]}
        near = [
            known[id][0] for id in sorted(candidates, key=order.__getitem__) if are_near_duplicates(own, known[id][1])
        ]
        place = place_of(row, near)
        placed[row.id] = PlacedExample(place=place, shingles=own, bands=bands[row.id])
        if place is not None and (place.split == "holdout" or row.id not in sealed):
            known[row.id], order[row.id] = (place, own), len(order)
            for band in bands[row.id]:
                holders[band].append(row.id)
    return placed


def add_bands(tx: Connection, bands: Mapping[Name, Sequence[str]]) -> None:
    insert_new(
        tx,
        BANDS,
        [
            {"family": family, "band": band, "example": id}
            for (family, id), of_example in bands.items()
            for band in of_example
        ],
    )


def drop_bands(tx: Connection, examples: Sequence[Name]) -> None:
    for some in chunks(examples):
        tx.execute(delete(BANDS).where(tuple_(BANDS.c.family, BANDS.c.example).in_(some)))


def packed(shingles: Shingles) -> dict[str, str]:
    return {
        name: base64.b64encode(struct.pack(f"<{len(pairs)}I", *sorted(pairs))).decode("ascii")
        for name, pairs in shingles.items()
    }


def unpacked(content: Mapping[str, str]) -> Shingles:
    hashes = {name: base64.b64decode(text) for name, text in content.items()}
    return {name: frozenset(struct.unpack(f"<{len(packs) // 4}I", packs)) for name, packs in hashes.items()}
