"""Which variant a unit gets: as the server decides, while leases and holdbacks last."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from detent_client.server_time import BEHIND_S, ServerTime, server_time_of
from detent_client.snapshot import families_of, read_families


def test_each_decision_of_the_golden_file_is_the_server_s(golden) -> None:
    head, *rows = golden("decisions.jsonl")
    families, t0 = families_of(head["snapshot"]), parsedate_to_datetime(head["date"]).timestamp()
    for row in rows:
        choice = families[row["family"]].choose(row["unit"], t0 + row["after_s"], {})
        told = {"variant": choice.variant.id, "role": choice.role, "rollout": choice.rollout, "stage": choice.stage}
        assert {**row, **told} == row
    assert len(rows) > 500


def test_a_renewed_lease_holds_and_one_that_is_not_known_does_not(rollout, served) -> None:
    entry = {"champion": served("a"), "rollout": rollout(1.0, lease_s=60, at=1000)}
    family = families_of({"families": {"triage": entry}})["triage"]
    assert family.choose("u", 1059.9, {}).role == "candidate"
    assert family.choose("u", 1060.0, {}).role == "champion"
    assert family.choose("u", 1060.0, {"ro_1": 1070.0}).role == "candidate"
    assert family.choose("u", 1070.0, {"ro_1": 1070.0}).rollout is None
    assert family.choose("u", None, {}).role == "champion"
    assert family.choose(None, 1000.0, {}).rollout is None


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("by_server", ["champion", "candidate"])
def test_nobody_stands_in_an_arm_where_the_server_carries_out_one_of_the_two(rollout, served, share, by_server) -> None:
    entry = {"champion": served("a"), "rollout": rollout(share, lease_s=60, at=1000)}
    policy = {"tiers": ["small", "large"]}
    if by_server == "champion":
        entry["champion"] = {**entry["champion"], "policy": policy}
    else:
        entry["rollout"]["candidate"] = {**entry["rollout"]["candidate"], "policy": policy}
    choice = families_of({"families": {"triage": entry}})["triage"].choose("u", 1000.0, {})
    assert (choice.role, choice.rollout) == ("champion", None)


def test_the_server_s_clock_is_never_taken_to_be_earlier_than_it_is() -> None:
    time = server_time_of({"date": "Thu, 01 Jan 1970 01:00:00 GMT"}, sent_at=10.0)
    assert time == ServerTime(3600.0, 10.0)
    assert time.latest(15.0) == 3605.0 + BEHIND_S
    assert server_time_of({}, 0.0) is None
    assert server_time_of({"date": "yesterday"}, 0.0) is None


def test_a_file_gives_champions_only(rollout, served) -> None:
    said = {"families": {"triage": {"champion": served("a"), "rollout": rollout(1.0), "holdback": None}}}
    assert families_of(said)["triage"].rollout is not None
    assert families_of(said, champions_only=True)["triage"].rollout is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        "null",
        "{}",
        '{"families": []}',
        '{"families": {"triage": {}}}',
        '{"families": {"triage": {"champion": {"messages": 3}}}}',
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_snapshot_is_refused(body) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_families(body)


def test_a_snapshot_with_one_family_that_cannot_be_read_is_refused_whole(served, rollout) -> None:
    bad = [
        {"champion": served("a", messages="x")},
        {"champion": served("a", inputs=[1])},
        {"champion": served("a"), "rollout": {**rollout(0.5), "lease_expires_at": None}},
        {"champion": served("a"), "rollout": {**rollout(0.5), "share": "half"}},
        {"champion": served("a"), "rollout": {**rollout(0.5), "share": float("inf")}},
    ]
    for entry in bad:
        with pytest.raises(ValueError, match=r".*"):
            families_of({"families": {"good": {"champion": served("a")}, "bad": entry}})
