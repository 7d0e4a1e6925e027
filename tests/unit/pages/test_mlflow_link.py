"""Where a study is to be seen in MLflow, as the command line says it."""

from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

from rich.console import Console

from optimizer.adapters.mlflow.connection import link_of
from optimizer.cli.study.view import view
from optimizer.core.views.study_headline import view_of_study
from optimizer.host import run_files
from optimizer.host.config import load_settings
from tests.stores import study

STUDY = study("st_1", family="triage", status="finished", mlflow_run_id="r1")


class Mlflow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        run = {"run": {"info": {"run_id": "r1", "experiment_id": "7"}}}
        body = json.dumps(run if self.path.endswith("runs/get?run_id=r1") else {"error_code": "x"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_study_is_shown_with_the_link_to_its_run_while_mlflow_runs(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert link_of(settings, STUDY) is None
    with HTTPServer(("127.0.0.1", 0), Mlflow) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        run_files.announce(settings, "mlflow", url)
        link = link_of(settings, STUDY)
        assert link == f"{url}/#/experiments/7/runs/r1"
        assert link_of(settings, replace(STUDY, mlflow_run_id=None)) == f"{url}/#/experiments"
        elsewhere = load_settings(home=tmp_path, mlflow_tracking_uri=f"{url.replace('//', '//me:secret@')}/")
        assert link_of(elsewhere, STUDY) == link
        server.shutdown()
    out = StringIO()
    shown = view_of_study(STUDY)
    view(Console(file=out, width=200), shown, [], mlflow=link)
    assert f"MLflow    {link}" in out.getvalue()
