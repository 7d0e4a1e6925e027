"""The three stories of the demo: what each announces before anything is measured, and whether it came out so.

Pure: what a search and a rollout ended with goes in, a ``Story`` comes out. ``exit_code`` is that of ``make demo``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import Study
from optimizer.core.serving.rollout import FALLEN
from optimizer.core.statistics.interval import wilson_interval
from optimizer.core.views.rollout_story import RolloutReport

AS_ANNOUNCED, OTHERWISE = 0, 3  # exit codes; 1 is a demo that stopped, 130 an interrupted one


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One prompt on examples that no search has seen.

    ``score`` and the ends of its 95 % interval are shares in [0, 1], ``usd`` is per 1,000 requests, ``ms`` what a user
    waits for one of them in the median.
    """

    name: str
    n: int  # examples
    score: float
    low: float
    high: float
    usd: float | None = None
    ms: float | None = None

    @classmethod
    def of(cls, name: str, results: Sequence[ExampleResult]) -> Bar:
        """Mean score with its interval, and dollars (None where nothing was paid)."""
        scores = [result.score for result in results if result.score is not None]
        interval = wilson_interval(sum(scores), len(scores))
        usd = 1000 * sum(result.cost_usd for result in results) / len(results)
        return cls(
            name=name,
            n=len(scores),
            score=sum(scores) / len(scores),
            low=interval.lower,
            high=interval.upper,
            usd=usd or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """``happened`` is measured or read back; the rest is for the page.

    ``prompts``: before and after; ``report``: of the story's rollout.
    """

    title: str
    announced: str
    happened: str
    as_announced: bool
    bars: tuple[Bar, ...] = ()
    measured_on: str = "sealed examples"  # of the bars
    chance: float | None = None  # what guessing would score, where that is known
    prompts: tuple[Variant, Variant] | None = None
    report: RolloutReport | None = None


def exit_code(stories: Iterable[Story]) -> int:
    """0 when every story came out as it was announced."""
    return AS_ANNOUNCED if all(story.as_announced for story in stories) else OTHERWISE


BETTER = "A better prompt is found, and users get it step by step"
BETTER_ANNOUNCED = (
    "A search finds a prompt that is clearly better on sealed examples (the whole 95 % interval of its gain is above"
    " zero). Its rollout is promoted by itself, and one command takes the promotion back."
)
CARELESS = "A careless edit falls by itself"
CARELESS_ANNOUNCED = (
    "A colleague drops the examples from a prompt to save money. Its rollout is rolled back without a person."
)
CHEAPER = "The same quality for less"
CHEAPER_ANNOUNCED = (
    "A search finds which requests a student answers in the model's place: they cost less, and quality is within the"
    " margin on sealed examples. Five ways to answer meet the same requests: a bare prompt, a searched one, nearest"
    " examples, the student, and the cascade of student and model."
)


def better_prompt(
    study: Study,
    *,
    rollout: str,
    taken_back: bool,
    bars: tuple[Bar, ...],
    chance: float,
    report: RolloutReport | None = None,
) -> Story:
    """Args: rollout: its outcome, such as ``promoted``; "" where there was none."""
    sealed = study.confirmation or {}
    gains = study.outcome == "nominated" and float(sealed.get("lift_low", 0.0)) > 0
    back = "; one command took it back" if taken_back else "; it was not taken back"
    happened = (
        f"{gain_text(sealed)}{users_text(report)} Its rollout:"
        f" {outcome_text(rollout)}{back if rollout == 'promoted' else ''}."
    )
    return Story(
        title=BETTER,
        announced=BETTER_ANNOUNCED,
        happened=happened,
        as_announced=gains and rollout == "promoted" and taken_back,
        bars=bars,
        chance=chance,
        report=report,
    )


def careless_edit(*, rollout: str, why: str, report: RolloutReport | None = None) -> Story:
    """Args: rollout: its outcome; why: the reason of its last decision."""
    return Story(
        title=CARELESS,
        announced=CARELESS_ANNOUNCED,
        happened=f"Its rollout: {outcome_text(rollout)}{f', because {why}' if why else ''}.{users_text(report)}",
        as_announced=rollout in FALLEN,
        report=report,
    )


def same_for_less(study: Study, *, bars: tuple[Bar, ...] = ()) -> Story:
    sealed = study.confirmation or {}
    if study.outcome == "nominated":
        happened = (
            f"It costs {sealed['saving']:.0%} less at the declared price. Quality differs by"
            f" {signed(100 * sealed['lift'], 0)} points"
            f" ({signed_interval(100 * sealed['lift_low'], 100 * sealed['lift_high'], digits=0)}, 95 % interval) on"
            f" {sealed['n']} sealed examples; worse by the margin of {100 * sealed['margin']:.0f} points is ruled out."
        )
    else:
        how = (study.outcome or study.status).replace("_", " ")
        happened = f"The search ended with: {how}. Nothing is proposed; every request goes to the model."
    return Story(
        title=CHEAPER,
        announced=CHEAPER_ANNOUNCED,
        happened=happened,
        as_announced=study.outcome == "nominated",
        bars=bars,
        measured_on="rows of users that no search had seen",
    )


def gain_text(sealed: Mapping[str, Any]) -> str:
    """The gain on the sealed examples with its interval, in points of a hundred;
    what there is to say where none was measured.
    """
    if "winner_mean" not in sealed:
        return "Nothing was better than the present prompt, so the sealed examples were not looked at."
    return (
        f"{100 * sealed['champion_mean']:.0f} of 100 right before, {100 * sealed['winner_mean']:.0f} after, on"
        f" {sealed['n']} sealed examples: {signed(100 * sealed['lift'], 0)} points, 95 % interval"
        f" {signed_interval(100 * sealed['lift_low'], 100 * sealed['lift_high'], digits=0)}."
    )


def users_text(report: RolloutReport | None) -> str:
    """How many answers of each prompt were right for the rollout's users, a sentence behind a space; "" where both
    were not measured.
    """
    arms = {arm.arm: arm for arm in report.view.arms} if report is not None else {}
    before, after = arms.get("champion"), arms.get("candidate")
    if before is None or after is None or before.mean is None or after.mean is None:
        return ""
    return (
        f" Its users, on rows that no search had seen: {100 * before.mean:.0f} of 100 right before"
        f" ({count(before.labelled, 'user')}), {100 * after.mean:.0f} after ({after.labelled})."
    )


def outcome_text(outcome: str) -> str:
    """How a rollout ended, in words."""
    if not outcome:
        return "none that ended in time"
    return "promoted by itself" if outcome == "promoted" else f"rolled back by itself ({outcome.replace('_', ' ')})"
