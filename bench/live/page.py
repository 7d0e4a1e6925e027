"""The table of the live comparison: one row per arm and task, what was not run said plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from live.setup import Outcome

NOT_RUN = "not run"
Cells = Mapping[tuple[str, str, int], Outcome]  # task, arm, seed


def table(cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> str:
    """Held-out score by seed, and the mean, calls and minutes of the seeds that were run."""
    lines = []
    for task in tasks:
        lines += [f"\n## {task}\n", f"| search | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | calls | model minutes |"]
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
    mean, calls, minutes = (sum(values) / n for values in zip(*((o.mean, o.n_calls, o.model_minutes) for o in found), strict=True))
    return f"{mean:.3f} | {calls:.0f} | {minutes:.1f}"
