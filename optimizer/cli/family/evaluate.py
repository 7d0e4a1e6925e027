"""``detent family evaluate``: one variant measured on examples, what that cost, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.family.trivial_view import view_trivial
from optimizer.cli.output import Json, dollars, say, show, table
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.family.family import Family

N_LABELS = 30
NO_PRICE = "dollars unknown: a model has no price in config/models.yaml"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    variant: Annotated[str, typer.Option(help="Id of the variant, or champion, or candidate.")] = "champion",
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls and dollars; ask no model.")] = False,
    as_json: Json = False,
) -> None:
    """Measure one variant on examples, with an interval, and check it against the family's targets:
    exit 3 unless all are met.

    Example: detent family evaluate triage --n 40
    """
    from optimizer.cli.variant.find import find_variant
    from optimizer.core.base.values import Budget
    from optimizer.jobs.studies.evaluate_variant import estimate_evaluation, evaluate_variant
    from optimizer.runtime import wiring

    session = Session()
    declared = session.family(family)
    record = find_variant(session, family, variant)
    models = wiring.open_models(session.settings)
    asked: dict[str, Any] = {"split": split, "n": n, "bare": bare, "store": session.store, "models": models}
    if dry_run:
        made = estimate_evaluation(declared, record.variant, **asked)
        again = (
            f"--variant {variant}"
            + (f" --split {split}" if split != "dev" else "")
            + (f" --n {n}" if n is not None else "")
            + (" --bare" if bare else "")
        )
        show(as_json, made, lambda out: _view_estimate(out, family, made, again))
        return
    try:
        batch = evaluate_variant(
            declared,
            record.variant,
            budget=Budget(usd=budget_usd),
            actor=session.actor,
            clock=session.clock,
            scorer_for=wiring.scorers(session.settings),
            classify=wiring.classify,
            **asked,
        )
    finally:
        models.close()
    show(as_json, batch, lambda out: _view(out, declared, batch))
    with session.store.read() as tx:
        champion = session.store.champions.current(tx, family)
    say(_what_follows(declared, batch, is_champion=champion is not None and champion.variant == batch["variant"]))
    if any(check["verdict"] != "met" for check in batch.get("checks") or ()):
        raise typer.Exit(3)


def _view_estimate(out: Console, family: str, made: Mapping[str, Any], again: str) -> None:
    beside = f", and the champion {made['beside']} on the same" if made["beside"] else ""
    out.print(
        f"{family} {made['variant']} on {count(made['n'], made['split'] + ' example')}{beside}",
        style="bold",
        markup=False,
    )
    cap = f"with retries at most {made['calls_at_most']:,}, the cap where --budget-usd sets none"
    out.print(f"Calls     at most {made['calls'].high:,}; what the journal answers is not asked; {cap}", markup=False)
    usd = (
        f"{dollars(made['usd'].expected)} expected, at most {dollars(made['usd'].high)}"
        if made["usd"] is not None
        else NO_PRICE
    )
    out.print(f"Dollars   {usd}", markup=False)
    out.print(f"Next      detent family evaluate {family} {again}", markup=False)


def _view(out: Console, family: Family, batch: Mapping[str, Any]) -> None:
    score = "no score" if batch["mean_score"] is None else f"{batch['mean_score']:.3f}"
    interval = (
        "" if batch.get("score_low") is None else f" (95 %: {batch['score_low']:.3f} to {batch['score_high']:.3f})"
    )
    on = f"{count(batch['n'], batch['split'] + ' example')}, {count(batch['n_errors'], 'error')}"
    out.print(f"{family.name} {batch['variant']}: {score}{interval} on {on}", markup=False)
    if batch.get("labels"):
        _view_labels(out, batch["labels"])
    for check in batch.get("checks") or ():
        out.print(f"  {check['verdict']:>10}  {check['said']}", markup=False)
    view_trivial(out, batch)
    if family.targets is not None and batch.get("checks") is None:
        out.print(
            f"  The targets are checked on {family.targets.n} dev examples: leave --n and --split out.", markup=False
        )
    beside = f" (those of the champion {batch['beside']} included)" if batch["beside"] else ""
    spent = NO_PRICE if batch["spent_usd"] is None else f"{dollars(batch['spent_usd'])} spent"
    out.print(
        f"{count(batch['n_calls_in_all'], 'call')} made{beside}, {spent}; the journal answered what was asked before",
        markup=False,
    )


def _view_labels(out: Console, report: Mapping[str, Any]) -> None:
    """Label by label, the worst first, and what is taken for what."""
    from optimizer.core.evaluation.label_report import confused

    known = [row for row in report["figures"] if row["n_expected"] or row["n_given"]]
    rows = sorted(known, key=lambda row: (row["f1"] or 0.0, row["label"]))[:N_LABELS]
    headings = {"label": "Label", "n_expected": "Examples", "precision": "Precision", "recall": "Recall", "f1": "F1"}
    table(rows, headings, empty="")(out)
    if len(known) > N_LABELS:
        out.print(f"  and {len(known) - N_LABELS} more labels that do better; all of them with --json", markup=False)
    wrong = [f"{expected} > {given} {n}" for expected, given, n in confused(report["confusion"])]
    if wrong:
        out.print(f"Mistakes (expected > given, examples): {', '.join(wrong)}", markup=False)


def _what_follows(family: Family, batch: Mapping[str, Any], *, is_champion: bool) -> str:
    """What was missed, what a rollout's gate makes of it, and the next command."""
    from optimizer.core.evaluation.suite import TIMED

    name, variant = family.name, batch["variant"]
    study = f"detent study run {name} --dry-run"
    go_on = f"Next: {study}" if is_champion else f"Next: detent rollout start {name} {variant} --dry-run"
    checks = batch.get("checks")
    if checks is None:
        return go_on
    missed = [check["name"] for check in checks if check["verdict"] == "missed"]
    untold = [check["name"] for check in checks if check["verdict"] == "unmeasured"]
    if not missed and not untold:
        met = (
            f"All {count(len(checks), 'target')} met."
            if checks
            else "No target could be checked: the champion is no regression of itself."
        )
        return met + ("" if is_champion or not checks else " A rollout's gate suite passes.") + f"\n{go_on}"
    lines = [
        f"Exit 3: {len(missed)} of {count(len(checks), 'target')} missed"
        + (f" ({', '.join(missed)})" if missed else "")
    ]
    lines[0] += f", {len(untold)} not measured ({', '.join(untold)})." if untold else "."
    if not is_champion:
        lines.append(
            f"A rollout's gate suite {'fails' if missed else 'is inconclusive, which is no pass'}: only a forced one"
            f" starts (--confirm {name})."
        )
    if missed:
        lines.append(
            f"Missed: search for a better variant ({study}), or ask for less under targets in the family's file."
        )
    if set(untold) & set(TIMED):
        lines.append(
            "Times are measured on fresh answers only: import dev examples that no model has answered yet, "
            "or leave this target out of the family's file."
        )
    if set(untold) - set(TIMED):
        lines.append(
            f"Not measured: import more examples (detent import FILE --family {name}), or look at var/logs for why"
            " answers failed."
        )
    return "\n".join(lines)
