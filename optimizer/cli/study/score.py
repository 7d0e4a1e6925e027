"""What a study of a content pipeline found out about a learned score, as lines for people:
by content type, with its number of items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optimizer.core.search.study import CONTENT_SCORE, Study

_HEAD = f"  {'on dev':<26}{'items':>6}{'saved':>9}  {'quality of what is in full':<30}{'in full':>8}  decided by"


def score_lines(study: Study) -> Iterator[str]:
    """Empty where the user asked for no score."""
    score = (study.findings or {}).get(CONTENT_SCORE)
    if not score:
        return
    for point in score["points"]:
        yield ""
        yield f"Score     {point['variant']}: {point['score']}"
        for name, rows in point["on_dev"].items():
            yield (
                f"  {name}{' (serves)' if name == point['score'] else ', beside it'}, thresholds from"
                f" {point['n_train']} training items"
            )
            yield _HEAD
            yield from map(_row, rows)
    for untrained in score["not_trained"]:
        yield f"Not trained on {untrained['type']}: {untrained['why']}; the filter decides about it."
    yield score["note"]


def _row(row: Mapping[str, Any]) -> str:
    quality = "nothing in full" if row["quality"] is None else f"{row['quality']:.3f}"
    interval = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
    return (
        f"  {row['type'] or 'no type':<26}{row['n']:>6}{row['saved']:>9.1%}  {quality + interval:<30}{row['n_full']:>8}"
        f"  {row['decided_by']}"
    )
