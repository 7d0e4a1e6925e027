"""A study as one HTML page that works without a network: what was tried, what won, why, and at what cost.

Start reading at ``study_page``. Plots are in ``study_plots.py``; nothing on the page is loaded from anywhere. Of the sealed
holdout it shows what the confirmation sums up, and no example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from typing import Any

from optimizer.adapters.reports import study_plots as plots
from optimizer.adapters.reports.page import cut, document, fact_list, note_list, number_cell, section, share_cell, table
from optimizer.adapters.reports.study_confidence import confidences
from optimizer.adapters.reports.study_duel import duel
from optimizer.adapters.reports.study_labels import label_section
from optimizer.adapters.reports.study_score import learned_score
from optimizer.adapters.reports.study_sensitivity import sensitivity
from optimizer.adapters.reports.study_thresholds import thresholds
from optimizer.core.base.phrasing import count, dollars, when
from optimizer.core.base.values import Spend
from optimizer.core.evaluation.label_report import LABELS
from optimizer.core.evaluation.trivial_baselines import FINDING, heading, said
from optimizer.core.rollout.transitions import is_system
from optimizer.core.search.strategy import without_turn
from optimizer.core.search.study import CONFIRM, CONTENT_SCORE, ENOUGH, UNFINISHED, Study, budget_options
from optimizer.core.views.study_headline import cost_text, headline, lift_text, next_step
from optimizer.core.views.study_story import StudyReport, TrialView, usd_per_example
from optimizer.core.views.variant_text import variant_diff, variant_text

COST = "Dollars a call"
COLUMNS = ("Trial", "Dev score", "Lead", "Proposed by", "Variant", "Examples", "n", "Calls", COST, "p95 ms", "Front", "Ended")
LINE_CHARS = 700  # of one line of a diff
UNCONFIRMED = {
    "not_confirmed": "The sealed holdout was not looked at, as this study was not to; a person may have it looked at.",
    "cancelled": "The study was cancelled before a confirmation.",
    "failed": "The study failed before a confirmation.",
    "budget_exhausted": "The budget ended before the confirmation.",
    "no_improvement": "Nothing beat the champion on the rows that are not sealed, so the sealed holdout was not looked at and stays fresh for the next study.",
}


def study_page(report: StudyReport) -> str:
    """The whole page."""
    study, trials = report.study, [t.trial for t in report.history.trials]
    lift = lift_text(study, report.looks)
    parts = [
        f"<h1>{escape(headline(study, trials))}</h1>",
        f'<p class="verdict">{escape(lift)}</p>' if lift else "",
        f'<p class="verdict">{escape(cost_text(study, report.spent))}</p>',
        _facts(report),
        note_list(_notes(report)),
        section("Confirmation on the sealed holdout", _confirmation(study)),
        *(_search(report) if trials else [_no_search(report)]),
        f"<footer>Made {when(report.made_at)}. Scores are of the dev examples, unless the holdout is named; of the sealed holdout no example is "
        f"shown. Next: {escape(next_step(study))}.</footer>",
    ]
    return document(f"Study {study.id} of {study.family}", parts)


def _no_search(report: StudyReport) -> str:
    return section("What changed", _changes(report)) if report.study.strategy == CONFIRM else "<p>Nothing was evaluated.</p>"


def _search(report: StudyReport) -> list[str]:
    findings = report.study.findings or {}
    found, trivial, score, labels = (findings.get(name) for name in ("confidence", FINDING, CONTENT_SCORE, LABELS))
    return [
        section("What changed", _changes(report)),
        section("What was tried", _tried(report)),
        *([section("Without a model", _without_model(trivial))] if trivial else []),
        *([section("Label by label", label_section(labels, report.study))] if labels else []),
        section("Learning curves", _curves(report)),
        section("Against the champion, example by example", duel(report)),
        section("Quality against what it costs", _fronts(report)),
        section("Which settings mattered", _importance(report)),
        *([section("How good the confidences are", confidences(found))] if found else []),
        *([section("What the learned score does", learned_score(score))] if score else []),
        *([section("What each knob does", sensitivity(report.sensitivity))] if report.sensitivity is not None else []),
        *([section("What each threshold does", thresholds(report.cascade))] if report.cascade is not None else []),
        section("What it cost", _cost(report)),
    ]


# --- what came of it ----------------------------------------------------------------------------------------------------------------


def _facts(report: StudyReport) -> str:
    study = report.study
    winner = f'<code class="candidate">{escape(study.winner)}</code> against ' if study.winner else ""
    sizes = {name: len((study.dataset or {}).get(name, ())) for name in ("train", "dev", "holdout")}
    facts = {
        "Study": f"<code>{escape(study.id)}</code> of {escape(study.family)}, aim {escape(study.aim)}",
        "Winner" if study.winner else "Champion": f'{winner}<code class="champion">{escape(study.champion)}</code>',
        "Status": escape(study.status + (f" ({study.outcome.replace('_', ' ')})" if study.outcome else "")),
        "Search": f"{escape(study.strategy)}, seed {study.seed}, {count(len(report.history.trials), 'trial')}",
        "Examples": ", ".join(f"{n} {name}" for name, n in sizes.items()),
        "Scorer": f"<code>{escape(study.scorer_version)}</code>" if study.scorer_version else "–",
        **({"By itself": escape(f"{study.trigger.kind}: {study.trigger.reason}")} if study.trigger is not None else {}),
        "Time": escape(_time(report)),
    }
    return fact_list(facts)


def _time(report: StudyReport) -> str:
    study = report.study
    by_itself = study.trigger is not None or is_system(study.created_by)
    begun = f"{'by itself' if by_itself else f'asked for by {study.created_by}'}, {when(study.created_at)}"
    if study.started_at is None:
        return begun
    until = study.finished_at or report.made_at
    took = timedelta(seconds=round((until - study.started_at).total_seconds()))
    return f"{begun}; took {took}" if study.finished_at else f"{begun}; running for {took}"


def _notes(report: StudyReport) -> list[str]:
    """What a reader has to know before believing the rest."""
    study, trials = report.study, [t.trial for t in report.history.trials]
    found: Mapping[str, Any] = study.confirmation or {}
    notes = ["This study ran under a simulated clock. Search, scores and gates are the product's."] if study.simulated_clock else []
    if report.sensitivity is not None:
        notes.append(
            "Nothing was spent: a dollar on this page stands for one item that is processed in full, the time of which is what is saved."
        )
    if study.spend.search_cut:
        left_out = without_turn(study, trials)
        turn = f" {' and '.join(left_out)} never had a turn." if left_out else ""
        enough = (study.findings or {}).get(ENOUGH)
        larger = f" Enough for every part: {budget_options(enough)}." if enough else ""
        notes.append(f"The search was cut short, so not everything was tried. {study.spend.search_cut.rstrip('.')}.{turn}{larger}")
    if study.spend.remark:
        notes.append(study.spend.remark)
    lost = sum(spent.n_lost for spent in report.spent.values())
    if lost:
        notes.append(f"{count(lost, 'call')} in flight at a kill: counted at the reserved price, perhaps sent once more.")
    if found.get("n_unscored"):
        notes.append(
            f"On {count(found['n_unscored'], 'holdout example')} one of the two could not be scored; these are left out of the lift."
        )
    if found.get("looks", 0) > 1:
        notes.append(f"Studies had looked at these holdout examples before: confidence pays for {found['looks']} looks.")
    unread, unmeasured = report.history.n_unread, report.history.n_unmeasured
    if unread:
        notes.append(f"{count(unread, 'answer')} of the trials could not be read and {'scores' if unread == 1 else 'score'} 0.")
    if unmeasured:
        notes.append(f"{count(unmeasured, 'dev example')} of the trials got no answer: no score, which counts for nobody.")
    return notes


def _confirmation(study: Study) -> str:
    found = study.confirmation
    if not found:
        text = UNCONFIRMED.get(study.outcome or study.status, "There has been none yet.")
        return f"<p>{escape(text)}</p>"
    gates = [
        (
            escape(str(g["name"])),
            _verdict(str(g["verdict"])),
            _figure(g.get("value")),
            _figure(g.get("required")),
            f'<span class="text">{escape(str(g["reason"]))}</span>',
        )
        for g in found.get("gates", ())
    ]
    shown = table(("Gate", "Verdict", "Value", "Required", "Why"), gates) if gates else ""
    return f"{_arms(found, study)}{shown}"


def _arms(found: Mapping[str, Any], study: Study) -> str:
    if found.get("lift") is None:
        return ""
    rows = [
        (
            f'<span class="key {css}">{label}</span>', number_cell(found.get(f"{arm}_mean")), _cost_of_one(found.get(f"{arm}_cost_usd"), study),
            _ms(found.get(f"{arm}_p95_ms")),
        )
        for label, arm, css in (("winner", "winner", "candidate"), ("champion", "champion", "champion"))
    ]  # fmt: skip
    text = (
        f"{found.get('wins', 0)} won, {found.get('ties', 0)} tied and {found.get('losses', 0)} lost of {count(int(found['n']), 'example')}; "
        f"test {escape(str(found.get('test', '–')).replace('_', ' '))}, one-sided."
    )
    return f"{table(('', 'Mean score', _cost_name(study), 'p95 of fresh calls, ms'), rows)}<p>{text}</p>"


def _verdict(verdict: str) -> str:
    return f'<span class="{"good" if verdict == "pass" else "bad"}">{escape(verdict)}</span>'


# --- what changed ---------------------------------------------------------------------------------------------------------------------


def _changes(report: StudyReport) -> str:
    study, found = report.study, report.history.duel
    shown = study.winner or (found.trial.variant if found is not None else None)
    champion, other = report.variants.get(study.champion), report.variants.get(shown or "")
    if shown is None or champion is None or other is None:
        return "<p>There is no candidate to compare with the champion.</p>"
    best = "The best candidate so far," if study.status in UNFINISHED else "The best candidate, which did not win,"
    what = "The nominated variant" if study.strategy == CONFIRM else "The winner" if study.winner else best
    head = f'<p>{what} <code class="candidate">{escape(shown)}</code> against the champion <code class="champion">{escape(study.champion)}</code>.</p>'
    full = f"<details><summary>The whole variant</summary><pre>{escape(variant_text(other))}</pre></details>"
    return head + _diff(variant_diff(champion, other)) + full


def _diff(text: str) -> str:
    """As unified, but for its line numbers, which lead nowhere."""
    classes = {"+": "added", "-": "gone", "…": "at"}
    lines = ["…" if line.startswith("@@") else line for line in text.splitlines()[3:]]  # before: the variants' names, where it starts
    shown = [f'<span class="{classes.get(line[:1], "same")}">{escape(cut(line, LINE_CHARS)) or " "}</span>' for line in lines]
    return f'<pre class="diff">{"".join(shown)}</pre>' if shown else "<p>No difference in what can be read.</p>"


# --- what was tried -------------------------------------------------------------------------------------------------------------------


def _tried(report: StudyReport) -> str:
    seen = report.history.trials
    drawn = plots.trials(report) if any(t.trial.score is not None for t in seen) else ""
    strategies = [
        (escape(s.name), str(s.n_trials), f"{s.n_calls:,}", "–" if report.study.is_replayed else dollars(s.usd), number_cell(s.best))
        for s in report.history.strategies
    ]
    by_strategy = table(("Proposed by", "Trials", "Calls", "Dollars of its trials", "Best dev score"), strategies)
    shown = len(COLUMNS) if any(t.ending for t in seen) else -1  # the last one says why a trial went no further
    rows = [_trial(t, report)[:shown] for t in sorted(seen, key=_best_first)]
    text = (
        "Lead: over the champion, on the examples measured for both. Front: no other trial is at least as good in score, dollars and p95 together. "
        "The best of many leads by luck, too; only the holdout decides."
    )
    columns = [_cost_name(report.study) if name == COST else name for name in COLUMNS[:shown]]
    return f"{drawn}{by_strategy}<p>{text}</p>{table(columns, rows)}"


def _without_model(found: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(row["name"]),
            *(number_cell(row[name]) for name in ("score", "low", "high")),
            f'<span class="text">{escape(row["why"])}</span>',
        )
        for row in found["rows"]
    ]
    shown = table(("Baseline", "Dev score", "95 % from", "to", "Left out, since"), rows)
    return f'<p class="verdict">{escape(said(found))}</p>{shown}<p>{escape(heading(found))}.</p>'


def _best_first(seen: TrialView) -> tuple[bool, float, int]:
    whole = seen.trial.status == "complete" and seen.trial.score is not None
    return not whole, -(seen.trial.score or 0.0), seen.trial.number


def _trial(seen: TrialView, report: StudyReport) -> Sequence[str]:
    trial, variant = seen.trial, report.variants.get(seen.trial.variant)
    css = {"champion": "champion", "winner": "candidate"}.get(seen.mark)
    name = f'<span class="key {css}">{trial.number}, {seen.mark}</span>' if css else str(trial.number)
    return (
        name, number_cell(trial.score), "–" if seen.lead is None else f"{seen.lead:+.3f}", escape(trial.proposer), f"<code>{escape(trial.variant)}</code>",
        str(len(variant.examples)) if variant else "–", str(trial.n), f"{trial.n_calls:,}", _cost_of_one(usd_per_example(trial), report.study), _ms(trial.p95_ms),
        "yes" if seen.on_front else "", f'<span class="text">{escape(seen.ending)}</span>',
    )  # fmt: skip


def _curves(report: StudyReport) -> str:
    if not report.history.curves:
        return "<p>No candidate met every dev example beside the champion.</p>"
    keys = '<span class="key champion">champion</span><span class="key candidate">winner</span><span class="key">other trial</span>'
    text = (
        "The mean score after each common dev example, for the best few, in its 95 % band; the champion's on the same examples. The band is for one "
        "trial on its own, not for the best of many."
    )
    return f'<p>{text}</p><p>{keys}<span class="key interval">band</span></p><div class="plots">{"".join(plots.curves(report))}</div>'


# --- what it costs --------------------------------------------------------------------------------------------------------------------


def _fronts(report: StudyReport) -> str:
    drawn = plots.fronts(report)
    if not drawn:
        text = (
            "Not drawn: no two trials differ in dollars or in the p95 of calls made in this study. A free model costs nothing, and what the journal "
            "answers takes no time."
        )
        return f"<p>{text}</p>"
    text = "A trial below the front is no better than another that costs less. Latency is that of calls made in this study, on this machine's load."
    return f'<p>{text}</p><div class="plots wide">{"".join(drawn)}</div>'


def _importance(report: StudyReport) -> str:
    if report.history.cannot_tell is not None:
        return f"<p>Cannot tell: {escape(report.history.cannot_tell)}</p>"
    from optimizer.adapters.mlflow.plots import NOTHING_VARIED, importances

    found = importances([t.trial for t in report.history.trials], report.variants, report.study.seed)
    if not found:
        return f"<p>Cannot tell: {NOTHING_VARIED}</p>"
    bars = "".join(
        f'<dt>{escape(name)}</dt><dd><span class="bar" style="width:{70 * share:.1f}%"></span>{100 * share:.0f} %</dd>'
        for name, share in found.items()
    )
    text = (
        f"Share of the variance of {count(sum(t.trial.status == 'complete' and t.trial.score is not None for t in report.history.trials), 'dev score')} that a setting explains (fANOVA: "
        "Hutter, Hoos and Leyton-Brown 2014). A search tries good settings more often than bad ones, so this is a hint and no measurement."
    )
    return f'<p>{text}</p><dl class="bars">{bars}</dl>'


def _cost(report: StudyReport) -> str:
    study, spent = report.study, report.spent
    total = Spend(usd=sum(s.usd for s in spent.values()), n_calls=sum(s.n_calls for s in spent.values()))
    order = sorted(spent, key=lambda purpose: (purpose == "confirmation", purpose != "search", purpose))
    rows = [(escape(name), f"{spent[name].n_calls:,}", dollars(spent[name].usd)) for name in order]
    rows.append(("<b>all</b>", f"<b>{total.n_calls:,}</b>", f"<b>{dollars(total.usd)}</b>"))
    cap = study.budget
    rows.append(("allowed", f"{cap.calls:,}" if cap.calls is not None else "no cap", dollars(cap.usd) if cap.usd is not None else "no cap"))
    n_found = study.spend.n_from_journal
    journal = f"{count(n_found, 'call')} more {'was' if n_found == 1 else 'were'} answered from the journal. " if n_found else ""
    minutes = f"At most {cap.minutes:g} minutes were allowed. " if cap.minutes is not None else ""
    return f"{table(('For', 'Calls', 'Dollars'), rows)}<p>{journal}{minutes}Every attempt on the wire counts, failed ones too; search includes what strategies asked for themselves.</p>{_audits(report)}"


def _audits(report: StudyReport) -> str:
    """What the nominated cascade will cost beside its own requests, once it serves."""
    found = report.cascade
    if found is None or found.audit_cost is None or found.variant != report.study.winner:
        return ""
    return f"<p>{escape(found.audit_cost.in_words)} Measured on the study's training examples, at the winner's thresholds.</p>"


def _figure(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"


def _usd(value: float | None) -> str:
    return "–" if value is None else dollars(value)


def _cost_name(study: Study) -> str:
    return "Time share" if study.is_replayed else COST


def _cost_of_one(value: float | None, study: Study) -> str:
    """Of one answer, or of one item that was replayed: nobody was paid for it."""
    return share_cell(value) if study.is_replayed else _usd(value)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
