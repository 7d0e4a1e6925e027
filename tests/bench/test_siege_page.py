"""On the page of the siege no bar is called kept that was missed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

siege, texts, one_request = (
    importlib.import_module(f"siege.{name}") for name in ("page", "worst_texts", "one_request")
)


def cell(case: str, ours: float, bar: float | None, unit: str = "ms") -> dict[str, Any]:
    return {"case": case, "ours": ours, "other": bar, "other_name": "" if bar is None else "bar", "unit": unit, "n": 3}


def result(p99: float, lost: int) -> dict[str, Any]:
    begun = cell("load: faults in turn, for", 10.0, None, "minutes")
    load = [cell("load: prompt, p99", p99, 100.0), cell("load: events that are not on record", lost, 0, "count")]
    texts = [
        cell("feedback: brackets (8,000,000 bytes, answered with 422)", figure, None) for figure in (0.25, 12, 900)
    ]
    texts += [
        cell("file: brackets (67,000,000 bytes, answered with a report)", figure, None) for figure in (0.5, 30, 400)
    ]
    return {"commit": "c", "machine": "m", "cells": [begun, *load, *texts]}


def test_a_siege_in_which_every_bar_is_kept_says_so():
    page = siege.page(result(99.9, 0))
    assert "all 2 were kept." in page
    assert "bodies of 8 MB that come as slowly" in page.replace("\n", " "), "which no file is"
    assert "| prompt, p99 | 99.9 ms | < 100 ms | 3 |" in page
    assert "| feedback: brackets (8,000,000 bytes, answered with 422) | 0.25 | 12 | 900 |" in page


@pytest.mark.parametrize(
    ("p99", "lost", "named"), [(100.0, 0, "prompt, p99"), (5.0, 1, "events that are not on record")]
)
def test_a_bar_that_is_missed_is_named(p99: float, lost: int, named: str):
    assert f"not kept here: {named}." in siege.page(result(p99, lost))


@pytest.mark.parametrize("case", [next(iter(cases)) for cases in (texts.ENTRANCES, texts.ANSWERS, texts.FILES)])
def test_each_kind_of_text_is_sent_and_measured(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_request.main(case, tmp_path)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["sent_bytes"] > 10**6, figures["answered_bytes"] > 0) == (True, True)
