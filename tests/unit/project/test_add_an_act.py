"""The worked example of docs/how-to/add-an-act.md: a job, a line of the list and a command are an act."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.made_once import FOLDER
from tests.one_more_act import ROOT, copy_with_act


def test_a_job_a_line_of_the_list_and_a_command_are_an_act(tmp_path: Path) -> None:
    product, home = tmp_path / "product", tmp_path / "home"
    copy_with_act(product)
    done = subprocess.run(
        [sys.executable, "-m", "tests.one_more_act", str(home)],
        env={**os.environ, "PYTHONPATH": f"{product}{os.pathsep}{ROOT}", FOLDER: ""},  # of another product than this
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["product"] == str(product)
    first, kept = found["by_rest"]
    assert first["changed"] is True
    assert first["what"].endswith("has ended")
    assert kept == first, "the answer under its Idempotency-Key"
    assert found["here"] == found["there"] == first
    assert found["again"] == {"family": "triage", "what": "the unit has no override", "changed": False}
    assert found["refused"] == 400
    assert found["summary"] == "Serves a unit what it would get by itself, from now on"
    assert found["answer"] == {"$ref": "#/components/schemas/EndOverrideReport"}
