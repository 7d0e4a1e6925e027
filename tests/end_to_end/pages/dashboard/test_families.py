"""Pages of families, their studies, rollouts and figures."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from api.dashboard.pages import names_shown
from api.routing import UNREADABLE
from optimizer.core.base.minute_sums import HOUR, MinuteSums, floor
from optimizer.core.dataset.examples import make_example
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.rollout.student_watch import StudentWatch, StudentWeek, Teacher
from optimizer.core.scheduling.triggers import KINDS as TRIGGERS
from optimizer.core.search.study import Trial
from optimizer.jobs.champions.read_quality import time_of
from optimizer.jobs.champions.read_stats import FamiliesStatsRequest, read_stats_of_families
from optimizer.jobs.feedback.roll_up_minutes import MINUTES, roll_up_minutes
from optimizer.jobs.upkeep.read_status import StatusRequest, read_status
from optimizer.ports import WatchedStudent
from tests.clock import Clock
from tests.contract.store.test_calibrations import RECORD as CALIBRATED
from tests.stores import arm, feedback, interaction, keep_events, study, variant as variant_of
from tests.worlds.api_world import FAMILY, World, make_home, serving
from tests.worlds.dashboard_visitor import (
    OWN_PAGE,
    context_of,
    form_of_act,
    queries_of,
    raised,
    table_of,
    visitor,
)
from tests.worlds.rated_world import F as JUDGED, add_judged_family, rate_all
from tests.worlds.seeded_world import SECRET_WORD
from tests.worlds.taught_student import TAUGHT, crown

LINK = re.compile(r'href="([^"]+)"')


def test_an_alert_that_another_one_tells_leads_to_that_one_and_stays_off_the_first_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        raised(world, "champion_out_of_limits", "triage errors", "Every second request fails.", "critical")
        raised(world, "alert_rule", "errors triage", "Requests fail.", id="al_2")
        client = visitor(world, None)
        page = client.get("/dashboard/alerts").text
        assert ('<tr id="al_1">' in page, page.count('dashboard/alerts#al_1"'), "Requests fail." in page) == (
            True,
            1,
            True,
        )
        page = client.get("/dashboard").text
        assert ("Every second request fails." in page, "Requests fail." in page) == (True, False)


def test_a_family_in_a_rollout_stands_on_the_first_page_wherever_its_name_does() -> None:
    names = [f"family_{number:03}" for number in range(200)]
    assert names_shown(names, {"family_150", "family_001"}) == {*names[:24], "family_150"}
    assert names_shown(names, names) == {*names[:24]}


def test_what_needs_a_person_names_what_is_held_and_leads_to_the_report_behind_an_alarm(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, begun = visitor(world, None), world.deploying()
        family = "/dashboard/families/triage"
        needs = client.get(family).text
        assert "<dt>Until it ends</dt><dd>" in needs
        assert "Is it worse by 5 points (the margin) or more? Not ruled out." in needs
        world.post(f"/v1/rollouts/{begun['id']}/hold", {"reason": "wait"})
        home, held = client.get("/dashboard").text, "it goes no further until somebody presses Resume"
        assert "1 rollout under way, 1 waits for a person" in home
        assert home.index("Needs a person") < home.index('<b class="warn">Held</b>') < home.index('id="families"')
        assert (held in home, held in client.get(family).text, "detent rollout resume" in home) == (True, True, False)

        def offered() -> set[str]:
            return set(re.findall(rf"acts/(\w+)\?id={begun['id']}", client.get(family).text))

        assert offered() == {"resume", "rollback"}
        world.post("/v1/freeze", {"family": "triage", "reason": "launch"})
        assert offered() == {"rollback"}, "nothing goes on while it is frozen"
        world.post("/v1/unfreeze", {"family": "triage"})
        told = f"Rollout {begun['id']} of triage was rolled back."
        alert = raised(world, "rollout_ended", "triage", told, "critical")
        report = f"dashboard/rollouts/{begun['id']}/report"
        assert report in client.get("/dashboard/alerts").text
        assert report in client.get("/dashboard").text
        assert client.get(family).text.count(told) == 1, "beside the rollout, too"
        store, later = world.shared.store, world.shared.clock.now()
        store.write(lambda tx: store.alerts.close(tx, alert.kind, alert.family, alert.subject, later))
        assert report not in client.get("/dashboard/alerts").text, "it began after this one was raised"
        store.write(lambda tx: store.alerts.open(tx, replace(alert, id="al_2", opened_at=later)))
        store.write(lambda tx: store.alerts.close(tx, alert.kind, alert.family, alert.subject, later))
        assert report in client.get("/dashboard/alerts").text, "also once it is over"
        world.post(f"/v1/rollouts/{begun['id']}/rollback", {"reason": "x"})
        assert "</b> ended here</li>" in client.get(family).text


def test_no_link_of_an_alert_leads_nowhere_when_its_family_is_gone(tmp_path: Path) -> None:
    """As after the demo, whose families another profile does not read."""
    settings, home = make_home(tmp_path), tmp_path / "families" / "triage"
    with serving(settings) as world:
        change = {"variant": world.candidate("Another:"), "reason": "x", "confirm": "triage"}
        assert world.post("/v1/families/triage/champion/set", change).status_code == 200
        id = world.deploying()["id"]
        ended = raised(world, "rollout_ended", "triage", f"Rollout {id} of triage was rolled back.", "critical")
        raised(world, "candidate_silent", id, "It is silent.", id="al_2")
        raised(world, "champion_drift", "triage", "It drifts.", id="al_3")
        raised(world, "alert_rule", "errors triage", "Requests fail.", id="al_4")
        store = world.shared.store
        store.write(lambda tx: store.alerts.open(tx, replace(ended, id="al_5", subject="before")))
        store.write(lambda tx: store.alerts.close(tx, ended.kind, ended.family, "before", world.shared.clock.now()))
        assert 'families/triage">triage</a>' in visitor(world, None).get("/dashboard/alerts").text
    home.rename(tmp_path / "triage")
    with serving(settings) as world:
        client = visitor(world, None)
        for place in ("/dashboard", "/dashboard/alerts"):
            links = {urljoin(place, html.unescape(link)) for link in LINK.findall(client.get(place).text)}
            assert f"/dashboard/rollouts/{id}/report" in links
            assert "/dashboard/acts/silence?name=rollout_ended&family=triage" in links
            assert [link for link in links if client.get(link).status_code >= 400] == []
        silence = "/dashboard/acts/silence?name=rollout_ended&family=triage"
        answer = client.post("/dashboard/acts/silence", data=form_of_act(client, silence), headers=OWN_PAGE)
        assert answer.status_code == 303, answer.text
        assert "silent until" in client.get("/dashboard/alerts").text


def test_where_a_sentence_names_a_command_its_button_stands_beside_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, begun = visitor(world, None), world.deploying()
        told = "It is silent. Take it back: detent rollout rollback triage"
        raised(world, "candidate_silent", begun["id"], told)
        other = world.candidate("Beside it:")
        button = f'dashboard/acts/rollback?id={begun["id"]}">Roll back</a>'
        for place in ("/dashboard", "/dashboard/alerts", f"/dashboard/acts/start?family=triage&variant={other}"):
            page = client.get(place).text
            assert ("detent rollout rollback triage" in page, button in page) == (True, True), place
        place = f"/dashboard/acts/promote?id={begun['id']}"
        form = {**form_of_act(client, place), "reason": "wait"}
        world.shared.clock.scale = 60.0
        refused = client.post("/dashboard/acts/promote", data={**form, "confirm": "triage"}, headers=OWN_PAGE)
        assert (refused.status_code, "60 times as fast" in refused.text, button in refused.text) == (409, True, True)
        world.add_key("reader", "read-texts", secret="secret-reader")
        world.add_key("boss", "admin", secret="secret-boss")
        assert button not in visitor(world, "secret-reader").get("/dashboard/alerts").text


def test_every_rollout_of_a_family_is_reached_from_its_page(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        first = world.start(world.candidate("The first:"))["id"]
        world.post(f"/v1/rollouts/{first}/reject", {"reason": "x"})
        second = world.start(world.candidate("The second:"))["id"]
        page = visitor(world, None).get("/dashboard/families/triage").text
        assert page.index(f"report of {second}") < page.index(f"report of {first}")
        assert "Every user gets the champion until somebody presses Approve" in page
        assert visitor(world, None).get(f"/dashboard/rollouts/{first}/report").status_code == 200


def test_a_candidate_s_prompt_stands_beside_the_champion_s(world: World) -> None:
    candidate = world.candidate("Quite another question:")
    place = f"/dashboard/families/triage/variants/{candidate}"
    page = visitor(world, "secret-read-texts").get(place).text
    assert re.search(r'<span class="added">[^<]*Quite another question:', page)
    assert "Quite another question" not in visitor(world, "secret-read").get(place).text


def test_a_study_with_many_trials_shows_them_fifty_at_a_time_by_rank(world: World) -> None:
    """All of them are ranked, more than the list of the API gives at once."""
    store, champion, n = world.shared.store, world.champion(), 1060
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    store.write(lambda tx: store.studies.add(tx, replace(study, id="st_many")))

    def trial(number: int) -> Trial:
        score = None if number == 7 else number / n
        status: Any = "complete" if score is not None else "stopped"
        about = {"study": "st_many", "number": number, "variant": champion, "params": {}}
        return Trial(proposer=f"proposer-{number}-", status=status, score=score, **about)

    store.write(lambda tx: [store.studies.put_trial(tx, trial(number)) for number in range(n)])
    client = visitor(world, "secret-read")
    first = client.get("/dashboard/studies/st_many").text
    assert "1 to 50 of 1,060" in first
    assert f"proposer-{n - 1}-" in first
    assert "proposer-7-" not in first
    assert 'href="../../dashboard/studies/st_many?from=50"' in first
    rest = client.get("/dashboard/studies/st_many?from=1050").text
    assert "1051 to 1060 of 1,060" in rest
    assert "proposer-7-" in rest, "one without a score comes last"
    assert f"proposer-{n - 1}-" not in rest
    assert "More trials" not in rest
    assert "1 to 50 of 1,060" in client.get("/dashboard/studies/st_many?from=9000").text


def test_a_study_that_replays_items_is_told_in_time_and_without_a_call_there_is_no_cost(world: World) -> None:
    store, champion = world.shared.store, world.champion()
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    ended: Any = {"status": "finished", "outcome": "no_improvement", "finished_at": world.shared.clock.now()}
    for id, calls in (("st_replayed", 0), ("st_asked", 9)):
        of = replace(study, id=id, budget=replace(study.budget, calls=calls), **ended)
        store.write(lambda tx, of=of: store.studies.add(tx, of))  # type: ignore[misc]
        about: Any = {"study": id, "variant": champion, "params": {}, "proposer": "p"}
        done = Trial(number=0, status="complete", score=0.5, n=2, cost_usd=0.7, **about)
        for trial in (done, Trial(number=1, status="stopped", **about)):
            store.write(lambda tx, trial=trial: store.studies.put_trial(tx, trial))  # type: ignore[misc]
    for id, heading, costs in (
        ("st_replayed", "Time share", ["35.0 %", "–"]),
        ("st_asked", "Cost an answer", ["$0.35", "–"]),
    ):
        page = visitor(world, "secret-read").get(f"/dashboard/studies/{id}").text
        assert [row[6] for row in table_of(page, "trials")] == costs
        assert (page.count(f">{heading}<"), "nothing was better" in page) == (2, True)
        assert "<dt>Outcome</dt><dd>No improvement: none of 0 candidates beat the champion of triage on dev" in page
        assert f'<code class="champion">{champion}</code></a> (champion)</td>' in page, "in words, not by colour alone"
        command = f"<code>detent study nominate {id} VARIANT --aim quality</code>"
        assert (command in page, command in visitor(world, "secret-operate").get(f"/dashboard/studies/{id}").text) == (
            False,
            True,
        ), "to who may"


def test_studies_are_picked_for_a_comparison_and_ordered_by_their_lift(world: World) -> None:
    store, client = world.shared.store, visitor(world, "secret-read")
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    for id, lift in (("st_little", 0.01), ("st_much", 0.2)):
        seen: Any = {"lift": lift, "lift_low": lift - 0.01, "lift_high": lift + 0.01, "n": 100}
        store.write(lambda tx, id=id, seen=seen: store.studies.add(tx, replace(study, id=id, confirmation=seen)))  # type: ignore[misc]
    page = client.get("/dashboard/studies?family=triage&order=lift").text
    assert re.findall(r"dashboard/studies/(st_\w+)\"", page) == ["st_much", "st_little"]
    assert "+20.0 points" in client.get("/dashboard/families/triage").text
    chosen = client.get("/dashboard/studies?family=triage&first=st_little").text
    assert re.search(r'name="first" value="st_little" [^>]*checked', chosen)
    pair = client.get("/dashboard/studies/compare?first=st_little&second=st_much").text
    assert [text for text in ("+1.0 points", "+20.0 points") if text not in pair] == []


def hours_of(world: World, back: timedelta, n: int, variant: str = "", **more: Any) -> datetime:
    """Puts the sums of a minute of that hour into the store, and says when the hour began."""
    store, now = world.shared.store, world.shared.clock.now()
    hour = floor(now - back, HOUR)
    minute = MinuteSums(family="triage", minute=hour, variant=variant, model="m")
    for _ in range(n):
        minute.add_interaction(failed=False, cost_usd=0.0, **{"latency_ms": 10.0, **more})

    def keep(tx: Any) -> None:
        store.minute_stats.put(tx, [minute])
        store.minute_stats.set_watermark(tx, MINUTES, now)

    store.write(keep)
    return hour


@pytest.mark.parametrize("range_", ["24h", "7d", "30d"])
def test_the_figures_on_top_and_the_table_below_are_of_the_same_time(tmp_path: Path, range_: str) -> None:
    with serving(make_home(tmp_path)) as world:
        hours_of(world, time_of(range_), 500, world.champion())
        hours_of(world, timedelta(hours=1), 1, world.champion())
        page = visitor(world, None).get(f"/dashboard/performance?family=triage&range={range_}").text
        (on_top,) = re.findall(r"<dt>Requests</dt><dd>([\d,]+)</dd>", page)
        in_table = re.findall(r'<td data-column="Requests">([\d,]+)</td>', page)
        assert (on_top, set(in_table)) == ("501", {"501"})


def test_the_charts_show_a_variant_of_few_requests_to_who_chooses_it(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        for n in range(7):
            hours_of(world, timedelta(hours=1), n + 1, f"v_00000000000{n}" if n else "")
        address = "/dashboard/performance?family=triage"
        usual, chosen = (visitor(world, None).get(address + more).text for more in ("", "&variant=v_000000000001"))
        assert ("<title>v_000000000001 on m" in usual, "<title>v_000000000003 on m" in usual) == (False, True)
        assert "3 others in the table alone" in usual
        assert ("<title>v_000000000001 on m" in chosen, "<title>v_000000000003 on m" in chosen) == (True, False)


def test_the_highest_latency_names_its_hour(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        hour = hours_of(world, timedelta(hours=20), 3)
        for place in ("/dashboard", "/dashboard/families/triage"):
            page, p95 = visitor(world, None).get(place).text, "Highest (<abbr [^>]*>)?p95(</abbr>)?"
            assert re.search(rf"<dt>{p95}, {hour:%H:%M} UTC</dt><dd>\d+ ms</dd>", page), place


def test_a_card_shows_the_evidence_of_the_next_step_beside_its_threshold(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        rollout = world.deploying()
        page = visitor(world, None).get("/dashboard").text
        (card,) = re.findall(r'<article class="card">(.*?)</article>', page, flags=re.DOTALL)
        view = world.get(f"/v1/rollouts/{rollout['id']}").json()["evidence"]
        gate = next(gate for gate in view["gates"] if gate["name"] == view["next_step"]["asks"])
        assert f"Evidence {gate['text']} that it is not {gate['claim']}" in card
        assert re.search(r"\d+ of 20$", gate["text"])
        assert 'dashboard/families/triage#rollout">Difference and days still needed' in card


def test_a_family_whose_file_never_was_good_is_told_of_and_its_page_opens(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    (folder := settings.families_dir / "broken").mkdir()
    (folder / "family.yaml").write_text("name: broken\nprompt: [")
    with serving(settings) as world:
        for place in ("/dashboard", "/dashboard/families/broken"):
            answer = visitor(world, None).get(place)
            assert (answer.status_code, "and nothing of it is served yet" in answer.text) == (200, True), place
            assert ("last good version" in answer.text, str(tmp_path) in answer.text) == (False, False), place
        assert "family.yaml: line 2: this is no YAML" in answer.text
        (settings.families_dir / "triage" / "family.yaml").write_text("name: triage\nprompt: [")
        world.shared.serving.refresh()
        for place in ("/dashboard", "/dashboard/families/triage"):
            assert "its last good version serves" in visitor(world, None).get(place).text, place
        world.add_key("figures", "read", secret="secret-figures")
        for place in ("examples", "schedule"):
            page = visitor(world, "secret-figures").get(f"/dashboard/families/broken/{place}")
            told = UNREADABLE.partition("'")[2]
            assert ("this is no YAML" in page.text, told in page.text) == (False, True), place
        world.add_key("app", "feedback", secret="secret-app")
        for path in ("families/broken/graphs", "interactions/import?family=broken"):
            answer = world.post(f"/v1/{path}", {"interaction": "in_1"}, headers={"X-API-Key": "secret-app"})
            assert (answer.status_code, answer.json()["detail"]) == (422, UNREADABLE), path
    shutil.rmtree(settings.var() / "last_good")  # as of a release that accepted what this one does not
    with serving(settings) as world:
        assert world.shared.serving.now_served.families["triage"].definition is None
        for place in ("/dashboard", "/dashboard/families/triage", "/dashboard/money"):
            assert visitor(world, "secret-figures").get(place).status_code == 200, place


def test_what_the_sealed_holdout_asks_is_counted_and_not_shown_among_the_lowest(world: World) -> None:
    now, client = world.shared.clock.now(), visitor(world, "secret-read-texts")
    for id, text in (("in_low", "a plain question"), ("in_sealed", "a sealed question")):
        event = {"id": id, "family": "triage", "unit": id, "input": {"text": text}, "output": "x", "latency_ms": 1.0}
        assert world.post("/v1/feedback", event).status_code == 200
        correction = {"interaction": id, "family": "triage", "score": 0.0, "expected": {"topic": "technical"}}
        assert world.post("/v1/feedback", correction).status_code == 200
    drawn = make_example(
        family="triage",
        input={"text": "a sealed question"},
        expected={"topic": "billing"},
        created_at=now,
        origin="curated",
    )
    world.shared.store.write(lambda tx: world.shared.store.examples.add(tx, [replace(drawn, split="holdout")]))
    page = client.get("/dashboard/families/triage/quality").text
    assert "a plain question" in page
    assert '<td data-column="Expected" class="wide"><span class="role">topic</span> technical' in page
    assert "a sealed question" not in page
    assert "1 answer not shown" in page
    counts = client.get("/dashboard/families/triage/examples").text
    assert "a sealed question" not in counts
    assert "<dt>Sealed, never shown</dt>" in counts


def test_the_first_page_asks_the_store_no_more_often_for_more_families(tmp_path: Path) -> None:
    n_queries = []
    for n_families in (1, 4):
        settings = make_home(tmp_path / str(n_families))
        for i in range(1, n_families):
            folder = settings.families_dir / f"triage{i}"
            folder.mkdir()
            (folder / "family.yaml").write_text(FAMILY.replace("name: triage", f"name: triage{i}"))
        with serving(settings) as world:
            for i in range(n_families):
                rollout_of(world, f"triage{i or ''}")
            world.tick()
            context, names = context_of(world), ",".join(f"triage{i or ''}" for i in range(n_families))
            status = partial(read_status, context, StatusRequest())
            last_day = partial(read_stats_of_families, context, FamiliesStatsRequest(families=names))
            n_queries.append([queries_of(ask) for ask in (status, last_day)])
    assert n_queries[0] == n_queries[1]


def rollout_of(world: World, family: str) -> None:
    """Approved, of a candidate that differs from the champion."""
    message = {"role": "user", "content": "Another question: {{text}}"}
    variant = world.post(f"/v1/families/{family}/variants", {"messages": [message]}).json()["variant"]
    served = {
        "id": f"in_{family}",
        "family": family,
        "unit": "u",
        "output": "billing",
        "latency_ms": 1.0,
        "cost_usd": 0.1,
    }
    assert world.post("/v1/interactions", served).status_code == 200
    started = world.post(f"/v1/families/{family}/rollouts", {"variant": variant, "confirm": family, "reason": "a try"})
    assert world.post(f"/v1/rollouts/{started.json()['id']}/approve", {"reason": "go"}).status_code == 200


def test_a_study_leads_to_the_start_of_its_winner_and_says_why_another_trial_scores_higher(world: World) -> None:
    store, champion = world.shared.store, world.champion()
    winner, other = world.candidate("the winner? "), world.candidate("the dear one? ")
    with store.read() as tx:
        study = store.studies.get(tx, "st_1")
    assert study is not None
    ended: Any = {"status": "finished", "outcome": "nominated", "winner": winner, "error": None, "aim": "cost"}
    now = world.shared.clock.now()
    worth = {"variant": winner, "best": "TF-IDF and logistic regression", "lead": -0.167, "low": -0.2, "high": -0.1}
    rows = [{"name": "TF-IDF and logistic regression", "score": 0.9, "low": 0.8, "high": 0.95, "why": None}]
    findings: Any = {"trivial_baselines": {"n": 9, "rows": rows, "worth": worth, "why_not": None}}
    store.write(
        lambda tx: store.studies.add(
            tx,
            replace(
                study, id="st_won", created_at=now + timedelta(days=1), finished_at=now, findings=findings, **ended
            ),
        )
    )
    for number, (variant, score) in enumerate(((champion, 0.5), (winner, 0.6), (other, 0.9))):
        about: Any = {"study": "st_won", "number": number, "variant": variant, "params": {}, "status": "complete"}
        store.write(lambda tx, a=about, s=score: store.studies.put_trial(tx, Trial(proposer="p", score=s, **a)))  # type: ignore[misc]
    world.post("/v1/unfreeze", {"family": "triage", "reason": "make room"})
    world.post("/v1/unfreeze", {"reason": "make room"})
    page = visitor(world, "secret-operate").get("/dashboard/studies/st_won").text
    assert f'families/triage/variants/{winner}"><code class="candidate">' in page.partition("Trials, best")[0]
    assert "this is the cheapest" in page
    assert "detent " not in page.partition("<dt>Next")[2].partition("</dl>")[0]
    assert '<abbr title="counts words, rare ones more">TF-IDF</abbr>' in page
    pair = visitor(world, "secret-operate").get("/dashboard/studies/compare?first=st_won&second=st_won").text
    assert pair.count("No model is needed here so far: TF-IDF and logistic regression needs none") == 2
    ranked = visitor(world, "secret-operate").get("/dashboard/studies?order=lift&first=st_1").text  # which has no lift
    assert '<input type="radio" name="first" value="st_1" aria-label="st_1 is the first" checked>' in ranked
    family = "/dashboard/families/triage"
    world.post(f"/v1/rollouts/{world.get('/v1/families/triage/rollout').json()['id']}/rollback", {"reason": "done"})
    told = (
        visitor(world, "secret-operate").get(family).text.partition("no rollout has tried it")[2].partition("</p>")[0]
    )
    assert f"dashboard/acts/start?family=triage&amp;variant={winner}" in told
    start = visitor(world, "secret-operate").get("/dashboard/studies/st_won").text.partition("<dt>Next")[2]
    assert f"dashboard/acts/start?family=triage&amp;variant={winner}" in start


def calibrated(world: World, judge: str) -> None:
    """People's ratings vouch for this judge of the rated world."""
    record = replace(CALIBRATED, family=JUDGED, calibration=replace(CALIBRATED.calibration, judge=judge))
    world.shared.store.write(lambda tx: world.shared.store.calibrations.add(tx, record))


