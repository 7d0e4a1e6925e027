"""Families that are retired, brought back and renamed, while a server runs."""

from __future__ import annotations

import errno
import json
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from optimizer.core.dataset.examples import make_example, split_of
from optimizer.core.feedback.review_kinds import RELEASE_EXAMPLE
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.feedback.spooled_records import interaction_record, keep_records
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime.wiring import sealed_holdout
from tests.stores import NOW
from tests.worlds.api_world import FAMILY, World


def retire(world: World, **query: Any) -> Any:
    return world.client.delete("/v1/families/triage", params={"confirm": "triage", **query})


def rename(world: World, old: str, new: str, **headers: str) -> Any:
    return world.post(f"/v1/families/{old}/rename", {"name": new, "confirm": old}, headers=headers)


def folder_of(world: World, name: str) -> Path:
    return world.settings.families_dir / name


def make_again(world: World, text: str = FAMILY, *, name: str = "triage") -> None:
    folder_of(world, name).mkdir(parents=True)
    (folder_of(world, name) / "family.yaml").write_text(text.replace("name: triage", f"name: {name}"), encoding="utf-8")
    world.shared.serving.refresh()


def add(world: World, n: int, *, group: str | None = None, field: str = "text", family: str = "triage") -> list[str]:
    """What became of so many examples."""
    rows = [
        make_example(
            family=family,
            input={field: f"request number {i}"},
            expected={"topic": "billing"},
            created_at=world.shared.clock.now(),
            origin="curated",
            group=group,
        )
        for i in range(n)
    ]
    return world.shared.store.write(lambda tx: [str(told) for told in world.shared.store.examples.add(tx, rows)])


def look(world: World, family: str, study: str) -> list[str]:
    store, at = world.shared.store, world.shared.clock.now()
    return [one.id for one in store.write(lambda tx: sealed_holdout().open(tx, family, study, None, at))]


def test_a_retired_family_serves_no_more_and_its_folder_is_put_aside(world: World) -> None:
    token = world.get("/v1/families/triage/prompt?unit=u").json()["assignment"]
    answer = retire(world, reason="done with it").json()
    assert "triage~1" in answer["what"]
    assert answer["undo"] == "detent family restore triage~1"
    assert not folder_of(world, "triage").exists()
    assert (world.settings.var() / "retired" / "triage~1" / "family.yaml").is_file()
    for path in ("prompt", "history"):
        assert world.get(f"/v1/families/triage/{path}").status_code == (404 if path == "prompt" else 200)
    told = world.get("/v1/families/triage/prompt").json()["detail"]
    assert told == "The family 'triage' was retired. Undo: detent family restore triage."
    assert world.get("/v1/families").json()["items"] == []
    assert world.get("/v1/snapshot").json()["families"] == {}
    assert world.post("/v1/feedback", {"assignment": token, "success": True}).status_code == 422
    (row,) = [row for row in world.get("/v1/audit").json()["items"] if row["action"] == "family.retire"]
    assert (row["family"], row["subject"], row["detail"]["why"]) == ("triage~1", "triage", "done with it")


def test_without_its_name_as_confirmation_nothing_is_retired(world: World) -> None:
    assert world.client.delete("/v1/families/triage").status_code == 409
    assert world.client.delete("/v1/families/nobody?confirm=nobody").status_code == 404
    assert world.get("/v1/families/triage/prompt").status_code == 200


def test_what_was_retired_comes_back_as_it_was(world: World) -> None:
    champion = world.champion()
    world.add_examples(20)
    world.post("/v1/feedback", {"id": "fb_1", "family": "triage", "unit": "u", "success": True})
    retire(world)
    answer = world.post("/v1/families/triage/restore", {"reason": "a slip"})
    assert answer.status_code == 200, answer.text
    assert world.champion() == champion
    assert folder_of(world, "triage").is_dir()
    assert [one["id"] for one in world.get("/v1/feedback?family=triage").json()["items"]] == ["fb_1"]
    with world.shared.store.read() as tx:
        assert sum(world.shared.store.examples.counts(tx, "triage").values()) == 20
        assert world.shared.store.family_names.n_sealed(tx, "triage") == 0
    assert world.post("/v1/families/triage/restore").status_code == 404
    assert retire(world).status_code == 200  # and so again


