"""A rollout as one HTML page that needs no network: what happened, on which evidence, and what the gates cannot see.

The page is ``templates/rollout.html``. Plots are in ``rollout_plots.py``.
"""

from __future__ import annotations

from optimizer.adapters.reports import rollout_plots as plots
from optimizer.adapters.reports.page import page
from optimizer.core.base.phrasing import span
from optimizer.core.serving.rollout import ladder_text
from optimizer.core.views.rollout_evidence import evidence_text
from optimizer.core.views.rollout_status import WITHIN_BLOCKS
from optimizer.core.views.rollout_story import RolloutReport, headline


def rollout_page(report: RolloutReport) -> str:
    """The whole page."""
    rollout = report.rollout
    return page(
        "rollout.html",
        report=report,
        rollout=rollout,
        view=report.view,
        plots=plots,
        headline=_headline(report),
        ladder=ladder_text(rollout.ladder),
        not_drawn="Not drawn: the record does not fit." if report.problems else "",
        evidence_text=evidence_text,
        span=span,
        within_blocks=WITHIN_BLOCKS,
    )


def _headline(report: RolloutReport) -> str:
    """A record that was changed tells nothing, whatever it says."""
    rollout = report.rollout
    if report.problems:
        return f"The record of rollout {rollout.id} of {rollout.family} does not fit: it was changed or lost in part."
    return headline(rollout, report.view, report.decisions)
