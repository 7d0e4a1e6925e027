"""A project opened from Python: what ``detent_client.Detent.open`` calls. Each use case is asked for by the method and
path of its route, and answers with that route's JSON, so that the caller's code is the same beside a server.
"""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.cli.session import Session
from optimizer.cli.study.run import StudyThread
from optimizer.core.base.errors import DetentError, InvalidInput, NotFound
from optimizer.runtime import wiring
from optimizer.runtime.use_cases import USE_CASES, UseCase


class OpenProject:
    """One home. As the command line it asks the server of this home where one runs, else works on the store."""

    Error = DetentError

    def __init__(self, home: str) -> None:
        """Raises NotFound for a folder that is no project."""
        folder = Path(home).expanduser().absolute()
        if not (folder / "families").is_dir():
            raise NotFound(f"{folder} is no Detent project: it holds no families/. Make one: detent init {home}")
        self._session = Session(folder)
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, **members: Any) -> Any:
        """The JSON of a route's answer; ``members``: of its path, query and body. Raises DetentError."""
        use_case = _use_case_at(method, path)
        try:
            request = use_case.request.model_validate(members)
        except ValidationError as error:
            faults = "; ".join(f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise InvalidInput(f"This cannot be asked for: {faults}.") from None
        with self._lock:
            return json.loads(use_case.written(self._session.look_again().client.ask(use_case.call, request)))

    def work(self, study: str) -> StudyThread | None:
        """Runs a study in a thread of this process; None where the server or another worker does it."""
        with self._lock:
            session = self._session.look_again()
            if session.server is not None:
                return None
            lock = wiring.worker_lock(session.settings)
            if not lock.acquire():
                return None
            work = StudyThread(session, study, lock)
            work.start()
            return work


@cache
def _use_case_at(method: str, path: str) -> UseCase:
    return next(use_case for use_case in USE_CASES if (use_case.method, use_case.path) == (method, path))
