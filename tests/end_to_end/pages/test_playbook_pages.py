"""A family's playbook over REST: what it shows, and a person's word on an entry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.stand_ins.playbook_model import RIGHT, add_entry
from tests.worlds.api_world import World

F = "triage"
OTHER = "Read dates as day, month, year."


def shown(world: World) -> Any:
    return world.get(f"/v1/families/{F}/playbook").json()


def act(world: World, entry: str, what: str, reason: str = "I read it") -> Any:
    return world.post(f"/v1/families/{F}/playbook/{entry}/{what}", {"reason": reason})


def test_a_playbook_shows_entries_evidence_counts_and_the_section(world: World) -> None:
    assert shown(world) == {"family": F, "entries": [], "section": ""}
    world.add_examples(3)
    store = world.shared.store
    with store.read() as tx:
        example = store.examples.of_split(tx, F, split="train")[0].id
    right = add_entry(store, F, evidence=(example, "ex_forgotten"), helpful=4, harmful=1)
    add_entry(store, F, OTHER, state="merged", merged_into=right, reason="alike")
    found = shown(world)
    assert found["section"] == f"## Playbook\nDirectives:\n- {RIGHT}"
    one, other = found["entries"]
    assert (one["text"], one["kind"], one["helpful"], one["harmful"], one["state"]) == (
        RIGHT,
        "directive",
        4,
        1,
        "active",
    )
    assert one["evidence"] == [
        {"example": example, "interaction": None, "kept": True},
        {"example": "ex_forgotten", "interaction": None, "kept": False},
    ]
    assert (one["served"], one["study"], one["changed_by"]) == (False, "st_1", "study:st_1")
    assert (other["state"], other["merged_into"], other["reason"]) == ("merged", right, "alike")


def test_a_person_retires_and_restores_an_entry_on_record(world: World) -> None:
    entry = add_entry(world.shared.store, F)
    done = act(world, entry, "retire", "it names a customer").json()
    assert done["what"] == f"{entry} is retired"
    assert (done["changed"], done["why"], done["undo"]) == (
        True,
        "it names a customer",
        f"detent playbook restore {F} {entry}",
    )
    assert shown(world)["section"] == ""
    again = act(world, entry, "retire", "once more").json()
    assert (again["changed"], again["what"], again["why"]) == (
        False,
        f"{entry} is retired already",
        "it names a customer",
    )
    assert act(world, entry, "restore").json()["entry"]["state"] == "active"
    acts = [one for one in world.get("/v1/audit").json()["items"] if one["action"].startswith("playbook.")]
    assert sorted((one["action"], one["subject"], one["detail"]["why"]) for one in acts) == [
        ("playbook.restore", entry, "I read it"),
        ("playbook.retire", entry, "it names a customer"),
    ]


def test_an_entry_that_the_champion_shows_is_served_until_another_is_promoted(world: World) -> None:
    entry = add_entry(world.shared.store, F)
    messages = [
        {"role": "system", "content": f"Is it billing or technical?\n\n## Playbook\nDirectives:\n- {RIGHT}"},
        {"role": "user", "content": "{{text}}"},
    ]
    made = world.post(f"/v1/families/{F}/variants", {"messages": messages, "note": "with its section"}).json()
    store, now = world.shared.store, world.shared.clock.now()
    with store.read() as tx:
        champion = store.champions.current(tx, F)
    assert champion is not None
    after = replace(champion, seq=champion.seq + 1, variant=made["variant"], since=now, previous=champion.seq)
    store.write(lambda tx: store.champions.put(tx, after))
    assert shown(world)["entries"][0]["served"] is True
    done = act(world, entry, "retire").json()
    assert done["what"] == f"{entry} is retired; the champion shows it until another variant is promoted"


def test_a_merged_entry_is_not_retired_and_the_refusal_names_the_one_that_says_it_now(world: World) -> None:
    right = add_entry(world.shared.store, F)
    merged = add_entry(world.shared.store, F, OTHER, state="merged", merged_into=right)
    refused = act(world, merged, "retire")
    assert (refused.status_code, refused.json()["merged_into"]) == (409, right)
    assert f"detent playbook retire {F} {right}" in refused.json()["detail"]
    unknown = act(world, "pb_none", "restore")
    assert (unknown.status_code, unknown.json()["entry"]) == (404, "pb_none")
