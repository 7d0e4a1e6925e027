"""``detent thresholds``: what the knobs of a content pipeline or the thresholds of a cascade should be,
from what was collected.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import FamilyName, Json, percent, print_facts, say, show, table, when
from optimizer.cli.session import Session
from optimizer.cli.thresholds.compare import COLUMNS, SCORE_NOTE, compare, row_of
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.content.core.records.saved import MetricsSeries
    from optimizer.content.core.search.recommend import PipelineRecommendation


UNSEEN_NOTE = (
    "no reported item has ended there, so these exits stay as they are. Send each item with its exit_checkpoint to POST"
    " /api/performance/record; a checkpoint that never ends anything may lack conditions, or ask for too much"
    " confidence."
)
app = typer.Typer(
    name="thresholds",
    no_args_is_help=True,
    help="Thresholds of a cascade, or knobs of a content pipeline, from what was collected.",
)
app.command()(compare)


@app.command()
def recommend(
    family: FamilyName,
    hours: Annotated[float, typer.Option(help="How far back requests or reported items count.")] = 30 * 24,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Kind policy: folder to write optimal_config.yaml to; default: only shown."),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="Kind policy: saved metrics_*.json, a folder or one file, read beside the reported items."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What production says of the knobs that serve, and better ones. Nothing that is served changes.

    Of a cascade: quality, cost and loss of the present thresholds, weighted by the chance of an audit, and the cheapest
    thresholds that are safe on audited requests. Of a content pipeline: knobs found by replay on one half of the items,
    and what they do on the other; it needs 100 items with a measured quality and three content types. Checkpoints at
    which no item has ended yet keep their exits and are named. Both say what is missing. Saved metrics hold sums and no
    items: they say which figures were out of range and which way a knob moves them.

    Examples:
      detent thresholds recommend triage --hours 168
      detent thresholds recommend content_pipeline --out config/
      detent thresholds recommend content_pipeline --metrics reports/
    """
    from optimizer.core.family.family import declared_kind

    session = Session()
    declared = session.family_view(family)
    kind = declared_kind({"kind": declared.kind})
    if kind is None or not kind.runs_pipeline:
        if out is not None and kind is not None:
            raise InvalidInput(
                f"--out writes the files of a content pipeline, and {family} is of kind {declared.kind}. Leave it out;"
                " --json has all figures."
            )
        if metrics is not None and kind is not None:
            raise InvalidInput(
                f"--metrics reads what a content pipeline saved, and {family} is of kind {declared.kind}. Leave it out."
            )
        from optimizer.cli.thresholds.cascade_advice import recommend as recommend_cascade

        recommend_cascade(session, family, hours, as_json=as_json)
        return
    from optimizer.content.adapters.content_files import read_saved_metrics, write_optimal_config
    from optimizer.content.jobs.recommend_thresholds import recommend_thresholds

    series = None
    if metrics is not None:  # beside the levels of this home's config/monitoring.yaml, where it has one
        from optimizer.content.core.records.saved import series_of

        series = series_of(read_saved_metrics(metrics), wiring.load_targets(session.settings))
    try:
        recommendation = session.ask(recommend_thresholds, family=family, hours=hours)
    except DatasetTooSmall as too_small:
        if series is None:
            raise
        unrecommended = {"saved_metrics": series, "recommendation": None, "why": too_small.detail}
        show(as_json, unrecommended, partial(_view, series))
        say(too_small.detail, "yellow")
        return
    path_written = str(write_optimal_config(out, recommendation.optimal_config)) if out is not None else None

    saved: dict[str, object] = {} if series is None else {"saved_metrics": series}
    answer: dict[str, object] = {
        **recommendation.optimal_config,
        "is_better": recommendation.is_better,
        "written": path_written,
        **saved,
    }
    show(as_json, answer, partial(_view_recommendation, family, recommendation, series, path_written))


def _view_recommendation(
    family: str,
    recommendation: PipelineRecommendation,
    series: MetricsSeries | None,
    path_written: str | None,
    console: Console,
) -> None:
    if series is not None:
        _view(series, console)
    table(
        [row_of("now", recommendation.before), row_of("recommended", recommendation.after)],
        {**COLUMNS, "what": "On kept-back items"},
        empty="",
    )(console)
    for knob, value in sorted(recommendation.changed.items()):
        console.print(f"  {knob}: {value}", markup=False, highlight=False)
    console.print("")
    if not recommendation.is_better:
        console.print(
            "On the items that were kept back this is not shown to be better than what is in force: leave it as it is.",
            style="yellow",
        )
    if unseen := recommendation.evidence["checkpoints_not_seen"]:
        console.print(f"Not seen  {', '.join(unseen)}: {UNSEEN_NOTE}", markup=False)
    console.print(SCORE_NOTE, markup=False)
    console.print(recommendation.evidence["note"], markup=False)
    if path_written:
        console.print(f"Written to {path_written}", markup=False)
    print_facts(
        console, ("Next", f"a search of its own, confirmed on sealed items: detent study run {family} --dry-run")
    )


def _view(series: MetricsSeries, console: Console) -> None:
    overlap = f"; {count(series.n_overlapping, 'file')} left out, since later ones cover the same hours"
    print_facts(
        console,
        (
            "Saved",
            f"{count(series.n_items, 'item')} in {count(series.n_files, 'file')}, {when(series.since)} to"
            f" {when(series.until)}{overlap if series.n_overlapping else ''}",
        ),
    )
    figures = [
        {"figure": name, "value": each.value, "status": each.status, "target": each.target}
        for name, each in series.figures.items()
    ]
    table(figures, {"figure": "Figure", "value": "Saved", "target": "Target", "status": "Status"}, empty="")(console)
    exits = [
        {"checkpoint": point, "exits": n, "rate": percent(series.exit_rates[point]), "hoped": percent(hoped)}
        for (point, n), hoped in zip(series.exits.items(), series.expected_exit_rates.values(), strict=True)
    ]
    columns = {"checkpoint": "Checkpoint", "exits": "Exits", "rate": "Of all items", "hoped": "Hoped for"}
    table(exits, columns, empty="")(console)
    print_facts(console, ("Advice", series.advice), ("Lacking", "; ".join(series.lacking) or None, "yellow"))
    console.print("")
