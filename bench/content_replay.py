"""The content pipeline's policy: how fast settings are replayed over records, and how fast one record is decided about.

    nice -n 10 python bench/content_replay.py [--rounds 5]

Settings are whole policies (the balanced preset with its 12 conditions, eight knobs drawn anew in each, some of single
content types), given as flat mappings: reading them is part of the time. Beside replay stands deciding record by record
with the same policy. The sweep gives every threshold of ``filter.min_overall`` over a million records; beside it stands
one replay per threshold, from 20 of them. Times are CPU times of this process, which has one thread.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import Cell, write_result

from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.policy.route import CONTENT_TYPES, MODES
from optimizer.content.core.records.fields import FIELDS
from optimizer.content.core.search.replay import Records, outcome, read_columns, replay
from optimizer.content.core.search.sensitivity import sweep

BALANCED = PRESETS["balanced"].policy
SCALES = {
    "duration_seconds": 900,
    "word_count": 700,
    "sentence_count": 25,
    "transcript_length": 4000,
    "view_count": 5000,
    "age_days": 60,
}


def columns(n: int, seed: int) -> dict[str, Any]:
    """Made-up items, every field of them, one in twenty values missing."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {
        "content_type": rng.choice([*CONTENT_TYPES, "podcast"], n).tolist(),
        "quality": rng.random(n),
    }
    for field in FIELDS:
        if field.kind == "text" or field.name == "duration":
            continue
        values = rng.exponential(SCALES[field.name], n).round() if field.name in SCALES else rng.beta(5, 2, n)
        made[field.name] = np.where(rng.random(n) < 0.05, np.nan, values)
    return made


def drawn(n: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            **BALANCED,
            "filter.min_overall": rng.uniform(0.4, 0.9),
            "filter.min_coherence": rng.uniform(0.3, 0.9),
            "filter.min_words": rng.randrange(1500),
            "filter.min_sentences": rng.randrange(60),
            "filter.checks_needed": rng.randint(1, 4),
            "filter.min_words.news": rng.randrange(500),
            "exit.min_confidence": rng.uniform(0.7, 1.0),
            "route.qa_forum": rng.choice(MODES),
        }
        for _ in range(n)
    ]


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return found


def replayed(records: Records, settings: list[dict[str, Any]], rounds: int) -> tuple[float, float, float]:
    """Pairs a second: the median, the least and the most of the rounds."""
    times = seconds(lambda: replay(records, settings), rounds)
    pairs = len(settings) * records.n
    return pairs / float(np.median(times)), pairs / max(times), pairs / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cells = []

    made = columns(10_000, 1)
    records, settings = read_columns(made), drawn(1000, 2)
    names = [name for name in made if name != "quality"]
    rows = [{n: (None if made[n][i] != made[n][i] else made[n][i]) for n in names} for i in range(2000)]
    rows = [{n: float(v) if v is not None and not isinstance(v, str) else v for n, v in row.items()} for row in rows]
    pipeline = parse_pipeline(BALANCED)
    one = float(np.median(seconds(lambda: [pipeline.decide(row) for row in rows], rounds))) / len(rows)
    middle, low, high = replayed(records, settings, rounds)
    cells.append(
        Cell(
            case="replay, 1,000 settings x 10,000 records",
            ours=middle / 1e6,
            other=1e-6 / one,
            other_name="deciding record by record",
            ratio=middle * one,
            low=low / 1e6,
            high=high / 1e6,
            unit="million (setting x record) a second",
            n=len(settings) * records.n,
        )
    )
    times = seconds(lambda: replay(made, settings), rounds)
    cells.append(
        Cell(
            case="a study of 1,000 settings on 10,000 records, columns read",
            ours=float(np.median(times)),
            other=None,
            other_name="",
            ratio=None,
            low=min(times),
            high=max(times),
            unit="s",
            n=len(settings),
        )
    )
    cells.append(
        Cell(
            case="one decision",
            ours=one * 1e6,
            other=None,
            other_name="",
            ratio=None,
            low=None,
            high=None,
            unit="us",
            n=len(rows),
        )
    )

    many = read_columns(columns(1_000_000, 3))
    strict = {**BALANCED, "filter.checks_needed": 4}
    found = sweep(many, strict, "filter.min_overall")
    times = seconds(lambda: sweep(many, strict, "filter.min_overall"), rounds)
    tried = [float(v) for v in np.quantile(found.thresholds, np.linspace(0, 1, 20))]
    each = seconds(lambda: [outcome(many, parse_pipeline({**strict, "filter.min_overall": v})) for v in tried], 1)[
        0
    ] / len(tried)
    cells.append(
        Cell(
            case="all thresholds of one knob over 1,000,000 records",
            ours=float(np.median(times)),
            other=each * len(found.thresholds),
            other_name="one replay per threshold",
            ratio=float(np.median(times)) / (each * len(found.thresholds)),
            low=min(times),
            high=max(times),
            unit="s",
            n=len(found.thresholds),
        )
    )
    write_result("content_replay", cells)


if __name__ == "__main__":
    main()
