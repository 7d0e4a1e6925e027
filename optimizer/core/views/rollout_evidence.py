"""Turns an EvidenceState and the quality blocks of a Rollout into what people see.

Pure; ``jobs/rollouts/rollout_view.py`` reads the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import exp

from optimizer.core.rollout.blocks import ARMS, ArmName
from optimizer.core.rollout.evidence_state import GUARDRAILS, EvidenceState, StageCounts
from optimizer.core.serving.assignment import HOLDBACK_SHARE
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.core.statistics.guardrails import ALPHA, Guardrail
from optimizer.core.statistics.interval import running_intervals
from optimizer.core.statistics.late_labels import LATER
from optimizer.core.statistics.outcomes import Block, Sums, threshold
from optimizer.core.statistics.quality_gate import (
    ALPHA_ROLL,
    ALPHA_ROLL_DAYS,
    ALPHA_ROLL_HOURS,
    ALPHA_SHIP,
    QualityGate,
    WholeDays,
    margin_needed,
)
from optimizer.core.statistics.sample_ratio import ALPHA_RATIO
from optimizer.core.statistics.stopping_rule import e_value_text, harm_evidence
from optimizer.core.views.rollout_status import (
    ArmView,
    EvidenceView,
    GuardrailView,
    Labels,
    MeanDifference,
    NextStep,
    StageView,
    State,
)

LATE_ALERT = 0.01  # of one arm's feedback
LARGEST = 600.0  # log of the largest e-value that is written as a number
CLAIMS = {
    "ship3": "worse by 3 margins or more",
    "ship2": "worse by 2 margins or more",
    "ship1": "worse by the margin or more",
    "sup": "no gain",
    "roll": "not worse",
    "roll2": "worse by 2 margins at most",
}
# By gate or guardrail: what people ask, what its evidence says once it suffices, and before.
RULED_OUT = ("Ruled out.", "Not ruled out.")
SHOWN = ("Shown.", "Not shown.")
ALARM = ("Yes: alarm.", "No sign of it.")
QUESTIONS: Mapping[str, tuple[str, tuple[str, str]]] = {
    "ship3": ("Is it worse by {three} points (3 margins) or more?", RULED_OUT),
    "ship2": ("Is it worse by {two} points (2 margins) or more?", RULED_OUT),
    "ship1": ("Is it worse by {one} points (the margin) or more?", RULED_OUT),
    "sup": ("Is it better?", SHOWN),
    "roll": ("Is it worse?", SHOWN),
    "roll2": ("Is it worse by more than {two} points (2 margins)?", SHOWN),
    "errors": ("Does it fail more often than is allowed ({allowed})?", ALARM),
    "latency": ("Is it slow more often than is allowed ({allowed})?", ALARM),
    "cost": ("Does it cost more than is allowed ({allowed})?", ALARM),
}
NO_COUNTS = StageCounts()


def gates_of(gate: QualityGate, whole: WholeDays | None = None) -> tuple[EvidenceView, ...]:
    """The gates that people see. Where the rollout waits for whole days, better and worse are read at their ends."""
    alphas = {"roll": ALPHA_ROLL if whole is None else ALPHA_ROLL_DAYS, "roll2": ALPHA_ROLL_HOURS}
    gates = []
    for name in gate.peaks:
        by_day = whole is not None and name in ("sup", "roll")
        evidence = whole.of(name) if whole is not None and by_day else gate.of(name)
        gates.append(_evidence(name, CLAIMS[name], evidence.peak, evidence.log_e, alphas.get(name, ALPHA_SHIP)))
    return tuple(gates)


def guardrails_of(state: EvidenceState) -> tuple[GuardrailView, ...]:
    return tuple(_guardrail(state.guardrails[kind]) for kind in GUARDRAILS if kind in state.guardrails)


def findings_in_words(
    gates: Sequence[EvidenceView], guardrails: Sequence[GuardrailView], margin: float
) -> tuple[str, ...]:
    """Each gate and guardrail as a question about the candidate with its answer, for people who read no statistics."""
    points = {name: f"{100 * m * margin:.3g}" for m, name in enumerate(("one", "two", "three"), 1)}
    findings = []
    for evidence in (*gates, *guardrails):
        question, answers = QUESTIONS[evidence.name]
        allowed, answer = "", answers[0 if evidence.passed else 1]
        if isinstance(evidence, GuardrailView):
            allowed = evidence.allowed
            answer = f"{answer} {_lately(evidence)}" if evidence.n_candidate else "Nothing measured of the candidate."
        findings.append(f"{question.format(**points, allowed=allowed)} {answer}".rstrip())
    return tuple(findings)


def _lately(guardrail: GuardrailView) -> str:
    candidate, champion = guardrail.candidate_observed, guardrail.champion_observed
    if candidate is None or champion is None or (guardrail.name == "cost" and not champion):
        return ""
    if guardrail.name == "cost":
        return f"Lately it costs {100 * candidate / champion:.0f} % of what the champion costs, the dearest capped."
    what = {"errors": "failed", "latency": "were slow"}[guardrail.name]
    return f"Lately {100 * candidate:.1f} % {what}, and {100 * champion:.1f} % of the champion's."


def idle_guardrails(state: EvidenceState) -> dict[str, str]:
    """The guardrails that do not look, with the reason."""
    missing = [kind for kind in ("latency", "cost") if kind not in state.guardrails]
    if state.baseline is None:
        return {
            kind: "the champion has too few reported requests to compare with, as far as they are summed up"
            for kind in missing
        }
    return {kind: f"the champion's requests were reported without {kind}, or with none" for kind in missing}


def verdict_of(gate: QualityGate, whole: WholeDays | None = None) -> str:
    """The strongest true sentence; silence about what is not shown."""
    passed = {e.name for e in gates_of(gate, whole) if e.passed}
    if passed & {"roll", "roll2"}:
        return "The candidate is worse than the champion."
    if "sup" in passed:
        return "The candidate is better than the champion."
    ruled_out = next((gate.margin * m for m in (1, 2, 3) if f"ship{m}" in passed), None)
    if whole is not None and whole.peak("ship1") >= threshold(ALPHA_SHIP):
        ruled_out, whole = gate.margin, None
    if ruled_out is None:
        return "Nothing has been shown about quality."
    if whole is not None:
        return (
            f"In some hours the candidate was not worse than the champion by {ruled_out:.3g} or more; nothing has been"
            " shown of whole days."
        )
    return (
        f"The candidate is not worse than the champion by {ruled_out:.3g} or more; whether it differs at all is open."
    )


def difference_of(start: QualityGate, blocks: Sequence[Block]) -> MeanDifference:
    """``blocks`` as closed."""
    running = running_intervals(start, tuple(blocks))
    if not running:
        return MeanDifference(observed=None, lower=-1.0, upper=1.0)
    last = running[-1]
    return MeanDifference(observed=last.estimate, lower=last.interval.lower, upper=last.interval.upper)


def arm_sums(arm: ArmName, blocks: Iterable[Block]) -> Sums:
    """The sums of one arm over all these blocks, whether the gate counted them or not."""
    return sum(((b.candidate if arm == "candidate" else b.champion).sums for b in blocks), start=Sums())


def arms_of(
    rollout: Rollout, state: EvidenceState, blocks: Sequence[Block], late: Mapping[ArmName, tuple[int, int]]
) -> tuple[ArmView, ...]:
    """``late``: arm > (late feedback, feedback of closed cohorts)."""
    arms = []
    for arm in ARMS:
        units = sum(c.units_c if arm == "candidate" else c.units_b for c in state.stages.values())
        labelled = sum(c.labelled_c if arm == "candidate" else c.labelled_b for c in state.stages.values())
        n_late, n_of = late.get(arm, (0, 0))
        arms.append(
            ArmView(
                arm=arm,
                variant=rollout.candidate if arm == "candidate" else rollout.champion,
                units=units,
                labelled=labelled,
                label_rate=labelled / units if units else None,
                mean=arm_sums(arm, blocks).mean,
                late=n_late,
                late_of=n_of,
                late_share=n_late / n_of if n_of else None,
            )
        )
    return tuple(arms)


def late_alert(arms: Sequence[ArmView]) -> str | None:
    """Above 1 % of one arm the window is too short for that arm, and what comes in time may be another kind of news."""
    much = [a for a in arms if a.late_share is not None and a.late_share > LATE_ALERT]
    if not much:
        return None
    which = " and ".join(f"{100 * (a.late_share or 0):.1f} % of the {a.arm}'s ({a.late} of {a.late_of})" for a in much)
    return (
        f"Feedback came after its cohort was closed: {which}. Its values are shown, not used. Where that is news of"
        " another kind, the comparison is off: give the next rollout a longer rollout.feedback_window"
    )


def stages_of(rollout: Rollout, state: EvidenceState, *, held_back: bool = False) -> tuple[StageView, ...]:
    """The ladder; after a promotion also the holdback, in which only "not worse" is under attack.

    Args:
        held_back: some units still get the champion before.
    """
    stages = []
    for place, share in enumerate(rollout.ladder):
        spans = [s for s in rollout.stage_history if s["share"] == share]
        unvisited: State = "passed over" if rollout.outcome == "promoted" else "ahead"
        progress: State = unvisited if not spans else "now" if rollout.share == share else "done"
        since, until = (spans[0]["from"], spans[-1]["to"]) if spans else (None, None)
        times = [None if at is None else datetime.fromisoformat(at) for at in (since, until)]
        counts = state.stages.get(place, NO_COUNTS)
        stages.append(
            _stage(counts, share, state=progress, asks=asked_at(rollout.ladder, place), since=times[0], until=times[1])
        )
    if rollout.outcome == "promoted":
        counts = state.stages.get(len(rollout.ladder), NO_COUNTS)
        progress = "now" if held_back else "done"
        stages.append(
            _stage(counts, 1 - HOLDBACK_SHARE, state=progress, asks="roll", since=rollout.ended_at, until=None)
        )
    return tuple(stages)


def _stage(
    c: StageCounts, share: float, *, state: State, asks: str, since: datetime | None, until: datetime | None
) -> StageView:
    units = c.units_c + c.units_b
    claim = f"each unit is the candidate's with probability {share:g}"
    return StageView(
        share=share,
        state=state,
        asks=asks,
        since=since,
        until=until,
        units={"candidate": c.units_c, "champion": c.units_b},
        labelled={"candidate": c.labelled_c, "champion": c.labelled_b},
        candidate_share=c.units_c / units if units else None,
        sample_ratio=_evidence("sample_ratio", claim, c.ratio_peak, c.ratio_peak, ALPHA_RATIO),
        rates_differ=c.rates_differ,
    )


def asked_at(ladder: Sequence[float], place: int) -> str:
    return f"ship{margin_needed(ladder[place], is_last=place == len(ladder) - 1)}"


def next_step_of(rollout: Rollout) -> NextStep | None:
    if rollout.share is None:
        return None
    asks = asked_at(rollout.ladder, rollout.stage)
    if rollout.stage + 1 < len(rollout.ladder):
        return NextStep(act="advance", share=rollout.ladder[rollout.stage + 1], asks=asks)
    return NextStep(act="promote", share=1.0, asks=asks)


def labels_of(rollout: Rollout, state: EvidenceState) -> Labels:
    gate, whole = state.quality, state.whole_days
    return Labels(
        used=gate.labelled,
        counted=gate.labelled if whole is None else round(whole.labelled),
        in_stage=gate.labelled_in_stage if gate.stage == rollout.stage else 0,
        needed_in_stage=int(rollout.settings.get("min_labelled_per_stage", 200)),
        waiting=gate.pending.n if gate.pending is not None else 0,
        allowed=int(rollout.settings.get("max_labelled", 8000)),
    )


def _guardrail(g: Guardrail) -> GuardrailView:
    points = f"{100 * g.margin:.3g} point{'' if g.margin == 0.01 else 's'}"
    allowed = {
        "errors": f"{points} more errors",
        "latency": f"{points} more slow requests",
        "cost": f"{100 * (g.margin - 1):.3g} % more cost",
    }[g.kind]
    e = _evidence(g.kind, f"at most {allowed} than the champion", g.evidence.peak, g.evidence.log_e, g.alpha)
    return GuardrailView(
        **{name: getattr(e, name) for name in EvidenceView.__dataclass_fields__},
        margin=g.margin,
        allowed=allowed,
        n_candidate=g.n_candidate,
        n_blocks=g.n_blocks,
        champion_mean=g.champion.mean,
        candidate_mean=g.candidate.mean,
        champion_observed=g.champion.earlier.mean,
        candidate_observed=g.candidate.earlier.mean,
    )


def _evidence(name: str, claim: str, peak: float, now: float, alpha: float) -> EvidenceView:
    needed = threshold(alpha)
    own, required = e_value_text(peak), e_value_text(needed)
    return EvidenceView(
        name=name,
        claim=claim,
        e_value=exp(min(peak, LARGEST)),
        log_e=peak,
        log_e_now=now,
        threshold=1 / alpha,
        share_of_way=min(1.0, max(0.0, peak / needed)),
        passed=peak >= needed,
        text=f"{'just under ' if peak < needed and own == required else ''}{own} of {required}",
    )


def evidence_text(rollout: Rollout, decision: Decision) -> str | None:
    """The evidence that a decision turned on, as ``ship3 41.2 of 20``; None where none was recorded,
    or none with a threshold did it.
    """
    evidence = decision.content["inputs"].get("evidence")
    before = decision.content["before"]
    if evidence is None or before is None or before["stage"] < 0:
        return None
    log_e: Mapping[str, float] = evidence["log_e"]
    name = asked_at(rollout.ladder, before["stage"])
    if evidence["outcome"] == "worse":
        harm = harm_evidence(log_e, evidence["whole_days"]["roll"] if "whole_days" in evidence else None)
        return f"{harm.game} {e_value_text(harm.log_e)} of {e_value_text(threshold(harm.alpha))}"
    if evidence["outcome"] == "guardrail":
        for kind in GUARDRAILS:
            if (peak := log_e.get(f"guardrail_{kind}", 0.0)) >= threshold(ALPHA[kind]):
                return f"{kind} {e_value_text(peak)} of {e_value_text(threshold(ALPHA[kind]))}"
    if evidence["outcome"] in ("guardrail", "invalid"):
        return None
    if evidence["outcome"] == "inconclusive":
        later = next((h for h in LATER if log_e.get(h.name, 0.0) >= threshold(h.alpha)), None)
        if later is not None:
            return f"{later.name} {e_value_text(log_e[later.name])} of {e_value_text(threshold(later.alpha))}"
    return f"{name} {e_value_text(log_e[name])} of {e_value_text(threshold(ALPHA_SHIP))}"
