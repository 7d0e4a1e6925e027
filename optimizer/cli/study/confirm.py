"""``detent study confirm``: any variant to the sealed holdout.

The price is said first, and a person asked before a look is spent.
"""

from __future__ import annotations

import sys
from typing import cast

import typer

from optimizer.cli.output import console, show
from optimizer.cli.session import Session
from optimizer.cli.study.estimate_view import view_price
from optimizer.cli.study.run import follow_study, price_of, read_study
from optimizer.cli.variant.find import named_variant
from optimizer.core.base.errors import Refused
from optimizer.core.base.values import Aim
from optimizer.core.search.study import CONFIRM, Study
from optimizer.core.views.study_headline import StudyView
from optimizer.jobs.studies.create_study import StudyRequest
from optimizer.jobs.studies.start_study import start_study


def run(
    session: Session, family: str, name: str, aim: str, *, dry_run: bool, yes: bool, follow: bool, as_json: bool
) -> StudyView | None:
    """The study that has confirmed the variant, or was asked to; None after a dry run."""
    variant = named_variant(session, family, name)
    request = StudyRequest(family=family, strategy=CONFIRM, variant=variant, aim=cast(Aim, aim), dry_run=True)
    price = price_of(session.client.ask(start_study, request))
    if dry_run:
        show(as_json, {"dry_run": True, "price": price}, lambda out: view_price(out, family, price))
        return None
    if isinstance(price, Study):
        return read_study(session, price.id)
    if not yes:
        view_price(console(stderr=True), family, price)
        if not sys.stdin.isatty():
            raise Refused(
                f"A look at the sealed holdout of {family} is spent only after a yes. Say it: --yes. Or see the price"
                " alone: --dry-run."
            )
        if not typer.confirm(f"Spend look {price.look} at the sealed holdout of {family}?", default=False, err=True):
            raise Refused("Nothing was spent.")
    request = StudyRequest(family=family, strategy=CONFIRM, variant=variant, aim=cast(Aim, aim))
    return follow_study(session, cast(Study, session.client.ask(start_study, request)).id, follow=follow, quiet=as_json)
