"""What answers that need no model score on the rows of the pages on searches:
the measure of the scores that stand there.

    python bench/trivial_baselines.py

For search-measured.md: learnt from the training rows from which the recorded grid draws its few-shot examples (80 a
task), scored on the rows whose answers were recorded (100), by the families' own scorers, through the functions that
`detent family evaluate` calls. For search-live.md: learnt from the 60 training rows of each seed, scored on its 100
held-out rows. Half a minute; writes bench/results/trivial_baselines.json and the section "Without a model" of both
pages. Nothing is drawn and no model is asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from common import ROOT, SHARED, Cell, write_result
from live.setup import LIVE_TASKS, SIZES, rows_of
from recorded.grid import POOL
from recorded.tasks import TASKS, Task
from recorded.without_model import LIVE, RECORDED, with_section

from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.trivial_baselines import Classify, trivial_scores
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

SEEDS = (1, 2, 3)
N_EXAMPLES = 100  # a family, as bench/record_answers.py asks them
DATA = SHARED / "data"
PAGES = {RECORDED: "search-measured.md", LIVE: "search-live.md"}


def main() -> int:
    if not DATA.exists():
        print(f"Skipped: the tasks' rows are not in {DATA}; set DETENT_SHARED.", file=sys.stderr)
        return 0
    cells = [*recorded(), *live()]
    path = write_result("trivial_baselines", cells)
    result = json.loads(path.read_text(encoding="utf-8"))
    for kind, name in PAGES.items():
        page = ROOT / "docs" / "reference" / name
        page.write_text(with_section(page.read_text(encoding="utf-8"), result, kind), encoding="utf-8")
    return 0


def recorded() -> list[Cell]:
    return [
        cell
        for task in TASKS
        for cell in measured(
            task, RECORDED, [(task.examples(DATA, "train", POOL), task.examples(DATA, "dev", N_EXAMPLES))]
        )
    ]


def live() -> list[Cell]:
    tasks = [task for task in TASKS if task.name in LIVE_TASKS]
    drawn = {task.name: [rows_of(task, DATA, seed, SIZES["full"]) for seed in SEEDS] for task in tasks}
    return [
        cell for task in tasks for cell in measured(task, LIVE, [(train, held) for train, _, held in drawn[task.name]])
    ]


def measured(
    task: Task, kind: str, draws: Sequence[tuple[list[Example], list[Example]]], classify: Classify = wiring.classify
) -> list[Cell]:
    """A cell per baseline that can be computed: the mean over the rows of all draws."""
    family = task.family()
    scorer = wiring.open_scorer(family, load_settings(home=ROOT))
    found = [trivial_scores(family, train, rows, scorer, classify=classify) for train, rows in draws]
    cells = []
    for name, first in found[0].items():
        if isinstance(first, str):
            continue
        scores = [score for one in found if not isinstance(one[name], str) for score in one[name].values()]  # type: ignore[union-attr]
        interval = bootstrap_interval(scores, seed=0)
        cells.append(
            Cell(
                case=f"{kind}, {task.name}: {name}",
                ours=None,
                other=sum(scores) / len(scores),
                other_name=name,
                low=interval.lower,
                high=interval.upper,
                unit=f"score without a model, from {len(draws[0][0])} rows",
                n=len(scores),
            )
        )
    return cells


if __name__ == "__main__":
    sys.exit(main())
