"""``detent family align``: a scorer learned from users' thumbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.output import Json, say, show
from optimizer.cli.session import Session


def register(app: typer.Typer) -> None:
    app.command()(align)


def align(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the scorer; default: aligned.json beside the family.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how well it does, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make a scorer from users' thumbs, judged on later thumbs; refused where it tells these apart too badly.

    It takes 100 answers with their texts and a thumb, learns from the earlier seven tenths, and is refused (exit 3)
    unless a liked answer scores above a disliked one in 60 of 100 later pairs, with a 95 % interval above 50. It says
    what to put under `scorer:` of the family's file.

    It reads numbers of request and answer alone (length, hedges, refusal, how much of the request comes back), so a
    search may learn to please it by these: look at what wins.

    Example: detent family align letters
    """
    from optimizer.jobs.feedback.align_family import align_family
    from optimizer.runtime import wiring

    session = Session()
    settings = session.settings
    scorer = align_family(
        session.family(family), store=session.store, clock=session.clock, learn=wiring.learn_alignment
    )
    file = out or settings.families_dir / family / "aligned.json"
    inside = file.resolve().is_relative_to(settings.home.resolve())
    shown = file.resolve().relative_to(settings.home.resolve()).as_posix() if inside else str(file)
    if not dry_run:
        session.before_change()
        wiring.write_predictor(file, scorer.predictor)
    show(as_json, {**scorer.as_data(), "file": None if dry_run else shown}, lambda out: None)
    say(
        f"{family}: learned from {scorer.n_earlier} thumbs. On {scorer.n_later} later ones a liked answer scores above"
        f" a disliked one {scorer.area:.2f} of the times (95 % interval {scorer.low:.2f} to {scorer.high:.2f}; chance"
        f" is .50). The answer's length alone reaches {scorer.length_area:.2f}."
    )
    if not dry_run:
        say(
            f"Written to {shown}. Undo: delete it. Next: scorer: {{aligned: {{weight: 1.0, predictor: {shown}}}}} in"
            f" the family's file, then detent study run {family} --dry-run."
        )
