"""docs/reference/search-live.md, made of the cells that were run: one row per search and task,
what was not run said plainly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pages import grid, text_of

from live.setup import Outcome, Sizes

NOT_RUN = "not run"
NOTHING = """
**No search was run at equal calls with the rule in force.** The figures of the rule before, and a family of which
nothing but the bare prompt was run, are withdrawn.
"""
Cells = Mapping[tuple[str, str, int], Outcome]  # task, arm, seed


def page(
    cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int], sizes: Sizes, **made: str | None
) -> str:
    run = {arm for _, arm, _ in cells}
    shown = table(cells, tasks, [arm for arm in arms if arm in run], seeds) if cells else NOTHING
    return text_of("search-live", sizes=sizes, error=0.5 / sizes.holdout**0.5, table=shown, **made)


def table(cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> str:
    """Held-out score by seed, and the mean, calls and minutes of the seeds that were run."""
    text = ""
    for task in tasks:
        rows = []
        for arm in arms:
            run = {seed: cells[task, arm, seed] for seed in seeds if (task, arm, seed) in cells}
            by_seed = [f"{run[seed].mean:.3f}" if seed in run else NOT_RUN for seed in seeds]
            rows.append([arm, *by_seed, *_means(list(run.values()))])
        titles = ["search", *(f"seed {seed}" for seed in seeds), "mean", "calls", "model minutes"]
        text += f"\n## {task}\n\n{grid(titles, rows)}"
    return text


def _means(found: Sequence[Outcome]) -> list[str]:
    if not found:
        return [NOT_RUN] * 3
    n = len(found)
    mean, calls, minutes = (
        sum(values) / n for values in zip(*((o.mean, o.n_calls, o.model_minutes) for o in found), strict=True)
    )
    return [f"{mean:.3f}", f"{calls:.0f}", f"{minutes:.1f}"]
