"""The pages of what runs beside serving, and of the settings under which it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from api.dashboard.acts import notice_of
from api.dashboard.confirmations import cap_text
from api.dashboard.figures import LastDays
from api.dashboard.rendering import BEING_READ_S, BUSY_S
from api.dashboard.visitors import LISTED, PageVisit
from api.kept_reads import ENDED_S, ReadKey
from optimizer.core.base.errors import Busy, Conflict, NotFound
from optimizer.core.base.values import Budget
from optimizer.core.family.variant import DRAFT
from optimizer.core.search.study import UNFINISHED
from optimizer.host import run_files
from optimizer.host.config import Settings

MOST_UNFINISHED = 1000
PORTS = {"port": "api", "gateway_port": "gateway", "mlflow_port": "mlflow"}  # setting > the process that listens there
FILE_OF_DOCS = re.compile(r"docs/[\w/-]*?([\w-]+)\.md")
# By kind: what it is called, the use case that reads it, and the act that stops it, where one does.
KINDS: Mapping[str, tuple[str, str, str | None]] = {
    "compare": ("Comparison", "comparison", "cancel-comparison"),
    "evaluate": ("Evaluation", "evaluation", "cancel-evaluation"),
    "score": ("Scores of the judge", "judge run", "cancel-judge-run"),
    "check": ("Check of the judge", "judge run", "cancel-judge-run"),
    "forget": ("Forgetting of a person", "forgetting", None),
}


def runs(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Studies under way, and what else the worker was asked for."""
    query = visit.request.query
    of_family = query.get("family") or None
    ended = visit.ask("runs", family=of_family, ended=True, cursor=query.get("cursor"), limit=LISTED)
    return {
        "studies": [
            study
            for status in UNFINISHED
            for study in visit.ask("studies", status=status, family=of_family, limit=MOST_UNFINISHED).items
        ],
        "now": visit.ask("runs", family=of_family, ended=False, limit=MOST_UNFINISHED).items,
        "ended": ended.items,
        "next_cursor": ended.next_cursor,
        "kinds": KINDS,
        "of_family": of_family,
        "names": visit.family_names(),
    }


def run(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """One run as it stands; at its end what was found."""
    parameters = visit.request.path_params
    kind = parameters["kind"]
    if kind not in KINDS:
        raise NotFound(f"There are no runs of kind {kind[:60]!r}; there are {', '.join(KINDS)}.")
    title, reads, stops = KINDS[kind]
    run = visit.ask(reads, id=parameters["run"])
    asks_again_s = None if run.finished_at is not None else BUSY_S
    return {
        "run": run,
        "cap": cap_text(run.budget) if run.budget != Budget() else None,
        "title": title,
        "act": stops,
        "waits_for_worker": run.status == "queued"
        and not visit.shared.context(visit.visitor.caller).is_worker_running(),
        # Else it goes on, or has come to its end: what was asked for is no news.
        "done": notice_of(visit) if run.status in ("queued", "cancelled") or run.stop_requested else None,
        "asks_again_s": asks_again_s,
        **(_compared(visit, run, asks_again_s) if kind == "compare" else {}),
    }


def _compared(visit: PageVisit, run: Any, asks_again_s: int | None) -> Mapping[str, Any]:
    """Every answer of a comparison, while it runs those that are there, or why there is no grid of them; and for who
    may save a draft of it what was saved since whoever tried it had looked.
    """
    tried = []
    for id in run.request["variants"][1:]:
        with suppress(NotFound):  # it was forgotten with the person whom it quotes
            tried.append(visit.ask("named_variant", family=run.family, name=id))
    grid, why_no_grid = None, run.result["stopped"] if run.result is not None else None
    family = visit.shared.families.families.get(run.family)  # None for a retired one
    is_running = run.status == "running" and run.n_done > 0
    if is_running or (run.status == "finished" and why_no_grid is None):
        progress = run.n_done if is_running else None
        try:
            read = visit.shared.kept_reads.of(
                ReadKey(subject=run.id, access=visit.visitor.caller.access),
                partial(visit.ask, "grid", id=run.id),
                version=family,  # by whose file it is scored
                progress=progress,
                keep_s=ENDED_S,
            )
            grid = read.answer if read is not None else None
            if read is None or read.progress != progress:  # which may be the last that is told of for long
                why_no_grid, asks_again_s = "The answers are being read, which takes some seconds.", BEING_READ_S
        except Busy as error:
            why_no_grid, asks_again_s = error.detail, BUSY_S if error.passes else None
        except (Conflict, NotFound) as error:
            if not is_running:  # else the next answer is told, and the page asks again
                why_no_grid, asks_again_s = error.detail, None
    expect, newer = visit.request.query.get("expect"), list[Any]()
    draft = next((one for one in tried if one.source == DRAFT), None)
    may_save = visit.visitor.may("create_variant", run.family)
    if family is not None and draft is not None and run.finished_at is not None and may_save:
        about = {"family": run.family, "from_": draft.variant, "example_ids": [], "seed": None}
        preview = visit.ask("preview variant", **about, expect=expect)
        expect, newer = expect or preview.newest, [one for one in preview.newer if one.is_saved]
    return {
        "grid": grid,
        "why_no_grid": why_no_grid,
        "asks_again_s": asks_again_s,
        "tried": tried,
        "is_try": draft is not None,
        "expect": expect,
        "newer": newer,
    }


def settings(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    report = visit.ask("settings")
    rows = sorted(report.settings, key=_section)  # those of no section first, else in the order of the file
    return {
        "report": report,
        "sections": [(name, list(of)) for name, of in groupby(rows, _section)],
        "meanings": {one.name: _meaning(visit.shared.settings, one.name) for one in rows},
        "ports": {name: port for name, child in PORTS.items() if (port := _port(visit.shared.settings, child))},
    }


def _meaning(settings: Settings, name: str) -> str:
    """What a setting does, in words without marks, and by no path of a file."""
    section, _, inner = name.rpartition(".")
    described = type(getattr(settings, section) if section else settings).model_fields[inner].description or ""
    return FILE_OF_DOCS.sub(r"“\1” in the documentation", described).replace("`", "")


def _port(settings: Settings, process: str) -> int | None:
    """Where a process of this server listens by now: the next free port is taken where another program has its own."""
    running = run_files.find(settings, process)
    return urlsplit(running.url).port if running is not None and running.url else None


def _section(setting: Any) -> str:
    return str(setting.name).rpartition(".")[0]
