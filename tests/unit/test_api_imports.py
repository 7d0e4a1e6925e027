"""The api process stays small: it never loads what only searches, models and MLflow need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.api_world import make_home

HEAVY = ("mlflow", "dspy", "litellm", "sklearn", "rouge_score", "optuna", "dbos", "numpy", "xllamacpp")
HEAVY += ("google.protobuf",)
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from optimizer.host.config import load_settings
from api.app import create_app
from fastapi.testclient import TestClient

app = create_app(load_settings("dev", Path(sys.argv[1])))
created = [name for name in {heavy!r} if name in sys.modules]
with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
    assert client.get("/v1/families/triage/prompt").status_code == 200
    assert client.get("/openapi.json").status_code == 200
    client.post("/v1/feedback", json={{"family": "triage", "unit": "u", "success": True}})
    assert client.post("/api/performance/record?processing_type=full&content_type=news").status_code == 200
    assert client.get("/api/performance/").status_code == 200
    client.post("/v1/families/triage/studies", json={{"budget": {{"calls": 500}}, "dry_run": True}})
served = [name for name in {heavy!r} if name in sys.modules]
import api.gateway.app, optimizer.runtime.worker
from optimizer.host.tracing import TRACING
print(json.dumps([created, served, "opentelemetry.sdk" in sys.modules or TRACING.tracer is not None]))
"""


def test_the_api_process_imports_nothing_heavy_neither_at_its_start_nor_while_serving(tmp_path: Path) -> None:
    make_home(tmp_path)
    program = PROGRAM.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    created, served, traced = json.loads(done.stdout.splitlines()[-1])
    assert created == []
    assert served == []
    assert not traced, "no process loads the SDK of traces without the setting"
