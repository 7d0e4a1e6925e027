"""Answers reads that take processor time in a process of their own, so that the api goes on serving.

``python -m optimizer.runtime.apart`` reads one request from stdin and writes its answer to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

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
        "function": use_case.full_name,
        "home": str(context.settings.home),
        "profile": context.settings.profile,
        "actor": context.actor,
        "access": {"roles": context.access.roles, "families": context.access.families},
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


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    os.nice(NICER)
    use_case = use_case_named(order["function"])
    try:
        from pathlib import Path

        from optimizer.host.config import load_settings
        from optimizer.host.logs import set_up_logs

        settings = load_settings(order["profile"], Path(order["home"]))
        set_up_logs(settings, "apart", terminal=False)  # without it what is logged goes into the answer
        families = order["access"]["families"]
        access = Access(roles=tuple(order["access"]["roles"]), families=None if families is None else tuple(families))
        context = wiring.open_context(settings, actor=order["actor"], access=access)
        report = use_case.call(
            replace(context, within=0.8 * timedelta(seconds=WITHIN_S)),
            use_case.request.model_validate(order["request"]),
        )
    except DetentError as error:
        document = {"type": error.slug, "detail": error.detail, **error.members}
        sys.stdout.write(f"refused\n{json.dumps(document, default=str)}")
        return
    sys.stdout.buffer.write(b"answered\n" + use_case.written(report, figures_only=order["figures_only"]))


if __name__ == "__main__":
    main()
