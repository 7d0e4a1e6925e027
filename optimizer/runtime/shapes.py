"""Values of core and jobs as REST and the command line show them: plain types, snake_case.

A command loads no more than it shows.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
    from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
    from optimizer.core.feedback.rating_draws import JudgedFigure
    from optimizer.core.forecast.forecast import RolloutForecast
    from optimizer.core.graph.verified import ProposedRepair, VerifiedGraph
    from optimizer.core.scheduling.schedule import ScheduleInForce
    from optimizer.core.search.cost_estimate import CostEstimate
    from optimizer.core.search.study import Study, Trial
    from optimizer.core.serving.freezes import Freeze
    from optimizer.core.serving.rollout import Champion, Decision, Rollout
    from optimizer.core.views.rollout_status import RolloutView
    from optimizer.jobs.families.change_playbook import EntryReport, EntryView
    from optimizer.jobs.families.create_variant import Created
    from optimizer.jobs.feedback.decide_repair import DecisionReport
    from optimizer.jobs.feedback.draw_ratings import DrawReport
    from optimizer.jobs.feedback.judge_standing import JudgeStanding
    from optimizer.jobs.feedback.propose_repairs import Proposed
    from optimizer.jobs.record_change import ChangeReport
    from optimizer.jobs.rollouts.freeze import FreezeReport
    from optimizer.jobs.rollouts.start_rollout import Start
    from optimizer.jobs.scheduling.set_schedule import ScheduleReport
    from optimizer.jobs.upkeep.manage_keys import KeyReport
    from optimizer.jobs.upkeep.prune_records import PruneReport
    from optimizer.jobs.upkeep.read_retention import Unpruned
    from optimizer.ports import Alert, CalibrationRecord, CallerRecord, Clock, TruncatedInput, VariantRecord


def rollout(value: Rollout) -> dict[str, Any]:
    return {**asdict(value), "share": value.share, "is_active": value.is_active}


def forecast(value: RolloutForecast) -> dict[str, Any]:
    return value.as_record()


def rollout_view(value: RolloutView) -> dict[str, Any]:
    """What the blocks say; the forecast has a route of its own, since it reads a week of traffic."""
    return {name: member for name, member in asdict(value).items() if name != "forecast"}


def decision(value: Decision) -> dict[str, Any]:
    return asdict(value)


def champion(value: Champion) -> dict[str, Any]:
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


def variant(value: VariantRecord) -> dict[str, Any]:
    """The content with what is known about its origin; the prompt of a family is under ``/prompt``,
    this is the setting itself.
    """
    return {
        "variant": value.variant.id,
        "family": value.family,
        "source": value.source,
        "created_at": value.created_at,
        "created_by": value.created_by,
        "note": value.note,
        "file_version": value.file_version,
        "parent": value.parent,
        "study": value.study,
        "variables": list(value.variant.variables),
        **value.variant.content(),
    }


def created(value: Created) -> dict[str, Any]:
    return {**variant(value.record), "new": value.new}


def interaction(value: Interaction) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def feedback(value: FeedbackEvent) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def _arm(arm: Arm) -> dict[str, Any]:
    return asdict(arm)


def _without_arm(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("arm", "content_hash")}


def change(value: ChangeReport) -> dict[str, Any]:
    """What a change did, why, and how to take it back; with the members of the rollout
    as it is now, if one is concerned.

    Where both have a member it is the rollout's (``champion``, ``forced``), as GET shows it; the act's own ``forced``
    stands in ``decision``.
    """
    shown: dict[str, Any] = {
        "family": value.family,
        "what": value.what,
        "why": value.why,
        "undo": value.undo,
        "next": value.next,
        "forced": value.forced,
        "changed": value.changed,
        "decision": decision(value.decision) if value.decision is not None else None,
    }
    reign = champion(value.champion) if value.champion is not None else None
    if value.rollout is None:
        told = {"instead_of": value.instead_of, "models": list(value.models), "dry_run": value.dry_run}
        told["warning"] = value.warning
        return {**shown, "champion": reign, **told}
    return {**shown, **rollout(value.rollout), "reign": reign}


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


def freeze_change(value: FreezeReport) -> dict[str, Any]:
    """What a freeze or its end did, with every freeze that holds from now on; ``family`` null is every family."""
    return {**asdict(value), "freezes": [freeze(one) for one in value.freezes]}


def truncated(found: Sequence[TruncatedInput], family: str) -> list[dict[str, Any]]:
    """The family's inputs that were ever cut, with the requests in which they were."""
    return [
        {"input": one.input, "n_requests": one.n_requests, "last_at": one.last_at}
        for one in found
        if one.family == family
    ]


