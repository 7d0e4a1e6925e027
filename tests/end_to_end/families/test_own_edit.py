"""A person edits a prompt and takes it to the sealed holdout: what is said, asked and refused,
from the terminal and over REST.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stamina

from optimizer.cli.service.by_itself import EditNews
from optimizer.core.base.errors import Busy
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.families.check_models import with_unknown_model
from optimizer.jobs.families.read_edit import labels_not_named
from optimizer.ports import Store
from optimizer.runtime import wiring
from tests.command_line import Ran, detent
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.worlds.api_world import serving
from tests.worlds.gateway_world import make_home
from tests.worlds.study_world import TOPIC_FAMILY, TOPICS, World, topic_examples


def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Knows the topic once it is told to choose."""
    asked = "\n".join(message["content"] for message in body["messages"])
    text = next((topic for topic in TOPICS if topic in body["messages"][-1]["content"]), "none")
    return 200, {}, json.dumps(chat_answer(text if "Choose" in asked else "I would rather not say.")).encode()


class Project:
    """A home with the family ``topics``, a champion, and examples; ``edit`` changes its only version in place."""

    def __init__(self, folder: Path, model: Provider) -> None:
        model.answer = answer
        self.model = model
        declared = {**TOPIC_FAMILY, "model": {"default": "remote", "max_tokens": 8}, "rollout": {"gates": {"n": 20}}}
        price = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
        models = {"remote": {"openai_compatible": model.url, "model": "m", "price": price, "retries": 0}}
        self.settings: Settings = make_home(folder, {"topics": json.dumps(declared)}, models)
        self.file = self.settings.families_dir / "topics" / "family.yaml"
        store = wiring.open_store(self.settings)
        wiring.sync_families(
            self.settings, wiring.load_families(self.settings), store, wiring.open_clock(self.settings)
        )
        rows = [*topic_examples(9, "train"), *topic_examples(6, "dev"), *topic_examples(20, "holdout")]
        store.write(lambda tx: store.examples.add(tx, rows))
        store.close()

    def edit(self, instruction: str = "Choose one topic.") -> None:
        import yaml

        values = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        version = values["prompt"]["versions"][values["prompt"]["current"]]
        version["content"][0]["content"] = instruction
        self.file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    with provider() as model:
        yield Project(tmp_path, model)


def ok(ran: Ran) -> str:
    assert ran.code == 0, ran.err
    return ran.out + ran.err


def test_an_edited_file_is_told_with_the_next_command_and_that_it_was_changed_in_place(project: Project) -> None:
    assert "edited" not in ok(detent("family", "validate", "topics"))
    store = wiring.open_store(project.settings)
    news = news_of(project, store)
    assert news() == []
    project.edit()
    (line,) = news()
    assert news() == []
    store.close()
    for told in (line, ok(detent("family", "validate", "topics"))):
        assert "is edited, not served" in told
        assert "was changed in place: it was v_" in told
        assert "detent study confirm topics file --dry-run" in told


def test_a_label_that_examples_expect_and_the_file_names_no_more_is_told(project: Project) -> None:
    assert "expect" not in ok(detent("family", "validate", "topics"))
    text = project.file.read_text(encoding="utf-8")
    project.file.write_text(text.replace('"music"', '"song"'), encoding="utf-8")
    assert "does not name: 'music' (5 examples)" in ok(detent("family", "validate", "topics"))


def test_only_examples_none_of_whose_right_labels_is_in_the_file_are_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    right: tuple[Any, ...] = (["song", TOPICS[0]], ["song", "dance"], "song", TOPICS[0].upper())
    rows = zip(right, topic_examples(4, "dev"), strict=True)
    examples = [replace(example, expected={"topic": labels}) for labels, example in rows]
    world.store.write(lambda tx: world.store.examples.add(tx, examples))
    with world.store.read() as tx:
        sentence = labels_not_named(tx, world.store, world.family)
    assert sentence is not None
    assert "does not name: 'dance' (1 example), 'song' (2 examples). An answer is right for none" in sentence