def test_a_judge_s_standing_and_what_its_ratings_are_worth_are_told_in_words(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        judge, client = judge_identity(add_judged_family(world, 60)), visitor(world, None)
        place, worth = f"/dashboard/families/{JUDGED}/quality", "What ratings tell so far: "
        told = client.get(place).text
        assert f'{judge}: <b class="warn">may not decide by itself</b>, since the judge is uncalibrated' in told
        assert "<dd>no answers of this judge were drawn for rating</dd>" in told
        world.post(f"/v1/families/{JUDGED}/rating-draws", {"n": 23})
        rate_all(world, 3)
        assert f"{worth}3 answers drawn at random are rated" in client.get("/dashboard/reviews").text
        rate_all(world, 18)
        calibrated(world, judge)
        told, figure = client.get(place).text, world.get(f"/v1/families/{JUDGED}/judge").json()["figure"]
        mean, low, high, wide = (f"{figure[name]:.3f}" for name in ("mean", "low", "high", "width_after_next_50"))
        assert f'{judge}: <b class="calm">calibrated</b>.' in told
        assert f"<dd>{mean}, between {low} and {high}</dd>" in told
        assert "<dd>60, 21; 2 wait for a rating</dd>" in told
        (row,) = table_of(told, "calibrations, the latest first")
        assert row[1:6] == ["anna", "25", "0.500", "–", "0.125"]
        assert row[6].startswith("Even calibrated, the judge comes less near to people's ratings")
        text = f"{worth}judged answers are worth {mean}, between {low} and {high}, by 21 ratings; fifty more would make"
        assert f"{text} that {wide} wide." in client.get("/dashboard/reviews").text


def test_a_student_s_agreement_stands_week_by_week_and_why_it_is_bypassed(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        store, now, id = world.shared.store, world.shared.clock.now(), TAUGHT.student.hash
        policy = {"tiers": ["student", "embedded"], "students": {"student": id}, "accept": 0.9}
        store.write(lambda tx: store.students.add(tx, "triage", TAUGHT, study="st-1", at=now))
        crown(store, "triage", replace(variant_of("Which? {{text}}"), policy=policy), at=now)
        compared: Any = {"n_drawn": 100, "n_compared": 100, "weight": 400.0, "squares": 1600.0, "agreeing": 380.0}
        other: Any = {"dev_unknown": (400, *[0] * 9), "teacher": Teacher(prompt="p", revisions={})}
        weeks = (
            StudentWeek(monday=date(2026, 11, 9), n=30, n_own=20),
            StudentWeek(monday=date(2026, 11, 16), n=500, n_own=400, unknown=(*[0] * 9, 500), **compared),
        )
        watch = replace(StudentWatch.begin(student=id, tier="student", accepted=0.1, **other), weeks=weeks)
        watched = WatchedStudent(family="triage", watch=watch, read_until=now)
        store.write(lambda tx: store.students.keep_watch(tx, watched))
        client, place = visitor(world, None), "/dashboard/families/triage/quality"
        page = client.get(place).text
        assert f"<h2>Student {id}</h2>\n<p>Taught by labels.</p>" in page
        assert "<p>no audited request has been compared yet.</p>" in page
        assert "Other requests than it was taught on: 95% of a request&#39;s words are unknown to it" in page
        assert table_of(page, "agreement by week, the newest first") == [
            ["2026-11-16", "500", "400", "0.950, between 0.888 and 0.978", "100"],
            ["2026-11-09", "30", "20", "not measured", "0"],
        ]
        world.post("/v1/families/triage/student/bypass", {"reason": "it <guesses>"})
        told = client.get(place).text.partition('<b class="warn">Bypassed since')[2].partition("</p>")[0]
        assert ("it &lt;guesses&gt;. Whoever" in told, "detent student resume triage" in told) == (True, True)


def test_a_confirmed_winner_is_offered_with_the_champion_that_it_was_compared_with(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        first, winner, other = world.champion(), world.candidate("The winner:"), world.candidate("Another:")
        ended: dict[str, Any] = {"status": "finished", "outcome": "nominated", "winner": winner}
        found = study(family="triage", champion=first, **ended)
        world.shared.store.write(lambda tx: world.shared.store.studies.add(tx, found))
        client, place = visitor(world, None), "/dashboard/families/triage"
        page = client.get(place).text
        assert ("on the sealed examples, and no rollout" in page, winner in page) == (True, True)
        world.post("/v1/families/triage/champion/set", {"variant": other, "reason": "x", "confirm": "triage"})
        sentence = client.get(place).text.partition("on the sealed examples, against")[2].partition("</p>")[0]
        assert (first in sentence, "which does not serve now" in sentence) == (True, True)


def test_scores_stand_in_their_bands_and_success_beside_them(tmp_path: Path) -> None:
    scores = [0.95, 0.9, 0.94, 0.8, 0.85, 0.89, 0.0, 0.5, 0.7, 0.79]
    with serving(make_home(tmp_path)) as world:
        world.report()
        for outcome in [*({"score": score} for score in scores), {"success": True}, {"success": False}]:
            sent = world.post("/v1/feedback", {"interaction": "in_reported", "family": "triage", **outcome})
            assert sent.status_code == 200, sent.text
        roll_up_minutes(world.shared.store, Clock(world.shared.clock.now() + timedelta(minutes=5)))
        page = visitor(world, None).get("/dashboard/families/triage/quality").text
        (row,) = table_of(page, "scores by band")
        shares = [cell.partition(" %")[0] for cell in row[4:]]
        assert (row[:4], shares) == (["labelled", "user", "10", "0.732"], ["1, 10.0", "2, 20.0", "3, 30.0", "4, 40.0"])
        assert "Success by user: 50.0 % of 2 labels." in page


def test_the_last_evaluation_says_who_is_taken_for_whom_to_who_may_read_texts(world: World) -> None:
    labels = [["billing", "1", "2", "50.0 %", "100.0 %", "0.667"], [SECRET_WORD, "1", "0", "–", "0.0 %", "0.000"]]
    taken = [["billing", "billing", "1", "right"], [SECRET_WORD, "billing", "1", "wrong"]]
    for role, of_labels, confusion in ("read-texts", labels, taken), ("read", [], []):
        page = visitor(world, f"secret-{role}").get("/dashboard/families/triage/quality").text
        assert table_of(page, "figures by label") == of_labels
        assert table_of(page, "confusion, expected beside given") == confusion
        assert ("Its labels are not shown to this key" in page) == (role == "read")


def test_labels_of_examples_and_golden_scenarios_are_shown_to_who_may_read_texts(tmp_path: Path) -> None:
    settings, row = make_home(tmp_path), {"id": "late", "input": {"text": "Twice?"}, "expected": {"topic": "billing"}}
    (settings.families_dir / "triage" / "golden.jsonl").write_text(json.dumps(row))
    with serving(settings) as world:
        world.add_examples(40)
        for role in ("read-texts", "read"):
            world.add_key(role, role, secret=f"secret-{role}")
        with world.shared.store.read() as tx:
            found = (world.shared.store.examples.of_split(tx, "triage", split=split) for split in ("train", "dev"))
            train, dev = ([one.expected["topic"] for one in rows] for rows in found)
        by_label = [[label, str(train.count(label)), str(dev.count(label))] for label in ("billing", "technical")]
        golden = [["late", "late", "the file", "text Twice?", "topic billing"]]
        for role, labels, scenarios in ("read-texts", by_label, golden), ("read", [], []):
            page = visitor(world, f"secret-{role}").get("/dashboard/families/triage/examples").text
            shown = [row[:3] for row in table_of(page, "examples by label, without the sealed ones")]
            assert (shown, table_of(page, "golden scenarios")) == (labels, scenarios)
            n = [len(train), len(dev), 40 - len(train) - len(dev), 0]
            assert re.findall(r"<dd>(\d+)</dd>", page) == [str(each) for each in n]
            assert ("Twice?" in page) == (role == "read-texts")


def test_each_turn_of_a_conversation_says_who_scored_it_or_why_nobody_did(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        judge, at = judge_identity(add_judged_family(world, 0)), world.shared.clock.now()
        usual: dict[str, Any] = {"of": arm(family=JUDGED), "received_at": at, "occurred_at": at}
        turns = [interaction(f"in_{n}", conversation="c1", input={"document": "d"}, **usual) for n in range(5)]
        rated, reported, tags = {"score": 0.75}, {"source": "system", "score": 1.0}, {"reasoning": "Too long."}
        judged, own = ({"source": "judge", "score": 0.25, "tags": {**tags, "judge": name}} for name in ("j_1", judge))
        told: list[Any] = [(0, rated), (0, judged), (1, judged), (2, own), (3, reported)]
        usual["success"] = None
        scores = [feedback(f"fb_{i}", interaction=f"in_{of}", **usual, **one) for i, (of, one) in enumerate(told)]
        keep_events(world.shared.store, [*turns, *scores])
        calibrated(world, judge)
        page = visitor(world, None).get("/dashboard/conversation?conversation=c1").text
        assert re.findall(r"<li>\s*<b>(.*?)</b>", page) == [
            "0.750, by labels",
            "0.250, by the judge",
            "0.300, by the judge, calibrated",
            "1.000, as the application reported",
            "not scored",
        ]
        assert re.findall(r"<dt>.*?</dt><dd>(.*?)</dd>", page) == ["5", "4", "0.575", "0.250", "–"]
        assert "nobody rated it" in page.partition("not scored")[2].partition("</p>")[0]
        assert ("judge: 0.250 (0.300 calibrated)" in page, page.count("Too long.")) == (True, 3)


def test_a_schedule_says_of_each_trigger_what_it_waits_for_and_what_holds_all_back(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        client, place = visitor(world, None), "/dashboard/families/triage/schedule"
        off = [[kind, "off", "off, like all: nothing starts by itself"] for kind in TRIGGERS]
        assert table_of(client.get(place).text, "triggers") == off
        switched = {"on": True, "reason": "a <try>"}
        world.client.put("/v1/families/triage/schedule", json=switched, headers={"If-Match": "*"})
        page = client.get(place).text
        why = {kind: why for kind, _, why in table_of(page, "triggers")}
        assert "50 units with outcomes or 100 requests are needed" in why["degradation"]
        assert "0 units with feedback since" in why["feedback"]
        assert why["student"] == "no student serves"
        (at,) = re.findall(r'<p class="lead">On, next at (.*? UTC)\.</p>', page)
        assert why["schedule"] == f"next at {at} (0 3 * * *)"
        assert '<p class="warn">Held back: triage has 0 holdout examples' in page
        assert "UTC: a &lt;try&gt;</dd>" in page
