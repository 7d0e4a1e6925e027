"""The api process stays small: it never loads what only searches, models and MLflow need. Nor does a room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.worlds.api_world import make_home

HEAVY = ("mlflow", "dspy", "gepa", "litellm", "sklearn", "scipy", "pandas", "rouge_score", "optuna", "dbos", "numpy")
HEAVY += ("xllamacpp", "google.protobuf")
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from optimizer.host.config import load_settings
from api.app import create_app
from fastapi.testclient import TestClient
from optimizer.runtime.rooms import ROOMS, declared_in

def heavy():
    return [name for name in {heavy!r} if name in sys.modules]

app = create_app(load_settings("dev", Path(sys.argv[1])))
created = heavy()
with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
    assert client.get("/v1/families/triage/prompt").status_code == 200
    client.post("/v1/feedback", json={{"family": "triage", "unit": "u", "success": True}})
    assert client.post("/api/performance/record?processing_type=full&content_type=news").status_code == 200
    assert client.get("/api/performance/").status_code == 200
    pages = ["", "/reviews", "/performance", "/studies", "/requests", "/runs", "/money", "/audit", "/settings", "/help"]
    of_family = ("", "/quality", "/examples", "/variants", "/schedule", "/workbench")
    pages += [f"/families/triage{{page}}" for page in of_family]
    assert {{page: 200 for page in pages}} == {{page: client.get(f"/dashboard{{page}}").status_code for page in pages}}
    client.post("/v1/families/triage/studies", json={{"budget": {{"calls": 500}}, "dry_run": True}})
    routes = app.router.routes
    routes[:] = [route for route in routes if "/studies" in getattr(route, "path", "")]  # all of them take seconds
    assert app.openapi()["paths"]
served = heavy()
n_declared = sum(len(declared_in(group)) for group in ROOMS)
declared = heavy()
import api.gateway.app, optimizer.runtime.worker
from optimizer.host.tracing import TRACING
traced = TRACING.tracer is not None or "opentelemetry.sdk" in sys.modules
print(json.dumps([created, served, declared, n_declared, traced]))
"""


def test_the_api_and_the_rooms_import_nothing_heavy_and_no_process_the_sdk_of_traces_that_nobody_asked_for(
    tmp_path: Path,
) -> None:
    make_home(tmp_path)
    program = PROGRAM.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    created, served, declared, n_declared, traced = json.loads(done.stdout.splitlines()[-1])
    assert (created, served, declared) == ([], [], [])
    assert n_declared > 60
    assert traced is False
