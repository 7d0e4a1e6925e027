"""What answers that need no model score on the rows of docs/reference/search-live.md, by the scorer and the functions
that `detent family evaluate` calls: the measure of the scores that stand there.

    python bench/trivial_baselines.py

Learnt from the 60 training rows of each seed, scored on its 100 held-out rows. A few seconds; writes
bench/results/trivial_baselines.json and the page's section "Without a model". Nothing is drawn and no model is asked.
"""

from __future__ import annotations

import json
import sys

from common import RESULTS, ROOT, SHARED, Cell, data_of, options_of, write_result
from live.setup import SIZES, rows_of
from live.tasks import TASKS, Task
from pages import DOCS, bounds, grid, wrapped

from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.trivial_baselines import trivial_scores
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

SEEDS = (1, 2, 3)
DATA = SHARED / "data"
PAGE = DOCS / "search-live.md"
TITLE = "\n## Without a model\n"
HEAD = """
Made by `python bench/trivial_baselines.py` (commit {commit}). Learnt from the {train} training rows of each seed, on
the held-out rows of all three, by the same scorer; with 95 % interval over rows. **Where it is higher than a search's
mean above, the embedded model is not worth its calls on that task.**
"""


def main() -> int:
    options_of(__doc__)
    data_of()
    write_result("trivial_baselines", [cell for task in TASKS for cell in measured(task)])
    PAGE.write_text(with_stored_section(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def measured(task: Task) -> list[Cell]:
    """A cell per baseline that can be computed: the mean over the rows of all draws."""
    family = task.family()
    scorer = wiring.open_scorer(family, load_settings(home=ROOT))
    draws = [rows_of(task, DATA, seed, SIZES["full"]) for seed in SEEDS]
    by_draw = [trivial_scores(family, train, rows, scorer, classify=wiring.classify) for train, _, rows in draws]
    cells = []
    for name, first in by_draw[0].items():
        if isinstance(first, str):
            continue
        scores = [score for one in by_draw if not isinstance(one[name], str) for score in one[name].values()]  # type: ignore[union-attr]
        interval = bootstrap_interval(scores, seed=0)
        cells.append(
            Cell(
                case=f"live, {task.name}: {name}",
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


def with_stored_section(page: str) -> str:
    """The page with the section of the stored result as its last."""
    result = json.loads((RESULTS / "trivial_baselines.json").read_text(encoding="utf-8"))
    rows = [
        [
            cell["case"].removeprefix("live, ").split(":")[0],
            cell["other_name"],
            f"{cell['other']:.3f}",
            bounds(cell),
            str(cell["n"]),
        ]
        for cell in result["cells"]
    ]
    head = HEAD.format(commit=result["commit"], train=result["cells"][0]["unit"].split()[-2])
    shown = grid(["family", "baseline", "without a model", "95 % interval", "rows"], rows)
    return wrapped(f"{page.split(TITLE)[0]}{TITLE}{head}\n{shown}")


if __name__ == "__main__":
    sys.exit(main())
