"""A Detent server, or a project of this machine, as a person works with it in Python."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from detent_client.notebook.backend import Backend, InProcess, OverHttp
from detent_client.notebook.records import MissingPackage, Record, Table
from detent_client.notebook.studies import Study, pages

ROWS_AT_ONCE = 500
CASES_PER_REASON = 5  # as many as the server's reports name
FAMILY = "/v1/families/{family}"
FAMILIES = ("name", "kind", "champion", "n_train", "n_dev", "n_holdout", "problem")
VARIANTS = ("variant", "source", "created_at", "created_by", "note")


class Detent:
    """``connect`` asks a server, ``open`` works on a project of this machine."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def connect(cls, url: str, key: str | None = None) -> Detent:
        """A running server. ``key``: by default DETENT_API_KEY."""
        return cls(OverHttp(url, key if key is not None else os.environ.get("DETENT_API_KEY")))

    @classmethod
    def open(cls, project: str | os.PathLike[str]) -> Detent:
        """A project's folder, in this process: where its server runs that one is asked, as by the command line.

        Raises:
            MissingPackage: Detent's server is not installed here.
            Refused: the folder is no project.
        """
        try:
            server = import_module("optimizer.cli.study.open_project")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "optimizer":
                raise
            raise MissingPackage(
                "Detent.open works where Detent's server is installed too. Ask a server that runs: Detent.connect(url)."
            ) from None
        return cls(InProcess.of(server.OpenProject, os.fspath(project)))

    def families(self) -> Table:
        rows = [
            {**row, "champion": (row.get("champion") or {}).get("variant")}
            for row in self._backend.ask("GET", "/v1/families")["items"]
        ]
        return Table(rows, FAMILIES)

    def family(self, name: str) -> Family:
        """Raises Refused where there is no such family."""
        return Family(self._backend, self._backend.ask("GET", FAMILY, family=name))

    def study(self, id: str) -> Study:
        return Study(self._backend, self._backend.ask("GET", "/v1/studies/{id}", id=id))

    def __getitem__(self, family: str) -> Family:
        return self.family(family)