def test_a_model_that_nothing_names_is_told_where_the_service_runs_and_by_status(project: Project) -> None:
    assert "refused" not in ok(detent("status"))
    store = wiring.open_store(project.settings)
    news = news_of(project, store)
    project.file.write_text(project.file.read_text(encoding="utf-8").replace("remote", "remtoe"), encoding="utf-8")
    (line,) = news()
    store.close()
    assert "There is no model 'remtoe' in config/models.yaml" in line
    assert "detent family adopt" not in line, "which would be refused"
    told = ok(detent("status"))
    assert "1 family file at fault (detent family validate)" in told
    assert "its file names an unknown model" in told


def test_an_edit_while_the_store_is_away_is_told_once_it_is_back(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = wiring.open_store(project.settings)
    news = news_of(project, store)
    project.edit()
    with monkeypatch.context() as away:
        away.setattr(store, "read", refuse)
        assert news() == []
    (line,) = news()
    assert "is edited, not served" in line
    store.close()


def news_of(project: Project, store: Store) -> EditNews:
    return EditNews(
        store,
        wiring.load_families(project.settings),
        partial(with_unknown_model, partial(wiring.open_models, project.settings)),
    )


def refuse() -> Any:
    raise Busy("The store cannot be used.")


def test_a_version_that_served_before_is_told_apart_from_an_edit(project: Project) -> None:
    project.edit()
    assert "edited, not served" in ok(detent("family", "list"))
    ok(detent("family", "adopt", "topics", "--confirm", "topics"))
    ok(detent("champion", "rollback", "topics"))
    assert "left behind" in ok(detent("family", "list"))


def test_validate_reads_files_and_makes_no_store(project: Project) -> None:
    for file in project.settings.var().glob("detent.db*"):
        file.unlink()
    assert "topics: valid." in ok(detent("family", "validate", "topics"))
    assert list(project.settings.var().glob("detent.db*")) == []


def test_an_edit_goes_to_the_holdout_at_a_price_said_before_and_only_after_a_yes(project: Project) -> None:
    project.edit()
    price = detent("study", "confirm", "topics", "file", "--dry-run", "--json").json["price"]
    assert (price["n_calls"], price["look"], price["study"]) == (40, 1, None)
    assert 0 < price["usd_at_most"] < 1
    assert detent("freeze", "topics").code == 0
    frozen = ok(detent("study", "confirm", "topics", "file", "--dry-run"))
    assert "No look would start while topics is frozen by" in frozen
    assert detent("unfreeze", "topics").code == 0
    refused = detent("study", "confirm", "topics", "file")
    assert (refused.code, "--yes" in refused.err, f"{price['variant']}, aim quality: 40 calls" in refused.err) == (
        3,
        True,
        True,
    )
    assert project.model.bodies == [], "nothing was asked before a yes"
    told = ok(detent("study", "confirm", "topics", "file", "--yes"))
    assert "was nominated" in told or "nominated" in told
    assert len(project.model.bodies) == 40
    again = ok(detent("study", "confirm", "topics", price["variant"], "--dry-run"))
    assert "nothing is to pay" in again
    confirmed = detent("study", "confirm", "topics", price["variant"], "--dry-run", "--json").json
    assert (confirmed["status"], confirmed["winner"]) == ("finished", price["variant"]), "as the route answers"


def test_a_confirmation_that_does_not_confirm_ends_with_a_code_of_its_own(project: Project) -> None:
    project.edit("Say the topic.")
    ran = detent("study", "confirm", "topics", "file", "--yes")
    assert (ran.code, "not_confirmed" in ran.out or "not confirm" in ran.out) == (3, True), ran.err
    assert detent("study", "confirm", "topics", "file", "--yes").code == 3, "nor does it the second time"


def test_a_rollout_and_its_forecast_take_what_the_file_says_as_a_comparison_does(project: Project) -> None:
    project.edit()
    edited = detent("variant", "show", "topics", "file", "--json").json["variant"]
    assert detent("rollout", "forecast", "topics", "file", "--json").json["variant"] == edited
    ok(detent("study", "confirm", "topics", "file", "--yes"))
    for name in ("file", edited[:8]):
        assert f"Cannot start a rollout of {edited}: no interaction" in detent("rollout", "start", "topics", name).err


def test_an_evaluation_without_any_score_is_none(project: Project) -> None:
    declared = {**TOPIC_FAMILY, "model": {"default": "remote", "max_tokens": 8}}
    judged = {**declared, "scorer": {"judge": 1.0}, "judge": {"model": "remote"}}
    project.file.write_text(json.dumps(judged), encoding="utf-8")  # what it answers is no judgement
    project.edit()
    ran = detent("family", "evaluate", "topics", "--variant", "file", "--n", "5", "--json")
    assert (ran.code, ran.json["suites"][0]["mean_score"]) == (1, None), ran.err


def test_the_same_over_rest(project: Project) -> None:
    project.edit()
    with serving(load_settings("dev", project.settings.home)) as world:
        mine = detent("variant", "show", "topics", "file", "--json").json["variant"]
        body = {"strategy": "confirm", "variant": mine}
        priced = world.post("/v1/families/topics/studies", {**body, "dry_run": True})
        assert (priced.status_code, priced.json()["price"]["n_calls"]) == (200, 40)
        made = world.post("/v1/families/topics/studies", body)
        assert (made.status_code, made.json()["strategy"], made.json()["winner"]) == (202, "confirm", mine)
        assert made.headers["location"] == f"/v1/studies/{made.json()['id']}"
        again = world.post("/v1/families/topics/studies", body)
        assert (again.status_code, again.json()["id"]) == (202, made.json()["id"])
        for wrong, pointer in (
            ({"strategy": "confirm"}, "/variant"),
            ({**body, "seed": 3}, "/seed"),
            ({"variant": mine}, "/variant"),
        ):
            refused = world.post("/v1/families/topics/studies", wrong)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text


def test_an_edit_stands_beside_the_champion_on_the_same_dev_examples(project: Project, tmp_path: Path) -> None:
    project.edit()
    priced = detent("variant", "compare", "topics", "champion", "file", "--dry-run", "--json").json
    assert (priced["n"], priced["models"], priced["calls"]["high"], priced["usd"]["high"] > 0) == (
        6,
        ["remote"],
        12,
        True,
    )
    assert project.model.bodies == []
    page = tmp_path / "compare.html"
    told = ok(detent("variant", "compare", "topics", "champion", "file", "--examples", "50", "--out", str(page)))
    assert "The answers differ on 6 of 6 dev examples." in told
    assert "+1.000" in told
    assert "12 calls made" in told
    assert "detent study confirm topics v_" in told
    assert f"Every answer: {page}" in told
    assert all(example.input["document"] in page.read_text() for example in topic_examples(6, "dev"))
    assert "holdout-" not in page.read_text()
    again = detent("variant", "compare", "topics", "champion", "file", "--out", str(page), "--json").json
    assert (again["n_calls"], again["variants"][1]["wins"], len(again["rows"])) == (0, 6, 6)


def test_a_comparison_without_a_cap_keeps_to_its_dry_run_and_half_as_much_for_retries(project: Project) -> None:
    project.edit()
    models = project.settings.home / "config" / "models.yaml"
    models.write_text(models.read_text(encoding="utf-8").replace('"retries": 0', '"retries": 9'), encoding="utf-8")
    project.model.answer = lambda body: (500, {}, b"{}")
    with stamina.set_testing(True, attempts=10):
        ran = detent("variant", "compare", "topics", "champion", "file", "--json")
    assert (ran.code, "would pass the cap of 18 calls" in ran.err) == (3, True), ran.err
    assert "would pass the cap of 18 calls" in ran.json["error"]["detail"]
    assert len(project.model.bodies) == 18
