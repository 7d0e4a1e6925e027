"""The winner against the champion, example by example: on dev, where examples may be seen, and only texts that somebody released."""

from __future__ import annotations

from html import escape
from typing import Any

from optimizer.adapters.reports import study_plots as plots
from optimizer.adapters.reports.page import cut, fact_list
from optimizer.core.base.canonical import digest
from optimizer.core.views.study_story import Case, StudyReport

N_CASES = 5  # of the largest gains, and as many of the largest losses
TEXT_CHARS = 600  # of one text of an example


def duel(report: StudyReport) -> str:
    found = report.history.duel
    if found is None:
        return "<p>No candidate met every dev example beside the champion.</p>"
    who = "The winner" if found.trial.variant == report.study.winner else "The best candidate"
    gains = found.cases[: found.wins][:N_CASES]
    losses = found.cases[len(found.cases) - found.losses :][::-1][:N_CASES]
    hidden = any(c.other.example not in report.texts for c in (*gains, *losses))
    text = f"{who}, trial {found.trial.number}, on the dev examples: {plots.tally(found)}."
    note = " Examples whose text may not be shown stand under a hash." if hidden else ""
    parts = [f"<p>{escape(text + note)}</p>", plots.duel(found) if found.wins + found.losses else ""]
    for name, cases in (("Largest gains", gains), ("Largest losses", losses)):
        if cases:
            parts.append(f'<h3>{name}</h3><div class="cases">{"".join(_case(c, report, found.trial.variant) for c in cases)}</div>')
    return "".join(parts)


def _case(case: Case, report: StudyReport, variant: str) -> str:
    id, champion = case.other.example, report.study.champion
    scores = f"{case.champion.score:.3f} to {case.other.score:.3f} ({case.difference:+.3f})"
    example = report.texts.get(id)
    if example is None:
        return f'<article><p><b>{scores}</b> <span class="hash">{digest(f"{report.study.id}:{id}".encode())[:12]}</span></p></article>'
    texts = {**{str(k): v for k, v in example.input.items()}, **{f"expected {k}": v for k, v in example.expected.items()}}
    facts = {escape(name): _text(value) for name, value in texts.items()}
    who = "winner" if variant == report.study.winner else "candidate"
    answers = (("champion", "champion", report.outputs.get((champion, id))), (who, "candidate", report.outputs.get((variant, id))))
    facts |= {f'<span class="{css}">{name}</span>': _text(answer) for name, css, answer in answers if answer is not None}
    return f'<article><p><b>{scores}</b> <span class="hash">{escape(id)}</span></p>{fact_list(facts)}</article>'


def _text(value: Any) -> str:
    return f'<span class="written">{escape(cut(value if isinstance(value, str) else str(value), TEXT_CHARS))}</span>'
