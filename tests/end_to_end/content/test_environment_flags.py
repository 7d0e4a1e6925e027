"""Flags of the environment change what a content pipeline serves, visibly, under an id of its own,
and as evidence of nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.app import run
from optimizer.content.core.policy.flags import Flags, read_flags
from optimizer.content.jobs.keep_environment_override import OVERRIDDEN, keep_environment_override
from optimizer.core.base.errors import InvalidInput
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from tests.worlds.api_world import World, make_home, serving

ROOT = Path(__file__).parents[3]
F = "content_pipeline"
PATH = f"/v1/families/{F}"
ITEM = {
    "content_type": "news",
    "word_count": 900,
    "sentence_count": 40,
    "coherence_score": 0.5,
    "overall_quality": 0.62,
    "view_count": 3,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(ROOT / "families" / F, tmp_path / "families" / F)
    return make_home(tmp_path)


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items with these scores pass 2 of 4 checks by the champion, and all 4 with these flags."""
    monkeypatch.setenv("QUALITY_MIN_OVERALL", "0.6")
    monkeypatch.setenv("QUALITY_MIN_COHERENCE", "0.45")


@pytest.fixture
def overridden(settings: Settings, flags: None) -> Iterator[World]:
    with serving(settings) as world:
        yield world


def rendered(world: World, unit: str = "u1") -> Any:
    answer = world.post(f"{PATH}/render", {"variables": ITEM, "unit": unit})
    assert answer.status_code == 200, answer.text
    return answer.json()


def worker_looks(world: World, found: Flags) -> None:
    keep_environment_override(
        world.shared.store, world.shared.clock, list(world.shared.families.families.values()), found
    )


def open_alerts(world: World) -> list[Any]:
    return [a for a in world.get("/v1/alerts?open=true").json()["items"] if a["kind"] == OVERRIDDEN]


def test_without_flags_the_champion_is_served_and_the_answer_has_its_usual_shape(settings: Settings) -> None:
    with serving(settings) as world:
        answer = rendered(world)
        assert answer["decision"]["processing_type"] == "lightweight"
        assert answer["role"] == "champion"
        assert not {"reason", "overridden"} & answer.keys()
        assert world.get(PATH).json()["overridden"] is None


def test_what_is_decided_changes_and_the_answer_says_by_what_and_instead_of_what(overridden: World) -> None:
    answer = rendered(overridden)
    champion = overridden.get(PATH).json()["champion"]["variant"]
    assert answer["decision"]["processing_type"] == "full"
    assert answer["reason"] == "overridden by environment"
    assert answer["overridden"] == {
        "by": "environment",
        "variables": {"QUALITY_MIN_OVERALL": 0.6, "QUALITY_MIN_COHERENCE": 0.45},
        "knobs": {"filter.min_overall": 0.6, "filter.min_coherence": 0.45},
        "instead_of": champion,
    }
    assert (answer["rollout"], answer["stage"]) == (None, None)
    assert answer["variant"] != champion, "another policy has another id"
    assert answer["policy"]["filter.min_overall"] == 0.6
    prompt = overridden.get(f"{PATH}/prompt").json()
    assert (prompt["variant"], prompt["overridden"]) == (answer["variant"], answer["overridden"])
    flag = overridden.post(f"/ofrep/v1/evaluate/flags/{F}", {"context": {"targetingKey": "u1"}}).json()
    assert (flag["variant"], flag["value"]["overridden"]) == (answer["variant"], answer["overridden"])
    assert flag["reason"] == "STATIC", "everyone gets it"
    snapshot = overridden.get("/v1/snapshot").json()["families"]
    assert snapshot[F]["champion"]["variant"] == answer["variant"]
    (row,) = [one for one in overridden.get("/v1/status").json()["families"] if one["name"] == F]
    assert row["overridden"] == answer["overridden"]


def test_families_of_prompts_are_left_alone(overridden: World) -> None:
    assert "overridden" not in overridden.get("/v1/families/triage/prompt").json()
    assert overridden.get("/v1/families/triage").json()["overridden"] is None


def test_reports_stand_under_the_id_that_was_served_and_in_no_arm(overridden: World) -> None:
    answer = rendered(overridden)
    event = {"id": "in_1", "assignment": answer["assignment"], "output": "full", "latency_ms": 5.0, "score": 0.9}
    assert overridden.post("/v1/feedback", event).json()["accepted"] == 1
    kept = overridden.get("/v1/interactions/in_1").json()
    assert (kept["variant"], kept["rollout"]) == (answer["variant"], None)
    assert overridden.shared.exposures.n_waiting == 0, "a fetch of it is counted nowhere"
    worker_looks(overridden, read_flags({"QUALITY_MIN_OVERALL": "0.6", "QUALITY_MIN_COHERENCE": "0.45"}))
    by_unit = {"id": "in_2", "family": F, "unit": "u2", "variant": answer["variant"], "output": "full"}
    assert overridden.post("/v1/feedback", by_unit).json()["accepted"] == 1, (
        "the variant is known, so its reports can be read"
    )
    made = overridden.get(f"/v1/variants/{answer['variant']}").json()
    assert (made["source"], made["created_by"]) == ("environment", "environment")


