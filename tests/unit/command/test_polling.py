"""A command that waits for a worker goes on waiting where the server does not answer for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from optimizer.cli.progress import poll
from optimizer.cli.study import run
from optimizer.core.base.errors import Busy, DetentError, NotFound, TooMany


def test_a_study_is_followed_past_what_passes_and_its_trials_are_asked_for_where_it_moved(monkeypatch, capsys):
    def one(status: str) -> Any:
        return SimpleNamespace(status=status, spend=SimpleNamespace(n_calls=0))

    running, ended = one("running"), one("finished")
    answers = iter([running, TooMany("Too many."), Busy("Busy."), DetentError("No answer."), running, ended])
    n_trials: list[tuple[Any, ...]] = []

    def read(*_: Any) -> Any:
        found = next(answers)
        if isinstance(found, DetentError):
            raise found
        return found

    def trials_of(*asked: Any) -> list[Any]:
        n_trials.append(asked)
        return []

    monkeypatch.setattr(run, "POLL_SERVER_S", 0.0)
    monkeypatch.setattr(run, "read_study", read)
    monkeypatch.setattr(run, "trials_of", trials_of)
    monkeypatch.setattr(run, "_moving_line", lambda *_: "")
    assert run._watch(cast(Any, SimpleNamespace(server=object())), "st_1", True, lambda: True) is ended
    assert (len(n_trials), capsys.readouterr().err.count("goes on there")) == (2, 1)


def test_what_does_not_pass_ends_the_wait() -> None:
    def fail() -> None:
        raise NotFound("There is no such study.")

    with pytest.raises(NotFound):
        next(poll(fail, 0.0, of_server=True))
