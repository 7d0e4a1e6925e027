"""docs/reference/gate-trial.md, made of bench/results/gate_trial.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import bounded, matching, table, text_of

from simulations.page import OURS


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    ends: dict[str, dict[str, str]] = {OURS: {}}
    for (case, end, name), cell in matching(cells, "(.*): (promote|roll_back) vs (.*)"):
        for rule, share in ((OURS, cell["ours"]), (name, cell["other"])):
            row = ends.setdefault(rule, {})
            row[case] = f"{share:.2f}" if end == "promote" else f"{row[case].split(' / ')[0]} / {share:.2f}"
    alarms = {
        case: {OURS: bounded(cell), cell["other_name"]: f"{cell['other']:.3f}"}
        for (case,), cell in matching(cells, "(.*?): alarm.*")
    }
    n = max(c["n"] for c in cells if c["case"].startswith("Cookie Cats"))
    return text_of("gate-trial", **result, n=n, ends=table("rule", ends), alarms=table("tests", alarms))