def graph(value: VerifiedGraph, input: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A verified graph: as it was given, as it is with what was approved, and every repair.

    ``input``: what else the model was shown.
    """
    from optimizer.core.graph.verified import GRAPH

    others = None if input is None else {name: given for name, given in input.items() if name != GRAPH}
    return {**graph_in_list(value), "input": others, "given": value.given, "repaired": value.repaired}


def graph_in_list(value: VerifiedGraph) -> dict[str, Any]:
    """The same without the graphs themselves and the text."""
    from optimizer.core.graph.verified import conflicts_of, reasons_against

    not_now, against = reasons_against(value), conflicts_of(value)
    return {
        "id": value.id,
        "family": value.family,
        "interaction": value.interaction,
        "n_pending": len(value.pending),
        "repairs": [
            {
                **repair(one),
                "applies": one.id not in not_now if one.status == "pending" else None,
                "why_not": not_now.get(one.id),
                "conflicts": [{"repair": other, "why": why} for other, why in against.get(one.id, {}).items()],
            }
            for one in value.repairs
        ],
        "unreadable": [asdict(one) for one in value.unreadable],
        "created_by": value.created_by,
        "created_at": value.created_at,
    }


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


def repair(value: ProposedRepair) -> dict[str, Any]:
    from optimizer.core.graph.repair import repair_as_json

    return {**asdict(value), "repair": repair_as_json(value.repair), "what": str(value.repair)}


def proposed(value: Proposed, *, texts: bool = True) -> dict[str, Any]:
    """A graph whose repairs were proposed. Texts are null to a caller who may not read them, as an application."""
    shown = graph(value.graph)
    if not texts:
        of_repair = dict.fromkeys(("repair", "what", "reason", "why_not", "decided_by"))
        repairs = [
            {**one, **of_repair, "conflicts": [{**other, "why": None} for other in one["conflicts"]]}
            for one in shown["repairs"]
        ]
        bad = [{**one, "detail": None} for one in shown["unreadable"]]
        shown |= {"given": None, "repaired": None, "repairs": repairs, "unreadable": bad}
    return {**shown, "new": value.new}


def decided_repair(value: DecisionReport) -> dict[str, Any]:
    """What a decision did, what it made impossible, and the graph after it."""
    told = {name: getattr(value, name) for name in ("what", "why", "undo", "next", "changed", "feedback")}
    return {
        **told,
        "why_no_feedback": value.why_no_feedback,
        "no_longer": list(value.no_longer),
        "repair": repair(value.repair),
        "graph": graph(value.graph),
    }


def playbook(family: str, entries: Sequence[EntryView]) -> dict[str, Any]:
    """A family's playbook: its entries, and the section that the active ones make."""
    from optimizer.core.search.playbook.section import section

    kept = [view.entry for view in entries]
    return {"family": family, "entries": [playbook_entry(one) for one in entries], "section": section(kept)}


def playbook_entry(value: EntryView) -> dict[str, Any]:
    evidence = [asdict(one) for one in value.evidence]
    return {**asdict(value.entry), "evidence": evidence, "served": value.served}


def playbook_change(value: EntryReport) -> dict[str, Any]:
    told = {name: getattr(value, name) for name in ("family", "what", "why", "undo", "next", "changed")}
    return {**told, "entry": playbook_entry(value.entry)}


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


def key_change(value: KeyReport) -> dict[str, Any]:
    return asdict(value)


def pruned(value: PruneReport, left_alone: Sequence[Unpruned], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "items": [asdict(one) for one in value.pruned],
        "left_alone": [asdict(one) for one in left_alone],
        "more": value.more,
    }


def schedule(value: ScheduleInForce, clock: Clock) -> dict[str, Any]:
    """What is in force, by whom (`source` says where `cron` stands, `file` or `store`),
    and when its next study comes.
    """
    from optimizer.jobs.scheduling.look_at_triggers import next_scheduled

    return {**asdict(value), "next_study_at": next_scheduled(value, clock)}


def schedule_change(value: ScheduleReport, clock: Clock) -> dict[str, Any]:
    return {**asdict(value), "schedule": schedule(value.schedule, clock)}


def estimate(family: str, value: CostEstimate) -> dict[str, Any]:
    return {"family": family, "dry_run": True, "estimate": asdict(value)}
