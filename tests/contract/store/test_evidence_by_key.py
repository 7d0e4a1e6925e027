"""Whose evidence it is: a unit counts once, without a token only as far as its key reported exposures,
and one key may be too much for a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from optimizer.core.rollout.blocks import window_start
from tests.clock import Clock
from tests.stores import reading, writing
from tests.worlds.rollout_world import Behaviour, F, World


@dataclass
class Senders(World):
    """The same, where every event comes by a key, and with a token or without."""

    key: str = "app"
    recomputed: bool = False

    def serve(self, unit: str) -> Arm:
        arm = super().serve(unit)
        return replace(arm, recomputed=self.recomputed and arm.rollout is not None)

    def _interaction(self, arm: Arm, at: datetime) -> Interaction:
        return replace(super()._interaction(arm, at), sent_by=getattr(self, "key", None))

    def _feedback(self, arm: Arm, behaviour: Behaviour) -> FeedbackEvent | None:
        event = super()._feedback(arm, behaviour)
        return None if event is None else replace(event, sent_by=self.key)

    def report(self, n: int, *, key: str) -> None:
        """So many exposures of each arm at the present stage, from a client of this key."""
        rollout, at = self.rollout, window_start(self.clock.at)
        rows = [
            (F, variant, rollout.id, rollout.share, at, "client", n)
            for variant in (rollout.candidate, rollout.champion)
        ]
        writing(self.store).exposures.put(rows, key)

    def units(self) -> dict[str, int]:
        """Units that the blocks hold, by arm."""
        blocks = self.blocks("quality")
        return {arm: sum(b.content["units"][arm] for b in blocks) for arm in ("candidate", "champion")}

    def mature(self) -> None:
        """Until every cohort that was begun is closed."""
        self.keep_lease(300)


def started(database: Database, **settings: Any) -> Senders:
    """At its first stage of one half, where an hour passes in a minute."""
    world = Senders(
        store=database,
        clock=Clock(scale=60.0),
        rollout_settings={"ladder": [0.5, 0.75], "min_labelled_per_stage": 40, **settings},
    )
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    world.start()
    return world


def climb_a_stage(world: Senders) -> None:
    for _ in range(12):
        if world.rollout.stage == 0:
            world.labels(120)


# --- shares -----------------------------------------------------------------------------------------------------------


def test_the_share_of_each_key_is_shown(database: Database) -> None:
    world = started(database, ladder=[0.5], min_labelled_per_stage=4000)
    world.labels(90)
    world.key = "other"
    world.labels(30)
    world.mature()
    shares = {one.key: one.share for one in world.seen.keys}
    assert list(shares) == ["app", "other"]
    assert shares == {"app": pytest.approx(0.75), "other": pytest.approx(0.25)}
    assert sum(one.labelled for one in world.seen.keys) == world.seen.labels.used + world.seen.labels.waiting
    assert world.verified().problems == ()


def test_a_key_that_adds_outcomes_to_others_units_has_its_share_of_their_means(database: Database) -> None:
    world = started(database, ladder=[0.5], min_labelled_per_stage=4000)
    unit_of = "u{}".format
    world.labels(50, unit_of=unit_of, tick=False, seconds=5)
    world.key = "loud"
    for _ in range(3):
        world.labels(50, unit_of=unit_of, tick=False, seconds=5)
    world.mature()
    assert {one.key: round(one.share, 4) for one in world.seen.keys} == {"loud": 0.75, "app": 0.25}


def test_one_backend_may_bring_everything_where_nothing_else_is_said(database: Database) -> None:
    world = started(database)
    climb_a_stage(world)
    assert "advance" in world.moves()
    assert world.seen.max_share_per_key == 1.0


def test_too_large_a_share_of_one_key_withholds_the_next_step_until_others_have_brought_theirs(
    database: Database,
) -> None:
    world = started(database, max_share_per_key=0.6)
    world.climb(12)
    assert (world.rollout.stage, world.moves()) == (0, ["deploy"])
    assert any("key 'app' brought 100 %" in waiting for waiting in world.seen.waits_for)
    world.key = "other"
    climb_a_stage(world)
    assert world.rollout.stage > 0
    assert world.verified().problems == ()


def test_it_withholds_no_rollback_of_a_worse_candidate(database: Database) -> None:
    world = started(database, max_share_per_key=0.1)
    world.behaviours[world.candidate] = Behaviour(success=0.2)
    world.climb(12)
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "worse")
    assert world.verified().problems == ()


def test_it_withholds_no_guardrail(database: Database) -> None:
    world = started(database, max_share_per_key=0.1)
    world.behaviours[world.candidate] = Behaviour(errors=0.9)
    world.run(120)
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "guardrail")


# --- units ------------------------------------------------------------------------------------------------------------


def test_units_without_a_token_never_exceed_the_exposures_that_their_key_reported(database: Database) -> None:
    world = started(database, min_labelled_per_stage=4000)
    world.recomputed = True
    world.report(7, key="app")
    world.report(100, key="other")  # says nothing about what app sends
    world.labels(120)
    world.mature()
    assert world.units() == {"candidate": 7, "champion": 7}
    assert world.seen.beyond_exposures == 120 - 14
    world.report(3, key="app")
    world.labels(120)
    world.mature()
    assert world.units() == {"candidate": 10, "champion": 10}
    assert world.verified().problems == ()
    arms = reading(world.store).events.arm_summary(F, world.rollout.id)
    assert sum(arm.n_labelled for arm in arms) == 240  # nothing was discarded


def test_a_unit_with_a_token_counts_whatever_was_sent_of_it_beside(database: Database) -> None:
    world = started(database, min_labelled_per_stage=4000)
    world.labels(60, unit_of="u{}".format, tick=False, seconds=5)
    world.key, world.recomputed = "other", True
    world.labels(60, unit_of="u{}".format, seconds=5)
    world.mature()
    assert sum(world.units().values()) == 60
    assert world.seen.beyond_exposures == 0
