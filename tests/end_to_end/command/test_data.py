"""``detent data prune`` and POST /v1/data/prune: what would go, what goes, and who may ask for it."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.prune_records import BATCH
from tests import command_line
from tests.stores import arm, interaction, keep_events
from tests.worlds.api_world import World


def add_old(store: Any, now: Any, n: int) -> None:
    rows = [
        interaction(
            f"in_{i}",
            of=arm(family="triage", rollout=None),
            received_at=now - timedelta(days=91),
            input={"text": "old"},
        )
        for i in range(n)
    ]
    keep_events(store, rows)
    store.write(lambda tx: store.minute_stats.set_watermark(tx, MINUTES, now))


def counts(answer: Any) -> dict[str, int]:
    return {row["rows"]: row["n"] for row in answer["items"] if row["n"]}


def test_an_admin_prunes_over_rest_in_bounded_steps_and_sees_first_what_would_go(world: World) -> None:
    n = 41 * BATCH
    add_old(world.shared.store, world.shared.clock.now(), n)
    for role, secret in (("admin", "admin-secret"), ("operate", "operate-secret")):
        world.add_key(role, role, secret=secret)

    def ask(secret: str, **body: Any) -> Any:
        return world.post("/v1/data/prune", body, headers={"Authorization": f"Bearer {secret}"})

    assert ask("operate-secret", dry_run=True).status_code == 403
    seen = ask("admin-secret", dry_run=True).json()
    assert (counts(seen), seen["more"], seen["dry_run"]) == ({"interactions": n}, False, True)
    assert world.shared.read(lambda tx: world.shared.store.events.interaction(tx, "in_0")) is not None
    first = ask("admin-secret").json()
    assert (counts(first), first["more"]) == ({"interactions": 40 * BATCH}, True)
    assert (counts(ask("admin-secret").json()), counts(ask("admin-secret").json())) == ({"interactions": BATCH}, {})
    (last, before) = world.shared.read(lambda tx: list(world.shared.store.audit.of_subject(tx, "interactions")))
    assert {last["actor"], before["actor"]} == {"admin"}


def test_what_a_backup_and_an_export_say_to_type_next_can_be_typed_whatever_their_files_are_called(
    tmp_path: Path,
) -> None:
    home = {"DETENT_HOME": str(tmp_path / "home")}
    command_line.new_project(tmp_path / "home")
    backed_up = command_line.detent("backup", str(tmp_path / "anna's home.tar"), env=home)
    exported = command_line.detent("data", "export", str(tmp_path / "anna's export"), env=home)
    (restore,) = [line for line in backed_up.err.splitlines() if line.startswith("Bring it back")]
    (after,) = [line for line in exported.err.splitlines() if line.startswith("Next: ")]
    _, *bring_back = shlex.split(restore.partition(": ")[2])
    verify, take_in = (shlex.split(part.partition(": ")[2]) for part in after.split("; "))
    for words, place in ((bring_back, "restored"), (verify, "home"), (take_in, "imported")):
        ran = command_line.detent(*words[1:], env={"DETENT_HOME": str(tmp_path / place)})
        assert ran.code == 0, ran.err
