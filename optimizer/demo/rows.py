"""The rows of the demo: those that are imported, and those that are held out of the import, which its users send.

What users send is neither train nor dev nor sealed: no search has seen it, nor another row of its parameter's name.
They come from the end of the orders in which studies draw their training rows, so that the searches see the same rows
as if everything had been imported.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from optimizer.core.dataset.examples import Example, make_example, select
from optimizer.core.family.family import Family
from optimizer.ports import SourceRow

N_SENT = 48  # rows of users, as many of each type: one of each name


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRows:
    """``imported``: for ``detent import``, without a row of the names of ``sent``: what users send, by family."""

    imported: Sequence[SourceRow]
    sent: Mapping[str, Sequence[Example]]

    def write(self, path: Path) -> None:
        """JSON lines."""
        lines = ({"group": row.group, "input": row.input, "expected": row.expected} for row in self.imported)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def divided(rows: Iterable[SourceRow], families: Sequence[Family], *, at: datetime) -> DemoRows:
    """A row that cannot be imported goes to neither side.

    Args:
        families: all of the same inputs, output field and labels.
    """
    usable = [row for row in rows if row.rejected is None]
    by_family = [[_example(row, family, at) for row in usable] for family in families]
    ids = _last_drawn(by_family[0], families)
    sent = {
        family.name: [example for example in examples if example.id in ids]
        for family, examples in zip(families, by_family, strict=True)
    }
    held_out = {example.group for example in by_family[0] if example.id in ids}
    return DemoRows(
        imported=[row for row, example in zip(usable, by_family[0], strict=True) if example.group not in held_out],
        sent=sent,
    )


def _last_drawn(examples: Sequence[Example], families: Sequence[Family]) -> set[str]:
    """``N_SENT`` training examples, of the names whose first row the studies would draw last."""
    field = families[0].output.field
    train = {example.id: example for example in examples if example.split == "train"}
    labels = [(id, str(example.expected[field])) for id, example in train.items()]
    orders = [select(labels, len(labels), balance=True, seed_text=f"detent/{family.name}") for family in families]
    orders.append(sorted(train))  # in which the long prompt takes its examples
    earliest: dict[str, int] = {}  # by group
    for order in orders:
        for place, id in enumerate(order):
            group = train[id].group
            earliest[group] = min(place, earliest.get(group, place))
    chosen, used, of_label = set[str](), set[str](), Counter[str]()
    for id, label in sorted(labels, key=lambda pair: (-earliest[train[pair[0]].group], pair[0])):
        if train[id].group not in used and of_label[label] < N_SENT // len(families[0].output.labels or (label,)):
            chosen.add(id)
            used.add(train[id].group)
            of_label[label] += 1
    return chosen


def _example(row: SourceRow, family: Family, at: datetime) -> Example:
    return make_example(
        family=family.name,
        input=row.input,
        expected=row.expected,
        created_at=at,
        origin="curated",
        group=row.group,
    )
