"""The one sentence with which ``detent status`` and ``detent rollout status`` begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.phrasing import when
from optimizer.core.forecast.forecast import RolloutForecast, StageNeed
from optimizer.core.forecast.plan import Need
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.serving.rollout import ALL, Champion, Freeze, Rollout
from optimizer.core.views.rollout_status import ForecastView, Hours, Labels, MeanDifference, NextStep, SilenceView
from optimizer.core.views.rollout_story import (
    NO_ROLLOUT,
    HomeHealth,
    headline,
    headline_of,
    home_headline,
    rollout_standing,
    rounded_up,
)
from tests.cases import named
from tests.stores import NOW, rollout

VIEW = ForecastView(
    **dict.fromkeys(("forecast", "late_alert", "lease_expires_at", "freeze", "holdback", "followed_by")),
    **dict.fromkeys(("gates", "guardrails", "arms", "stages", "alerts"), ()),
    **{"verdict": "", "n_blocks": 3, "head": "", "metric": "success by user", "margin": 0.05, "not_guarded": {}},
    **{"left_out": 0, "served": True, "looked_at": NOW},
    difference=MeanDifference(observed=None, lower=-1.0, upper=1.0),
    labels=Labels(used=40, counted=40, in_stage=40, needed_in_stage=200, waiting=0, allowed=8000),
    hours=Hours(running=3.0, least=24.0, allowed=720.0, window=24.0),
    silence=SilenceView(since=None, fetches={}, reports={}, found_at=None),
    waits_for=(
        "evidence against worse by 3 margins is 1.2, 20 is needed",
        "40 labelled outcomes in this stage, 200 are needed",
    ),
    next_step=NextStep(act="advance", share=0.25, asks="ship3"),
)
DEPLOYING = rollout(family="triage", ladder=(0.1, 0.25, 0.5), status="deploying", stage=0)
FROZEN = Freeze(scope="triage", reason="launch", by="ann", since=NOW)
SPAN: Any = [{"stage": 0, "share": 0.1, "from": NOW.isoformat(), "to": NOW.isoformat()}]
TENURE = Champion(family="triage", seq=3, variant="v_cccccccccccc", since=NOW, why="better", by="ann")


def forecast(labelled: float | None, hours: float | None = None) -> RolloutForecast:
    need = Need(labelled=labelled, units=None, hours=hours)
    stage = StageNeed(share=0.1, expected=need, nine_in_ten=need, detectable_drop=None)
    return RolloutForecast(verdict="fits", summary="", stages=(stage,))


def rollout_headline(of: Rollout | None, seen: ForecastView | None, champion: Champion | None = None) -> str:
    """As a terminal shows it."""
    return headline_of(rollout_standing(of, seen, champion), of.family if of is not None else "")


def test_a_promotion_is_told_with_the_version_s_name_beside_its_id() -> None:
    promoted = rollout(status="deployed", outcome="promoted", ended_at=NOW)
    named = {"v_bbbbbbbbbbbb": "v2", TENURE.variant: "v3"}
    assert rollout_headline(None, None) == NO_ROLLOUT
    assert rollout_headline(promoted, replace(VIEW, versions=named)) == (
        "Promoted: v_bbbbbbbbbbbb (version v2) is the champion"
    )
    followed = replace(VIEW, versions=named, followed_by=TENURE)
    assert rollout_headline(promoted, followed) == (f"Promoted; v_cccccccccccc (version v3) followed it on {when(NOW)}")
    back = replace(followed, followed_by=replace(TENURE, variant=promoted.champion))
    assert f"serves again since {when(NOW)}" in rollout_headline(promoted, back, back.followed_by)
    assert f"followed it on {when(NOW)}" in rollout_headline(
        promoted, back, replace(TENURE, since=NOW.replace(year=2030))
    )
    again = rollout_headline(promoted, back, replace(TENURE, variant=promoted.candidate))
    assert again == f"Promoted; v_bbbbbbbbbbbb (version v2) is champion again since {when(NOW)}"
    assert headline(promoted, replace(VIEW, versions=named), ()).startswith("v_bbbbbbbbbbbb (version v2) was never")


@pytest.mark.parametrize(
    "ended",
    [
        rollout(status="deployed", outcome="promoted", stage_history=SPAN),
        rollout(status="rolled_back", outcome="worse", stage_history=SPAN),
        rollout(status="rejected", outcome="cancelled"),
    ],
    ids=lambda one: one.outcome,
)
def test_what_a_key_reads_no_texts_of_is_told_as_hidden(ended: Rollout) -> None:
    figures: Any = {"followed_by": replace(TENURE, why=None)}
    said = headline(replace(ended, reason=None), replace(VIEW, **figures), ())
    assert ("not shown to this key" in said, "None" in said) == (True, False)


MORE, LESS = "10 %: needs more labelled users before 25 %", "10 %: needs about 400 more labelled users "
LAST = NextStep(act="promote", share=1.0, asks="ship1")
ONLY_TIME = {"labels": replace(VIEW.labels, in_stage=300), "waits_for": ("the stage's minimum time is not over",)}


@named(
    ("seen", "said"),
    {
        "a forecast": ({"forecast": forecast(398.2, 76.8)}, f"{LESS}(about 3.2 days at this traffic) before 25 %"),
        "at unknown traffic": ({"forecast": forecast(398.2)}, f"{LESS}before 25 %"),
        "users suffice": ({"forecast": forecast(0.0)}, f"10 %: waits before 25 %: {VIEW.waits_for[0]}"),
        "without a forecast": ({}, MORE),
        "one is missing": ({"labels": replace(VIEW.labels, in_stage=199)}, MORE),
        "only time": (ONLY_TIME, "10 %: waits before 25 %: the stage's minimum time is not over"),
        "nothing": ({"waits_for": ()}, "10 %: every gate has passed; the worker's next look goes on to 25 %"),
        "the last stage": (
            {"forecast": forecast(90.0), "next_step": LAST},
            "10 %: needs about 90 more labelled users before the promotion",
        ),
    },
)
def test_a_stage_names_what_it_needs_before_the_next(seen: dict[str, Any], said: str) -> None:
    assert rollout_headline(DEPLOYING, replace(VIEW, **seen)) == said


HELD = replace(DEPLOYING, held=True, held_by="ann")
UNSERVED = {"served": False, "freeze": FROZEN}
NO_CANDIDATE = "10 %, frozen: every user gets the champion"


@named(
    ("of", "seen", "said"),
    {
        "not approved": (rollout(status="validating"), {}, "Waits for a person: detent rollout approve summarization"),
        "approved": (rollout(status="approved"), {}, "Approved: the worker's next look gives the candidate 10 % of"),
        "unwatched": (DEPLOYING, {"served": False}, "10 %, but no worker watches: every user gets the champion"),
        "frozen, also where the lease has run out": (
            *(DEPLOYING, UNSERVED),
            f"{NO_CANDIDATE} until detent unfreeze triage",
        ),
        "held by a person": (HELD, {}, "10 %, held by ann: it goes no further"),
        "held by the tick": (replace(HELD, held_by=ACTOR), {}, "10 %, held by the worker"),
        "worse": (replace(DEPLOYING, status="rolled_back", outcome="worse"), {}, "The candidate was worse and is"),
        "rejected": (replace(DEPLOYING, status="failed", outcome="cancelled"), {}, "A person ended the rollout"),
    },
)
def test_every_state_of_a_rollout_has_its_sentence(of: Rollout, seen: dict[str, Any], said: str) -> None:
    assert rollout_headline(of, replace(VIEW, **seen)).startswith(said)


def test_a_candidate_that_was_taken_back_and_is_champion_is_called_champion() -> None:
    of = rollout(status="rolled_back", outcome="worse")
    champion = replace(TENURE, variant=of.candidate)
    said = f"The candidate was worse and is taken back; since {when(NOW)} it is champion all the same"
    assert rollout_headline(of, VIEW, champion) == said
    assert (
        rollout_headline(of, VIEW, TENURE) == "The candidate was worse and is taken back: every user gets the champion"
    )


@named(
    ("of", "seen", "text", "until"),
    {
        "to approve": (rollout(status="validating"), {}, "Every user gets the champion", ("approve", "ro_1")),
        "held": (HELD, {}, "10 %, held by ann: it goes no further", ("resume", "ro_1")),
        "frozen": (DEPLOYING, {"freeze": FROZEN}, NO_CANDIDATE, ("unfreeze", "triage")),
        "all frozen": (DEPLOYING, {"freeze": replace(FROZEN, scope=ALL)}, NO_CANDIDATE, ("unfreeze", ALL)),
        "under way": (DEPLOYING, {}, MORE, None),
    },
)
def test_beside_a_button_the_sentence_has_no_command_and_names_the_act(
    of: Rollout, seen: dict[str, Any], text: str, until: tuple[str, str] | None
) -> None:
    standing = rollout_standing(of, replace(VIEW, **seen))
    offer = standing.until
    assert (standing.text, offer and (offer["act"], offer["target"])) == (text, until)


@pytest.mark.parametrize(("n", "shown"), [(0.4, 1), (12.1, 13), (99.0, 99), (100.0, 100), (398.2, 400), (1234.0, 1300)])
def test_a_number_of_users_is_rounded_upwards_to_two_digits(n: float, shown: int) -> None:
    assert rounded_up(n) == shown


@named(
    ("health", "said"),
    {
        "to approve": ({"rollouts": 3, "n_waiting": 2}, "3 rollouts under way, 2 wait for a person"),
        "well": ({"rollouts": 1, "alerts": ["info"]}, "All is well; 1 rollout under way"),
        "nobody watches": ({"runs": False}, "Nothing watches here (detent serve starts it); no rollout under way"),
        "starting": (
            {"runs": False, "is_starting": True, "frozen": ["topics"]},
            "Nothing watches yet (detent serve is starting it); family topics is frozen; no rollout under way",
        ),
        "hangs": (
            {"tick_fault": "the worker has never ticked"},
            "The worker has never ticked (detent runbook the-worker-is-dead); no rollout under way",
        ),
        "alerts": (
            {"rollouts": 2, "alerts": ["warning", "critical", "info"], "n_faulty": 1},
            "2 alerts open (below); 1 family file at fault (detent family validate); 2 rollouts under way",
        ),
        "only silenced ones": ({"n_quiet": 3}, "3 alerts silenced; no rollout under way"),
        "silenced ones beside another": (
            {"alerts": ["critical"], "n_quiet": 3},
            "1 alert open (below); 3 alerts silenced; no rollout under way",
        ),
        "refused": (
            {"n_refused": 2, "frozen": ["triage"]},
            "2 programs refused for want of a valid key (below); family triage is frozen; no rollout under way",
        ),
        "frozen": ({"frozen": [None, "triage"]}, "Every family is frozen; no rollout under way"),
    },
)
def test_a_home_says_first_what_is_wrong(health: dict[str, Any], said: str) -> None:
    assert home_headline(HomeHealth(**{"runs": True, "rollouts": 0, "alerts": [], "n_faulty": 0, **health})) == said
