"""What a reviewer reads in MLflow beside the page of a study: its note, as markdown, and its tables, as JSON.

Nothing here talks to MLflow. Tables show the text of released train and dev examples only; the holdout appears as wins,
ties and losses by hashed id.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.base.canonical import digest
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.base.values import scores_by_example
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.evaluation.label_report import LABELS
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.search.study import N_BEST, Study, Trial, ranked
from optimizer.core.statistics.interval import mean_score_interval
from optimizer.core.views.study_front import mark_of
from optimizer.core.views.study_story import lead
from optimizer.core.views.variant import variant_diff
from optimizer.ports import StudyEvidence

NOTE_COLUMNS = 88
TIME_SHARE = (  # share of processing an item in full: the cost of a replayed study's trials, in place of dollars
    "time_share"
)
_OUTCOMES = {
    "nominated": "the best variant of the search met every gate on the holdout and was nominated",
    "no_improvement": "nothing beat the champion on the dev examples",
    "not_confirmed": "the best variant of the search was not confirmed on the holdout",
    "budget_exhausted": "the budget ran out before a confirmation",
}


def cost_of(study: Study, trial: Trial) -> dict[str, float]:
    """The trial's cost with its unit: dollars in all, or, where nothing was paid, the mean share of full processing."""
    return {TIME_SHARE: trial.usd_per_example or 0.0} if study.is_replayed else {"cost_usd": trial.cost_usd}


def trials_table(study: Study, trials: Sequence[Trial], evidence: StudyEvidence) -> dict[str, Any]:
    """All trials as a table that MLflow's pages draw (columns and rows)."""
    columns = [
        "trial",
        "mark",
        "score",
        "low",
        "high",
        "vs champion",
        "variant",
        "proposer",
        "examples",
        "settings",
        "n",
        "errors",
        "calls",
        TIME_SHARE if study.is_replayed else "cost_usd",
        "p95_ms",
        "status",
    ]
    champion = scores_by_example(evidence.results.get(study.champion, ()))
    rows = []
    for trial in ranked(trials) + [t for t in trials if t.status != "complete" or t.score is None]:
        own = scores_by_example(evidence.results.get(trial.variant, ()))
        interval, lift = mean_score_interval(own.values()), lead(own, champion)
        variant = evidence.variants.get(trial.variant)
        mark = mark_of(study, trial)
        span = (_rounded(interval.lower), _rounded(interval.upper)) if interval else (None, None)
        (cost,) = cost_of(study, trial).values()
        spent = (trial.n_calls, round(cost, 6), _rounded(trial.p95_ms, 1))
        setting = (
            (
                len(variant.examples),
                ", ".join(f"{k}={v}" for k, v in sorted({**variant.model, **shown_policy(variant.policy)}.items())),
            )
            if variant
            else (None, "")
        )
        rows.append(
            [
                trial.number,
                mark,
                *(_rounded(trial.score), *span, _rounded(lift)),
                trial.variant,
                trial.proposer,
                *setting,
                trial.n,
                trial.n_errors,
                *spent,
                trial.status,
            ]
        )
    return {"columns": columns, "data": rows}


def examples_table(variant: str, study: Study, evidence: StudyEvidence) -> dict[str, Any] | None:
    """One variant on the dev examples beside the champion; None when nothing of it may be shown."""
    champion = {r.example: r for r in evidence.results.get(study.champion, ())}
    rows: list[list[Any]] = []
    for result in evidence.results.get(variant, ()):
        example = evidence.examples.get(result.example)
        if example is None:
            continue
        base = champion.get(result.example)
        lift = result.score - base.score if base and base.score is not None and result.score is not None else None
        texts = ["\n".join(str(v) for v in values.values()) for values in (example.input, example.expected)]
        rows.append([result.example, *texts, result.output, _rounded(result.score), _rounded(lift), result.error])
    rows.sort(key=lambda r: (r[5] is None, -(r[5] or 0.0)))
    columns = ["example", "input", "expected", "output", "score", "vs champion", "error"]
    return {"columns": columns, "data": rows} if rows else None


def confirmation_table(study: Study, evidence: StudyEvidence) -> dict[str, Any] | None:
    """Win, tie or loss of the winner for every holdout example, by a hash that leads back to no text."""
    if not study.winner or study.winner not in evidence.confirmation:
        return None
    champion = {r.example: r.score for r in evidence.confirmation.get(study.champion, ())}
    rows = []
    for result in evidence.confirmation[study.winner]:
        base = champion.get(result.example)
        if base is None or result.score is None:
            word = "not measured"
        else:
            word = "tie" if abs(result.score - base) <= TIE else "win" if result.score > base else "loss"
        rows.append([digest(f"{study.id}:{result.example}".encode())[:12], word])
    return {"columns": ["example_hash", "winner_against_champion"], "data": sorted(rows)}


def label_tables(study: Study) -> dict[str, dict[str, Any]]:
    """Name of a file -> figures or confusion matrix of champion or winner on dev; empty in a family without labels."""
    tables = {}
    for mark, variant, report in label_reports(study):
        columns = ["label", "n_expected", "n_given", "precision", "recall", "f1"]
        rows = [
            [_rounded(row[name]) if isinstance(row[name], float) else row[name] for name in columns]
            for row in report["figures"]
        ]
        labels = sorted({label for row in report["confusion"].values() for label in row})
        crossed = [
            [expected, *(row.get(label, 0) for label in labels)]
            for expected, row in sorted(report["confusion"].items())
        ]
        tables[f"labels/{mark}-{variant}.json"] = {"columns": columns, "data": rows}
        tables[f"labels/{mark}-{variant}-confusion.json"] = {"columns": ["expected", *labels], "data": crossed}
    return tables


