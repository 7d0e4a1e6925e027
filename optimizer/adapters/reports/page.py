"""Pages and their parts from the templates in ``templates/``; every value is escaped unless it is ``Markup``.

A page extends ``base.html``: one HTML file that loads nothing, with its style inside. ``base.css``, ``difference.html``
and the filters below are the pages' of a server, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from optimizer.core.base.answers import shown
from optimizer.core.base.phrasing import count, dollars, signed, threshold, when
from optimizer.core.serving.rollout import percent
from optimizer.core.views.rollout_status import MeanDifference

UNKNOWN = "–"


def page(template: str, **values: Any) -> str:
    """The text of ``templates/<template>``. Raises jinja2.UndefinedError where it names a value that is not here."""
    return _environment().get_template(template).render(values)


def part(template: str, **values: Any) -> Markup:
    """The rendered template, for use inside a page."""
    return Markup(page(template, **values))


def share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def usd(value: float | None) -> str:
    return UNKNOWN if value is None else dollars(value)


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters, with a sign where there were more."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def environment(loader: BaseLoader, **options: Any) -> Environment:
    """In which pages and reports write figures alike; no template names a value that is not there."""
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    environment.filters |= {
        "share": share,
        "number": lambda value: UNKNOWN if value is None else f"{value:.3f}",
        "whole": lambda value: UNKNOWN if value is None else f"{value:,.0f}",
        "usd": usd,
        "when": lambda at: UNKNOWN if at is None else when(at),
        "points": lambda difference: signed(100 * difference, 1),
        "percent": percent,
    }
    environment.filters["text"] = shown
    environment.globals |= {"count": count, "difference_chart": difference_chart}
    return environment


@cache
def _environment() -> Environment:
    reports = environment(PackageLoader("optimizer.adapters.reports"), keep_trailing_newline=True)
    reports.filters |= {
        "cut": clip,
        "threshold": threshold,
        "capital": capital,
    }
    return reports


WIDTH = 240.0
LABEL_WIDTH = 60.0
MOST = 1.0  # means lie in [0, 1], so their difference lies within one of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceChart:
    """Places from the left: the interval, what was observed, no difference, and the margin below it."""

    low: float
    high: float
    observed: float | None
    zero: float
    margin: float

    @property
    def is_label_left(self) -> bool:
        """Whether there is room for the margin's label on its left, where it cannot meet the one of no difference."""
        return self.margin >= LABEL_WIDTH


def difference_chart(difference: MeanDifference, margin: float) -> DifferenceChart:
    """The interval of candidate - champion around 0, wide enough for both ends and the margin."""
    reach = min(MOST, 1.2 * max(abs(difference.lower), abs(difference.upper), margin, 0.01))

    def place(value: float) -> float:
        return WIDTH * (min(reach, max(-reach, value)) + reach) / (2 * reach)

    return DifferenceChart(
        low=place(difference.lower),
        high=place(difference.upper),
        observed=place(difference.observed) if difference.observed is not None else None,
        zero=place(0.0),
        margin=place(-margin),
    )
