"""What people find in MLflow: complete, without holdout text, the same after sending twice,
and repaired after a crash or a hand move.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from optimizer.adapters.mlflow.tracking import MlflowTracker
from optimizer.adapters.store import Database
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker
from optimizer.core.family.variant import VariantRecord
from optimizer.core.search.study import Study, Trial, shown_variants
from optimizer.core.serving import champion
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox import mirror_outbox
from optimizer.jobs.outbox.mirror_outbox import TOPICS, mirror_once, wait_s
from optimizer.jobs.record_change import record_tenure
from optimizer.ports import StudyEvidence
from tests.cases import named
from tests.rows import mlflow_story as story
from tests.rows.mlflow_story import FAMILY, STUDY, VARIANTS, after_it
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stores import arm, interaction, keep_events, reading, rollout, writing
from tests.worlds.study_world import topic_family

WINNER = VARIANTS[4].id
FAMILIES = {FAMILY: topic_family(name=FAMILY)}


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory, new_mlflow: NewMlflow) -> str:
    """One MLflow store for the module."""
    return new_mlflow(tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> Iterator[tuple[Database, MlflowTracker]]:
    store = story.open_database(tmp_path_factory.mktemp("home"))
    story.tell(store)
    tracker = MlflowTracker(mlflow_uri)
    assert mirror_once(store, lambda: tracker, after_it(), FAMILIES, story.pages(store)) == 1
    yield store, tracker
    store.close()


HIDDEN = {"pattern": "Document|Trees", "replacement": "[hidden]"}
ENDLESS = {"pattern": "(?:.|..|...)+[!?]$"}


@named(
    ("family", "texts", "output"),
    {
        "no rule is known": (None, set(), None),
        "only metadata is kept": (topic_family(name=FAMILY, privacy={"store": "metadata"}), set(), None),
        "a rule hides a word": (
            topic_family(name=FAMILY, privacy={"mask": [HIDDEN]}),
            {"[hidden]"},
            "[hidden] grew, case 0.",
        ),
        "a rule gets through no text": (topic_family(name=FAMILY, privacy={"mask": [ENDLESS]}), set(), None),
    },
)
def test_mlflow_gets_no_text_that_the_page_of_the_study_hides(
    family: Family | None, texts: set[str], output: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.001)
    store, tracker = story.open_database(tmp_path), Mock()
    story.tell(store)
    tracker.mirror_study.return_value = None
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: family}) == 1
    store.close()
    evidence: StudyEvidence = tracker.mirror_study.call_args.args[2]
    assert {str(one.input["document"]).split()[0] for one in evidence.examples.values()} == texts
    assert evidence.results[WINNER][0].output == output
    assert evidence.results[WINNER][0].score is not None


def test_only_what_mlflow_shows_is_masked_and_no_read_is_open_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tracker, masked = story.open_database(tmp_path), Mock(), list[str]()
    story.tell(store)

    def mask(text: Any) -> Any:
        assert not store._readers._in_use
        masked.append(str(text))
        return text

    monkeypatch.setattr(mirror_outbox, "mask_of", lambda family: mask)
    tracker.mirror_study.return_value = None
    assert mirror_once(store, lambda: tracker, after_it(), FAMILIES) == 1
    store.close()
    study, trials, evidence = tracker.mirror_study.call_args.args
    written = {id for id, rows in evidence.results.items() if any(row.output is not None for row in rows)}
    assert written == {*shown_variants(study, trials)} < {*evidence.results}
    n_of_dev = len(study.dataset["dev"])
    assert len([text for text in masked if text.startswith("Trees grew")]) <= n_of_dev * len(written)


def runs(tracker: MlflowTracker, where: str) -> list[Any]:
    client = tracker._client
    experiment = client.get_experiment_by_name(f"detent/{FAMILY}")
    return list(client.search_runs([experiment.experiment_id], where))


def parent(tracker: MlflowTracker) -> Any:
    (found,) = runs(tracker, f"tags.`detent.study` = '{STUDY}' and tags.`detent.kind` = 'study'")
    return found


def artifact(tracker: MlflowTracker, path: str, folder: Path) -> str:
    return Path(tracker._client.download_artifacts(parent(tracker).info.run_id, path, str(folder))).read_text(
        encoding="utf-8"
    )


def paths(tracker: MlflowTracker, under: str = "") -> list[str]:
    found = []
    for item in tracker._client.list_artifacts(parent(tracker).info.run_id, under or None):
        found += paths(tracker, item.path) if item.is_dir else [item.path]
    return found


def test_a_study_is_a_parent_run_and_every_trial_a_nested_one(mirrored: tuple[Database, MlflowTracker]) -> None:
    _, tracker = mirrored
    run = parent(tracker)
    trials = runs(tracker, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert len(trials) == len(VARIANTS)
    best = next(t for t in trials if t.data.tags["detent.variant"] == WINNER)
    assert best.data.tags["detent.mark"] == "winner"
    assert best.data.params["variant"] == WINNER
    assert best.data.params["n_examples"] == "4"
    assert best.data.metrics["score_low"] < best.data.metrics["score"] < best.data.metrics["score_high"]
    assert {"cost_usd", "p95_ms", "calls"} <= best.data.metrics.keys()
    curve = tracker._client.get_metric_history(best.info.run_id, "mean_score_by_example")
    assert [p.step for p in curve] == list(range(1, len(curve) + 1))
    assert curve[-1].value == pytest.approx(best.data.metrics["score"])


def test_the_parent_run_says_outcome_winner_and_diff_at_once(mirrored: tuple[Database, MlflowTracker]) -> None:
    _, tracker = mirrored
    run = parent(tracker)
    assert run.info.status == "FINISHED"
    assert run.data.tags["detent.winner"] == WINNER
    with mirrored[0].read() as tx:
        study = mirrored[0].studies.get(tx, STUDY)
    assert study is not None
    assert study.mlflow_run_id == run.info.run_id
    note = run.data.tags["mlflow.note.content"]
    assert WINNER in note
    assert "+[example 1: ex_0]" in note
    assert f"detent rollout start {FAMILY} --variant {WINNER}" in note
    assert "Improved: 0.200 to 0.270." in note
    assert (
        run.data.metrics["score"] == run.data.metrics["winner_score"] == pytest.approx(0.36625)
    )  # and not the last trial's
    assert run.data.metrics["confirmation.lift"] == pytest.approx(0.07)
    assert run.data.metrics["confirmation.lift_low"] == pytest.approx(0.03)


def test_dataset_inputs_are_train_and_dev_only(mirrored: tuple[Database, MlflowTracker]) -> None:
    _, tracker = mirrored
    inputs = tracker._client.get_run(parent(tracker).info.run_id).inputs.dataset_inputs
    assert sorted(i.dataset.name for i in inputs) == [f"{FAMILY}-dev", f"{FAMILY}-train"]


def test_artifacts_hold_the_trials_the_prompts_the_plots_and_no_unreleased_or_held_out_text(
    mirrored: tuple[Database, MlflowTracker], tmp_path: Path
) -> None:
    _, tracker = mirrored
    found = paths(tracker)
    assert {"trials.json", "confirmation.json", "report.html", f"prompts/winner-{WINNER}.txt"} <= set(found)
    assert f"prompts/winner-{WINNER}.diff.txt" in found
    assert f"examples/champion-{VARIANTS[0].id}.json" in found
    everything = "".join(artifact(tracker, path, tmp_path) for path in found)
    assert "Document number" in everything
    assert story.HELD_OUT_TEXT not in everything
    assert story.UNRELEASED_TEXT not in everything
    assert "kept out" not in everything
    table = json.loads(artifact(tracker, "trials.json", tmp_path))
    assert table["data"][0][table["columns"].index("mark")] == "winner"
    report = artifact(tracker, "report.html", tmp_path)
    assert "Quality against latency" in report
    assert "fANOVA" in report
    assert "http" not in report


def test_the_confirmation_table_names_examples_by_a_hash_only(
    mirrored: tuple[Database, MlflowTracker], tmp_path: Path
) -> None:
    store, tracker = mirrored
    table = json.loads(artifact(tracker, "confirmation.json", tmp_path))
    assert {row[1] for row in table["data"]} == {"win", "tie", "loss"}
    ids = {id for id, _ in reading(store).examples.holdout_ids(FAMILY)}
    assert not ids & {row[0] for row in table["data"]}


def test_sending_again_adds_no_run_no_metric_and_no_prompt_version(mirrored: tuple[Database, MlflowTracker]) -> None:
    store, tracker = mirrored
    before = {r.info.run_id for r in runs(tracker, "")}
    points = len(tracker._client.get_metric_history(parent(tracker).info.run_id, "trial_score"))
    versions = len(tracker._client.search_prompt_versions(f"detent-{FAMILY}"))
    story.queue(store, "study", STUDY)
    assert mirror_once(store, lambda: tracker, after_it(), FAMILIES) == 1
    assert {r.info.run_id for r in runs(tracker, "")} == before
    assert len(tracker._client.get_metric_history(parent(tracker).info.run_id, "trial_score")) == points
    assert len(tracker._client.search_prompt_versions(f"detent-{FAMILY}")) == versions


def test_nominated_and_served_variants_are_in_the_prompt_registry_as_chat_templates(
    mirrored: tuple[Database, MlflowTracker],
) -> None:
    _, tracker = mirrored
    client = tracker._client
    champion = client.get_prompt_version_by_alias(f"detent-{FAMILY}", "champion")
    assert champion.tags["detent.variant"] == VARIANTS[0].id
    assert champion.template[-1] == {"role": "user", "content": "Document: {{document}}\nSummary:"}
    by_variant = {v.tags["detent.variant"] for v in client.search_prompt_versions(f"detent-{FAMILY}")}
    assert by_variant == {VARIANTS[0].id, WINNER}


def test_a_promotion_moves_the_aliases_and_keeps_the_champion_before_it_as_previous(
    mirrored: tuple[Database, MlflowTracker],
) -> None:
    store, tracker = mirrored
    promoted = Champion(
        family=FAMILY, seq=2, variant=WINNER, since=story.START + timedelta(hours=1), why="promoted", by="t", previous=1
    )
    writing(store).champions.put(promoted)
    story.queue(store, "prompt", FAMILY)
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: None}) == 1
    client = tracker._client
    assert client.get_prompt_version_by_alias(f"detent-{FAMILY}", "champion").tags["detent.variant"] == WINNER
    assert client.get_prompt_version_by_alias(f"detent-{FAMILY}", "previous").tags["detent.variant"] == VARIANTS[0].id


def test_a_candidate_that_was_rolled_back_loses_its_alias_without_an_alert(
    mirrored: tuple[Database, MlflowTracker],
) -> None:
    store, tracker = mirrored
    both = {"candidate": VARIANTS[2].id, "champion": VARIANTS[0].id}
    history = [{"share": 0.1, "from": story.START.isoformat(), "to": None}]
    deploying = rollout(family=FAMILY, **both, status="deploying", stage=0, stage_history=history)
    writing(store).rollouts.add(deploying)
    story.queue(store, "rollout", "ro_1")
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: None}) == 1
    client, name = tracker._client, f"detent-{FAMILY}"
    assert client.get_prompt_version_by_alias(name, "candidate").tags["detent.variant"] == VARIANTS[2].id
    n_alerts = len(reading(store).alerts.all(open_only=False))
    ended = replace(deploying, status="rolled_back", outcome="cancelled", version=2, ended_at=story.START)
    writing(store).rollouts.save(ended, None)
    story.queue(store, "rollout", "ro_1")
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: None}) == 1
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: None}) == 0
    assert "candidate" not in tracker._prompts._aliases(name)
    assert len(reading(store).alerts.all(open_only=False)) == n_alerts
    (run,) = runs(tracker, "tags.`detent.rollout` = 'ro_1'")
    assert run.data.tags["detent.rollout.outcome"] == "cancelled"
    assert run.info.status == "FINISHED"


def test_an_alias_moved_by_hand_is_put_back_with_an_alert_that_names_the_command(
    mirrored: tuple[Database, MlflowTracker],
) -> None:
    store, tracker = mirrored
    client, name = tracker._client, f"detent-{FAMILY}"
    served = reading(store).champions.current(FAMILY)
    assert served is not None
    other = next(v for v in client.search_prompt_versions(name) if v.tags["detent.variant"] != served.variant)
    client.set_prompt_alias(name, "champion", int(other.version))
    assert mirror_once(store, lambda: tracker, after_it(), {FAMILY: None}) == 0
    assert client.get_prompt_version_by_alias(name, "champion").tags["detent.variant"] == served.variant
    (alert,) = [a for a in reading(store).alerts.all(open_only=True) if a.kind == "alias_moved"]
    assert f"detent rollout start {FAMILY} --variant {other.tags['detent.variant']}" in alert.detail


def test_what_mlflow_refuses_of_one_family_leaves_the_aliases_of_others_guarded_and_is_named_after_an_hour(
    mirrored: tuple[Database, MlflowTracker],
) -> None:
    store, tracker = mirrored
    clock, other = after_it(), "other"
    story.queue(store, "prompt", other)
    (item,) = reading(store).outbox.unsent(topics=TOPICS)

    def details() -> list[str]:
        tracker._client.delete_prompt_alias(f"detent-{FAMILY}", "champion")
        mirror_once(store, lambda: tracker, clock, {FAMILY: None})
        assert "champion" in tracker._prompts._aliases(f"detent-{FAMILY}")
        return [alert.detail for alert in reading(store).alerts.all(open_only=True, kind="mlflow_behind")]

    for n in range(1, 12):
        clock.at += timedelta(seconds=wait_s(n))
        writing(store).outbox.failed(item.seq, "Refused: no\n[SQL]", clock.now() + timedelta(hours=1))
        if n in (10, 11):
            assert [f"prompt {other}" in one and "(Refused: no)" in one for one in details()] == [True] * (n - 10)
    clock.at += timedelta(hours=1)
    assert mirror_once(store, lambda: tracker, clock, {FAMILY: None}) == 1
    assert details() == []


def test_of_a_prompt_that_is_too_long_for_mlflow_a_sentence_says_so(mlflow_uri: str) -> None:
    long = replace(VARIANTS[0], messages=({"role": "user", "content": "x" * 100_001},))
    tracker = MlflowTracker(mlflow_uri)
    tracker.mirror_prompt("long", long, ["champion"], {})
    version = tracker._client.get_prompt_version_by_alias("detent-long", "champion")
    assert f"detent variant show long {long.id}" in version.template


@pytest.fixture
def another(tmp_path: Path) -> Iterator[tuple[Study, list[Trial], StudyEvidence]]:
    """A study of its own in MLflow, with what its first trials found:
    MLflow takes some fifteenth of a second for each.
    """
    store = story.open_database(tmp_path)
    study = replace(story.tell(store), id=new_id("st"))
    trials = [replace(t, study=study.id) for t in reading(store).studies.trials(STUDY)[:6]]
    results = reading(store).studies.results(STUDY, "search")
    yield (
        study,
        trials,
        StudyEvidence(variants={v.id: v for v in VARIANTS}, results=results, examples={}, confirmation={}),
    )
    store.close()


def trial_runs(tracker: MlflowTracker, study: Study) -> list[Any]:
    return runs(tracker, f"tags.`detent.study` = '{study.id}' and tags.`detent.kind` = 'trial'")


def is_whole(run: Any) -> bool:
    return (
        run.info.status == "FINISHED"
        and "detent.digest" in run.data.tags
        and {"score", "score_low", "mean_score_by_example"} <= run.data.metrics.keys()
    )


@pytest.mark.parametrize(
    ("method", "same_process"),
    [("create_run", False), ("log_batch", True), ("set_terminated", False)],
)
def test_a_send_that_broke_off_in_the_middle_is_completed_by_the_next(
    another: tuple[Study, list[Trial], StudyEvidence],
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    same_process: bool,
) -> None:
    study, trials, evidence = another
    running = replace(study, status="running")
    tracker = MlflowTracker(mlflow_uri)
    tracker.mirror_study(running, trials[:1], evidence)
    sent = 0
    real = getattr(tracker._client, method)

    def breaks(*args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent > 3:
            raise ConnectionError("the server went away")
        return real(*args, **kwargs)

    monkeypatch.setattr(tracker._client, method, breaks)
    with pytest.raises(ConnectionError):
        tracker.mirror_study(running, trials, evidence)
    monkeypatch.undo()
    again = tracker if same_process else MlflowTracker(mlflow_uri)
    again.mirror_study(running, trials, evidence)
    found = trial_runs(again, study)
    assert len(found) == len(trials)
    assert all(is_whole(run) for run in found)


class Counted:
    """A client that counts what is asked of it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.n: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.n[name] += 1
        return getattr(self._client, name)


