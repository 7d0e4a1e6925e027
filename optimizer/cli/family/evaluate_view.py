"""Shows the report of ``detent family evaluate``: figures, checks, what they cost, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from optimizer.cli.output import dollars, print_facts, table
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import too_long_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.base.values import Spread
    from optimizer.core.views.evaluation import EvaluationReport, SuitesReport
    from optimizer.jobs.studies.plan_evaluation import EvaluationEstimate

N_LABELS = 30
NO_PRICE = "dollars unknown: a model has no price in config/models.yaml"


def view_estimates(out: Console, family: str, estimates: Sequence[EvaluationEstimate], again: str) -> None:
    for estimate in estimates:
        beside = f", and the champion {estimate.beside} on the same" if estimate.beside else ""
        suite = f", suite {estimate.suite}" if estimate.suite else ""
        out.print(
            f"{family} {estimate.variant} on {count(estimate.n, asked_of(estimate.split))}{beside}{suite}",
            style="bold",
            markup=False,
        )
        _view_fewer(out, estimate, estimate.n, estimate.split)
        cap = f"with retries at most {estimate.calls_at_most:,}, the cap where --budget-usd sets none"
        timed = (
            "of each that are timed afresh, as many as it takes to tell"
            if estimate.beside
            else "that are timed afresh, where the journal has the answers"
        )
        print_facts(
            out,
            ("Calls", f"at most {estimate.calls.high:,}; what the journal answers is not asked; {cap}"),
            ("", f"among them at most {estimate.n_timed} {timed}" if estimate.n_timed else None),
            ("Dollars", price_text(estimate.usd)),
        )
    print_facts(out, ("Next", f"detent family evaluate {family} {again}"))


def price_text(usd: Spread | None) -> str:
    return NO_PRICE if usd is None else f"{dollars(usd.expected)} expected, at most {dollars(usd.high)}"


def asked_of(split: str) -> str:
    """What one example of the evaluation is called."""
    return "golden row" if split == "golden" else f"{split} example"


def _view_fewer(out: Console, evaluation: EvaluationEstimate | EvaluationReport, n: int, split: str) -> None:
    wanted = evaluation.n_wanted
    if wanted is not None and n < wanted:
        there = "there is no more" if n == 1 else "there are no more"
        out.print(f"  {wanted} were asked for, and {there}: detent import FILE brings others.", markup=False)
    if long := too_long_in_words({"truncated": evaluation.truncated, "n_refused": evaluation.n_refused}, split):
        out.print(f"  Inputs {long}", style="yellow", markup=False)


def view(out: Console, report: SuitesReport) -> None:
    for suite_report in report.suites:
        _view_one(out, suite_report, report.family_suites)
    for missing in report.not_measured:
        out.print(f"{report.family}, suite {missing.suite}: not measured. {shown(missing.why)}", markup=False)


def _view_one(out: Console, report: EvaluationReport, family_suites: Mapping[str, int]) -> None:
    score = "no score" if report.mean_score is None else f"{report.mean_score:.3f}"
    interval = "" if report.score_low is None else f" (95 %: {report.score_low:.3f} to {report.score_high:.3f})"
    on = f"{count(report.n, asked_of(report.split))}, {count(report.n_errors, 'error')}"
    out.print(f"{report.family} {report.variant}: {score}{interval} on {on}", markup=False)
    _view_fewer(out, report, report.n, report.split)
    if report.commonest_error:
        out.print(f"  The commonest error: {report.commonest_error}", markup=False)
    if report.judge is not None:
        out.print(report.judge.said, markup=False)
    if report.labels is not None:
        # Label by label, the worst first, and what is taken for what.
        from optimizer.core.evaluation.label_report import confusions

        labels = [row for row in report.labels.figures if row.n_expected or row.n_given]
        rows = sorted(labels, key=lambda row: (row.f1 or 0.0, row.label))[:N_LABELS]
        headings = {
            "label": "Label",
            "n_expected": "Examples",
            "precision": "Precision",
            "recall": "Recall",
            "f1": "F1",
        }
        table([members_of(row) for row in rows], headings, empty="")(out)
        if len(labels) > N_LABELS:
            out.print(
                f"  and {len(labels) - N_LABELS} more labels that do better; all of them with --json", markup=False
            )
        wrong = [f"{expected} > {answered} {n}" for expected, answered, n in confusions(report.labels.confusion)]
        if wrong:
            out.print(f"Mistakes (expected > given, examples): {', '.join(wrong)}", markup=False)
    scenarios = report.scenarios or ()
    if scenarios:
        columns = {"scenario": "Scenario", "n": "Rows", "score": "Score"}
        if report.beside:
            columns["champion"] = "Champion"
        table([members_of(scenario) for scenario in scenarios], columns, empty="")(out)
    of_scenarios = {f"regression of {scenario.scenario}" for scenario in scenarios}
    for check in report.checks or ():
        if check.verdict != "met" or check.name not in of_scenarios:  # those stand in the table
            out.print(f"  {check.verdict:>10}  {check.said}", markup=False)
    view_trivial(out, asdict(report.trivial_baselines) if report.trivial_baselines is not None else None)
    if report.checks is None:
        # Which suites the family has, where this was none of them.
        suites = family_suites
        from optimizer.core.evaluation.suite import DEFAULT

        if DEFAULT in suites:
            out.print(
                f"  The targets are checked on {suites[DEFAULT]} dev examples: leave --n and --split out.", markup=False
            )
        suite_names = [name for name in suites if name != DEFAULT]
        if suite_names:
            out.print(
                f"  Suites of the family, each asked with --suite NAME: {', '.join(suite_names)}; full: all.",
                markup=False,
            )
    beside = f" (those of the champion {report.beside} included)" if report.beside else ""
    cost = NO_PRICE if report.spent_usd is None else f"{dollars(report.spent_usd)} spent"
    out.print(
        f"{count(report.n_calls_in_all, 'call')} made{beside}, {cost}; the journal answered what was asked before",
        markup=False,
    )


def view_trivial(out: Console, baselines: Mapping[str, Any] | None) -> None:
    """How answers that ask no model score on the same rows: TrivialBaselines as plain values; None prints nothing."""
    from optimizer.core.evaluation.trivial_baselines import heading, said

    if baselines is None:
        return
    out.print(f"\n{heading(baselines)}:", markup=False)
    rows = [{**row, "why": f"left out: {row['why']}" if row["score"] is None else ""} for row in baselines["rows"]]
    table(rows, {"name": "Baseline", "score": "Score", "low": "95 % from", "high": "to", "why": ""}, empty="")(out)
    out.print(said(baselines), markup=False)


def what_follows(report: EvaluationReport, *, is_champion: bool) -> str:
    """What was missed, what a rollout's gate makes of it, and the next command."""
    from optimizer.core.evaluation.suite import DEFAULT, GOLDEN, TIMED, gate_of_suite

    name, variant = report.family, report.variant
    gate, is_golden = gate_of_suite(report.suite_name or DEFAULT), report.suite_name == GOLDEN
    study = f"detent study run {name} --dry-run"
    is_for_search = is_champion or report.n_errors == report.n
    go_on = f"Next: {study}" if is_for_search else f"Next: detent rollout start {name} {variant} --dry-run"
    checks = report.checks
    if checks is None:
        return go_on
    missed = [check.name for check in checks if check.verdict == "missed"]
    untold = [check.name for check in checks if check.verdict == "unmeasured"]
    undecided = [check.name for check in checks if check.verdict == "undecided"]
    if not missed and not untold and not undecided:
        met = (
            f"All {count(len(checks), 'target')} met."
            if checks
            else "No target could be checked: the champion is no regression of itself."
        )
        return met + ("" if is_champion or not checks else f" A rollout's gate {gate} passes.") + f"\n{go_on}"
    lines = [
        f"Exit 3: {len(missed)} of {count(len(checks), 'target')} missed"
        + (f" ({', '.join(missed)})" if missed else "")
    ]
    lines[0] += f", {len(untold)} not measured ({', '.join(untold)})" if untold else ""
    lines[0] += f", {len(undecided)} that cannot be told yet ({', '.join(undecided)})." if undecided else "."
    if not is_champion:
        of_this = " by this evaluation" if not missed else ""  # an earlier one may have told
        lines.append(
            f"A rollout's gate {gate} {'fails' if missed else f'is inconclusive{of_this}, which is no pass'}: only a"
            f" forced one starts (--confirm {name})."
        )
    if missed:
        or_else = (
            "correct golden.jsonl where a scenario expects the wrong thing"
            if is_golden
            else "ask for less under targets in the family's file"
        )
        lines.append(f"Missed: search for a better variant ({study}), or {or_else}.")
    if undecided:
        lines.append("Cannot be told: run the same command again; it times fresh calls, which add to these.")
    if set(untold) & set(TIMED):
        lines.append(
            "Times are measured on fresh answers only, and there were none: raise --budget-usd, or look at var/logs for"
            " why calls failed."
        )
    if set(untold) - set(TIMED):
        lines.append(
            "Not measured: the checks say why; where an answer is missing, look at var/logs for what failed."
            if is_golden
            else f"Not measured: import more examples (detent import FILE --family {name}), or look at var/logs for why"
            " answers failed."
        )
    return "\n".join(lines)
