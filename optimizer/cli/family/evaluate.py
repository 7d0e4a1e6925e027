"""``detent family evaluate``: one variant measured on examples or golden scenarios."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from optimizer.cli.output import Json, plain, say, show
from optimizer.cli.session import Session
from optimizer.core.base.errors import BudgetExhausted, Conflict, InvalidInput, ModelFailed

if TYPE_CHECKING:
    from optimizer.core.views.evaluation import EvaluationReport


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    variant: Annotated[str, typer.Option(help="Id of the variant, or champion, candidate, or file.")] = "champion",
    suite: Annotated[
        str | None,
        typer.Option(
            help="A suite of the family, such as golden; full: all of them. Default: the targets without a name.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="dev or train; the holdout is sealed.")] = "dev",
    n: Annotated[
        int | None,
        typer.Option(
            help="Examples at most; default: the number that the family's targets name, else 20.",
            min=1,
            show_default=False,
        ),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Ask the same prompt without its examples, too: a call more per example.")
    ] = False,
    budget_usd: Annotated[float | None, typer.Option(help="Dollars at most.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write what was found into this file, as JSON.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls and dollars; ask no model.")] = False,
    as_json: Json = False,
) -> None:
    """Measure one variant on examples, with an interval, and check it against the family's targets,
    or on its golden scenarios beside the champion: exit 3 unless all is met,
    1 where no answer got a score.

    Example: detent family evaluate triage --suite golden --variant candidate
    """
    from optimizer.cli.family import evaluate_view
    from optimizer.cli.variant.find import find_variant
    from optimizer.core.base.values import Budget
    from optimizer.core.evaluation.suites import FULL, suites_of
    from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
    from optimizer.jobs.studies.evaluate_variant import evaluate_variant
    from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationScope, Splits, estimate_evaluation
    from optimizer.runtime import wiring

    session = Session()
    with session.store.read() as tx:
        declared = with_kept_golden(tx, session.store, session.family(family))
    record = find_variant(session, family, variant)
    models = wiring.open_models(session.settings)
    names: Sequence[str | None] = list(suites_of(declared)) if suite == FULL else [suite]
    if not names:
        raise InvalidInput(
            f"{family} has no suite: its file has no targets, and there is no golden.jsonl beside it"
            " (docs/how-to/keep-golden-scenarios.md)."
        )
    scopes = {name: EvaluationScope(split=cast(Splits, split), n=n, bare=bare, suite=name) for name in names}
    # every suite is planned before the first is paid for
    made = [
        estimate_evaluation(declared, record.variant, one, store=session.store, models=models)
        for one in scopes.values()
    ]
    if dry_run:
        again = _again(variant, suite, split, n, bare)
        show(
            as_json,
            made[0].as_data() if len(made) == 1 else {"suites": [one.as_data() for one in made]},
            lambda out: evaluate_view.view_estimates(out, family, made, again),
        )
        return

    session.before_change()

    context = wiring.job_context(session.settings, session.store, session.clock, session.families, models, yields=False)

    def measure(name: str | None, usd: float | None) -> EvaluationReport:
        return evaluate_variant(
            context,
            declared,
            record.variant,
            scopes[name],
            actor=session.actor,
            classify=wiring.classify,
            calls=Budget(usd=usd),
        )

    try:
        reports, unasked = _one_after_the_other(names, measure, budget_usd)
    finally:
        models.close()
    with session.store.read() as tx:
        champion = session.store.champions.current(tx, family)
    results = {
        "family": family,
        "variant": record.variant.id,
        "champion": champion.variant if champion is not None else None,
        "verdict": evaluate_view.verdict(reports, unasked),
        "suites": [one.as_data() for one in reports],
        "not_measured": unasked,
    }
    if output is not None:
        _write(output, results)
    show(
        as_json,
        results if suite == FULL else reports[0].as_data(),
        lambda out: evaluate_view.view(out, declared, reports, unasked),
    )
    is_champion = champion is not None and champion.variant == record.variant.id
    for one in reports:
        say(evaluate_view.what_follows(declared, one, is_champion=is_champion))
    if output is not None:
        say(f"Written to {output}.")
    if all(one.batch.mean_score is None for one in reports):
        raise typer.Exit(1)
    if unasked or any(check.verdict != "met" for one in reports for check in one.batch.checks or ()):
        raise typer.Exit(3)


def _one_after_the_other(
    names: Sequence[str | None], measure: Callable[[str | None, float | None], EvaluationReport], usd: float | None
) -> tuple[list[EvaluationReport], list[dict[str, str]]]:
    """What was measured, and of each other suite its name and why it was not: what is known is not lost with the rest.

    Where the money ends the journal may still have the answers of a later suite, so each is tried.

    Args:
        measure: evaluates one suite within so many dollars (None: no cap).
        usd: of all suites together. Raises what the first reason was where no suite could be measured.
    """
    reports: list[EvaluationReport] = []
    unasked: list[dict[str, str]] = []
    first: BaseException | None = None
    for name in names:
        try:
            found = measure(name, usd)
        except (BudgetExhausted, ModelFailed) as reason:
            first = first or reason
            unasked.append({"suite": str(name), "why": str(reason)})
            usd = None if usd is None else 0.0
        else:
            reports.append(found)
            usd = None if usd is None else max(0.0, usd - (found.spent_usd or 0.0))
    if first is not None and not reports:
        raise first
    return reports, unasked


def _again(variant: str, suite: str | None, split: str, n: int | None, bare: bool) -> str:
    """The options of the same command without its dry run."""
    return (
        f"--variant {variant}"
        + (f" --suite {suite}" if suite is not None else "")
        + (f" --split {split}" if split != "dev" else "")
        + (f" --n {n}" if n is not None else "")
        + (" --bare" if bare else "")
    )


def _write(path: Path, results: Mapping[str, Any]) -> None:
    """Raises Conflict where the file cannot be written."""
    text = json.dumps(results, default=plain, ensure_ascii=False, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as refused:
        raise Conflict(
            f"Cannot write the results to {path}: {refused.strerror}. The evaluation is kept in the store; name another"
            " file with --output and run it again: the journal answers."
        ) from None
