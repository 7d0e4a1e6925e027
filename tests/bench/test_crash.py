"""Every process of a running service is killed in the middle of a study and of a stream of feedback: twice here,
twenty times in the long run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds.gateway_world import HAS_EMBEDDED_MODEL

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "crash.py"
KILLS = 2

pytestmark = pytest.mark.skipif(not HAS_EMBEDDED_MODEL, reason="the embedded model has no wheel here")


def check_promises(kills: int, *words: str, patience_s: float) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", str(kills), "--no-result", *words],
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["broken"] == []
    assert done.returncode == 0
    assert result["kills"] == dict.fromkeys(("api", "feedback", "gateway", "worker", "mlflow", "embedded"), kills)
    assert result["acknowledged_events"] > 0
    assert result["journal"]["settled"] > 0
    assert (
        result["journal"].get("lost", 0)
        == result["lost_calls"]
        <= result["kills"]["worker"] + result["kills"]["embedded"]
    )


@pytest.mark.timeout(1500)
def test_nothing_acknowledged_is_lost_nothing_is_asked_twice_and_the_winner_is_the_same() -> None:
    check_promises(KILLS, "--family", "support_topics", patience_s=1400)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_so_it_is_after_twenty_kills_of_each_process() -> None:
    check_promises(20, patience_s=7000)
