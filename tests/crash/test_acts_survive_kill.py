"""A process is killed with SIGKILL between the commit of an operator's act and its answer: the same Idempotency-Key
gives the bytes that were lost, and nothing is done twice.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from api import use_cases
from optimizer.host.config import Settings
from tests.children import exit_code
from tests.end_to_end.access.test_idempotency import CASES, kept_rows, send
from tests.worlds.api_world import make_home, serving

ACTS = (
    "POST /v1/freeze",
    "POST /v1/families/{family}/rollouts",
    "POST /v1/rollouts/{id}/advance",
    "POST /v1/families/{family}/champion/rollback",
    "PUT /v1/families/{family}/schedule",
    "POST /v1/families/{family}/studies",
)


def act_and_die(settings: Settings, name: str, request: Path, answer: Path) -> None:
    with serving(settings) as world:
        path, body = CASES[name](world)
        request.write_text(json.dumps([path, body]))
        real, n = use_cases._answered, 0

        def dying(*report: Any, **more: Any) -> Any:
            """Made for the transaction that keeps it, and then for the caller."""
            nonlocal n
            made, n = real(*report, **more), n + 1
            if n == 2:
                answer.write_bytes(made.body)
                os.kill(os.getpid(), signal.SIGKILL)
            return made

        use_cases._answered = dying
        send(world, name.split()[0], path, body)


@pytest.mark.parametrize("name", ACTS)
def test_an_act_whose_answer_was_lost_is_answered_to_the_byte_and_not_done_again(tmp_path: Path, name: str) -> None:
    settings, request, answer = make_home(tmp_path / "home"), tmp_path / "request", tmp_path / "answer"
    assert exit_code(act_and_die, settings, name, request, answer) == -signal.SIGKILL
    path, body = json.loads(request.read_text())
    with serving(settings) as world:
        before = kept_rows(world)
        answers = [send(world, name.split()[0], path, body) for _ in range(2)]
        assert kept_rows(world) == before
    assert {one.content for one in answers} == {answer.read_bytes()}
    assert {one.is_success for one in answers} == {True}
