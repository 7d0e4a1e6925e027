"""What becomes of a family's file that is edited, broken or new while the server runs."""

from __future__ import annotations

from pathlib import Path

from tests.clock import until
from tests.worlds.api_world import World, make_home, serving


def _edit(world: World, old: str, new: str) -> None:
    file = world.settings.families_dir / "triage" / "family.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_an_edited_file_is_shown_as_not_served_with_the_commands_that_go_on(tmp_path: Path) -> None:
    with serving(make_home(tmp_path, serve_file_edits=False)) as world:
        before = world.champion()
        _edit(world, "Is it billing or technical?", "Billing or technical, in one word?")
        until(lambda: world.get("/v1/families/triage").json()["file"]["state"] != "served")
        family = world.get("/v1/families/triage").json()
        assert family["file"]["state"] == "edited, not served"
        assert f"detent rollout start triage {family['file']['variant']}" in family["file"]["commands"]
        assert world.champion() == before
        until(
            lambda: (
                family["file"]["variant"]
                in {v["variant"] for v in world.get("/v1/families/triage/variants").json()["items"]}
            )
        )


def test_a_bad_edit_leaves_the_last_good_version_serving_and_says_so(world: World) -> None:
    before = world.get("/v1/families/triage/prompt").json()["variant"]
    _edit(world, "parser: label", "parser: telepathy")
    until(lambda: world.get("/ready").json()["degraded"] == ["triage"])
    assert world.get("/ready").status_code == 200
    assert world.get("/v1/families/triage/prompt").json()["variant"] == before
    problem = world.get("/v1/families/triage").json()["problem"]
    assert any("parser" in fault["pointer"] and fault["line"] for fault in problem["errors"])


def test_a_bad_edit_is_not_adopted_and_a_good_one_at_once(world: World) -> None:
    before, asked = world.champion(), {"confirm": "triage", "reason": "now"}
    _edit(world, "parser: label", "parser: telepathy")
    refused = world.post("/v1/families/triage/adopt", asked)
    assert (refused.status_code, world.champion()) == (422, before)
    assert refused.json()["detail"].startswith("The file as it stands cannot be served. ")
    searched = world.post("/v1/families/triage/studies", {"dry_run": True})
    assert (searched.status_code, searched.json()["detail"].split(". ")[0]) == (
        422,
        "The file as it stands cannot be searched",
    )
    _edit(world, "parser: telepathy", "parser: label")
    _edit(world, "Is it billing or technical?", "Which one?")
    adopted = world.post("/v1/families/triage/adopt", asked)
    assert (adopted.status_code, adopted.json()["forced"]) == (200, True)
    assert world.champion() == adopted.json()["champion"]["variant"] != before


def test_a_bad_edit_leaves_the_last_good_version_serving_after_a_restart_too(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        before = world.get("/v1/families/triage/prompt").json()
        _edit(world, "parser: label", "parser: telepathy")
    with serving(settings) as world:
        ready = world.get("/ready")
        assert (ready.status_code, ready.json()["degraded"]) == (200, ["triage"])
        after = world.get("/v1/families/triage/prompt").json()
        assert (after["variant"], after["messages"]) == (before["variant"], before["messages"])
        assert world.post("/v1/families/triage/render", {"variables": {"text": "a"}}).status_code == 200
        assert world.post("/v1/feedback", {"family": "triage", "unit": "u", "success": True}).json()["accepted"] == 1


def test_a_new_family_is_served_without_a_restart(world: World) -> None:
    folder = world.settings.families_dir / "second"
    folder.mkdir()
    text = (world.settings.families_dir / "triage" / "family.yaml").read_text(encoding="utf-8")
    (folder / "family.yaml").write_text(text.replace("name: triage", "name: second"), encoding="utf-8")
    until(lambda: world.get("/v1/families/second/prompt").status_code == 200)
