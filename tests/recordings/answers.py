"""What every route and every reading command answers on the kept home."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import typer

from optimizer.host.config import Settings
from tests.command_line import detent
from tests.recordings.fixed import api_of, fixed
from tests.recordings.home import KEPT, PREFIX, clock_then, migrated, rows_of, without_folder
from tests.rows.answer_schemas import openapi_document
from tests.worlds.api_world import World

ANSWERS = KEPT / "answers.jsonl"
Answers = dict[str, Any]  # what was asked -> what was answered
SEALED = "quagga "
LAST_DIGITS = 1e-12  # of a float, relative: processors sum in another order
HEADERS = ("content-type", "etag", "location", "retry-after", "cache-control", "link")
OTHER_KEYS = ("reader", "texts", "application")  # what each may not see is part of the answer
FAMILY, T = "topics", "triage"
# Beside each path as it is: what a query asks for.
QUERIES: Mapping[str, Sequence[str]] = {
    "/v1/families/{family}/prompt": ["?unit=u9", "?unit=u3", "?unit=u4", "?unit="],
    "/v1/families/{family}/stats": ["?by=hour", "?by=day", "?since=2026-11-20T09:10:00Z", "?by=week"],
    "/v1/families/{family}/variants": ["?limit=1", "?limit=0", "?cursor=x"],
    "/v1/families/{family}/variants/{name}/export": ["?format=yaml", "?format=papyrus"],
    "/v1/feedback": ["?family=triage", "?family=summaries&limit=3", "?variant=v_0", "?since=yesterday"],
    "/v1/interactions": ["?family=triage", "?family=cascades&limit=3", "?family=summaries&limit=2"],
    "/v1/studies": ["?family=topics", "?status=finished&limit=2", "?status=never"],
    "/v1/reviews": ["?family=summaries&status=answered&limit=3", "?status=open", "?family=triage"],
    "/v1/graphs": ["?family=graph_check", "?pending=true"],
    "/v1/alerts": ["?open=true", "?open=false&limit=2"],
    "/v1/alert-rules": ["?family=triage"],
    "/v1/audit": ["?limit=5"],
    "/v1/jobs": ["?limit=2"],
    "/v1/quality/analytics": ["?range=31d", "?family=summaries&range=31d", "?range=32d"],
    "/v1/dialogs/analysis": ["?range=31d", "?family=triage&range=31d", "?range=1w"],
    "/v1/quality/monitor": ["?conversation=c-1&range=31d", "?conversation=c-1&family=nope"],
    "/api/performance/": ["?hours=1", "?hours=0"],
}
# As many runs as it does by itself take a minute.
FEWER_RUNS: Mapping[str, str] = {"/v1/families/{family}/rollout/selftest": "?runs=2"}
READING_COMMANDS = """
status; family list; family show FAMILY; family validate; family schedule triage; study list; study list --status failed
study show STUDY; study run topics --dry-run; study nominate STUDY VARIANT --dry-run; variant list FAMILY
variant show FAMILY; variant diff triage TRIAGE; variant compare topics VARIANT VARIANT; variant export FAMILY
export snapshot; variant export cascades --format messages; rollout status FAMILY; rollout log FAMILY
rollout verify ROLLOUT; rollout forecast triage TRIAGE; rollout advance triage --dry-run; champion history FAMILY
champion rollback summarization --dry-run; feedback stats FAMILY; feedback stats summarization --by hour
quality analytics --range 31d; quality monitor --conversation c-1 --range 31d; dialogs analyze --range 31d
thresholds recommend cascades; thresholds recommend triage; thresholds compare triage
review list; review list --status all --family summaries; review draw summaries --dry-run
review collect triage --dry-run; judge score summaries --dry-run
judge check summaries --dry-run; judge show summaries; judge runs summaries; golden list triage; graph list
graph show GRAPH; graph show GRAPH --repaired; playbook show lessons; playbook show lessons --state active; keys list
alerts list --all; alerts list --family triage; alerts rules --family triage
data prune --dry-run; family worth FAMILY; family evaluate topics --dry-run; family list --no-such-option
study show st_0; student show cascades
"""
# Commands that change something, or that this machine answers: no recording of reading.
OTHER_COMMANDS = """
init serve worker demo doctor runbook freeze unfreeze import backup restore mcp clock; dialogs offer
family add; family align; family create; family adopt; family delete; family restore; family rename; study cancel
study resume; study confirm; study report; variant create; rollout start; rollout approve; rollout reject; rollout hold
rollout resume; rollout promote; rollout rollback; rollout report; rollout selftest; champion set
review answer; review withdraw; judge cancel; golden add; golden remove; graph propose; graph approve; graph reject
playbook retire; playbook restore; judge calibrate; alerts silence; events tail; keys create; keys rotate; keys revoke
data forget; data export; data import; variant import; student bypass; student resume
"""
ACTS_AFTER = timedelta(milliseconds=351)  # the end of the home: a route more that is read moves no act in time
# In this order, each on what the ones before it left.
ACTS = """
POST /v1/families/{triage}/render {"unit": "u3", "variables": {"text": "An invoice?"}}
POST /v1/families/{triage}/render {"variables": {}}
PUT /v1/families/{triage}/overrides/u5 {"variant": "TRIAGE"}
POST /v1/families/{triage}/variants {"from": "TRIAGE", "note": "again", "model": {"temperature": 0.5}}
POST /v1/families/{triage}/variants {"messages": [{"role": "user", "content": "{{other}}"}]}
POST /v1/families/{triage}/variants/preview {"from": "TRIAGE", "messages": [{"role": "user", "content": "{{other}}"}]}
POST /v1/feedback {"family": "triage", "unit": "u3", "success": true, "id": "fb_9"}
POST /v1/feedback [{"family": "triage", "unit": "u3"}, {"interaction": "in_1", "score": 0.4}, 3]
POST /v1/interactions {"family": "triage", "unit": "u3", "output": "billing", "id": "in_9"}
POST /v1/interactions/import [{"family": "triage", "unit": "u3", "output": "billing", "id": "in_10"}]
POST /v1/exposures {"client": "shop", "windows": [{"family": "no such"}]}
POST /v1/families/{triage}/golden {"example": "no such"}
DELETE /v1/families/{triage}/golden/GOLDEN?reason=gone
POST /v1/families/{graph_check}/graphs {"interaction": "in_1"}
POST /v1/repairs/REPAIR/approve {"reason": "yes"}
POST /v1/repairs/REPAIR/reject {"reason": "no"}
POST /v1/families/{summaries}/rating-draws {"n": 20, "dry_run": true}
POST /v1/families/{summaries}/judge/scores {"n": 2, "dry_run": true}
POST /v1/families/{summaries}/judge/checks {"n": 2, "dry_run": true}
POST /v1/families/{topics}/judge/calibrations
POST /v1/judge-runs/RUN/cancel
POST /v1/families/{topics}/studies {"strategy": "bootstrap", "dry_run": true}
POST /v1/families/{topics}/studies {"strategy": "settings", "budget": {"calls": 400}}
POST /v1/studies/STUDY/cancel
POST /v1/studies/STUDY/nominate {"variant": "VARIANT", "dry_run": true}
POST /v1/families/{lessons}/playbook/ENTRY/retire {"reason": "old"}
POST /v1/families/{lessons}/playbook/ENTRY/restore {"reason": "new"}
PUT /v1/families/{topics}/schedule {"cron": "0 4 * * *", "reason": "later"}
DELETE /v1/families/{triage}/schedule?reason=enough
POST /v1/families/{topics}/rollouts {"variant": "VARIANT", "dry_run": true}
POST /v1/families/{summarization}/rollouts {"variant": "SUMMARY", "confirm": "summarization", "reason": "again"}
POST /v1/rollouts/NEW/approve {"reason": "go"}
POST /v1/rollouts/NEW/reject {"reason": "no"}
POST /v1/rollouts/NEW/rollback {"reason": "too late"}
POST /v1/rollouts/ACTIVE/hold {"reason": "wait"}
POST /v1/rollouts/ACTIVE/advance {"reason": "go", "confirm": "triage"}
POST /v1/rollouts/ACTIVE/resume {"reason": "go on"}
POST /v1/rollouts/ACTIVE/advance {"reason": "go"}
POST /v1/rollouts/ACTIVE/advance {"reason": "go", "confirm": "triage"}
POST /v1/rollouts/ACTIVE/promote {"reason": "well", "confirm": "triage"}
POST /v1/families/{triage}/champion/rollback {"reason": "bad", "dry_run": true}
POST /v1/families/{triage}/champion/rollback {"reason": "bad"}
POST /v1/families/{triage}/champion/set {"variant": "TRIAGE", "reason": "this one", "confirm": "triage"}
POST /v1/freeze {"reason": "night"}
POST /v1/unfreeze {"reason": "day"}
POST /v1/reviews/REVIEW/answer {"answer": "release"}
POST /v1/clock/reset {"reason": "why"}
POST /v1/data/prune {"dry_run": true}
POST /api/performance/record {"processing_type": "full", "content_type": "talk", "quality_score": 0.5}
POST /v1/keys {"name": "new", "roles": ["read"]}
POST /v1/keys/new/rotate {"grace_s": 60}
POST /v1/keys/new/revoke
POST /v1/families/{old}/rename {"name": "newer", "confirm": "old"}
DELETE /v1/families/{topics}?confirm=topics&reason=done
POST /v1/families/{topics}/restore {"reason": "back"}
POST /v1/chat/completions {"model": "triage", "messages": [{"role": "user", "content": "Invoice?"}]}
POST /v1/studies/STUDY/resume
POST /v1/families/{triage}/reviews {"dry_run": true}
POST /v1/families/{triage}/thresholds/comparison {"confidence": 0.9}
POST /v1/families/{triage}/adopt {"reason": "now"}
POST /v1/families/{triage}/adopt {"reason": "now", "confirm": "triage"}
DELETE /v1/units/u3
DELETE /v1/units/u3?dry_run=true
POST /v1/families/{triage}/examples {"rows": [{"input": {"text": "Pay me."}, "expected": {"topic": "billing"}}, {}]}
POST /v1/families/{topics}/comparisons {"variants": ["champion", "OTHER"], "n": 2, "dry_run": true}
POST /v1/families/{topics}/comparisons {"variants": ["champion", "OTHER"], "n": 2}
POST /v1/families/{topics}/variants/preview {"from": "OTHER", "model": {"temperature": 0.3}, "expect": "none"}
POST /v1/comparisons/cp_0/cancel
POST /v1/families/{topics}/evaluations {"variant": "OTHER", "n": 2, "dry_run": true}
POST /v1/families/{topics}/evaluations {"variant": "OTHER", "n": 2}
POST /v1/evaluations/ev_0/cancel
POST /ofrep/v1/evaluate/flags/{triage} {"context": {"targetingKey": "u3"}}
POST /ofrep/v1/evaluate/flags/{triage} {}
POST /ofrep/v1/evaluate/flags/nope {"context": {"targetingKey": "u3"}}
POST /ofrep/v1/evaluate/flags {"context": {"targetingKey": "u3"}}
POST /ofrep/v1/evaluate/flags {"context": 3}
POST /v1/families/{topics}/student/bypass {"reason": "night"}
POST /v1/families/{topics}/student/resume {"reason": "day"}
POST /v1/traces {}
POST /v1/traces []
POST /v1/logs {"resourceLogs": []}
POST /v1/data/export {"sealed": 3}
POST /v1/families/{triage}/scenario-offers {"interactions": ["in_2", "no such"]}
POST /v1/families/{triage}/scenario-offers {"interactions": ["in_2"], "reason": "asked often"}
PUT /v1/alert-silences/errors {"minutes": 30, "reason": "night"}
DELETE /v1/alert-silences/errors
POST /v1/installation-keys/unit/rotate {"dry_run": true}
POST /v1/reviews/REVIEW/withdraw {}
"""


def record(most: int = 100) -> Answers:
    """Everything, asked anew of the kept home; a command of so many things that it can be about."""
    with TemporaryDirectory(prefix=PREFIX) as folder, fixed(clock_then()) as clock:
        settings, end = migrated(Path(folder)), clock.at
        _plant(settings)
        names = _names(settings)
        found = dict(_commands(settings, names, most))
        with api_of(settings, clock) as api:
            found |= _reads(api, names)
            clock.at = end + ACTS_AFTER
            found |= _acts(api, names)
    return found


def _plant(settings: Settings) -> None:
    """``SEALED`` in the place of the inputs of sealed examples, and as long: no answer differs, and none has it."""
    with closing(sqlite3.connect(settings.var() / "detent.db")) as database, database:
        for rowid, text in database.execute("SELECT rowid, input FROM examples WHERE split = 'holdout'").fetchall():
            planted = {
                name: (SEALED * len(value))[: len(value)] if isinstance(value, str) else value
                for name, value in json.loads(text).items()
            }
            database.execute("UPDATE examples SET input = ? WHERE rowid = ?", (json.dumps(planted), rowid))


def write_answers() -> None:
    lines = [json.dumps([asked, answer], separators=(",", ":"), sort_keys=True) for asked, answer in record().items()]
    ANSWERS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def kept_answers() -> Answers:
    return dict(json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines())


def _names(settings: Settings) -> dict[str, list[str]]:
    """Word of a path or command line > what stands for it in the kept store."""
    rows = rows_of(settings)

    def ids(table: str, column: str = "id", **equal: Any) -> list[str]:
        named = [r for r in rows[table] if all(r[name] == value for name, value in equal.items())]
        return sorted(str(r[column]) for r in named)

    (graph,) = rows["graphs"]
    repairs = json.loads(graph["repairs"])
    return {
        "FAMILIES": [*ids("family_names", "name"), *ids("champions", "family", seq=1)],
        "STUDY": ids("studies"),
        "ROLLOUT": ids("rollouts"),
        "ACTIVE": ids("rollouts", status="deploying"),
        "GRAPH": ids("graphs"),
        "REPAIR": [one["id"] for one in repairs],
        "RUN": ids("judge_runs"),
        "REVIEW": ids("reviews", status="open"),
        "ENTRY": ids("playbook_entries"),
        "VARIANT": ids("variants", family="topics"),
        "TRIAGE": ids("variants", family="triage"),
        "OTHER": ids("variants", family="topics")[1:],
        "SUMMARY": ids("variants", family="summarization"),
        "FAMILY": ["triage", "summarization", "cascades"],
        "GOLDEN": ids("examples", golden="an invoice"),
        "INTERACTION": ["in_1", "in_2", "in_0"],
        "NEW": [],
        "COMPARISON": ["cp_0"],
        "EVALUATION": ["ev_0"],
    }


def _commands(settings: Settings, names: Mapping[str, Sequence[str]], most: int) -> Iterator[tuple[str, Any]]:
    grammar = cache(typer.main.get_command)  # else made anew for each command
    environment = {"DETENT_HOME": str(settings.home), "NO_COLOR": "1", "COLUMNS": "100"}
    for line in filter(None, (one.strip() for one in re.split(r"[;\n]", READING_COMMANDS))):
        words = line.split()
        named = [word for word in words if word in names]
        for value in names[named[0]][:most] if named else [""]:  # of every other word the first that there is
            filled = [value if word in named[:1] else names[word][0] if word in named else word for word in words]
            with patch.object(typer.main, "get_command", grammar):
                ran = detent(*filled, "--json", env=environment)
            told = _plain(ran.out) if ran.code != 2 else {}
            yield f"detent {' '.join(filled)}", [ran.code, told, without_folder(ran.err)]


def _reads(api: World, names: Mapping[str, Sequence[str]]) -> Answers:
    """Every GET of OpenAPI, on everything there is; with other keys once."""
    of_path = {
        "/v1/variants": "TRIAGE",
        "/v1/studies": "STUDY",
        "/v1/rollouts": "ROLLOUT",
        "/v1/graphs": "GRAPH",
        "/v1/judge-runs": "RUN",
        "/v1/forgettings": "RUN",
        "/v1/interactions": "INTERACTION",
        "/v1/comparisons": "COMPARISON",
        "/v1/evaluations": "EVALUATION",
    }
    found: Answers = {}
    known = openapi_document()["paths"]
    for path in sorted(known, key=_place_in_recording):
        if "get" not in known[path]:
            continue
        word = re.findall(r"{(\w+)}", path)
        start = next((names[name] for begin, name in of_path.items() if path.startswith(begin)), names["FAMILIES"])
        named = path.replace("{name}", "champion")
        paths = [named.replace(f"{{{word[0]}}}", value) for value in start] if word else [path]
        shown = paths[0] if "{family}" not in path else named.replace("{family}", T)
        for one in paths:
            found |= _asked(api, "GET", one + FEWER_RUNS.get(path, ""))
        for query in QUERIES.get(path, ()):
            found |= _asked(api, "GET", shown + query)
        for key in OTHER_KEYS:
            found |= _asked(api, "GET", shown, key=key)
    return found


def _place_in_recording(path: str) -> int:
    """Where this path was asked first, since each request takes time; what is new comes last."""
    asked = re.compile(f"boss: GET {re.sub('{[^}]+}', '[^/?]+', path)}{re.escape(FEWER_RUNS.get(path, ''))}")
    return next((n for n, one in enumerate(_recorded_order()) if asked.fullmatch(one)), len(_recorded_order()))


@cache
def _recorded_order() -> tuple[str, ...]:
    return tuple(kept_answers()) if ANSWERS.exists() else ()


def _acts(api: World, names: dict[str, list[str]]) -> Answers:
    found: Answers = {}
    for place, line in enumerate(filter(None, ACTS.splitlines())):
        method, path, *text = line.split(" ", 2)
        path = re.sub(r"{(\w+)}", r"\1", path)
        body = text[0] if text else ""
        for word, values in names.items():
            if values:
                path, body = (re.sub(rf"\b{word}\b", values[0], one) for one in (path, body))
        more = {"If-Match": "*"} if path.endswith("/schedule") else {}
        content = json.loads(body) if body else None
        found |= _asked(api, method, path, content, key="reader", place=place, **more)
        made = _asked(api, method, path, content, place=place, **more)
        found |= made
        (answer,) = made.values()
        if path.endswith("/rollouts") and answer[0] == 201:
            names["NEW"] = [answer[2]["id"]]
    return found


def _asked(
    api: World, method: str, path: str, body: Any = None, *, key: str = "boss", place: int | None = None, **headers: str
) -> Answers:
    given = {"Authorization": f"Bearer secret-{key}", "X-Request-ID": "r", **headers}
    answer = api.client.request(method, path, json=body, headers=given)
    said = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    number = "" if place is None else f"{place:02} "
    asked = f"{number}{key}: {method} {path}{'' if body is None else f' {json.dumps(body)}'}"
    return {asked: [answer.status_code, said, _plain(answer.text)]}


def _plain(text: str) -> Any:
    text = without_folder(text)
    try:
        return json.loads(text)
    except ValueError:
        return text.splitlines()


def differences(before: Any, now: Any, pointer: str = "") -> Iterator[str]:
    """Where two JSON values differ, and how."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from differences(before.get(name, "(none)"), now.get(name, "(none)"), f"{pointer}/{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{pointer}/{place}")
    elif type(before) is type(now) is float and math.isclose(before, now, rel_tol=LAST_DIGITS):
        return
    elif before != now or type(before) is not type(now):
        yield f"{pointer}: {json.dumps(before)[:300]} is now {json.dumps(now)[:300]}"
