"""``detent thresholds compare``: the A/B decision between two configurations of a content pipeline."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, percent, print_facts, table
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.content.core.search.compare import AbDifference
    from optimizer.content.core.search.replay import ReplayedShares
    from optimizer.content.jobs.compare_live_records import LiveComparison
    from optimizer.content.jobs.compare_thresholds import NamedConfiguration, ThresholdsComparison

COLUMNS = {
    "what": "Configuration",
    "saved": "Time saved",
    "quality": "Quality of what is processed in full",
    "score": "Score of a study",
    "full": "In full",
    "n": "n",
}
LIVE_COLUMNS = {
    "what": "Configuration",
    "n": "Items",
    "quality": "Quality in full",
    "n_judged": "Of",
    "saved": "Time saved",
    "bypassed": "Bypassed",
    "exits": "Early exits",
    "satisfaction": "Satisfaction",
    "errors": "Failed",
}
SCORE_NOTE = (
    "The score of a study counts .5 for every item that is not processed in full; the quality leaves these items out."
)
WHICH = (
    "A version of the family's file, a preset, a variant (id, champion, candidate), or a file or folder of the"
    " pipeline's own."
)


def compare(
    family: Annotated[str, typer.Argument(help="Name of a family of kind policy.", show_default=False)],
    conservative: Annotated[str, typer.Option("--conservative", help=WHICH)] = "conservative",
    aggressive: Annotated[str, typer.Option("--aggressive", help=WHICH)] = "aggressive",
    confidence: Annotated[float, typer.Option(help="With which both intervals hold together.")] = 0.95,
    live: Annotated[
        bool, typer.Option("--live", help="On reported items, each by the config_version that it carries.")
    ] = False,
    hours: Annotated[float, typer.Option(help="With --live: how far back reported items count.")] = 30 * 24,
    as_json: Json = False,
) -> None:
    """Which of two configurations to choose, replayed on the recorded items (train and dev).

    With --live it is decided on the items that each of them processed, by the config_version of their records.

    Nothing that is served changes.

    Aggressive where less than .05 quality is lost and more than .05 time is saved, conservative where more than .05
    quality is lost, else balanced. Where an interval reaches over an edge that matters, the answer is "cannot tell",
    which is a result: exit 0.

    Examples:
      detent thresholds compare content_pipeline --conservative champion --aggressive config/optimal_config.yaml
      detent thresholds compare content_pipeline --live --conservative conservative --aggressive aggressive --hours 168
    """
    from optimizer.content.jobs.compare_thresholds import compare_thresholds

    session = Session()
    if live:
        # Records of a pipeline name no family, so a family of another kind would get an answer that is not about it.
        from optimizer.core.family.family import declared_kind

        declared = session.family_view(family)
        kind = declared_kind({"kind": declared.kind})
        if kind is None or not kind.runs_pipeline:
            raise InvalidInput(
                f"--live compares records of a content pipeline, and {family} is of kind {declared.kind}. Two prompts"
                f" are compared by: detent variant compare {family} champion VARIANT."
            )
        _compare_live(session, conservative, aggressive, hours, confidence, as_json)
        return
    definition = session.family_view(family).definition
    versions = definition.prompt.versions if definition is not None else ()

    def view(console: Console, comparison: ThresholdsComparison) -> None:
        sides = {"conservative": comparison.conservative, "aggressive": comparison.aggressive}
        table(
            [row_of(f"{role}: {side.configuration}", side.outcome) for role, side in sides.items()], COLUMNS, empty=""
        )(console)
        print_facts(
            console,
            ("Differ", f"on {comparison.n_differing} of {comparison.n} items"),
            ("Lost", f"{comparison.quality_lost} quality of what is processed in full"),
            ("Saved", f"{comparison.time_saved_more} more of the time"),
            ("Answer", comparison.answer, "green" if comparison.choice else "yellow"),
            ("Why", comparison.reason),
        )
        console.print(SCORE_NOTE, markup=False)
        console.print(
            "Measured by replay on items that are not sealed; times of early exits are a model.", markup=False
        )

    session.show(
        as_json,
        compare_thresholds,
        view,
        family=family,
        conservative=configuration(conservative, versions),
        aggressive=configuration(aggressive, versions),
        confidence=confidence,
    )


def _beside(difference: AbDifference | None, what: str) -> str:
    return "not measured: fewer than 30 records of one say it" if difference is None else f"{difference} {what}"


def _compare_live(
    session: Session, conservative: str, aggressive: str, hours: float, confidence: float, as_json: bool
) -> None:
    from optimizer.content.jobs.compare_live_records import compare_live_records

    def view(console: Console, comparison: LiveComparison) -> None:
        rows = [
            {
                "what": f"{role}: {arm.config_version}",
                "n": arm.n,
                "quality": arm.quality,
                "n_judged": arm.n_judged,
                "saved": percent(arm.time_saved),
                "bypassed": percent(arm.bypass_rate),
                "exits": percent(arm.early_exit_rate),
                "satisfaction": arm.satisfaction,
                "errors": percent(arm.error_rate),
            }
            for role, arm in (("conservative", comparison.conservative), ("aggressive", comparison.aggressive))
        ]
        table(rows, LIVE_COLUMNS, empty="")(console)
        others = ", ".join(f"{name or 'none named'} {n:,}" for name, n in comparison.others.items())
        print_facts(
            console,
            ("Lost", f"{comparison.quality_lost} quality of what is processed in full"),
            ("Saved", f"{comparison.time_saved_more} more of the time"),
            ("Satisfied", _beside(comparison.satisfaction_more, "more on average")),
            ("Errors", _beside(comparison.errors_more, "more of the items")),
            ("Answer", comparison.answer, "green" if comparison.choice else "yellow"),
            ("Why", comparison.reason),
            ("Others", others or None),
            ("Cut", "only the newest records were read" if comparison.is_cut else None, "yellow"),
        )

    session.show(
        as_json,
        compare_live_records,
        view,
        conservative=conservative,
        aggressive=aggressive,
        hours=hours,
        confidence=confidence,
    )


def configuration(name: str, versions: Collection[str]) -> NamedConfiguration:
    """The configuration of this name, or what a file or folder of this machine says; that path has no other meaning.

    Raises:
        NotFound: a file that is not there.
        InvalidInput: the file is none of the pipeline's.
    """
    from optimizer.content.core.policy.presets import PRESETS
    from optimizer.content.jobs.compare_thresholds import NamedConfiguration

    is_named = name in ("champion", "candidate", *versions, *PRESETS) or name.startswith("v_")
    is_file = os.sep in name or name.endswith((".yaml", ".yml")) or Path(name).is_dir()
    policy = wiring.read_pipeline_files(Path(name)).policy if is_file and not is_named else None
    return NamedConfiguration(name=name, policy=policy)


def row_of(name: str, outcome: ReplayedShares) -> dict[str, str | int]:
    """A configuration's outcome as a row of a table; the quality with its 95 % interval."""
    quality = "not measured" if outcome.quality is None else f"{outcome.quality:.3f}"
    if outcome.quality_margin is not None:
        quality += f" ± {outcome.quality_margin:.3f}"
    return {
        "what": name,
        "saved": f"{100 * outcome.time_saved_share:.1f} %",
        "quality": quality,
        "score": "not measured" if outcome.score is None else f"{outcome.score:.3f}",
        "full": f"{100 * outcome.full_share:.1f} %",
        "n": outcome.n,
    }
