"""A failing champion, from the requests that are reported over REST to the alert that an operator reads,
through the worker's own duty.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from sqlalchemy import text

from optimizer.core.base.errors import InvalidFamily
from optimizer.core.rollout.champion_limits import ChampionLimits
from optimizer.jobs.champions.watch_rules import RuleWatcher
from optimizer.runtime import wiring
from optimizer.runtime.worker import Worker
from tests.worlds.api_world import World


def test_half_of_fifty_reported_requests_failing_is_an_alert_at_the_workers_next_look(world: World) -> None:
    events = [
        {
            "family": "triage",
            "variant": world.champion(),
            "unit": f"u{i}",
            "output": "billing",
            "error": "no answer" if i % 2 else None,
        }
        for i in range(50)
    ]
    assert (
        world.post("/v1/interactions", [{k: v for k, v in one.items() if v is not None} for one in events]).json()[
            "accepted"
        ]
        == 50
    )
    _received_minutes_ago(world, 3)
    worker = Worker(world.settings)
    worker._store, worker._clock, worker._limits = world.shared.store, world.shared.clock, ChampionLimits()
    worker._rules = wiring.open_alert_rules(world.settings)
    worker._rule_watcher = RuleWatcher(world.shared.store, world.shared.clock)
    worker._families = SimpleNamespace(
        families=dict(world.shared.families.families), problems={"mail": InvalidFamily("line 3")}
    )  # type: ignore[assignment]
    worker._roll_up_minutes()
    (alert, same, of_file) = world.get("/v1/alerts").json()["items"]
    assert (of_file["kind"], of_file["family"]) == ("family_file_faulty", "mail")
    assert same["detail"].startswith("errors of triage: 50.0% of 50 requests failed"), "the number of a rule, too"
    assert same["told_by"] == alert["id"]
    assert "silenced" not in world.get("/v1/status").json()["headline"], "nobody silenced the one that is told by it"
    assert (alert["kind"], alert["level"], alert["family"]) == ("champion_out_of_limits", "critical", "triage")
    assert "25 of 50 requests failed (50%" in alert["detail"]


def _received_minutes_ago(world: World, minutes: int) -> None:
    """In place of waiting until their minute is over and settled."""
    before = datetime.now(UTC) - timedelta(minutes=minutes)
    world.shared.store.write(
        lambda tx: tx.execute(
            text("UPDATE interactions SET received_at = :at"), {"at": before.strftime("%Y-%m-%d %H:%M:%S.%f")}
        )
    )
    world.shared.store.write(
        lambda tx: tx.execute(
            text("UPDATE champions SET since = :at"),
            {"at": (before - timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M:%S.%f")},
        )
    )
