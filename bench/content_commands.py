"""What the commands of a content pipeline keep on texts of known quality: typed as a user types them,
measured on dev, by content type.

    python bench/content_commands.py     five studies, each in a home of its own, and the page (three minutes)

The rows of train.jsonl are training items, but for the topics that the store seals by their hash; those of dev.jsonl
are dev. `detent import` takes them with their groups (topic of a debate, thread, dialogue), then `detent study run
content_pipeline --keep-saved …` or `--keep-quality …` chooses score and thresholds on the training items. Writes
bench/results/content_commands.json and docs/reference/content-quality-measured.md; exits 1 where a study that saves 65
to 80 % of the time on dev has no mean quality above .70 there, or none saves so much.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from common import ROOT, SHARED, Cell, cell, data_of, options_of, write_result
from learned.content_commands_page import BAND, BAR
from typed.command import typed

from optimizer.core.dataset.examples import Split, split_of

DATA = SHARED / "data" / "content_quality"
WISHES = (*(("--keep-saved", saved) for saved in ("0.65", "0.70", "0.75", "0.80")), ("--keep-quality", "0.70"))


def main() -> int:
    options_of(__doc__)
    data_of("content_quality")
    cells = [cell for wish in WISHES for cell in cells_of(wish, study_of(wish))]
    write_result("content_commands", cells)
    return verdict([asdict(cell) for cell in cells])


def study_of(wish: tuple[str, str]) -> Mapping[str, Any]:
    """The ended study of one wish, in a home that nobody used before."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(ROOT / "families" / "content_pipeline", home / "families" / "content_pipeline")
        shutil.copytree(ROOT / "config", home / "config")
        with (home / "items.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows())
        typed(home, "import", str(home / "items.jsonl"), "--family", "content_pipeline", "--curated")
        study: Mapping[str, Any] = json.loads(typed(home, "study", "run", "content_pipeline", *wish, "--json"))["study"]
        return study


def rows() -> Iterator[dict[str, Any]]:
    for split in ("train", "dev"):
        for line in (DATA / f"{split}.jsonl").read_text(encoding="utf-8").split("\n"):
            if line:
                row = json.loads(line)
                topic = row["input"]["title"].split(" / ")[0]  # a debate's two sides hold the same words
                wanted: Split = "dev" if split == "dev" else "holdout" if split_of(topic) == "holdout" else "train"
                yield {
                    "id": row["id"],
                    "group": named(topic, wanted),
                    "input": row["input"],
                    "expected": row["expected"],
                }


def named(topic: str, wanted: Split) -> str:
    """The topic's group, by a name whose hash falls into the split that the row's file says."""
    return next(name for k in count() if split_of(name := f"{topic} {k}") == wanted)


def cells_of(wish: tuple[str, str], study: Mapping[str, Any]) -> list[Cell]:
    (point,) = study["findings"]["content_score"]["points"]
    name, cells = f"{wish[0]} {wish[1]}", list[Cell]()
    for score, rows in point["on_dev"].items():
        mark = f"{name}: {score}{', serves' if score == point['score'] else ''}"
        on_train = {**point["on_train"][score], "type": "train, cross-fitted", "n": point["n_train"]}
        cells += [_cell(f"{mark}: {row['type']}", row) for row in (on_train, *rows)]
    return [*cells, Cell(case=f"{name}: {study['outcome']}", ours=None, unit="outcome", n=1)]


def _cell(case: str, row: Mapping[str, Any]) -> Cell:
    unit, bounds = f"mean quality of {row['n_full']} processed in full", (row.get("low"), row.get("high"))
    return cell(case, row["quality"], unit, row["n"], bounds, row["saved"], "time saved")


def verdict(cells: Sequence[Mapping[str, Any]]) -> int:
    """0 where dev's saving lies within the band for at least one wish,
    and its quality above the bar for each of these; says which are missed.
    """
    served = [cell for cell in cells if cell["case"].endswith(", serves: all")]
    within = [cell for cell in served if BAND[0] <= cell["other"] <= BAND[1]]
    missed = [cell for cell in within if cell["ours"] is None or cell["ours"] <= BAR]
    for one in missed:
        print(f"Missed: {one['case']}: quality {one['ours']}, {one['other']:.1%} saved")
    is_held = bool(within) and not missed
    print(
        f"The bar is {'held' if is_held else 'missed'}: {len(within)} of {len(served)} wishes save 65 to 80 % on dev."
    )
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
