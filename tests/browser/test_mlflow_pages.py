"""MLflow's pages in a real browser: a reviewer opens the study's run and finds the winner and its diff.

Skipped where no browser is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from optimizer.adapters.mlflow.tracking import MlflowTracker
from optimizer.host import run_files
from optimizer.jobs.outbox.mirror_outbox import mirror_once
from tests.browser.test_dashboard_pages import LISTEN
from tests.chromium import CHROMIUM
from tests.rows import mlflow_story as story
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stand_ins.running_mlflow import running_mlflow
from tests.worlds.api_world import make_home
from tests.worlds.dashboard_visitor import HOSTILE
from tests.worlds.gateway_world import serving
from tests.worlds.study_world import topic_family

pytestmark = [
    pytest.mark.long,  # MLflow's own pages; end_to_end/pages/test_dashboard_mlflow.py asks what stands before them
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
WINNER = story.VARIANTS[4].id


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory, new_mlflow: NewMlflow) -> Iterator[str]:
    """Address of an MLflow server that shows the mirrored study."""
    home = tmp_path_factory.mktemp("home")
    uri = new_mlflow(home / "mlflow" / "mlflow.db")
    store = story.open_database(home)
    story.tell(store)
    assert (
        mirror_once(
            store,
            lambda: MlflowTracker(uri, studies_at="../studies"),
            story.after_it(),
            {story.FAMILY: topic_family(name=story.FAMILY)},
            story.pages(store),
        )
        == 1
    )
    store.close()
    with running_mlflow(home) as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def run_page(mlflow: str) -> str:
    """Address of the study's parent run."""
    with httpx.Client(base_url=mlflow, trust_env=False) as client:
        found = client.get(
            "/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": f"detent/{story.FAMILY}"}
        ).json()
        experiment = found["experiment"]["experiment_id"]
        where = {"experiment_ids": [experiment], "filter": "tags.`detent.kind` = 'study'"}
        run = client.post("/api/2.0/mlflow/runs/search", json=where).json()["runs"][0]["info"]["run_id"]
    return f"{mlflow}/#/experiments/{experiment}/runs/{run}"


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    return browser.new_context(viewport={"width": 1800, "height": 1100}).new_page()


ERRORS_SEEN = """
window.errorsSeen = [];
new MutationObserver((changes) => {
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    if (node.nodeType === 1 && /notification-notice-error|alert-error/.test(node.outerHTML)) errorsSeen.push(node.innerText);
  }
}).observe(document, { subtree: true, childList: true });
"""  # noqa: E501


PAGES = {  # what is seen on each
    "": ["Recent Experiments", "detent/"],
    "#/experiments": ["detent/"],
    "{experiment}/runs": ["nominated"],
    "{experiment}/evaluation-runs": ["nominated"],
    "{experiment}": ["Usage"],
    "{run}": [
        "confirmation.lift",
        f"nominated {WINNER}",
        "the best variant of the search met every gate on the holdout and was nominated",
        "/04 bootstrap .*winner/",
        "<script>hostile()",
    ],
    "#/prompts": ["detent-"],
    f"#/prompts/detent-{story.FAMILY}": ["champion", "Summarize the document in one sentence."],
}


@pytest.fixture(scope="module")
def hostile_page(mlflow: str, run_page: str) -> str:
    """``run_page`` with what would run a script in its note and its tags."""
    id = run_page.rpartition("/")[2]
    with httpx.Client(base_url=mlflow, trust_env=False) as client:
        tags = client.get("/api/2.0/mlflow/runs/get", params={"run_id": id}).json()["run"]["data"]["tags"]
        (note,) = (tag["value"] for tag in tags if tag["key"] == "mlflow.note.content")
        written = {"mlflow.note.content": " ".join([note, *HOSTILE]), **dict(zip("abcdefgh", HOSTILE, strict=True))}
        for name, text in written.items():
            set_tag = client.post("/api/2.0/mlflow/runs/set-tag", json={"run_id": id, "key": name, "value": text})
            assert set_tag.status_code == 200, set_tag.text
    return run_page