def test_a_running_rollout_gets_no_evidence_while_the_environment_overrides_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings) as world:
        champion = world.get(PATH).json()["champion"]["variant"]
        policy = {**world.get(f"/v1/variants/{champion}").json()["policy"], "filter.min_words": 400}
        made = world.post(f"{PATH}/variants", {"from": champion, "policy": policy, "note": "fewer words"}).json()[
            "variant"
        ]
        assert (
            world.post(
                "/v1/interactions", {"id": "in_0", "family": F, "unit": "u", "output": "full", "latency_ms": 1.0}
            ).status_code
            == 200
        )
        started = world.post(f"{PATH}/rollouts", {"variant": made, "confirm": F, "reason": "a try"})
        assert started.status_code == 201, started.text
        assert world.post(f"/v1/rollouts/{started.json()['id']}/approve", {"reason": "go"}).status_code == 200
        world.tick()
        units = [f"u{n}" for n in range(60)]
        assert {rendered(world, unit)["variant"] for unit in units} == {champion, made}
    monkeypatch.setenv("ENABLE_EARLY_EXIT", "0")
    with serving(settings) as world:
        world.tick()
        answers = [rendered(world, unit) for unit in units]
        assert len({answer["variant"] for answer in answers}) == 1
        assert {answer["rollout"] for answer in answers} == {None}
        assert world.get("/v1/snapshot").json()["families"][F]["rollout"] is None


def test_an_alert_says_it_once_and_closes_when_the_flags_are_gone(overridden: World) -> None:
    found = read_flags({"QUALITY_MIN_OVERALL": "0.6", "ENABLE_EARLY_EXIT": "0"})
    for _ in range(2):
        worker_looks(overridden, found)
    (alert,) = open_alerts(overridden)
    assert alert["family"] == F
    assert "ENABLE_EARLY_EXIT=0, QUALITY_MIN_OVERALL=0.6 of the environment" in alert["detail"]
    assert "unset the variables and restart" in alert["detail"]
    worker_looks(overridden, Flags())
    assert open_alerts(overridden) == []


def test_records_are_checked_and_not_kept_where_metrics_are_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLE_DASHBOARD_METRICS", "0")
    with serving(settings) as world:
        sent = world.post("/api/performance/record?processing_type=full&content_type=news")
        assert sent.json() == {"status": "not recorded", "processing_type": "full"}
        assert world.post("/api/performance/record?processing_type=fast&content_type=news").status_code == 422
        assert world.get("/api/performance/").json()["overall_metrics"]["total_processed"] == 0
        assert not {"reason", "overridden"} & rendered(world).keys(), "this flag changes no policy"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        pytest.param(
            "QUALITY_MIN_OVERALL", "65", "QUALITY_MIN_OVERALL is '65'; write a number from 0 to 1", id="percent"
        ),
        pytest.param("ENABLE_EARLY_EXIT", "maybe", "ENABLE_EARLY_EXIT is 'maybe'; write 1 or 0", id="no switch"),
    ],
)
def test_a_value_that_cannot_be_read_ends_the_start_with_its_name(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    says: str,
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(settings.home))
    monkeypatch.setenv(variable, value)
    assert run(["serve"]) == 2
    assert says in capsys.readouterr().err
    with pytest.raises(InvalidInput, match=variable):
        wiring.load_flags()
    assert run(["doctor", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [f["verdict"] for f in findings if f["check"] == "flags" and says in f["detail"]] == ["fault"]


def test_levels_of_the_report_come_from_the_file_and_a_faulty_file_ends_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(settings.home))
    settings.monitoring_file.parent.mkdir(exist_ok=True)
    settings.monitoring_file.write_text("bypass_rate: {target: 0.1, critical_low: 0.01}\n", encoding="utf-8")
    with serving(settings) as world:
        found = world.get("/api/performance/metrics/summary").json()["metrics"]
        assert (found["bypass_rate"]["target"], found["bypass_rate"]["warning_low"]) == (0.1, None)
        assert found["early_exit_rate"]["target"] == 0.4, "what the file leaves out stays as it was"
    settings.monitoring_file.write_text("bypass_rate: {target: 10}\n", encoding="utf-8")
    assert run(["serve"]) == 2
    assert "monitoring.yaml:1" in capsys.readouterr().err
