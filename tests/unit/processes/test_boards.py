"""The board and the rules under deploy/ ask for metrics that /metrics has, and lead to chapters of the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from optimizer.host.yaml_files import load_file

ROOT = Path(__file__).resolve().parents[3]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "detent-models.json").read_text(encoding="utf-8"))
RULES_FILE = ROOT / "deploy" / "prometheus" / "detent.yaml"
RULES = load_file(RULES_FILE, "Correct it.")["groups"][0]["rules"]


def known() -> set[str]:
    """Of the page that test_metrics.py holds to what /metrics says."""
    page = (ROOT / "docs" / "how-to" / "watch-with-prometheus.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:llm|detent)_[a-z_]+)`", page))
    return named | {f"{name}_bucket" for name in named if name.endswith("_seconds")}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:llm|detent)_\w+", expression))


def test_every_panel_and_every_rule_asks_for_metrics_that_there_are() -> None:
    expressions = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in RULES]
    assert all(asked(expression) or "up{" in expression for expression in expressions)
    assert set().union(*map(asked, expressions)) <= known()


def test_no_share_of_requests_pages_by_a_single_one() -> None:
    """As the rules of config/alert_rules.yaml: fewer than 20 events tell nothing."""
    (rule,) = (rule for rule in RULES if rule["alert"] == "DetentModelErrors")
    share, least = rule["expr"].split(" and ")
    assert share.startswith('sum by (family, model) (rate(llm_requests_total{status="error"}[5m]))')
    assert least == "sum by (family, model) (increase(llm_requests_total[5m])) >= 20"


def test_promtool_has_nothing_to_say_about_the_rules() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on this machine")
    ran = subprocess.run(["promtool", "check", "rules", str(RULES_FILE)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_rule_leads_to_a_chapter_of_the_runbook() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    chapters = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for rule in RULES:
        page, chapter = rule["annotations"]["runbook"].split("#")
        assert page == "docs/runbook.md"
        assert chapter in chapters
