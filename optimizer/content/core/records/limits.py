"""Which of a content pipeline's figures are out of range: worth telling once,
and cleared only well inside the range again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from optimizer.content.core.records.report import overall, total
from optimizer.core.feedback.pipeline_record import PipelineSums, Target

WINDOW_HOURS = 24
MIN_ITEMS = 100  # with the figure measured: a share of so many has a standard error of .05 at most
CLEAR_BY = 0.02  # so far inside a level a figure has to be before it counts as back in range

Level = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure over the window; ``n`` items had it measured. ``value`` None: none had."""

    value: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfRange:
    figure: str
    level: Level
    detail: str


def readings(by_type: Mapping[str, PipelineSums]) -> dict[str, Reading]:
    """The figures that have targets, from sums by processing type."""
    figures_of_all, both = overall(by_type), total(by_type.values())
    n_of = {
        "early_exit_rate": both.n - figures_of_all.quality_bypassed,
        "avg_time_savings": both.n_saved,
        "quality_score_avg": by_type.get("full", PipelineSums()).n_quality,
    }
    figures = ("bypass_rate", "early_exit_rate", "avg_time_savings", "quality_score_avg")
    return {name: Reading(value=getattr(figures_of_all, name), n=n_of.get(name, both.n)) for name in figures}


def out_of_range(
    now: Mapping[str, Reading], targets: Mapping[str, Target], before: Mapping[str, Level]
) -> list[OutOfRange]:
    """What should be open now.

    Fewer than 100 items are too few to tell: nothing is raised, and what is open stays open. Of no item at all nothing
    can be out of range.

    Args:
        before: the level of the figures that are out of range by now.
    """
    wanted = []
    for name, target in targets.items():
        reading = now.get(name)
        if reading is None or reading.value is None or reading.n == 0:
            continue
        was = before.get(name)
        if reading.n < MIN_ITEMS:
            if was is not None:
                too_few = (
                    f"The content pipeline's {name} was out of range, and fewer than {MIN_ITEMS} items of the last"
                    f" {WINDOW_HOURS} hours have it measured: too few to tell whether it is back. It stays open until"
                    " there are enough, or none at all."
                )
                wanted.append(OutOfRange(figure=name, level=was, detail=too_few))
        elif (level := level_of(reading.value, target, was)) is not None:
            wanted.append(OutOfRange(figure=name, level=level, detail=_detail(name, reading.value, target, level)))
    return wanted


def level_of(value: float, target: Target, was: Level | None) -> Level | None:
    """critical below ``critical_low``, warning below ``warning_low`` or above ``warning_high``;
    what is open needs .02 more to clear.
    """

    def below(edge: float | None, *, is_open: bool) -> bool:
        return edge is not None and value < round(edge + (CLEAR_BY if is_open else 0.0), 9)

    if below(target.critical_low, is_open=was == "critical"):
        return "critical"
    high = target.warning_high
    too_high = high is not None and value > round(high - (CLEAR_BY if was is not None else 0.0), 9)
    return "warning" if below(target.warning_low, is_open=was is not None) or too_high else None


def _detail(name: str, value: float, target: Target, level: Level) -> str:
    if target.warning_high is not None and value > target.warning_high - CLEAR_BY:
        edge, back = f"above {target.warning_high:.2f}", f"at {target.warning_high - CLEAR_BY:.2f} or less"
    else:
        low = (target.critical_low if level == "critical" else target.warning_low) or 0.0
        edge, back = f"below {low:.2f}", f"at {low + CLEAR_BY:.2f} or more"
    aimed = f", the target is {target.target:.2f}" if target.target is not None else ""
    return (
        f"The content pipeline's {name} was {value:.2f} over the last {WINDOW_HOURS} hours: {level} {edge}{aimed}. It"
        f" clears {back}. See GET /api/performance/ for where it comes from, and `detent thresholds recommend F` for"
        " other knobs."
    )