def label_reports(study: Study) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(champion or winner, variant, its LabelReport as plain values)."""
    reports = (study.findings or {}).get(LABELS) or {}
    return [
        (mark, id, reports[id])
        for mark, id in (("champion", study.champion), ("winner", study.winner or ""))
        if id in reports
    ]


def headline(study: Study) -> str:
    """One line: how the study stands."""
    if study.status == "finished":
        if study.outcome == "not_confirmed" and study.confirmation is None:
            return (
                "the best variant of the search beat the champion on dev; the holdout was not looked at, as this study"
                " was not to"
            )
        if study.move_to is not None and study.winner is None:
            return f"no variant with {study.move_to} could be compared with the champion"
        return _OUTCOMES.get(study.outcome or "", study.outcome or "finished")
    return {"cancelled": "cancelled by a person", "failed": f"failed: {study.error}"}.get(study.status, study.status)


def confirmation_figures(study: Study) -> dict[str, float]:
    """Every number of the confirmation by a flat name, such as ``lift`` or ``interval.lower``."""
    figures = _numbers(study.confirmation or {})
    return (
        {name.replace("cost_usd", TIME_SHARE): value for name, value in figures.items()}
        if study.is_replayed
        else figures
    )


def note(study: Study, trials: Sequence[Trial], evidence: StudyEvidence, studies_at: str | None = None) -> str:
    """The markdown on the parent run: outcome, winner, confirmation, best trials, diff, and the next command.

    ``studies_at``: address of the pages of studies, as the note's reader reaches them; None: unknown.
    """
    # At the top: MLflow shows the first lines alone until somebody asks for more.
    family = study.family if studies_at is None else f"[{study.family}]({studies_at}/{study.id})"
    lines = [f"### {family}: {headline(study)}", ""]
    confirmation = study.confirmation or {}
    verdict = [str(confirmation["summary"])] if confirmation.get("summary") else []
    verdict += [
        f"Gate {gate.get('name')}: {gate.get('verdict')}. {gate.get('reason', '')}"
        for gate in confirmation.get("gates", ())
    ]
    lines += [*verdict[:1], ""] if verdict else []
    if study.simulated_clock:
        lines += ["_Made under a simulated clock (profile demo)._", ""]
    lines += [
        (
            f"Study `{study.id}` · strategy {study.strategy} · aim {study.aim} · seed {study.seed} · started by"
            f" {study.created_by}"
        ),
        "",
        (
            f"{count(study.spend.n_calls, 'call')}, {study.spend.n_from_journal} more answered from the journal,"
            f" {dollars(study.spend.usd)}"
        ),
        "",
    ]
    if ranked(trials):
        lines += ["| place | trial | variant | from | dev score | 95 % interval |", "|---|---|---|---|---|---|"]
        for place, trial in enumerate(ranked(trials)[:N_BEST], start=1):
            interval = mean_score_interval(scores_by_example(evidence.results.get(trial.variant, ())).values())
            span = f"{interval.lower:.3f} to {interval.upper:.3f}" if interval else ""
            mark = (
                " **(winner)**"
                if trial.variant == study.winner
                else " (champion)"
                if trial.variant == study.champion
                else ""
            )
            lines.append(
                f"| {place} | {trial.number} | `{trial.variant}`{mark} | {trial.proposer} | {trial.score:.3f} |"
                f" {span} |"
            )
        lines.append("")
    if study.confirmation:
        lines += ["**Confirmation on the sealed holdout**", "", *(f"- {line}" for line in verdict), ""]
    champion, winner = evidence.variants.get(study.champion), evidence.variants.get(study.winner or "")
    if winner and champion:
        # Long lines go on in further ones with the same sign: MLflow's page would grow as wide as the longest.
        narrow: list[str] = []
        for row in variant_diff(champion, winner).splitlines():
            sign = row[:1] if row[:1] in ("+", "-", " ") and not row.startswith(("+++", "---")) else ""
            parts = textwrap.wrap(row[len(sign) :], NOTE_COLUMNS, break_on_hyphens=False) or [""]
            narrow += [sign + part for part in parts]
        lines += [
            f"**Winner** `{winner.id}` against champion `{champion.id}`",
            "",
            "```diff",
            _cut("\n".join(narrow), 4000),
            "```",
        ]
        if study.outcome == "nominated":
            lines += ["", f"Next: `detent rollout start {study.family} --variant {winner.id}`"]
    return _cut("\n".join(lines), 7900)


def _numbers(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    numbers: dict[str, float] = {}
    for key, item in value.items():
        if isinstance(item, int | float):
            numbers[prefix + key] = float(item)
        elif isinstance(item, Mapping):
            numbers.update(_numbers(item, f"{prefix}{key}."))
    return numbers


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _cut(text: str, limit: int) -> str:
    return (
        text if len(text) <= limit else text[: limit - 60].rstrip() + "\n… cut; the whole text is among the artifacts"
    )
