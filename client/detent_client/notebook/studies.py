"""A study as a notebook follows it: a bar while it runs, then what it found."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detent_client.errors import Unavailable
from detent_client.notebook.backend import Backend, Work
from detent_client.notebook.records import Record, Table

POLL_S = 0.5
ENDED = ("finished", "cancelled", "failed")
SHOWN = ("status", "outcome", "winner", "champion", "strategy", "spend", "error")
COLUMNS = ("number", "proposer", "status", "score", "n", "cost_usd", "p95_ms", "variant")


class Study(Record):
    """As it stood when it was last looked at. ``wait`` looks until it has ended."""

    def __init__(self, backend: Backend, members: dict[str, Any], work: Work | None = None) -> None:
        super().__init__(members)
        self._backend, self._work = backend, work

    def look(self) -> Study:
        """As it stands now."""
        return Study(self._backend, self._backend.ask("GET", "/v1/studies/{id}", id=self["id"]), self._work)

    def wait(self, *, progress: bool = True) -> Study:
        """The study at its end. Interrupted, it goes on where it runs; ``wait`` may be called again.

        Args:
            progress: shows a bar where tqdm is installed, else a line at the end.
        """
        with _bar(self, progress) as bar:
            while True:
                is_worked = self._work is None or self._work.is_alive()
                try:
                    study = self.look()
                except Unavailable:  # the server's worker goes on meanwhile
                    time.sleep(POLL_S)
                    continue
                bar.show(study)
                if study["status"] in ENDED:
                    return study
                if not is_worked:
                    assert self._work is not None
                    raise self._work.failure or RuntimeError(f"Study {self['id']} was left before its end.")
                time.sleep(POLL_S)

    def cancel(self, reason: str = "") -> Study:
        """What was found until now stays."""
        self._backend.ask("POST", "/v1/studies/{id}/cancel", id=self["id"], reason=reason)
        return self.look()

    @property
    def trials(self) -> Table:
        """Each variant that was tried, the best first."""
        rows = pages(self._backend, "/v1/studies/{id}/trials", id=self["id"])
        rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["number"]))
        return Table(rows, COLUMNS)

    def to_dataframe(self) -> Any:
        """Of the trials. Raises MissingPackage without pandas."""
        return self.trials.to_dataframe()

    def __repr__(self) -> str:
        return f"Study {self['id']} of {self['family']}\n{self._headline()!r}\n\n{self.trials!r}"

    def _repr_html_(self) -> str:
        title = f"<p>Study <code>{self['id']}</code> of <b>{self['family']}</b></p>"
        return f"{title}{self._headline()._repr_html_()}{self.trials._repr_html_()}"

    def _headline(self) -> Record:
        spend = self["spend"]
        told = {**self.to_dict(), "spend": f"{spend.n_calls} calls, ${spend.usd:.4f}"}
        return Record({name: told[name] for name in SHOWN if told.get(name) is not None})


def pages(backend: Backend, path: str, **members: Any) -> list[dict[str, Any]]:
    """The items of a list, to its end."""
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {"limit": 1000}
    while True:
        page = backend.ask("GET", path, **members, **more)
        rows += page["items"]
        if page.get("next_cursor") is None:
            return rows
        more["cursor"] = page["next_cursor"]


class _NoBar:
    def show(self, study: Study) -> None:
        pass


class _CallsBar:
    """Calls of the budget, where it has a number of them."""

    def __init__(self, tqdm: Any, study: Study) -> None:
        self._bar = tqdm(total=study["budget"].get("calls"), unit=" calls", desc=f"study of {study['family']}")

    def show(self, study: Study) -> None:
        word, n_new = study["outcome"] or study["status"], study["spend"].n_calls - self._bar.n
        if (word, n_new) != (self._bar.postfix, 0):  # a notebook keeps each line that is written
            self._bar.set_postfix_str(word, refresh=False)
            self._bar.update(n_new)
            self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


@contextmanager
def _bar(study: Study, progress: bool) -> Iterator[_NoBar | _CallsBar]:
    if not progress:
        yield _NoBar()
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of characters
            from tqdm.auto import tqdm
    except ImportError:
        yield _NoBar()
        last = study.look()
        print(f"study of {study['family']}: {last['outcome'] or last['status']}", file=sys.stderr)
        return
    bar = _CallsBar(tqdm, study)
    try:
        yield bar
    finally:
        bar.close()
