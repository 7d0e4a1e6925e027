"""Values of core and jobs as REST and the command line show them: plain types, snake_case.

A command loads no more than it shows.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
    from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
    from optimizer.core.feedback.rating_draws import JudgedFigure
    from optimizer.core.forecast.forecast import RolloutForecast
    from optimizer.core.search.cost_estimate import CostEstimate
    from optimizer.core.search.study import Study, Trial
    from optimizer.core.serving.freezes import Freeze
    from optimizer.core.serving.rollout import Decision, Rollout
    from optimizer.core.views.rollout_status import RolloutView
    from optimizer.jobs.feedback.draw_ratings import DrawReport
    from optimizer.jobs.feedback.judge_standing import JudgeStanding
    from optimizer.jobs.record_change import RolloutChange
    from optimizer.jobs.rollouts.start_rollout import Start
    from optimizer.ports import Alert, CalibrationRecord, CallerRecord, TruncatedInput


def rollout(value: Rollout) -> dict[str, Any]:
    return {**asdict(value), "share": value.share, "is_active": value.is_active}


def forecast(value: RolloutForecast) -> dict[str, Any]:
    return value.as_record()


def rollout_view(value: RolloutView) -> dict[str, Any]:
    """What the blocks say; the forecast has a route of its own, since it reads a week of traffic."""
    return {name: member for name, member in asdict(value).items() if name != "forecast"}


def decision(value: Decision) -> dict[str, Any]:
    return asdict(value)


def study(value: Study) -> dict[str, Any]:
    """Without the hundreds of numbers that only its report reads."""
    from optimizer.core.search.cascade.learned import OUT_OF_FOLD

    shown = asdict(value)
    if shown["findings"]:
        shown["findings"].pop(OUT_OF_FOLD, None)
    return shown


def trial(value: Trial) -> dict[str, Any]:
    return asdict(value)


def alert(value: Alert) -> dict[str, Any]:
    return asdict(value)


def interaction(value: Interaction) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def feedback(value: FeedbackEvent) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def _arm(arm: Arm) -> dict[str, Any]:
    return asdict(arm)


def _without_arm(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("arm", "content_hash")}


def change(value: RolloutChange) -> dict[str, Any]:
    """What a change did, why, and how to take it back, with the members of the rollout as it is now.

    Where both have a member it is the rollout's (``champion``, ``forced``), as GET shows it; the act's own ``forced``
    stands in ``decision``.
    """
    return {
        "what": value.what,
        "why": value.why,
        "undo": value.undo,
        "next": value.next,
        "changed": value.changed,
        "decision": value.decision,
        **rollout(value.rollout),
        "reign": value.champion,
    }


def started(value: Start) -> dict[str, Any]:
    """What a start of a rollout did or would do, with the gates that speak for it and its forecast."""
    return {
        **change(value.report),
        "gates": list(value.gates),
        "dry_run": value.dry_run,
        "forecast": forecast(value.forecast),
    }


def freeze(value: Freeze) -> dict[str, Any]:
    return {"family": value.family, "reason": value.reason, "by": value.by, "since": value.since}


def truncated(found: Sequence[TruncatedInput], family: str) -> list[dict[str, Any]]:
    """The family's inputs that were ever cut, with the requests in which they were."""
    return [
        {"input": one.input, "n_requests": one.n_requests, "last_at": one.last_at}
        for one in found
        if one.family == family
    ]


def judge(value: JudgeStanding) -> dict[str, Any]:
    """A family's judge: whether it may decide, what its calibrations found, and what its scores say of the answers."""
    own = value.calibration
    return {
        "family": value.family,
        "judge": value.judge,
        "uncalibrated": value.uncalibrated,
        "calibration": calibration(own) if own is not None else None,
        "history": [calibration(record) for record in value.history],
        "variant": value.variant,
        "figure": judged_figure(value.figure),
    }


def calibration(value: CalibrationRecord, *, dry_run: bool = False) -> dict[str, Any]:
    """``dry_run``: it was not kept, and has no id."""
    from optimizer.core.evaluation.judging.agreement import what_it_says

    return {
        "id": None if dry_run else value.id,
        "family": value.family,
        **asdict(value.calibration),
        "agreement": value.agreement.as_data(),
        "says": what_it_says(value.agreement),
        "created_by": value.created_by,
        "dry_run": dry_run,
    }


def judged_figure(value: JudgedFigure) -> dict[str, Any]:
    """The quality of judged answers with its 95 % interval, or why it cannot be told;
    beside it what the ratings alone say, and the judge alone.
    """
    found, interval = value.found, value.interval
    return {
        "mean": found.mean if found is not None else None,
        "low": interval.lower if interval is not None else None,
        "high": interval.upper if interval is not None else None,
        "why_not": value.why_not,
        "people_mean": found.people_mean if found is not None else None,
        "people_low": found.people.lower if found is not None else None,
        "people_high": found.people.upper if found is not None else None,
        "judge_mean": value.judge_mean,
        "n_judged": value.n_judged,
        "n_rated": value.n_rated,
        "n_unrated": value.n_unrated,
        "n_waiting": value.n_waiting,
        "width_after_next_50": value.width_after_next,
    }


def judge_run(value: JudgeRun) -> dict[str, Any]:
    """What a judge was asked to do in the background, how far it is, and what was found; the ids of the answers that
    it scores are left out.
    """
    shown = asdict(value)
    shown["request"] = {name: given for name, given in value.request.items() if name != "interactions"}
    return {**shown, "dry_run": False}


def judge_estimate(value: JudgeRunEstimate) -> dict[str, Any]:
    return {**asdict(value), "members": list(value.members), "dry_run": True}


def asked_of_judge(value: JudgeRun | JudgeRunEstimate) -> dict[str, Any]:
    """The run that was queued, or what a dry run found that it would take."""
    from optimizer.core.evaluation.judging.run import JudgeRun

    return judge_run(value) if isinstance(value, JudgeRun) else judge_estimate(value)


def rating_draw(value: DrawReport) -> dict[str, Any]:
    draw = asdict(value.draw)
    return {
        "family": value.family,
        **draw,
        "inclusion": value.draw.inclusion,
        "reviews": list(value.reviews),
        "dry_run": not value.reviews,
        "figure": judged_figure(value.figure),
    }


def callers(values: Sequence[CallerRecord]) -> dict[str, Any]:
    """Who was refused, and who came without a key, in the last day."""
    return {
        f"{kind}_callers": [
            {"name": one.name, "n_requests": one.n_requests, "last_at": one.last_at}
            for one in values
            if one.kind == kind
        ]
        for kind in ("refused", "keyless")
    }


def estimate(family: str, value: CostEstimate) -> dict[str, Any]:
    return {"family": family, "dry_run": True, "estimate": asdict(value)}
