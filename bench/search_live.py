"""Searches side by side on the live model: ours against DSPy's, on the same rows, prompt and model.

    python bench/search_live.py [--cells 'intent_routing/*/1' ...] [--minutes 60] [--rows full|small]
        [--seeds 1 2 3] [--list]

A cell is task/search/seed. Searches: the bare prompt; ours (race, joint); DSPy's MIPROv2 and GEPA. The embedded model
cannot write instructions, so theirs get those of the task's list from a deterministic proposer; ours has the same list
in its space. All see the same train and dev rows; what each chose is scored once on the same held-out rows.
Calls and minutes are those of the search, the held-out rows not counted;
minutes are what the model took to answer them.

Each cell keeps its own journal and result outside the repository, under DETENT_LIVE (default: detent-bench-search-live
in the user's cache folder), so that a stop loses nothing: run again and it goes on. `--minutes`: no cell begins after
that. MIPROv2 is run first: ours and GEPA may make as many calls as it made. In full: 15 cells, about an hour on an
idle core; the table goes to docs/reference/search-live.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from common import CACHES, RESULTS, SHARED, Cell, beside, commit, data_of, machine, write_result
from live.setup import SIZES, CountedModel, Found, Outcome, Setup, Sizes, family_of, rows_of
from live.tasks import LIVE_TASKS, TASKS
from pages import DOCS, grid, text_of
from trivial_baselines import with_stored_section

from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.search.racing import ContinuousRejects
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

BARE = "bare prompt"
OURS = ("race", "joint")
FIRST = "DSPy MIPROv2"  # by whose calls the others' caps are set
OTHERS = (FIRST, "DSPy GEPA")
ARMS = (BARE, FIRST, *OURS, "DSPy GEPA")
Key = tuple[str, str, int]  # task, arm, seed
Cells = Mapping[Key, Outcome]
NOT_RUN = "not run"
NOTHING = """
**No search was run at equal calls with the rule in force.** The figures of the rule before, and a family of which
nothing but the bare prompt was run, are withdrawn.
"""


def main() -> int:
    options = _options()
    keys = [(task, arm, seed) for seed in options.seeds for task in LIVE_TASKS for arm in ARMS]
    chosen = [key for key in keys if any(fnmatch(_name(key), pattern) for pattern in options.cells)]
    folder = Path(os.environ.get("DETENT_LIVE") or CACHES / "detent-bench-search-live") / options.rows
    data_of()
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if options.list:
        print("\n".join(f"{_name(key)}{'' if _result(folder, key).exists() else ': not run'}" for key in chosen))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    models = wiring.open_models(load_settings(home=folder))
    try:
        run_cells(chosen, folder, SHARED / "data", SIZES[options.rows], models, minutes=options.minutes)
    finally:
        models.close()
    cells = read_cells(folder, keys)
    print(table(cells, LIVE_TASKS, ARMS, options.seeds))
    path = write_result("search_live", compared(cells, options.seeds), RESULTS if options.rows == "full" else folder)
    if options.rows == "full" and cells:
        whole = page(cells, LIVE_TASKS, ARMS, options.seeds, SIZES["full"], commit=commit(), machine=machine())
        (DOCS / "search-live.md").write_text(with_stored_section(whole), encoding="utf-8")
    print(f"{len(cells)} of {len(keys)} cells were run. {path}")
    return 0


def run_cells(
    keys: Sequence[Key], folder: Path, data: Path, sizes: Sizes, models: Any, *, minutes: float | None = None
) -> None:
    """Runs what has no result yet, one after the other.

    A cell that fails says why and leaves the others alone; it is tried again next time.
    """
    started = time.monotonic()
    for key in keys:
        if _result(folder, key).exists():
            continue
        if minutes is not None and time.monotonic() - started > minutes * 60:
            print(
                f"{minutes:g} minutes are over; {_name(key)} and what follows are left for the next run.",
                file=sys.stderr,
            )
            return
        try:
            outcome = _run(key, folder, data, sizes, models)
        except Exception as failure:  # of somebody else's library, as a rule; the other cells can still be run
            print(f"{_name(key)} failed: {type(failure).__name__}: {str(failure)[:500]}", file=sys.stderr, flush=True)
            continue
        path = _result(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        draft.replace(path)
        print(
            f"{_name(key)}: {outcome.mean:.3f} held out, {outcome.n_calls} calls, {outcome.minutes:.1f} min",
            file=sys.stderr,
            flush=True,
        )


def _run(key: Key, folder: Path, data: Path, sizes: Sizes, models: Any) -> Outcome:
    name, arm, seed = key
    task = next(t for t in TASKS if t.name == name)
    home = folder / _name(key).replace("/", "_").replace(" ", "_")
    home.mkdir(parents=True, exist_ok=True)
    settings = load_settings(home=home)
    wiring.migrate_store(settings)
    first = _result(folder, (name, FIRST, seed))
    family = family_of(task, sizes)
    train, dev, holdout = rows_of(task, data, seed, sizes)
    store = wiring.open_store(settings)
    started = time.monotonic()
    try:
        setup = Setup(
            task=task,
            seed=seed,
            sizes=sizes,
            family=family,
            train=train,
            dev=dev,
            holdout=holdout,
            scorer=wiring.open_scorer(family, settings),
            store=store,
            clock=wiring.open_clock(settings),
            models=models,
            folder=home,
            calls=json.loads(first.read_text(encoding="utf-8"))["n_calls"] if first.exists() else sizes.metric_calls,
        )
        outcome = _searched(arm, setup)
        minutes = (time.monotonic() - started) / 60
        held = CountedModel(setup)
        return Outcome(
            scores=[held.scored(outcome.variant, e) for e in setup.holdout],
            dev_score=outcome.dev_score,
            n_calls=outcome.n_calls,
            model_minutes=outcome.model_minutes,
            minutes=minutes,
            instruction=str(outcome.variant.messages[0]["content"]),
            n_examples=len(outcome.variant.examples),
            rule=ContinuousRejects.__name__ if arm == "race" else None,
        )
    finally:
        store.close()


def _searched(arm: str, setup: Setup) -> Found:
    """What is loaded takes seconds: only for an arm that is run."""
    if arm == BARE:
        return Found(variant=setup.family.variant(), dev_score=None, n_calls=0, model_minutes=0.0)
    if arm in OURS:
        from live.ours import search

        return search(setup, arm)
    from live import dspy_arms

    return (dspy_arms.miprov2 if arm == FIRST else dspy_arms.gepa)(setup)


def read_cells(folder: Path, keys: Sequence[Key]) -> Cells:
    return {
        key: Outcome(**json.loads(_result(folder, key).read_text(encoding="utf-8")))
        for key in keys
        if _result(folder, key).exists()
    }


def compared(cells: Cells, seeds: Sequence[int]) -> list[Cell]:
    """Each of ours with each of the others, on the held-out rows of the seeds that both were run on; and the calls."""
    pairs = []
    for task in LIVE_TASKS:
        for arm in OURS:
            for other in (BARE, *OTHERS):
                both = [
                    (cells[task, arm, s], cells[task, other, s])
                    for s in seeds
                    if (task, arm, s) in cells and (task, other, s) in cells
                ]
                pairs += _pair(f"{task}: {arm}", other, both)
    return pairs


def _pair(case: str, other: str, both: Sequence[tuple[Outcome, Outcome]]) -> list[Cell]:
    if not both:
        return [Cell(case=f"{case}, {NOT_RUN}", ours=None, other_name=other, unit=NOT_RUN, n=0)]
    a, b = [s for one, _ in both for s in one.scores], [s for _, two in both for s in two.scores]
    interval = bootstrap_interval([x - y for x, y in zip(a, b, strict=True)], seed=1)
    bounds, unit = (interval.lower, interval.upper), "held-out score (low, high: of ours - other)"
    calls, more = (sum(pair[at].n_calls for pair in both) / len(both) for at in (0, 1))
    return [
        beside(case, sum(a) / len(a), sum(b) / len(b), other, unit, len(a), bounds),
        beside(f"{case}, calls", calls, more, other, "calls of the search", len(both)),
    ]


def page(
    cells: Cells, tasks: Sequence[str], arms: Sequence[str], seeds: Sequence[int], sizes: Sizes, **about: str | None
) -> str:
    run = {arm for _, arm, _ in cells}
    shown = table(cells, tasks, [arm for arm in arms if arm in run], seeds) if cells else NOTHING
    return text_of("search-live", sizes=sizes, error=0.5 / sizes.holdout**0.5, table=shown, **about)


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
        text += f"\n## {task}\n\n{grid(titles, rows)}{_differences(compared(cells, seeds), task)}"
    return text


def _differences(pairs: Sequence[Cell], task: str) -> str:
    rows = [
        [
            pair.case.removeprefix(f"{task}: "),
            pair.other_name,
            f"{pair.ours - pair.other:+.3f} ({pair.low:+.3f} to {pair.high:+.3f})",
        ]
        for pair in pairs
        if pair.case.startswith(f"{task}: ")
        and pair.ours is not None
        and pair.other is not None
        and pair.low is not None
        and pair.high is not None
    ]
    return f"\n{grid(['search', 'beside', 'difference (95 % interval)'], rows)}" if rows else ""


def _means(outcomes: Sequence[Outcome]) -> list[str]:
    if not outcomes:
        return [NOT_RUN] * 3
    n = len(outcomes)
    mean, calls, minutes = (
        sum(values) / n for values in zip(*((o.mean, o.n_calls, o.model_minutes) for o in outcomes), strict=True)
    )
    return [f"{mean:.3f}", f"{calls:.0f}", f"{minutes:.1f}"]


def _name(key: Key) -> str:
    return "/".join(map(str, key))


def _result(folder: Path, key: Key) -> Path:
    return folder / "results" / f"{_name(key).replace('/', '_').replace(' ', '_')}.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cells",
        nargs="+",
        default=["*"],
        help="patterns of task/search/seed, such as 'intent_routing/*/1' or '*/race/*'",
    )
    parser.add_argument("--minutes", type=float, help="no cell begins after so many")
    parser.add_argument("--rows", choices=sorted(SIZES), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--list", action="store_true", help="say which cells there are and which were run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