def test_pages_open_without_an_error_and_offer_nothing_that_is_refused_and_what_somebody_wrote_runs_nothing(
    page: Any, mlflow: str, hostile_page: str
) -> None:
    """One after the other in one window, as a reviewer goes through them: MLflow's scripts are read once."""
    run = "#" + hostile_page.partition("#")[2]
    opened = page.context.new_page()
    asked: list[int] = []
    opened.on("response", lambda answer: asked.append(answer.status) if "gateway" in answer.url else None)
    opened.add_init_script(ERRORS_SEEN + LISTEN)
    for place, shown in PAGES.items():
        opened.goto(f"{mlflow}/{place.format(run=run, experiment=run.partition('/runs/')[0])}")
        opened.wait_for_timeout(500)  # only what stands behind # changes, so nothing is loaded that could be waited for
        for text in shown:
            opened.wait_for_selector(f"text={text} >> visible=true")
        if not place:
            assert opened.locator("text=Information about UI telemetry").count() == 0
            assert opened.evaluate("localStorage.getItem('mlflow.settings.telemetry.enabled_v1')") == "false"
        opened.wait_for_load_state("networkidle")
        assert (opened.evaluate("errorsSeen"), opened.evaluate("ran")) == ([], []), place
        for what in ("AI Gateway", "MCP registry", "MLflow Assistant", "Start Demo", "New run", "Playground", "Judges"):
            assert not opened.locator(f"text={what}").filter(visible=True).count(), f"{place} offers {what}"
        for what in ("Create", "Delete", "Create prompt", "Create prompt version", "Delete version", "Optimize"):
            button = opened.get_by_role("button", name=what, exact=True).filter(visible=True)
            assert not button.count(), f"{place} offers {what}"
    assert not [status for status in asked if status >= 400]
    opened.close()


def test_the_report_shows_the_winners_diff_against_the_champion_and_its_plots_without_a_network(
    page: Any, run_page: str
) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    page.goto(f"{run_page}/artifacts")
    page.click("text=report.html")
    frame = page.frame_locator("iframe")
    frame.locator(f"text=The winner {WINNER} against the champion").wait_for()
    frame.locator("span.added", has_text="[example 1: ex_0]").first.wait_for()
    assert frame.locator("tr:has(td .key.candidate)", has_text="winner").count() == 2, (
        "in the confirmation and among the trials"
    )
    frame.locator("figure:has-text('Quality against latency') path.candidate.dot").wait_for(state="attached")
    frame.locator("section:has(h2:text('Which settings mattered')) .bar").first.wait_for()
    assert len(hosts) == 1, f"asked {hosts}"


def test_the_table_of_trials_is_drawn_as_a_table_with_the_winner_first(page: Any, run_page: str) -> None:
    page.goto(f"{run_page}/artifacts")
    page.click("text=trials.json")
    page.wait_for_selector("text=View as table")
    page.wait_for_selector("text=winner")


def test_below_the_dashboard_a_reader_opens_the_run_and_its_files_and_finds_the_way_back(
    page: Any, mlflow: str, hostile_page: str, tmp_path: Path
) -> None:
    settings = make_home(tmp_path)
    run_files.announce(settings, "mlflow", mlflow)
    blocked: list[str] = []
    other = page.context.new_page()
    other.add_init_script(LISTEN)
    other.on("console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None)
    with serving(create_app(settings), settings) as url:
        other.goto(f"{url}/dashboard/mlflow/#{hostile_page.partition('#')[2]}")
        other.wait_for_selector(f"text=nominated {WINNER}")
        leads_to = other.locator(f"h3 a:text-is('{story.FAMILY}')").evaluate("link => link.href")
        assert leads_to == f"{url}/dashboard/studies/{story.STUDY}"
        other.click("text=Artifacts")
        other.click("text=trials.json")
        other.wait_for_selector("text=/bootstrap/")
        assert other.evaluate("ran") == [], "with a session, where somebody's script could act"
        other.click("text=Studies in Detent")
        other.wait_for_selector("h1:has-text('Studies')")
    other.close()
    assert blocked == []
