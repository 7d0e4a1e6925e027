"""What a person can do on a page: each act has a confirmation and a form that asks the use case of its API route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from api.dashboard.confirmations import (
    SET_AGAIN,
    ActConfirmation,
    family_page,
    of_champion,
    of_evaluation,
    of_former_champion,
    of_freeze,
    of_offer,
    of_rollout,
    of_run,
    of_silence,
    of_silence_ended,
    of_start,
    of_study,
    run_page,
)
from api.dashboard.visitors import PageVisit
from optimizer.core.base.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """``use_case``: as the list names it; ``members``: those of its request that a form may carry; ``lists``: of them
    those that hold a list, of which a form carries one entry; ``past``: what a page says when it is done;
    ``needs_reason``: it is refused without one.
    """

    use_case: str
    title: str
    past: str
    members: frozenset[str]
    confirmation: Callable[[PageVisit, Mapping[str, str]], ActConfirmation]
    is_brake: bool = False
    kind: Literal["", "danger"] = ""  # of its button
    needs_reason: bool = False
    lists: frozenset[str] = frozenset()
    place: Callable[[Any], str] | None = None  # the page that its report leads to; None: back to where it came from


ON_RUN = frozenset(("id", "reason"))
STOPPED = "Cancelled: it ends before its next call."
ON_ROLLOUT = frozenset(("id", "reason", "confirm", "version"))
ON_FAMILY = frozenset(("family", "reason"))
ROLL_BACK = "Roll back: every user gets the champion again, at once."
ACTS: Mapping[str, Act] = {
    "approve": Act(
        use_case="approve",
        title="Approve",
        past="Approved. Undo: Roll back.",
        members=ON_ROLLOUT,
        confirmation=of_rollout(
            "With the worker's next tick {first} of the users get {candidate}; it goes on by itself on evidence.",
            ROLL_BACK,
            tells_start=True,
        ),
    ),
    "reject": Act(
        use_case="reject",
        title="Reject",
        past="Rejected: the rollout has ended. Undo: Start its rollout anew.",
        members=ON_ROLLOUT,
        is_brake=True,
        confirmation=of_rollout("The rollout ends; {candidate} is served to nobody.", "Start its rollout anew."),
    ),
    "hold": Act(
        use_case="hold",
        title="Hold",
        past="Held: the share stays as it is until someone resumes.",
        members=ON_ROLLOUT,
        is_brake=True,
        confirmation=of_rollout(
            "The share stays at {now} until someone resumes. Guardrails and rolling back go on acting.", "Resume."
        ),
    ),
    "resume": Act(
        use_case="resume",
        title="Resume",
        past="Resumed: the rollout goes on by itself on evidence. Undo: Hold.",
        members=ON_ROLLOUT,
        confirmation=of_rollout("The rollout goes on by itself on evidence.", "Hold."),
    ),
    "advance": Act(
        use_case="advance",
        title="Advance",
        past="Advanced to the next share. Undo: Roll back.",
        members=ON_ROLLOUT,
        confirmation=of_rollout(
            "The share of the users that get {candidate} goes from {now} to {next}.", ROLL_BACK, asks_gate="advance"
        ),
    ),
    "promote": Act(
        use_case="promote",
        title="Promote",
        past="Promoted: the candidate is champion. Undo: Take back the champion.",
        members=ON_ROLLOUT,
        confirmation=of_rollout(
            "{candidate} becomes champion in the place of {champion}; 5 % of the users stay on the one before for a"
            " week.",
            "Take back the champion: the one before serves again, at once.",
            asks_gate="promote",
        ),
    ),
    "rollback": Act(
        use_case="rollback",
        title="Roll back",
        past="Rolled back: every user gets the champion. Undo: Start its rollout anew.",
        members=ON_ROLLOUT,
        is_brake=True,
        kind="danger",
        confirmation=of_rollout(
            "Every user gets {champion} again, at once, and the rollout ends.",
            "Start its rollout anew, from the first share.",
        ),
    ),
    "take-back": Act(
        use_case="champion_rollback",
        title="Take back the champion",
        past="Taken back: the champion before it serves. Undo: Set as champion again, under Champions.",
        members=frozenset(("family", "reason", "expect")),
        is_brake=True,
        kind="danger",
        confirmation=of_champion,
        place=lambda change: family_page(change.family),
    ),
    "set-champion": Act(
        use_case="champion_set",
        title=SET_AGAIN,
        past="Set: it serves every user. Undo: Take back the champion.",
        members=frozenset(("family", "variant", "reason", "confirm", "expect")),
        is_brake=True,
        kind="danger",
        needs_reason=True,
        confirmation=of_former_champion,
        place=lambda change: family_page(change.family),
    ),
    "freeze": Act(
        use_case="freeze",
        title="Freeze",
        past="Frozen: only champions are served. Undo: Unfreeze.",
        members=ON_FAMILY,
        is_brake=True,
        kind="danger",
        confirmation=of_freeze(
            "From now on {scope} serves its champion only: no candidate, no advance, no study, until it is unfrozen.",
            "“Unfreeze”, in the line that stands on top of every page from now on.",
        ),
    ),
    "unfreeze": Act(
        use_case="unfreeze",
        title="Unfreeze",
        past="Unfrozen: rollouts go on with the worker's next tick. Undo: Freeze.",
        members=ON_FAMILY,
        confirmation=of_freeze(
            "The freeze of {scope} ends; rollouts go on with the worker's next tick, where no other freeze holds them.",
            "Freeze.",
        ),
    ),
    "silence": Act(
        use_case="silence alerts",
        title="Silence for an hour",
        past="Silent for an hour: it is listed, and sends nothing. Undo: End the silence.",
        members=frozenset(("name", "family", "minutes", "reason")),
        confirmation=of_silence,
    ),
    "end-silence": Act(
        use_case="end silence",
        title="End the silence",
        past="Over: what is still open sends its message within five minutes. Undo: Silence for an hour.",
        members=frozenset(("name", "family", "reason")),
        confirmation=of_silence_ended,
    ),
    "cancel-study": Act(
        use_case="cancel study",
        title="Cancel the study",
        past="Cancelled: the study ends after the calls under way.",
        kind="danger",
        members=frozenset(("id",)),
        confirmation=of_study,
    ),
    "evaluate": Act(
        use_case="evaluate variant",
        title="Evaluate",
        past="Queued: the worker begins when what was asked before it has ended.",
        members=frozenset(("family", "variant")),
        confirmation=of_evaluation,
        place=run_page,
    ),
    "start": Act(
        use_case="start",
        title="Start the rollout",
        past="Started: it serves nobody until it is approved. Undo: Reject.",
        members=frozenset(("family", "variant", "reason", "confirm")),
        confirmation=of_start,
        place=lambda rollout: family_page(rollout.family),
    ),
    "offer": Act(
        use_case="offer scenarios",
        title="Make an example",
        past="It stands among the reviews, once: what should have been answered is asked there.",
        members=frozenset(("family", "interactions", "reason")),
        lists=frozenset(("interactions",)),
        confirmation=of_offer,
    ),
    "cancel-comparison": Act(
        use_case="cancel comparison",
        title="Cancel the comparison",
        past=STOPPED,
        kind="danger",
        members=ON_RUN,
        confirmation=of_run("comparison", "Comparison"),
    ),
    "cancel-evaluation": Act(
        use_case="cancel evaluation",
        title="Cancel the evaluation",
        past=STOPPED,
        kind="danger",
        members=ON_RUN,
        confirmation=of_run("evaluation", "Evaluation"),
    ),
    "cancel-judge-run": Act(
        use_case="cancel run",
        title="Cancel the judge's run",
        past=STOPPED,
        kind="danger",
        members=ON_RUN,
        confirmation=of_run("judge run", "Judge run"),
    ),
}


def act_named(name: str) -> Act:
    """Raises NotFound."""
    act = ACTS.get(name)
    if act is None:
        raise NotFound(f"There is no act {name[:60]!r}. Pages offer {', '.join(ACTS)}.")
    return act


def confirmation_to_send(visit: PageVisit, act: Act, fields: Mapping[str, str]) -> ActConfirmation | None:
    """None where there is nothing to confirm any more, as where somebody sends again what is done: its report tells."""
    try:
        return act.confirmation(visit, fields)
    except Conflict:
        if act.place is None:
            raise
        return None


def carry_out(visit: PageVisit, act: Act, fields: Mapping[str, str]) -> Any:
    """The report. A field that was left empty is left out; ``version`` is what the form's page was made of, so that
    nobody moves what has moved meanwhile: raises StaleVersion then, and as the use case does.
    """
    members: dict[str, Any] = {
        name: [value] if name in act.lists else value
        for name, value in fields.items()
        if name in act.members and value.strip()
    }
    version = members.pop("version", None)
    if version is not None and not act.is_brake:
        members["if_match"] = f'"{version}"'
    return visit.act(act.use_case, nonce=fields.get("nonce", ""), **members)


def notice_of(visit: PageVisit) -> str | None:
    """What the act has done that led to this page, in words of this server alone."""
    name = visit.noticed() or ""
    if name == "save":
        return "Saved. Nothing is served by it yet."
    return ACTS[name].past if name in ACTS else None