def test_a_question_about_a_family_that_is_not_here_waits_before_nobody_and_comes_back_with_it(world: World) -> None:
    make_again(world, name="other")
    reviews, about = world.shared.store.reviews, {"kind": RELEASE_EXAMPLE, "subject": "ex_1", "payload": {}, "at": NOW}
    for id, family in (("rv_1", "triage"), ("rv_2", "other")):
        world.shared.store.write(partial(reviews.open, id=id, family=family, **about))

    def waiting() -> list[str]:
        answer, page = world.get("/v1/reviews?status=open").json(), world.get("/dashboard/reviews")
        assert (page.status_code, answer["n_open"]) == (200, len(answer["items"]))
        return [review["id"] for review in answer["items"]]

    assert waiting() == ["rv_1", "rv_2"]
    retire(world)
    assert waiting() == ["rv_2"]
    shutil.rmtree(folder_of(world, "other"))
    world.shared.serving.refresh()
    assert waiting() == []
    assert world.get("/v1/reviews?status=open&family=other").json()["n_open"] == 0
    world.post("/v1/families/triage/restore")
    assert waiting() == ["rv_1"]


def test_a_new_family_of_the_name_begins_with_nothing_but_the_seals(world: World) -> None:
    first = world.champion()
    assert set(add(world, 40)) == {"accepted"}
    looked = look(world, "triage", "st_1")
    look(world, "triage", "st_2")
    world.post("/v1/feedback", {"family": "triage", "unit": "u", "success": True})
    retire(world)
    make_again(world, FAMILY.replace("Is it billing", "Say whether it is billing"))
    store = world.shared.store
    assert world.champion() != first
    assert world.get("/v1/feedback?family=triage").json()["items"] == []
    with store.read() as tx:
        assert sum(store.examples.counts(tx, "triage").values()) == 0
        assert store.variants.get(tx, "triage", first) is None
        assert store.family_names.n_sealed(tx, "triage") == len(looked)
    assert set(add(world, 40)) == {"accepted"}
    with store.read() as tx:
        assert {id for id, _ in store.examples.holdout_ids(tx, "triage")} == set(looked)
        assert store.examples.looks(tx, "triage", looked) == 2
    assert world.post("/v1/families/triage/restore").status_code == 409


@pytest.mark.parametrize("how", [{"group": "one"}, {"field": "request"}], ids=["another group", "another field's name"])
def test_no_sealed_row_is_opened_by_another_group_or_field(world: World, how: dict[str, str]) -> None:
    add(world, 40)
    sealed = set(look(world, "triage", "st_1"))
    retire(world)
    make_again(world)
    told = add(world, 40, **how)
    assert split_of("one") == "train"
    with world.shared.store.read() as tx:
        opened = world.shared.store.examples.of_split(tx, "triage", split="train")
    assert sealed
    assert told.count("sealed") > 0
    texts = {next(iter(one.input.values())) for one in opened}
    assert not {f"request number {i}" for i in range(40) if _id(i) in sealed} & texts


def looks(world: World, family: str, ids: list[str]) -> int:
    with world.shared.store.read() as tx:
        return world.shared.store.examples.looks(tx, family, ids)


def test_the_seals_of_a_name_go_with_a_family_that_is_renamed_away_from_it(world: World) -> None:
    add(world, 40)
    sealed = look(world, "triage", "st_1")
    retire(world)
    make_again(world)
    rename(world, "triage", "tickets")
    assert add(world, 40, family="tickets", group="one").count("sealed") == len(sealed)
    add(world, 40, family="tickets")
    assert looks(world, "tickets", sealed) == 1
    world.client.delete("/v1/families/tickets?confirm=tickets")
    make_again(world, name="tickets")
    assert add(world, 40, family="tickets", group="one").count("sealed") == len(sealed)


def test_what_comes_back_counts_the_looks_of_the_family_that_had_its_name_meanwhile(world: World) -> None:
    add(world, 40)
    sealed = look(world, "triage", "st_1")
    retire(world)
    make_again(world)
    add(world, 40)
    look(world, "triage", "st_2")
    retire(world)
    assert world.post("/v1/families/triage~1/restore").status_code == 200
    assert looks(world, "triage", sealed) == 2


def test_a_family_that_takes_a_retired_name_counts_its_looks_and_may_have_opened_nothing(world: World) -> None:
    add(world, 40)
    sealed = look(world, "triage", "st_1")
    retire(world)
    make_again(world, name="opened")
    make_again(world, name="held_out")
    add(world, 40, family="opened", group="one")
    add(world, 40, family="held_out")
    answer = rename(world, "opened", "triage")
    assert answer.status_code == 409
    assert f"{len(sealed)} examples" in answer.json()["detail"]
    assert folder_of(world, "opened").is_dir()
    assert world.get("/v1/families/opened/prompt").json()["family"] == "opened"
    assert rename(world, "held_out", "triage").status_code == 200
    assert looks(world, "triage", sealed) == 1
    assert rename(world, "triage", "held_out").status_code == 200  # and back


