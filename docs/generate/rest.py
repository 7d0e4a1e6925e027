"""docs/reference/rest.md, from the routes and the OpenAPI document that they make."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from api.app import create_app, declared_routes
from api.routing import guard_of
from docs.generate.markdown import linked, page, table
from optimizer.core.feedback.event_kinds import EventField, fields_in
from optimizer.core.feedback.events import Part
from optimizer.core.feedback.pipeline_record import TARGETS
from optimizer.core.feedback.reported import FIELDS
from optimizer.core.serving.access import ROLES
from optimizer.host.config import load_settings

LEAD = """
JSON over HTTP at the address that `detent serve` prints (by default `http://127.0.0.1:8321`). Times are RFC 3339 in
UTC, lists are `{"items": [...], "next_cursor": "..." | null}`. The server describes itself at `/docs` and
`/openapi.json`, which names every member of every answer: a client can be generated from it. Errors are [problem
documents](problems.md).

## What holds for every request

- **Unknown** query parameters and members of a body are errors, so that a misspelt option is not taken for its default.
- **Bodies** are UTF-8 JSON declared as `application/json`, of [limited size](settings.md#limits). NaN, U+0000 and
  integers beyond 2^53 are refused.
- **Keys** come as `Authorization: Bearer KEY` or `X-API-Key: KEY`; the key's name is the actor in decisions and audit.
  While no key was ever made, the server answers programs of this machine alone: `Host` is `127.0.0.1`, `localhost` or
  `[::1]` with its port, `Origin` is its own, no proxy forwarded it, and a page's POST declares JSON or sends
  `X-Requested-With`. Revoking the last key does not open it again. From the sixth wrong key of an address on, further
  wrong ones get 429 with `Retry-After`; a right key never waits.
- **`Idempotency-Key: WORD`** makes a change act once that is sent again because its answer was lost: the same request
  gets the first answer, another one 422. Change and answer are kept in one transaction. A key belongs to its sender and
  path. What was refused or changes nothing, such as a dry run, is not kept, except of events: their answer is kept
  with all that it rejects. A chat takes no key.
- **`ETag`** of a thing is its version. An `If-Match` that does not fit is 412; what replaces a whole needs one (428).
  Holding, rejecting and rolling back never do. With `If-None-Match` an answer that still holds is 304.
- **`X-Request-ID`** is taken over where it is one plain word of at most 128 characters, else made. It comes back and
  stands in every log line and problem.
- **Pages of a list**: send `next_cursor` back unchanged as `?cursor=`, with the same filters; `?limit=` is 1 to 1,000,
  by default 100.
- **Changes** answer with `what` was done, `why`, the command that takes it back (`undo`), the one that goes on
  (`next`), and `changed`, which is false where it was so already. A `reason` stays in the record. `dry_run` says what
  would happen and does nothing.
- **Limits** by the minute, in work, and of time are [settings](settings.md#limits); beyond them 429, or 408 and 503,
  with `Retry-After`. Changes, events and [limited chats](settings.md#limitsuser_chats_per_minute) answer with
  `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) of the limit that is nearest. Brakes (`hold`,
  `reject`, `rollback`, `freeze`, `champion/set`) are counted and never refused. Serving has no limit by the minute.

### Limits of a key

`requests_per_minute` counts requests to every route; `calls_per_day` and `usd_per_day` (UTC) count the model calls that
a client makes with the key through the gateway, retries and fallbacks included. Studies, judge runs and
comparisons are bound by their own budgets instead. A call is counted at its highest possible price before it is sent,
and at its real one after, so no limit is passed; [by measured lengths](settings.md#limitsreserve_measured_lengths) more
calls fit, and a limit may be. Beyond them 429 with `Retry-After`, for calls and dollars as
`key-limit-reached`.

## Roles

A key holds roles of two ladders: **serve < feedback** for applications, **read < read-texts < operate** for people and
their tools. Each role includes those before it on its own ladder; `admin` has all. `needed` in a 403 says which one was
missing.

- `read` sees figures: what a person or an application wrote is null (inputs, outputs, labels, errors, tags, messages,
  examples, definitions, notes, reasons). `read-texts` sees all of it.
- A key for **named families** is refused on what is not about one of them; in lists it sees its own. Where a list takes
  `?family=`, a key for several has to name one.
- Events of **source** `person` or `judge`, decisions on repairs, and ratings need a right of their own (`detent keys
  create NAME --source judge`); without it an event is rejected as `source_not_allowed`. Chat with a named variant
  (`detent.variant`) needs `serve` and `operate`.
"""
NO_KEY = "`GET /health`, `GET /ready`, `GET /problems/{word}`, `/docs` and `/openapi.json` need no key."
ORDER = ("Serving", "Models", "Events", "Families", "Variants", "Studies", "Rollouts", "Judges")
SAID_ABOVE = ("cursor", "limit", "Idempotency-Key", "if-match", "if-none-match", "reason")
EVENT = """
### What an event may hold

An event needs `assignment`, or `family` and `unit`, or `interaction`. One field of the fourth column makes it the
report of an interaction or an outcome; it may be both. A field that is null is one that was left out. What has a word
in the last column is masked as the family's `privacy` asks, and dropped or replaced with `store: metadata`. Ids and
names of models are kept as sent, so put no personal data into them. It may hold
"""


def rest() -> str:
    with tempfile.TemporaryDirectory() as home:
        document = create_app(load_settings("dev", Path(home))).openapi()
    routes = _Routes(document)
    rows = [
        (
            f"`{name}`",
            f"{one.target:.2f}",
            ", ".join(
                f"{word} {level:.2f}"
                for word, level in (("below", one.warning_low), ("above", one.warning_high))
                if level is not None
            ),
            f"below {one.critical_low:.2f}",
        )
        for name, one in TARGETS.items()
    ]
    last = {
        "Events": [EVENT, event_table(), "and each of `parts`", part_table()],
        "Content pipeline": [
            (
                "Levels of the figures, unless `config/monitoring.yaml` says others:\n\n"
                + table(("Figure", "Target", "Warning", "Critical"), rows)
            )
        ],
    }
    groups = [part for name in routes.groups for part in (f"## {name}", *routes.lines(name), *last.get(name, ()))]
    roles = table(("Route", "Role"), _roles())
    return page("# REST, version 1", LEAD, roles, NO_KEY, *groups)


def _roles() -> Iterator[tuple[str, str]]:
    routes = [route for route in declared_routes() if isinstance(route, APIRoute)]
    rows = [
        (ROLES.index(role), route.path.replace(":path", ""), method, role)
        for route in routes
        for method in sorted(route.methods)
        if (role := guard_of(route).role) is not None
    ]
    return ((f"`{method} {path}`", role) for _, path, method, role in sorted(rows))


class _Routes:
    """The routes of an OpenAPI document by their groups; each kind of answer is told once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas = document["components"]["schemas"]
        self._listed: set[str] = set()
        self._explained: set[str] = set()
        groups: dict[str, dict[str, Any]] = {name: {} for name in ORDER}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                groups.setdefault(operation["tags"][0], {})[f"{method.upper()} {path}"] = operation
        self.groups = dict(sorted(groups.items(), key=lambda item: ((*ORDER, item[0]).index(item[0]), item[0])))

    def lines(self, group: str) -> Iterator[str]:
        for route, operation in self.groups[group].items():
            yield f"### {route}"
            text, _, after = operation["description"].partition("\n\nRole: ")
            yield _plain(text) + (f" Role {re.split('[.;]', after)[0]}." if after else "")
            # Parameters and members of the body, but those that are said once for all routes.
            content = operation.get("requestBody", {}).get("content", {"": {}})
            body = self._opened(next(iter(content.values())).get("schema", {}))
            parameters = {
                one["name"]: (one["in"], one) for one in operation.get("parameters", ()) if one["in"] != "path"
            }
            for name, one in body.get("properties", {}).items():
                parameters.setdefault(name, ("body, needed" if name in body.get("required", ()) else "body", one))
            rows = [
                (f"`{name}`", place, self._held(one.get("schema", one)), _plain(one.get("description", "")))
                for name, (place, one) in parameters.items()
                if name not in SAID_ABOVE
            ]
            if "anyOf" in body:
                yield "Body: an event or a list of events ([what each may hold](#what-an-event-may-hold))."
            elif body.get("description"):
                yield f"Body: {_plain(body['description'])}"
            if any(meaning for *_, meaning in rows):
                yield table(("Name", "In", "Holds", "Meaning"), rows)
            elif rows:
                yield "Takes " + ", ".join(f"{name} ({place}: {held})" for name, place, held, _ in rows) + "."
            yield " ".join(self._answers(operation))
        if parts := list(self._parts(self.groups[group])):
            yield "Parts of these answers, by the names that `/openapi.json` gives them:"
            yield "\n".join(parts)

    def _answers(self, operation: Mapping[str, Any]) -> Iterator[str]:
        """What each good status means, and the members of the answer."""
        for status, answer in sorted(_good(operation).items(), key=lambda item: item[0] == "200"):
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            if answer["description"] != "Successful Response":
                yield f"{status}: {_plain(answer['description'])}"
            elif schema:
                members = self._opened(schema).get("properties", {})
                is_list = list(members) == ["items", "next_cursor"]
                kinds = schema.get("anyOf", [members["items"]["items"] if is_list else schema])
                yield f"{status}: {'a list of ' if is_list else ''}{' Or '.join(map(self._kind, kinds))}"

    def _kind(self, schema: Mapping[str, Any]) -> str:
        name = schema.get("$ref", "JSON").rsplit("/", 1)[-1]
        if name in self._listed:
            return f"`{name}`, as above."
        self._listed.add(name)
        opened = self._opened(schema)
        explained = opened.get("description", "")
        return f"`{name}` with {_members(opened)}. {_plain(explained) if '``' in explained else ''}".strip()

    def _opened(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema that is meant: behind a reference, or the one beside null."""
        choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if len(choices) == 1:
            return self._opened(choices[0])
        return self._schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema

    def _held(self, schema: Mapping[str, Any]) -> str:
        """What a member may be, in a few words."""
        schema = self._opened(schema)
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(self._held(one) for one in schema["anyOf"] if one.get("type") != "null"))
        if "enum" in schema or "const" in schema:
            return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
        if schema.get("type") == "array":
            return f"list of {self._held(schema.get('items', {}))}"
        if inner := _members(schema):
            return f"object: {inner}"
        kind = "time" if schema.get("format") == "date-time" else schema.get("type", "any JSON")
        return {"integer": "whole number", "boolean": "true or false", "string": "text"}.get(kind, kind)

    def _parts(self, operations: Mapping[str, Any]) -> Iterator[str]:
        """What stands inside the answers of a group, where its docstring explains its members."""
        top = {name for one in operations.values() for name in _named(_good(one))}
        names, waiting = set(top), sorted(top)
        while waiting:
            new = set(_named(self._schemas[waiting.pop()])) - names
            names |= new
            waiting += new
        for name in sorted(names - top - self._explained):
            text = self._schemas[name].get("description", "")
            if "``" in text and not name.startswith("Page_"):
                yield f"- **{name}**: {_plain(text)}"
        self._explained |= names


def _good(operation: Mapping[str, Any]) -> dict[str, Any]:
    return {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}


def _named(schema: Any) -> list[str]:
    return re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))


def _members(schema: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in schema.get("properties", {}))


def _plain(text: str) -> str:
    """A docstring as a paragraph: null in place of None, code in single quotes."""
    text = re.sub(r"(?<!-)\bNone\b(?!-)", "null", text.replace("``", "`"))
    text = re.sub(r"\b(True|False)\b", lambda word: word[1].lower(), text)
    return linked(" ".join(text.split()))


WORDS = {"dropped": "dropped", "replaced": "replaced by a remark", "masked": "masked only"}
ARTICLE = {"interaction": "an interaction", "outcome": "an outcome", None: ""}
NO_TEXTS = "where no text may be kept"


def event_table() -> str:
    rows = [
        (f"`{name}`", one.kind.holds, one.about, ARTICLE[one.reports], WORDS.get(one.private or "", ""))
        for name, one in FIELDS.items()
    ]
    return table(("field", "holds", "meaning", "makes it a report of", NO_TEXTS), rows)


def part_table() -> str:
    fields: Mapping[str, EventField] = fields_in(Part)
    rows = [(f"`{name}`", one.kind.holds, one.about, WORDS.get(one.private or "", "")) for name, one in fields.items()]
    return table(("field", "holds", "meaning", NO_TEXTS), rows)
