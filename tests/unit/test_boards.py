"""The board and the rules under deploy/ ask for metrics that /metrics has, and lead to chapters of the runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path

from api.gateway.metrics import Metrics
from optimizer.host.yaml_files import load_file

ROOT = Path(__file__).resolve().parents[2]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "detent-models.json").read_text(encoding="utf-8"))
RULES = load_file(ROOT / "deploy" / "prometheus" / "detent.yaml", "Correct it.")["groups"][0]["rules"]


def known() -> set[str]:
    metrics = Metrics()
    for counted in (metrics.request_duration, metrics.time_to_first_token):
        counted.labels(family="f", model="m").observe(1.0)
    lines = metrics.text().splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")} | {
        re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")
    }


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bllm_\w+", expression))


def test_every_panel_and_every_rule_asks_for_metrics_that_there_are() -> None:
    expressions = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in RULES]
    assert all(asked(expression) or "up{" in expression for expression in expressions)
    assert set().union(*map(asked, expressions)) <= known()


def test_every_rule_leads_to_a_chapter_of_the_runbook() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    chapters = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for rule in RULES:
        page, chapter = rule["annotations"]["runbook"].split("#")
        assert page == "docs/runbook.md"
        assert chapter in chapters
