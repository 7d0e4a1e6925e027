"""What a study of each shipped family gains on public data: the best of its bases against the study's winner.

    python bench/families.py [--families intent_routing ...] [--seeds 1 2] [--rows 200] [--minutes M] [--list]

For each family and seed, in a home of its own and by the commands that a user types: training rows are imported, the
first base is evaluated, and a study chooses among sets of examples on the best base, which a study of strategy bases
chose before on other training rows (bench/lifts/plan.py says by which rule, fixed before a held-out row was opened).
That base and the study's winner then answer the same held-out rows, which no search saw. Beside them what answers
without a model score there.

The embedded model answers, or any that speaks OpenAI's protocol: DETENT_BENCH_MODEL names it, DETENT_BENCH_API is its
address up to /v1, DETENT_BENCH_KEY_ENV the variable with its key, DETENT_BENCH_SIZE its size (default: medium).

Homes, journals and results lie under DETENT_FAMILIES (default: detent-bench-families in the user's cache folder), so
that a stop loses nothing: run again and it goes on, with more rows or seeds, too. What was measured with fewer rows
than asked for is shown with its number of rows. `--minutes`: nothing begins after that. Writes
bench/results/families.json and docs/reference/families-measured.md; for another model than the embedded one result
and page stand in its folder. Exits 1 where a bar is missed: a figure that is not reached
is told, never left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from common import data_of, options_of
from lifts.held_out import HeldOut, MeasuredAnswer
from lifts.homes import Chosen, best_base, family_in, make_home, rows_of, search
from lifts.kept import Work, collected, publish
from lifts.plan import PLAN, SEEDS, FamilyMeasurement
from lifts.verdict import verdicts

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.trivial_baselines import score_answers, trivial_scores
from optimizer.core.predictor.teaching import teaching_rows
from optimizer.core.predictor.worth import STUDENT
from optimizer.runtime import wiring

N_ROWS = 200
COPIED = "{} unchanged"


def main() -> int:
    options = options_of(__doc__, families=list(PLAN), seeds=list(SEEDS), rows=N_ROWS, minutes=float, list=False)
    work = Work.from_environment()
    data_of()
    cells = [(name, seed) for seed in options.seeds for name in options.families]
    if not options.list:
        run(cells, work, n_rows=options.rows, minutes=options.minutes)
    publish(work)
    lines = verdicts(collected(work))
    print("\n".join(one.said for one in lines))
    return 0 if all(one.is_held for one in lines) else 1


def run(cells: Sequence[tuple[str, int]], work: Work, *, n_rows: int = N_ROWS, minutes: float | None = None) -> None:
    """Measures what is not measured yet on ``n_rows``; a cell that fails says why and leaves the others alone."""
    started = time.monotonic()
    for name, seed in cells:
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            print(f"{minutes:g} minutes are over; {name}, seed {seed} and what follows are left.", file=sys.stderr)
            return
        try:
            measured = measure(name, seed, work, n_rows)
        except Exception as failure:  # of one family; the others can still be measured
            print(f"{name}, seed {seed}: {type(failure).__name__}: {str(failure)[:800]}", file=sys.stderr, flush=True)
            continue
        if measured:
            base, winner = (_mean([one["figure"] for one in measured["answers"][side]]) for side in ("base", "winner"))
            short = (
                f"{base:.3f} > {winner:.3f} on {measured['n_rows']} rows, {measured['search']['calls']} calls to search"
            )
            print(f"{name}, seed {seed}: {short}", file=sys.stderr, flush=True)


def measure(name: str, seed: int, work: Work, n_rows: int) -> dict[str, Any] | None:
    """One cell, kept; None where it was measured on as many rows already."""
    plan, path = PLAN[name], work.result(name, seed)
    for home in (work.home(name), work.home(name, seed), work.bases(name)):
        if not (home / "families").is_dir():
            make_home(home, name, plan, work.data, work.model)
    family = family_in(work.home(name), name)
    rows = rows_of(work.data, name, "dev", plan, family)[plan.opened :][:n_rows]
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["n_rows"] >= len(rows):
        return None
    base_name = best_base(work.bases(name), name, plan, work.data)
    chosen = search(work.home(name, seed), name, seed, base_name, plan, work.data)
    held = HeldOut(work.home(name), family, plan)
    try:
        examples = held.examples(rows)
        base = held.answers(chosen.base, examples)
        winner = base if chosen.winner.id == chosen.base.id else held.answers(chosen.winner, examples)
        imported = held.examples(
            [
                json.loads(line)
                for line in (work.home(name, seed) / "rows.jsonl").read_text(encoding="utf-8").splitlines()
            ]
        )
        trivial = _trivial(held, family, plan, imported, examples)
    finally:
        held.close()
    result = _cell(name, seed, plan, chosen, base, winner, trivial)
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def _trivial(
    held: HeldOut, family: Any, plan: FamilyMeasurement, train: Sequence[Example], rows: Sequence[Example]
) -> dict[str, Any]:
    """The figure of each baseline that can be computed, with its interval; of the others the reason."""
    scores: dict[str, Any] = dict(trivial_scores(family, train, rows, held.scorer, classify=wiring.classify))
    if plan.copied:
        scored = {e.id: held.scorer.score(e.expected, str(e.input[plan.copied]), e.input).value for e in rows}
        scores[COPIED.format(plan.copied)] = {id: value for id, value in scored.items() if value is not None}
    try:
        student = wiring.learn_student(teaching_rows(family, train), trained_on={}).student
    except DatasetTooSmall as why:
        scores[STUDENT] = why.detail
    else:
        scores[STUDENT] = score_answers(rows, [student.answer(row.input).label for row in rows], held.scorer)
    return {name: one if isinstance(one, str) else _with_interval(list(one.values())) for name, one in scores.items()}


def _with_interval(values: Sequence[float]) -> dict[str, float] | str:
    if not values:
        return "none of its answers could be measured"
    interval = bootstrap_interval(values, seed=0, n_draws=2000)
    return {"mean": sum(values) / len(values), "low": interval.lower, "high": interval.upper, "n": len(values)}


def _cell(
    name: str,
    seed: int,
    plan: FamilyMeasurement,
    chosen: Chosen,
    base: Sequence[MeasuredAnswer],
    winner: Sequence[MeasuredAnswer],
    trivial: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "family": name,
        "seed": seed,
        "n_rows": len(base),
        "strategy": chosen.strategy,
        "base": chosen.base_name,
        "winner": chosen.winner.id,
        "proposer": chosen.proposer,
        "n_examples": len(chosen.winner.examples),
        "dev_scores": [chosen.dev_scores.get(one.id) for one in (chosen.base, chosen.winner)],
        "search": {"calls": chosen.n_calls, "tokens": chosen.n_tokens, "model_minutes": chosen.model_minutes},
        "answers": {"base": [one.as_data() for one in base], "winner": [one.as_data() for one in winner]},
        "trivial": dict(trivial),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    sys.exit(main())
