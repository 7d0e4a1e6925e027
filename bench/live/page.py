"""docs/reference/search-live.md, made of the cells that were run: one row per search and task,
what was not run said plainly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pages import in_columns

from live.setup import Outcome, Sizes

NOT_RUN = "not run"
HEAD = """# Searches on the live model

Made by `python bench/search_live.py` (commit {commit}, {machine}). The embedded model, temperature 0; each seed draws
{train} training and {dev} dev rows that all searches see, and {holdout} held-out ones on which the choice of each is
scored once. *Calls* and *model minutes*: of the search alone, as if it had been alone. Ours and GEPA may make as many
calls as MIPROv2 made on the same rows, which takes no cap; an answer that is asked for again is not counted again, so
GEPA counts fewer. The embedded model cannot write instructions: MIPROv2 and GEPA are given those of the task's list by
a deterministic proposer, and ours has the same list in its space. A seed's score has a standard error of up to
{error:.2f}; intervals of the differences are in `bench/results/search_live.json`. `race` goes by the rule of
[0039](../adr/0039-race-uses-continuous-rejects.md); for `joint` its calls pay for all dev rows of each
candidate, so it does not race here. Searches that are not in the table, and other families, were not run at equal
calls, and nothing is said of them.
"""
NOTHING = """
**No search was run at equal calls with the rule in force.** The figures of the rule before, and a family of which
nothing but the bare prompt was run, are withdrawn.
"""
Cells = Mapping[tuple[str, str, int], Outcome]  # task, arm, seed


@in_columns
def page(
    cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int], sizes: Sizes, **made: str | None
) -> str:
    head = HEAD.format(train=sizes.train, dev=sizes.dev, holdout=sizes.holdout, error=0.5 / sizes.holdout**0.5, **made)
    run = {arm for _, arm, _ in cells}
    return head + (table(cells, tasks, [arm for arm in arms if arm in run], seeds) if cells else NOTHING)


def table(cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> str:
    """Held-out score by seed, and the mean, calls and minutes of the seeds that were run."""
    lines = []
    for task in tasks:
        lines += [
            f"\n## {task}\n",
            f"| search | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | calls | model minutes |",
        ]
        lines += ["| --- |" + " --- |" * (len(seeds) + 3)]
        for arm in arms:
            found = {seed: cells[task, arm, seed] for seed in seeds if (task, arm, seed) in cells}
            by_seed = " | ".join(f"{found[seed].mean:.3f}" if seed in found else NOT_RUN for seed in seeds)
            lines.append(f"| {arm} | {by_seed} | {_means(list(found.values()))} |")
    return "\n".join(lines) + "\n"


def _means(found: Sequence[Outcome]) -> str:
    if not found:
        return " | ".join([NOT_RUN] * 3)
    n = len(found)
    mean, calls, minutes = (
        sum(values) / n for values in zip(*((o.mean, o.n_calls, o.model_minutes) for o in found), strict=True)
    )
    return f"{mean:.3f} | {calls:.0f} | {minutes:.1f}"
