"""Champions, and the files that name them, as operators move them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from optimizer.adapters.models.language_models import Models
from optimizer.core.base.errors import Conflict, InvalidInput, NotFound, Refused
from optimizer.core.declaration.read import parse_family
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from tests.cases import named
from tests.contract.rollouts_by_hand.world import F, champion, family, load, served, version
from tests.stores import EMBEDDED_ONLY
from tests.worlds.contexts import context_of

LARGE_ONLY = "large: {litellm: openai/large}"


def test_the_first_champion_is_what_the_file_names(store, clock):
    assert champion(store) == family().variant().id


def test_a_second_sync_changes_nothing(store, clock):
    before = version(store)
    sync_families({F: family()}, store, clock)
    assert version(store) == before
    with store.read() as tx:
        assert len(store.champions.history(tx, F)) == 1


def test_an_edited_file_becomes_a_variant_but_never_switches_traffic(store, clock):
    edited = family("Summarize.", "Be brief.", current="2")
    [sync] = sync_families({F: edited}, store, clock)
    assert champion(store) == family().variant().id
    assert sync.edited == edited.variant().id
    assert "edited, not served" in sync.text
    assert f"detent family adopt {F} --confirm {F}" in sync.text
    with store.read() as tx:
        record = store.variants.get(tx, F, edited.variant().id)
    assert record is not None
    assert record.source == "file"
    assert record.file_version == "2"


def test_adopting_the_file_needs_the_familys_name_and_is_recorded_as_forced(acts, store):
    edited = family("Summarize.", "Be brief.", current="2")
    with pytest.raises(Refused, match="--confirm summarization"):
        acts.adopt(edited, confirm="yes")
    told = acts.adopt(edited, confirm=F)
    assert champion(store) == edited.variant().id
    assert told.forced
    assert told.undo == f"detent champion rollback {F}"
    for confirm in (F, None):
        with pytest.raises(Conflict, match="already is the champion"):
            acts.adopt(edited, confirm=confirm)


@named(
    ("model", "loaded", "error", "says"),
    {
        "in no file": ({"default": "large"}, None, NotFound, "There is no model 'large'"),
        "added a moment ago": (
            {"default": "embedded"},
            ["other"],
            Conflict,
            "It reads config/models.yaml again within a second of a change. Try again",
        ),
        "a tier": (
            {"default": "embedded", "tiers": ["small", "embedded"]},
            None,
            NotFound,
            "There is no model 'small'",
        ),
    },
)
def test_a_file_whose_model_the_server_does_not_know_is_not_served(acts, store, model, loaded, error, says):
    edited = parse_family({**family("Be brief.").model_dump(mode="json"), "model": model})
    with pytest.raises(error, match=f"Cannot serve version 1 of {F}'s file: .*{says}"):
        acts.adopt(edited, confirm=F, loaded=loaded)
    assert champion(store) == family().variant().id
    known = family("Be brief.")
    acts.adopt(known, confirm=F, loaded=["embedded"])
    assert champion(store) == known.variant().id


def test_a_file_that_was_never_synced_can_be_adopted_without_forcing_anything(acts):
    other = family().model_copy(update={"name": "other"})
    told = acts.adopt(other, confirm=None)
    assert not told.forced
    assert told.undo is None


def test_with_serve_file_edits_new_content_serves_at_once_and_a_promotion_stays(
    acts, store, clock, candidate, deploying
):
    acts.operate(deploying.id, "promote", confirm=F)
    [sync] = sync_families({F: family()}, store, clock, serve_file_edits=True)
    assert (sync.edited, sync.behind) == (None, family().variant().id)
    assert "served before" in sync.text
    assert champion(store) == candidate
    edited = family("Be brief.")
    sync_families({F: edited}, store, clock, serve_file_edits=True)
    assert champion(store) == edited.variant().id
    sync_families({F: family()}, store, clock, serve_file_edits=True)
    assert champion(store) == family().variant().id


def test_a_champion_rollback_goes_down_and_never_comes_up_again(acts, store, clock, candidate, deploying):
    first = champion(store)
    acts.operate(deploying.id, "promote", reason="good", confirm=F)
    assert champion(store) == candidate
    told = acts.roll_back(reason="complaints")
    assert champion(store) == first
    assert told.undo == f"detent champion set {F} {candidate} --reason WHY --confirm {F}"
    clock.pass_time(timedelta(minutes=10))
    with pytest.raises(Conflict, match="no champion before"):
        acts.roll_back(reason="again")
    assert champion(store) == first


def test_a_champion_rollback_says_where_it_goes_and_with_which_model(acts, store, candidate, deploying):
    first = champion(store)
    acts.operate(deploying.id, "promote", reason="good", confirm=F)
    before = version(store)
    foreseen = acts.roll_back(dry_run=True)
    assert foreseen.what.startswith(f"{first} (model embedded, version 1 of the file) would be champion again")
    assert (foreseen.changed, version(store), champion(store)) == (False, before, candidate)
    told = acts.roll_back()
    assert told.what.startswith(f"{first} (model embedded, version 1 of the file) is champion again, instead of")
    assert (told.models, told.instead_of) == (("embedded",), candidate)


def test_a_champion_rollback_tells_two_texts_apart_that_one_version_of_the_file_had(acts, clock, candidate):
    clock.pass_time(timedelta(minutes=1))
    edited = family("Be brief.")
    acts.adopt(edited, confirm=F)
    told = acts.roll_back().what
    first, second = family().variant().id, edited.variant().id
    assert f"{first} (model embedded, version 1 of the file, number 1 of 2 that had this name) is champion" in told
    assert f"instead of {second} (model embedded, version 1 of the file, number 2 of 2 that had this name)" in told


def test_a_champion_rollback_that_is_said_twice_does_nothing_and_says_so(acts, store, clock, candidate, deploying):
    first = champion(store)
    acts.operate(deploying.id, "promote", reason="good", confirm=F)
    edited = family("Summarize.", "Be brief.", current="2")
    acts.adopt(edited, confirm=F)
    bad = champion(store)
    acts.roll_back(reason="complaints")
    kept = version(store)
    for expect in (None, bad):
        clock.pass_time(timedelta(minutes=4))
        again = acts.roll_back(actor="ben", reason="complaints", expect=expect)
        assert not again.changed
        assert f"instead of {bad} already, since" in again.what
        assert "by ann; nothing changed" in again.what
        assert again.next == f"to go further back: detent champion rollback {F} --to {first}"
    assert (champion(store), version(store)) == (candidate, kept)
    assert acts.roll_back(actor="ben", to=first).changed
    assert champion(store) == first


def test_a_variant_is_served_now_past_every_gate_and_recorded_as_forced(acts, store, clock, candidate, deploying):
    first = champion(store)
    told = acts.set_champion(candidate, reason="outage", confirm=F)
    assert champion(store) == candidate
    assert (told.forced, told.instead_of, told.undo) == (True, first, f"detent champion rollback {F}")
    assert f"rollout {deploying.id} ended" in told.what
    ended = load(store, deploying.id)
    assert (ended.status, ended.outcome) == ("rolled_back", "champion_changed")
    assert verify_rollout(deploying.id, store).ok
    assert served(store, clock, "u")[1] is None
    with store.read() as tx:
        tenure = store.champions.current(tx, F)
        [row] = [row for row in store.audit.page(tx, cursor=None, limit=100)[0] if row["action"] == "champion.set"]
    assert (tenure.forced, tenure.why, tenure.by, tenure.rollout) == (True, "served now: outage", "ann", None)
    assert (row["actor"], row["subject"], row["detail"]["forced"]) == ("ann", candidate, True)
    again = acts.set_champion(candidate, reason="outage", confirm=None)
    assert not again.changed
    acts.roll_back()
    assert champion(store) == first


def test_a_variant_served_now_needs_a_reason_and_the_familys_name_and_has_to_be_there(acts, store, candidate):
    first = champion(store)
    for reason, confirm, variant, error in (
        (" ", F, candidate, InvalidInput),
        ("outage", "yes", candidate, Refused),
        ("outage", None, candidate, Refused),
        ("outage", F, "v_none", NotFound),
    ):
        with pytest.raises(error):
            acts.set_champion(variant, reason=reason, confirm=confirm)
    assert champion(store) == first
    with pytest.raises(NotFound):
        acts.set_champion(candidate, family="nobody", reason="outage", confirm="nobody")


@named(
    ("models", "loaded", "error", "says"),
    {
        "in no file": ("large: {litellm: openai/large}", ["embedded"], NotFound, "There is no model 'embedded'"),
        "not with the server": (EMBEDDED_ONLY, ["other"], Conflict, "does not know its model 'embedded'"),
        "no file can be read": (None, ["other"], Conflict, "does not know its model 'embedded'"),
    },
)
def test_a_variant_whose_model_is_unknown_is_not_served_now_but_is_gone_back_to_with_a_warning(
    acts, store, candidate, tmp_path, models, loaded, error, says
):
    if isinstance(models, str):
        (tmp_path / "models.yaml").write_text(models)
        models = Models(tmp_path / "models.yaml", tmp_path)
    first = champion(store)
    with pytest.raises(error, match=f"Cannot serve {candidate} of {F} at once: .*{says}"):
        acts.set_champion(candidate, reason="outage", confirm=F, models=models, loaded=loaded)
    assert champion(store) == first
    assert acts.set_champion(candidate, reason="outage", confirm=F, models=EMBEDDED_ONLY, loaded=["embedded"]).changed
    foreseen = acts.roll_back(models=models, loaded=loaded, dry_run=True)
    told = acts.roll_back(models=models, loaded=loaded)
    assert (told.changed, champion(store)) == (True, first)
    for report, begins in (
        (foreseen, "It would serve, and could not answer: "),
        (told, "It serves, and it cannot answer: "),
    ):
        assert str(report.warning).startswith(begins)
        assert says in str(report.warning)
    assert acts.roll_back(models=EMBEDDED_ONLY, loaded=["embedded"]).warning is None


def test_a_frozen_family_takes_what_a_person_serves_now_and_stays_frozen(acts, store, clock, candidate):
    freeze(context_of(store, clock), FreezeRequest(family=F, reason="incident"))
    acts.set_champion(candidate, reason="outage", confirm=F)
    assert champion(store) == candidate
    with store.read() as tx:
        assert store.freezes.all(tx)


@pytest.mark.parametrize("by", [F, "digests"], ids=["its former name", "its name"])
def test_the_alert_of_a_freeze_closes_after_its_family_was_renamed(store, clock, candidate, by):
    context = context_of(store, clock)
    freeze(context, FreezeRequest(family=F, reason="incident"))
    store.write(lambda tx: store.family_names.rename(tx, F, "digests", clock.now()))
    assert freeze(context, FreezeRequest(family=by, reason="incident")).changed is False
    assert unfreeze(context, FreezeRequest(family=by, reason="over")).changed
    with store.read() as tx:
        assert (store.freezes.all(tx), store.alerts.all(tx, open_only=True)) == ([], [])


def test_a_champion_rollback_meant_for_another_champion_is_refused(acts, candidate, deploying):
    with pytest.raises(Conflict, match=candidate):
        acts.roll_back(expect=candidate)


def test_a_change_of_champion_ends_the_rollout_in_the_same_transaction(acts, store, clock, candidate, deploying):
    edited = family("Summarize.", "Be brief.", current="2")
    acts.adopt(edited, confirm=F)
    ended = load(store, deploying.id)
    assert (ended.status, ended.outcome) == ("rolled_back", "champion_changed")
    assert verify_rollout(deploying.id, store).ok
    assert served(store, clock, "u")[1] is None


def test_a_family_without_champion_has_nothing_to_roll_back(acts):
    with pytest.raises(NotFound):
        acts.roll_back(family="nobody")