class Family(Record):
    """One family as it stood when it was asked for; its methods ask anew."""

    def __init__(self, backend: Backend, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        self._backend = backend

    def import_examples(self, examples: Any, *, curated: bool = False) -> Record:
        """Takes examples in; those that are there already are left alone.

        Args:
            examples: a file of JSON lines, a DataFrame, or rows; each with ``input`` and ``expected``, or flat, where
                columns named like the family's inputs are its input and the others what is expected.
            curated: a person vouches for the texts, so that they may be quoted in prompts without a review.
        """
        inputs = self["definition"].to_dict().get("inputs") or {}
        # The server would count the rows of each request from one.
        rows = [
            {**_row_of(row, inputs), "where": f"row {place}"} for place, row in enumerate(_rows_of(examples), start=1)
        ]
        reports = [
            self._ask("POST", f"{FAMILY}/examples", rows=rows[at : at + ROWS_AT_ONCE], curated=curated)
            for at in range(0, len(rows), ROWS_AT_ONCE)
        ]
        return Record({"family": self["name"], "n_read": 0}) if not reports else Record(reduce(_with_next, reports))

    def variants(self) -> Table:
        return Table(pages(self._backend, f"{FAMILY}/variants", family=self["name"]), VARIANTS)

    def variant(self, id: str) -> Record:
        """With its messages."""
        return Record(self._backend.ask("GET", "/v1/variants/{variant}", variant=id))

    def create_variant(self, messages: Sequence[Mapping[str, str]], *, note: str = "", **more: Any) -> Record:
        """A variant of your own, which serves nobody yet. ``more``: model, examples, response_format and so on."""
        told = [dict(message) for message in messages]
        return Record(self._ask("POST", f"{FAMILY}/variants", messages=told, note=note, **more))

    def estimate(self, strategy: str | None = None, **options: Any) -> Record:
        """What ``study`` with the same options would cost; nothing is spent."""
        return Record(self._ask("POST", f"{FAMILY}/studies", **_study_members(strategy, options), dry_run=True))

    def study(self, strategy: str | None = None, *, wait: bool = True, progress: bool = True, **options: Any) -> Study:
        """Searches a better variant. In process it runs here, unless a server or a worker of the project runs.

        Args:
            strategy: such as ``bootstrap`` or ``bootstrap+settings+nearest``; None: the default.
            wait: for its end.
            options: ``calls``, ``usd`` and ``minutes`` bound it; ``aim``, ``seed``, ``space`` and ``proposer`` are as
                in the command line; all others are its definition (``n_train``, ``n_dev``, ``n_candidates`` ...).
        """
        told = self._ask("POST", f"{FAMILY}/studies", **_study_members(strategy, options))
        study = Study(self._backend, told, self._backend.work(told["id"]))
        return study.wait(progress=progress) if wait else study

    def studies(self) -> Table:
        rows = pages(self._backend, "/v1/studies", family=self["name"])
        return Table(rows, ("id", "strategy", "status", "outcome", "winner", "created_at"))

    def forecast(self, variant: str | None = None, *, ladder: Sequence[float] | None = None) -> Record:
        """How long a rollout of a variant would take, and whether it could decide at all."""
        given = {"variant": variant, "ladder": list(ladder) if ladder is not None else None}
        told = {name: value for name, value in given.items() if value is not None}
        return Record(self._ask("GET", f"{FAMILY}/rollout/forecast", **told))

    def start_rollout(self, variant: str, *, reason: str = "", confirm: str | None = None, **more: Any) -> Record:
        """Gives a variant to a few users first. ``confirm``: the family's name, where evidence is missing and it is to
        start all the same. ``dry_run=True``: says what would happen.
        """
        told = {"variant": variant, "reason": reason, **({"confirm": confirm} if confirm is not None else {}), **more}
        return Record(self._ask("POST", f"{FAMILY}/rollouts", **told))

    def rollout(self) -> Record:
        """How the rollout stands, or what serves where there is none."""
        return Record(self._ask("GET", f"{FAMILY}/rollout/status"))

    def operate(self, act: str, *, reason: str = "", confirm: str | None = None) -> Record:
        """Approves, holds, resumes, advances, promotes, rejects or rolls back (``rollback``) the rollout under way."""
        current = self._ask("GET", f"{FAMILY}/rollout")
        confirmed = {"confirm": confirm} if confirm is not None else {}
        return Record(
            self._backend.ask("POST", f"/v1/rollouts/{{id}}/{act}", id=current["id"], reason=reason, **confirmed)
        )

    def _ask(self, method: str, path: str, **members: Any) -> Any:
        return self._backend.ask(method, path, family=self["name"], **members)


def _study_members(strategy: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """As the request of a study has them."""
    caps = {name: options[name] for name in ("calls", "usd", "minutes") if options.get(name) is not None}
    places = ("aim", "seed", "space", "proposer", "variant")
    own = {name: options[name] for name in places if options.get(name) is not None}
    rest = {name: value for name, value in options.items() if name not in caps and name not in own}
    definition = {name: value for name, value in rest.items() if value is not None}
    return {
        **own,
        **({"strategy": strategy} if strategy is not None else {}),
        **({"budget": caps} if caps else {}),
        **({"definition": definition} if definition else {}),
    }


def _with_next(report: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report on both parts of one import, as the server's own command joins them. What tells of the whole family is
    that of ``part``, the later one.
    """
    counts = {name: report[name] + n for name, n in part.items() if name.startswith("n_") and name != "n_gate"}
    reasons = Counter(report["reasons"]) + Counter(part["reasons"])
    cases = {why: [*report["cases"].get(why, ()), *part["cases"].get(why, ())][:CASES_PER_REASON] for why in reasons}
    labels = {label: n + part["labels"].get(label, 0) for label, n in report["labels"].items()}
    return {**part, **counts, "reasons": dict(reasons), "cases": cases, "labels": labels}


def _rows_of(examples: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(examples, (str, os.PathLike)):
        lines = Path(examples).read_text(encoding="utf-8").split("\n")  # JSON lets a text hold other line ends
        return [json.loads(line) for line in lines if line.strip()]
    if hasattr(examples, "to_dict") and hasattr(examples, "columns"):
        filled = examples.notna().to_dict("records")  # an empty cell is a NaN there, which JSON has not
        rows = zip(examples.to_dict("records"), filled, strict=True)
        return [{name: row[name] for name in row if is_there[name]} for row, is_there in rows]
    return list(examples)


def _row_of(row: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    if "input" in row and "expected" in row:
        return {name: row[name] for name in ("id", "group", "input", "expected") if row.get(name) is not None}
    told = {name: row[name] for name in ("id", "group") if row.get(name) is not None and name not in inputs}
    expected = {name: value for name, value in row.items() if name not in inputs and name not in told}
    return {**told, "input": {name: row[name] for name in inputs if name in row}, "expected": expected}