def test_what_comes_back_takes_no_seal_from_another_family(world: World) -> None:
    add(world, 40)
    sealed = look(world, "triage", "st_1")
    rename(world, "triage", "tickets")
    world.client.delete("/v1/families/tickets?confirm=tickets")
    make_again(world)
    assert world.post("/v1/families/tickets/restore").status_code == 200
    assert add(world, 40, group="one").count("sealed") == len(sealed)


def later(world: World, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    now = datetime.now(UTC) + timedelta(seconds=seconds)
    monkeypatch.setattr(world.shared.clock, "now", lambda: now)


def token_of(world: World, family: str = "triage") -> str:
    return str(world.get(f"/v1/families/{family}/prompt?unit=u").json()["assignment"])


def send(world: World, token: str, **more: Any) -> tuple[int, str | None]:
    """How many events were taken, and why one was not."""
    answer = world.post("/v1/feedback", [{"assignment": token, "success": True, **more}]).json()
    return answer["accepted"], next((one["type"] for one in answer["rejected"]), None)


def test_a_token_of_a_retired_family_counts_for_no_other_of_its_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = token_of(world)
    retire(world)
    later(world, monkeypatch, 2)
    make_again(world)
    second = token_of(world)
    world.post("/v1/interactions", {"id": "in_1", "assignment": second, "output": "billing"})
    refused = world.post("/v1/feedback", [{"assignment": first, "success": True}]).json()["rejected"][0]
    assert refused["type"] == "token_of_retired_family"
    assert "another family of this name" in refused["detail"]
    assert send(world, first, interaction="in_1") == (0, "token_of_retired_family")
    assert send(world, second) == (1, None)
    retire(world)
    later(world, monkeypatch, 4)
    assert world.post("/v1/families/triage~1/restore").status_code == 200
    assert send(world, second) == (0, "token_of_retired_family")
    assert send(world, token_of(world)) == (1, None)


def test_a_token_of_a_family_that_only_came_back_or_was_renamed_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [token_of(world)]
    for i, act in enumerate(
        [
            lambda: (retire(world), world.post("/v1/families/triage/restore")),
            lambda: (rename(world, "triage", "tickets"),),
            lambda: (rename(world, "tickets", "triage"),),
        ]
    ):
        later(world, monkeypatch, 2 * (i + 1))
        assert {answer.status_code for answer in act()} == {200}
        assert [send(world, token) for token in tokens] == [(1, None)] * len(tokens)
        tokens.append(token_of(world))


def test_a_token_is_of_no_family_that_took_the_name_by_a_rename(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(world)
    make_again(world, name="tickets")
    retire(world)
    later(world, monkeypatch, 2)
    assert rename(world, "tickets", "triage").status_code == 200
    assert send(world, token) == (0, "token_of_retired_family")
    assert send(world, token_of(world)) == (1, None)


def test_what_waited_in_the_spool_of_the_gateway_is_of_no_later_family(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record() -> dict[str, Any]:
        (read,) = IntakeRequest(intake("app")).read(
            [{"id": "in_1", "assignment": token_of(world), "output": "billing"}]
        )
        return dict(json.loads(json.dumps(interaction_record(read, "app"))))

    def intake(actor: str) -> Intake:
        return world.shared.intake(actor, by_gateway=True)

    first = record()
    retire(world)
    later(world, monkeypatch, 2)
    make_again(world)
    store = world.shared.store
    for one, told in ((first, ["token_of_retired_family"]), (record(), [])):
        rejected = store.write(lambda tx, one=one: keep_records(tx, [one], store, intake))
        assert [each["type"] for each in rejected] == told


def _id(i: int) -> str:
    at = make_example(
        family="triage",
        input={"text": f"request number {i}"},
        expected={},
        created_at=None,
        origin="curated",  # type: ignore[arg-type]
    )
    return at.id


def test_forgetting_leaves_no_text_and_what_is_counted(world: World) -> None:
    world.add_examples(40)
    sent = {"family": "triage", "unit": "u", "input": {"text": "my secret"}, "output": "secret", "success": True}
    world.post("/v1/feedback", sent)
    for role in ("operate", "admin"):
        world.add_key(role, role, secret=role)
    asked = {"confirm": "triage", "forget": "true"}

    def forget(role: str) -> Any:
        return world.client.delete("/v1/families/triage", params=asked, headers={"X-API-Key": role})

    assert forget("operate").status_code == 403
    answer = forget("admin")
    assert answer.json()["undo"] is None
    aside = world.settings.var() / "retired" / "triage~1"
    assert f"and the folder {aside} are forgotten, for good" in answer.json()["what"]
    assert "until `mlflow gc`" in answer.json()["what"]
    assert not aside.exists()
    store = world.shared.store
    with store.read() as tx:
        assert store.events.page_of_interactions(
            tx, family="triage~1", variant=None, since=None, cursor=None, limit=9
        ) == ([], None)
        assert sum(store.examples.counts(tx, "triage~1").values()) == 0
        assert store.variants.of_family(tx, "triage~1") == []
        assert store.events.arm_summary(tx, "triage~1", None)[0].n_interactions == 1
        assert store.family_names.n_sealed(tx, "triage") > 0
    text = (world.settings.var() / "detent.db").read_bytes()
    assert text  # the file stays; what SQLite has freed is overwritten as it is used again
    assert forget("admin").status_code == 200  # cut off in between, it goes on
    assert world.post("/v1/families/triage/restore", headers={"X-API-Key": "admin"}).status_code == 409


def test_an_active_rollout_is_never_ended_by_it(world: World) -> None:
    rollout = world.deploying()["id"]
    for answer in (retire(world), rename(world, "triage", "tickets")):
        assert answer.status_code == 409
        assert "detent rollout rollback triage" in answer.json()["detail"]
    assert folder_of(world, "triage").is_dir()
    world.post(f"/v1/rollouts/{rollout}/rollback", {"reason": "x"})
    assert retire(world).status_code == 200


def test_no_run_is_queued_for_a_family_that_was_retired_while_it_was_prepared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(world, 40)
    write = world.shared.store.write

    def after_it_was_retired(change: Any, **options: Any) -> Any:
        monkeypatch.setattr(world.shared.store, "write", write)
        assert retire(world).status_code == 200
        return write(change, **options)

    monkeypatch.setattr(world.shared.store, "write", after_it_was_retired)
    answer = world.post("/v1/families/triage/evaluations", {"n": 2})
    assert (answer.status_code, "triage became triage~1 while this was prepared" in answer.text) == (409, True)
    with world.shared.store.read() as tx:
        assert world.shared.store.runs.unfinished(tx) == []


def test_a_renamed_family_goes_on_under_both_names(world: World) -> None:
    rollout = world.deploying()["id"]
    in_process = {"family": "triage", "unit": "v", "assigned_at": world.shared.clock.now().isoformat()}
    in_process |= {"variant": world.get("/v1/families/triage/prompt?unit=v").json()["variant"], "rollout": rollout}
    world.post(f"/v1/rollouts/{rollout}/rollback", {"reason": "x"})
    champion, token = world.champion(), world.get("/v1/families/triage/prompt?unit=u").json()["assignment"]
    world.post("/v1/feedback", {"id": "in_1", "family": "triage", "unit": "u", "output": "billing"})
    world.add_key("app", "feedback", secret="app", families=["triage"])
    world.add_key("admin", "admin", secret="admin")
    admin, app = {"X-API-Key": "admin"}, {"X-API-Key": "app"}
    answer = world.post("/v1/families/triage/rename", {"name": "tickets", "confirm": "triage"}, headers=admin)
    assert answer.json()["undo"] == "detent family rename tickets triage --confirm tickets", answer.text
    assert "name: tickets" in (folder_of(world, "tickets") / "family.yaml").read_text(encoding="utf-8")
    assert not folder_of(world, "triage").exists()
    assert [one["name"] for one in world.get("/v1/families", headers=admin).json()["items"]] == ["tickets"]
    for name in ("triage", "tickets"):
        prompt = world.get(f"/v1/families/{name}/prompt?unit=u", headers=app).json()
        assert (prompt["family"], prompt["variant"]) == ("tickets", champion)
        assert set(world.get("/v1/snapshot", headers=app).json()["families"]) == {"triage", "tickets"}
        rendered = world.post(f"/v1/families/{name}/render", {"variables": {"text": "x"}}, headers=app)
        assert rendered.status_code == 200
    for i, event in enumerate(
        (
            {"assignment": token, "success": True},
            {"family": "triage", "unit": "u", "success": True},
            {"family": "triage", "interaction": "in_1", "success": True},
            {"family": "tickets", "interaction": "in_1", "success": True},
            {**in_process, "success": True},
        )
    ):
        taken = world.post("/v1/feedback", {"id": f"fb_{i}", **event}, headers=app)
        assert taken.json().get("accepted") == 1, taken.text
    told = world.get("/v1/feedback?family=triage", headers=admin).json()["items"]
    assert {one["family"] for one in told} == {"tickets"}
    assert len(told) == 5
    assert [one["variant"] for one in told if one["rollout"] == rollout] == [in_process["variant"]]
    assert not verify_rollout(rollout, world.shared.store).problems
    back = world.post("/v1/families/tickets/rename", {"name": "triage", "confirm": "tickets"}, headers=admin)
    assert back.status_code == 200, back.text
    assert world.get("/v1/families/triage/prompt", headers=app).json()["family"] == "triage"


@pytest.mark.parametrize(
    ("new", "status"), [("Tickets!", 422), ("triage", 409), ("t", 422)], ids=["no name", "its own", "too short"]
)
def test_a_name_that_cannot_be_is_refused(world: World, new: str, status: int) -> None:
    assert rename(world, "triage", new).status_code == status
    assert folder_of(world, "triage").is_dir()


def test_a_former_name_is_no_name_for_another_family(world: World) -> None:
    rename(world, "triage", "tickets")
    make_again(world)
    assert world.get("/v1/families/triage/prompt").json()["family"] == "tickets"
    assert "former name of 'tickets'" in world.shared.families.problems["triage"].detail
    with world.shared.store.read() as tx:
        assert len(world.shared.store.champions.history(tx, "tickets")) == 1


def test_a_rename_that_was_cut_off_serves_on_and_is_finished_by_saying_it_again(world: World) -> None:
    store, champion = world.shared.store, world.champion()
    store.write(lambda tx: store.family_names.rename(tx, "triage", "tickets", world.shared.clock.now()))
    world.shared.serving.refresh()
    assert world.get("/v1/families/triage/prompt").json()["variant"] == champion
    answer = rename(world, "triage", "tickets")
    assert answer.status_code == 200, answer.text
    for name in ("triage", "tickets"):
        shown = world.get(f"/v1/families/{name}/prompt").json()
        assert (shown["family"], shown["variant"]) == ("tickets", champion)
    with store.read() as tx:
        assert len(store.champions.history(tx, "tickets")) == 1


def test_a_retirement_that_was_cut_off_is_finished_by_saying_it_again(world: World) -> None:
    aside = world.settings.var() / "retired" / "triage~1"
    aside.parent.mkdir(parents=True)
    folder_of(world, "triage").rename(aside)
    assert retire(world).status_code == 200
    assert world.post("/v1/families/triage/restore").status_code == 200
    assert world.get("/v1/families/triage/prompt").status_code == 200


def cut(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, of: Path) -> None:
    """Lets a step of the file system fail for this path, as a full disk or an end of the process would."""
    done = getattr(owner, name)

    def step(path: Any, *args: Any, **more: Any) -> Any:
        if Path(path) == of:
            raise OSError(errno.ENOSPC, "No space left on device")
        return done(path, *args, **more)

    monkeypatch.setattr(owner, name, step)


@pytest.mark.parametrize("step", ["copied", "moved", "removed"])
def test_a_rename_whose_folder_did_not_move_is_finished_by_the_same_request(world: World, step: str) -> None:
    folder, champion = folder_of(world, "triage"), world.champion()
    part = folder.with_name(".tickets.part")
    steps: dict[str, tuple[Any, str, Path]] = {
        "copied": (shutil, "copytree", folder),
        "moved": (Path, "rename", part),
        "removed": (shutil, "rmtree", folder),
    }
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, *steps[step])
        with pytest.raises(OSError, match="No space left"):
            rename(world, "triage", "tickets", **{"Idempotency-Key": "k"})
    world.shared.serving.refresh()
    assert world.get("/v1/families/triage/prompt").json()["variant"] == champion
    answer = rename(world, "triage", "tickets", **{"Idempotency-Key": "k"})
    assert answer.status_code == 200, answer.text
    assert sorted(one.name for one in world.settings.families_dir.iterdir()) == ["tickets"]
    assert world.shared.families.problems == {}
    assert world.get("/v1/families/tickets/prompt").json()["variant"] == champion


def test_a_disk_that_is_full_leaves_a_rename_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch, shutil, "copytree", folder_of(world, "triage"))
    with pytest.raises(OSError, match="No space left"):
        rename(world, "triage", "tickets")
    with world.shared.store.read() as tx:
        assert world.shared.store.family_names.former(tx) == {}


def test_a_folder_of_the_users_own_under_a_former_name_is_never_removed(world: World) -> None:
    rename(world, "triage", "tickets")
    make_again(world, FAMILY.replace("Is it billing", "Say whether it is billing"))
    assert rename(world, "triage", "tickets").status_code == 404
    assert folder_of(world, "triage").is_dir()


def test_a_return_whose_folder_did_not_move_is_finished_by_the_same_request(world: World) -> None:
    champion, aside = world.champion(), world.settings.var() / "retired" / "triage~1"
    retire(world)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, Path, "rename", aside)
        with pytest.raises(OSError, match="No space left"):
            world.post("/v1/families/triage/restore", headers={"Idempotency-Key": "k"})
    answer = world.post("/v1/families/triage/restore", headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["champion"]["variant"] == champion == world.champion()
    assert folder_of(world, "triage").is_dir()
    assert not aside.exists()


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "cut off"])
def test_folders_go_to_another_file_system_and_back(
    world: World, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    folder, aside = folder_of(world, "triage"), world.settings.var() / "retired" / "triage~1"
    text, rename_path = (folder / "family.yaml").read_bytes(), Path.rename

    def on_one_device(path: Path, target: Path) -> Path:
        if world.settings.families_dir in path.parents and world.settings.families_dir not in target.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        if world.settings.var() in path.parents and world.settings.var() not in target.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename_path(path, target)

    monkeypatch.setattr(Path, "rename", on_one_device)
    for act, source, target in (
        (lambda: retire(world), folder, aside),
        (lambda: world.post("/v1/families/triage/restore"), aside, folder),
    ):
        if is_cut:
            with pytest.MonkeyPatch.context() as patch:
                cut(patch, shutil, "rmtree", source)
                with pytest.raises(OSError, match="No space left"):
                    act()
        assert act().status_code == 200
        assert (target / "family.yaml").read_bytes() == text
        assert not source.exists()
    assert world.get("/v1/families/triage/prompt").status_code == 200
    assert sorted(one.name for one in aside.parent.iterdir()) == []


def test_a_schedule_stays_off_after_a_return(world: World) -> None:
    world.client.put("/v1/families/triage/schedule", json={"cron": "0 3 * * *"}, headers={"If-Match": "*"})
    retire(world)
    world.post("/v1/families/triage/restore")
    assert world.get("/v1/families/triage/schedule").json()["on"] is False


def test_a_retired_family_is_forgotten_by_the_command_that_pruning_names(world: World) -> None:
    world.post("/v1/feedback", {"family": "triage", "unit": "u", "output": "secret"})
    retire(world)
    shutil.rmtree(world.settings.var() / "retired" / "triage~1")
    (left,) = world.post("/v1/data/prune", {"dry_run": True}).json()["left_alone"]
    assert "detent family delete triage~1 --forget --confirm triage~1" in left["why"]
    answer = world.client.delete("/v1/families/triage~1", params={"confirm": "triage~1", "forget": "true"})
    assert answer.status_code == 200, answer.text
    assert world.get("/v1/interactions?family=triage~1").json()["items"] == []


def test_what_users_sent_to_a_retired_family_goes_when_its_own_days_are_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = world.settings.families_dir / "triage" / "family.yaml"
    file.write_text(f"{file.read_text(encoding='utf-8')}\nprivacy: {{retain_days: 30}}\n", encoding="utf-8")
    world.shared.serving.refresh()
    sent = {"family": "triage", "variant": world.champion(), "unit": "u", "input": {"text": "my secret"}, "output": "x"}
    assert world.post("/v1/feedback", sent).json()["accepted"] == 1
    retire(world)
    for days, kept in ((29, 1), (31, 0)):
        now = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(world.shared.clock, "now", lambda now=now: now)
        roll_up_minutes(world.shared.store, world.shared.clock)
        pruned = world.post("/v1/data/prune")
        assert (pruned.status_code, pruned.json()["left_alone"]) == (200, [])
        with world.shared.store.read() as tx:
            assert tx.execute(text("SELECT count(*) FROM interactions WHERE input LIKE '%secret%'")).scalar() == kept
