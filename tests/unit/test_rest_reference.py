"""docs/reference/rest.md names every route that the server has, and none that it has not."""

from __future__ import annotations

import re
from pathlib import Path

from api.app import create_app
from api.routes.later import LATER
from optimizer.core.rollout.transitions import OPERATOR_ACTS
from optimizer.host.config import load_settings

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "rest.md").read_text(encoding="utf-8")


def _paths(tmp_path: Path) -> set[str]:
    document = create_app(load_settings("dev", tmp_path)).openapi()
    return {*document["paths"], *(later.path for later in LATER)}


def test_every_route_stands_in_the_reference(tmp_path: Path) -> None:
    named = TEXT.replace("[/{key}]", "` `/ofrep/v1/evaluate/flags/{key}")
    acts = {f"/v1/rollouts/{{id}}/{act}" for act in OPERATOR_ACTS}
    missing = {path for path in _paths(tmp_path) - acts if not re.search(re.escape(path) + r"[`?]", named)}
    missing |= {path for path in acts if f"/{path.rsplit('/', 1)[1]}`" not in TEXT}
    assert missing == set()


def test_the_reference_names_no_route_that_is_not_there(tmp_path: Path) -> None:
    known = _paths(tmp_path) | {"/problems/{word}"}
    named = set(re.findall(r"`(?:GET |POST |PUT |DELETE )?(/[a-z0-9/{}_.-]*)", TEXT.replace("[/{key}]", "")))
    strange = {path for path in named if path not in known and not any(path == f"/{act}" for act in OPERATOR_ACTS)}
    assert strange <= {"/", "/docs", "/openapi.json"}, strange  # served, and no part of what they describe


def test_the_page_of_the_routes_says_in_a_sentence_what_each_does(tmp_path: Path) -> None:
    paths = create_app(load_settings("dev", tmp_path)).openapi()["paths"]
    told = {
        f"{method} {path}": operation["summary"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert told["get /v1/families/{family}/prompt"].startswith("The prompt that this unit gets now")
    assert {route for route, summary in told.items() if len(summary.split()) < 3} == set()
    assert not any(summary.endswith(".") for summary in told.values())
