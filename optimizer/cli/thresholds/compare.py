"""``detent thresholds compare``: the A/B decision between two configurations of a content pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, show, table
from optimizer.cli.session import Session
from optimizer.cli.variant.find import find_variant
from optimizer.core.base.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.content.core.search.compare import AbDifference
    from optimizer.content.core.search.replay import ReplayedShares
    from optimizer.content.jobs.compare_thresholds import Configuration

COLUMNS = {
    "what": "Configuration",
    "saved": "Time saved",
    "quality": "Quality of what is processed in full",
    "score": "Score of a study",
    "full": "In full",
    "n": "n",
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
    as_json: Json = False,
) -> None:
    """Which of two configurations to choose, replayed on the recorded items (train and dev).

    Nothing that is served changes.

    Aggressive where less than .05 quality is lost and more than .05 time is saved, conservative where more than .05
    quality is lost, else balanced. Where an interval reaches over an edge that matters, the answer is "cannot tell",
    which is a result: exit 0.

    Example: detent thresholds compare content_pipeline --conservative champion --aggressive config/optimal_config.yaml
    """
    from optimizer.content.jobs.compare_thresholds import compare_thresholds, require_pipeline

    session = Session()
    declared = session.family(family)
    require_pipeline(declared)
    sides = configuration(session, family, conservative), configuration(session, family, aggressive)
    found = compare_thresholds(
        declared, conservative=sides[0], aggressive=sides[1], store=session.store, confidence=confidence
    )
    verdict = found.verdict
    outcomes = {"conservative": found.conservative, "aggressive": found.aggressive}

    def view(console: Console) -> None:
        rows = [row_of(f"{role}: {side.found_as}", outcomes[role]) for role, side in zip(outcomes, sides, strict=True)]
        table(rows, COLUMNS, empty="")(console)
        console.print(f"Differ    on {found.n_differing} of {found.n} items", markup=False)
        console.print(f"Lost      {verdict.quality} quality of what is processed in full", markup=False)
        console.print(f"Saved     {verdict.time_saved} more of the time", markup=False)
        style = "green" if verdict.choice else "yellow"
        console.print(f"Answer    {verdict.choice or 'cannot tell'}", style=style, markup=False)
        console.print(f"Why       {verdict.reason}", markup=False)
        console.print(SCORE_NOTE, markup=False)
        console.print(
            "Measured by replay on items that are not sealed; times of early exits are a model.", markup=False
        )

    value = {
        "family": family,
        "choice": verdict.choice,
        "answer": verdict.choice or "cannot tell",
        "by_estimates": verdict.by_estimates,
        "possible": verdict.possible,
        "quality_lost": _interval(verdict.quality),
        "time_saved_more": _interval(verdict.time_saved),
        "confidence": confidence,
        "n": found.n,
        "n_differing": found.n_differing,
        "reason": verdict.reason,
        **{
            role: {"configuration": side.found_as, "outcome": outcomes[role], "score": outcomes[role].score}
            for role, side in zip(outcomes, sides, strict=True)
        },
    }
    show(as_json, value, view)


def configuration(session: Session, family: str, name: str) -> Configuration:
    """A configuration by its name; the first that fits of: variant,
    version of the family's file, preset, file or folder.

    Raises:
        NotFound: a variant or a file that is not there.
        InvalidInput: the name means nothing, or the file is none of the pipeline's.
    """
    from optimizer.content.core.policy.presets import PRESETS
    from optimizer.content.jobs.compare_thresholds import Configuration
    from optimizer.runtime import wiring

    if name in ("champion", "candidate") or name.startswith("v_"):
        variant = find_variant(session, family, name).variant
        as_named = variant.id if name.startswith("v_") else f"{name} {variant.id}"
        return Configuration(name=name, found_as=as_named, policy=variant.policy)
    versions = session.family(family).prompt.versions
    if name in versions:
        return Configuration(name=name, found_as=f"version {name}", policy=session.family(family).variant(name).policy)
    if name in PRESETS:
        return Configuration(name=name, found_as=f"preset {name}", policy=PRESETS[name].policy)
    if os.sep in name or name.endswith((".yaml", ".yml")) or Path(name).is_dir():
        return Configuration(name=name, found_as=f"file {name}", policy=wiring.read_pipeline_files(Path(name)).policy)
    known = ", ".join(dict.fromkeys([*versions, *PRESETS]))
    raise InvalidInput(
        f"There is no configuration {name!r}. Name one of {known}, a variant (id, champion, candidate), or a file of"
        " the pipeline's."
    )


def _interval(found: AbDifference) -> dict[str, float]:
    return {"estimate": round(found.estimate, 6), "low": round(found.low, 6), "high": round(found.high, 6)}


def row_of(what: str, outcome: ReplayedShares) -> dict[str, str | int]:
    """A configuration's outcome as a row of a table; the quality with its 95 % interval."""
    quality = "not measured" if outcome.quality is None else f"{outcome.quality:.3f}"
    if outcome.quality_error is not None:
        quality += f" ± {1.96 * outcome.quality_error:.3f}"
    return {
        "what": what,
        "saved": f"{100 * outcome.time_saved_share:.1f} %",
        "quality": quality,
        "score": "not measured" if outcome.score is None else f"{outcome.score:.3f}",
        "full": f"{100 * outcome.full_share:.1f} %",
        "n": outcome.n,
    }
