"""Answers reads that take processor time in a process of their own, so that the api goes on serving.

``python -m optimizer.runtime.apart`` reads one request from stdin and writes its answer to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from optimizer.core.base.errors import Busy, DetentError
from optimizer.core.serving.access import Access
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.runtime import wiring
from optimizer.runtime.use_cases import UseCase, use_case_named

WITHIN_S, TURN_S = 50.0, 8.0  # for an answer, and for a turn before it; the command line waits for a minute
NICER = 5  # below the processes that serve; at 10 a busy machine leaves it too little to answer in time
_turn, _places = threading.Lock(), threading.Semaphore(4)  # of those that wait for a turn, each in a thread of the api


def answer_apart(use_case: UseCase, context: Context, request: Request, *, figures_only: bool) -> bytes:
    """The report as JSON.

    Raises the DetentError of the use case. Raises Busy where other such reads are under way for too long, or where the
    process does not end well or in time, as it would again.
    """
    order = {
        **asker_of(context),
        "function": use_case.full_name,
        "request": request.model_dump(mode="json"),
        "figures_only": figures_only,
    }
    if not _has_turn():
        raise Busy("Other reads that take processor time are under way. Try again when they have ended.")
    try:
        process = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(order).encode(),
            capture_output=True,
            timeout=WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "did not end well"
        raise Busy(
            f"The process that reads this {why}. Run the command beside the store, where nothing ends it.",
            said=(getattr(error, "stderr", None) or b"").decode(errors="replace")[-2000:] or None,
            passes=False,
        ) from error
    finally:
        _turn.release()
    status, _, body = process.stdout.partition(b"\n")
    if status == b"refused":
        from optimizer.runtime.api_client import error_of

        raise error_of(json.loads(body))
    if status != b"answered":
        raise Busy(
            "The process that reads this wrote something else than its answer. Run the command beside the store.",
            said=process.stdout[:2000].decode(errors="replace"),
            passes=False,
        )
    return body


def _has_turn() -> bool:
    if not _places.acquire(blocking=False):
        return False
    try:
        return _turn.acquire(timeout=TURN_S)
    finally:
        _places.release()


def asker_of(context: Context) -> dict[str, Any]:
    """Who asks, and of which home, as JSON for another process."""
    return {
        "home": str(context.settings.home),
        "profile": context.settings.profile,
        "actor": context.actor,
        "access": {"roles": context.access.roles, "families": context.access.families},
    }


def context_of(asker: Mapping[str, Any]) -> Context:
    """The context of who asks, in a process that does this alone: it gives way to those that serve."""
    from optimizer.host.config import load_settings
    from optimizer.host.logs import set_up_logs

    os.nice(NICER)
    settings = load_settings(asker["profile"], Path(asker["home"]))
    set_up_logs(settings, "apart", terminal=False)  # without it what is logged goes into the answer
    roles, families = asker["access"]["roles"], asker["access"]["families"]
    access = Access(roles=tuple(roles), families=None if families is None else tuple(families))
    return wiring.open_context(settings, actor=asker["actor"], access=access)


def as_document(error: DetentError) -> str:
    """What ``error_of`` reads."""
    return json.dumps({"type": error.slug, "detail": error.detail, **error.members}, default=str)


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    use_case = use_case_named(order["function"])
    try:
        report = use_case.call(
            replace(context_of(order), within=0.8 * timedelta(seconds=WITHIN_S)),
            use_case.request.model_validate(order["request"]),
        )
    except DetentError as error:
        sys.stdout.write(f"refused\n{as_document(error)}")
        return
    sys.stdout.buffer.write(b"answered\n" + use_case.written(report, figures_only=order["figures_only"]))


if __name__ == "__main__":
    main()