def test_a_growing_study_sends_only_what_is_new_and_its_end_puts_back_what_was_deleted_meanwhile(
    another: tuple[Study, list[Trial], StudyEvidence], mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, trials, evidence = another
    running = replace(study, status="running")
    tracker = MlflowTracker(mlflow_uri)
    tracker.mirror_study(running, trials[:4], evidence)
    counted = Counted(tracker._client)
    monkeypatch.setattr(tracker, "_client", counted)
    tracker.mirror_study(running, trials, evidence)
    n_new = len(trials) - 4
    assert counted.n["search_runs"] == 1, "for the study's own run"
    assert (counted.n["create_run"], counted.n["set_terminated"], counted.n["log_batch"]) == (n_new, n_new, n_new + 1)
    monkeypatch.undo()
    tracker._client.delete_run(trial_runs(tracker, study)[0].info.run_id)
    tracker.mirror_study(study, trials, evidence)
    found = trial_runs(tracker, study)
    assert len(found) == len(trials)
    assert all(is_whole(run) for run in found)


def test_a_dropped_trial_that_is_completed_later_ends_as_finished_although_a_send_broke_off(
    another: tuple[Study, list[Trial], StudyEvidence], mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, (trial, *_), evidence = another
    tracker = MlflowTracker(mlflow_uri)
    tracker.mirror_study(replace(study, status="running"), [replace(trial, status="dropped")], evidence)
    assert trial_runs(tracker, study)[0].info.status == "KILLED"

    def breaks(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("the server went away")

    monkeypatch.setattr(tracker._client, "set_terminated", breaks)
    with pytest.raises(ConnectionError):
        tracker.mirror_study(study, [trial], evidence)
    monkeypatch.undo()
    MlflowTracker(mlflow_uri).mirror_study(study, [trial], evidence)
    (run,) = trial_runs(tracker, study)
    assert is_whole(run)


def test_a_study_whose_run_was_deleted_gets_a_whole_new_one(
    another: tuple[Study, list[Trial], StudyEvidence], mlflow_uri: str
) -> None:
    study, trials, evidence = another
    running = replace(study, status="running")
    tracker = MlflowTracker(mlflow_uri)
    first = tracker.mirror_study(running, trials[:4], evidence)
    tracker._client.delete_run(first)
    second = tracker.mirror_study(running, trials, evidence)
    assert second != first
    assert len(tracker._client.get_metric_history(second, "trial_score")) == len(trials)


def test_a_family_whose_experiment_was_deleted_by_hand_goes_on_in_it(
    another: tuple[Study, list[Trial], StudyEvidence], mlflow_uri: str
) -> None:
    study, trials, evidence = another
    running = replace(study, status="running")
    tracker = MlflowTracker(mlflow_uri)
    run = tracker.mirror_study(running, trials[:4], evidence)
    experiment = tracker._client.get_run(run).info.experiment_id
    tracker._client.delete_experiment(experiment)
    assert tracker.mirror_study(running, trials, evidence) == run
    assert tracker._client.get_experiment(experiment).lifecycle_stage == "active"
    assert len(tracker._client.get_metric_history(run, "trial_score")) == len(trials)


class Away:
    """A Tracker whose server does not answer."""

    def __getattr__(self, name: str) -> Any:
        def fails(*_: Any, **__: Any) -> None:
            raise ConnectionError("nobody listens")

        return fails


def test_mlflow_away_costs_a_backlog_that_is_sent_later_and_never_an_error(tmp_path: Path, mlflow_uri: str) -> None:
    store = story.open_database(tmp_path)
    story.tell(store)
    clock = after_it()
    assert mirror_once(store, Away, clock, {FAMILY: None}) == 0
    assert reading(store).outbox.backlog(topics=TOPICS) == 1
    assert reading(store).outbox.due(clock.now(), 10, topics=TOPICS) == [], "it waits before the next attempt"
    assert mirror_once(store, lambda: MlflowTracker(mlflow_uri), clock, {FAMILY: None}) == 0
    clock.at += timedelta(seconds=wait_s(1))
    assert mirror_once(store, lambda: MlflowTracker(mlflow_uri), clock, {FAMILY: None}) == 1
    assert reading(store).outbox.backlog(topics=TOPICS) == 0
    store.close()


def test_a_family_that_never_served_and_had_no_study_has_no_experiment(tmp_path: Path, mlflow_uri: str) -> None:
    store, tracker = story.open_database(tmp_path), MlflowTracker(mlflow_uri)
    quiet, at = "quiet", after_it().now()
    own = VariantRecord(family=quiet, variant=VARIANTS[0], source="file", created_at=at, created_by="file")
    tenure = champion.first(family=quiet, variant=own.variant.id, at=at, by="file", why="first")

    def first(tx: Any) -> None:
        store.variants.add(tx, own)
        record_tenure(tx, store, tenure, action="champion.first")

    store.write(first)
    assert mirror_once(store, lambda: tracker, after_it(), {quiet: None}) == 1
    assert mirror_once(store, lambda: tracker, after_it(), {quiet: None}) == 0
    assert tracker._client.get_experiment_by_name(f"detent/{quiet}") is None
    keep_events(store, [interaction("in_1", of=arm(family=quiet, variant=own.variant.id))])
    assert mirror_once(store, lambda: tracker, after_it(), {quiet: None}) == 0
    assert tracker._client.get_experiment_by_name(f"detent/{quiet}") is not None
    assert tracker._client.get_prompt_version_by_alias(f"detent-{quiet}", "champion") is not None
    for there, stage in (({}, "deleted"), ({quiet: None}, "active")):  # its folder was removed by hand, and put back
        assert mirror_once(store, lambda: tracker, after_it(), there) == 0
        assert tracker._client.get_experiment_by_name(f"detent/{quiet}").lifecycle_stage == stage
    store.close()


def test_a_family_that_is_renamed_or_retired_is_so_there_and_comes_back(tmp_path: Path, new_mlflow: NewMlflow) -> None:
    store, tracker = story.open_database(tmp_path), MlflowTracker(new_mlflow(tmp_path / "mlflow.db"))
    story.tell(store)
    client, clock = tracker._client, after_it()
    mirror_once(store, lambda: tracker, clock, {FAMILY: None})
    experiment = client.get_experiment_by_name(f"detent/{FAMILY}").experiment_id

    def told(now: str, was: str) -> str:
        writing(store).outbox.add("family", now, {"was": was}, clock.now())
        assert mirror_once(store, lambda: tracker, clock, {now: None}) >= 1
        found = client.get_experiment(experiment)
        return f"{found.name} {found.lifecycle_stage}"

    writing(store).family_names.rename(FAMILY, "digest", clock.now())
    assert told("digest", FAMILY) == "detent/digest active"
    assert client.get_prompt(f"detent-{FAMILY}") is None
    assert client.get_prompt("detent-digest") is not None
    retired = writing(store).family_names.retire("digest", clock.now())
    assert told(retired, "digest") == f"detent/{retired} deleted"
    assert client.get_prompt("detent-digest") is None
    writing(store).family_names.restore(retired, "digest", clock.now())
    assert told("digest", retired) == "detent/digest active"
    assert client.get_prompt("detent-digest") is not None
    store.close()


@pytest.mark.parametrize("act", ["rename", "retire and restore"])
def test_what_follows_a_change_of_a_name_waits_until_mlflow_has_heard_of_it(
    act: str, tmp_path: Path, new_mlflow: NewMlflow
) -> None:
    store, tracker = story.open_database(tmp_path), MlflowTracker(new_mlflow(tmp_path / "mlflow.db"))
    story.tell(store)
    client, clock = tracker._client, after_it()
    mirror_once(store, lambda: tracker, clock, {FAMILY: None})
    experiment = client.get_experiment_by_name(f"detent/{FAMILY}").experiment_id
    if act == "rename":
        family = new = "digest"
        writing(store).family_names.rename(FAMILY, new, clock.now())
    else:
        family, new = FAMILY, writing(store).family_names.retire(FAMILY, clock.now())
    story.queue(store, "family", new, was=FAMILY)
    for _ in range(3):
        clock.at += timedelta(seconds=wait_s(3))
        assert mirror_once(store, Away, clock, {family: None}) == 0
    if act == "rename":
        story.queue(store, "prompt", family)
    else:
        writing(store).family_names.restore(new, FAMILY, clock.now())
        story.queue(store, "family", FAMILY, was=new)
    assert mirror_once(store, lambda: tracker, clock, {family: None}) == 0
    clock.at += timedelta(seconds=wait_s(3))
    assert mirror_once(store, lambda: tracker, clock, {family: None}) == 2
    now = client.get_experiment(experiment)
    assert f"{now.name} {now.lifecycle_stage}" == f"detent/{family} active"
    assert client.get_prompt(f"detent-{family}") is not None
    store.close()


def test_a_name_that_another_experiment_has_already_is_taken_with_a_number(mlflow_uri: str) -> None:
    tracker = MlflowTracker(mlflow_uri)
    first, other = tracker._experiment("draft"), tracker._experiment("final")
    for is_shown, stage in ((True, "active"), (False, "deleted")):
        tracker.rename_family("draft", "final", is_shown=is_shown)
        tracker.rename_family("final", "final", is_shown=is_shown)
        found = tracker._client.get_experiment(first)
        assert found.name == f"detent/final ({first})"
        assert tracker._client.get_experiment(other).lifecycle_stage == stage


def test_the_store_s_own_database_keeps_its_full_durability_beside_mlflow_s_file(
    tmp_path: Path, mlflow_uri: str
) -> None:
    MlflowTracker(mlflow_uri)
    made = story.open_database(tmp_path)
    made.close()
    store = Database(made.url)  # as the product opens it
    level = store.write(lambda tx: tx.exec_driver_sql("PRAGMA synchronous").scalar())
    assert level == 2, "2 is FULL"
    store.close()


@pytest.mark.parametrize(("attempts", "expected"), [(1, 5), (2, 10), (5, 80), (40, 3600)])
def test_the_wait_between_attempts_doubles_up_to_an_hour(attempts: int, expected: int) -> None:
    assert wait_s(attempts) == expected
