"""What a model may ask for over the Model Context Protocol: some use cases, under names that say what they do, and the
two requests of applications, which the list of use cases does not hold.

Nothing here is forced: the members that go past a gate are in no tool.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import ValidationError

from optimizer.core.base.errors import Busy, InvalidInput
from optimizer.core.feedback.event_kinds import fields_in
from optimizer.core.feedback.events import FeedbackEvent
from optimizer.runtime.use_cases import UseCase, use_case_named

if TYPE_CHECKING:
    from optimizer.runtime.api_client import ApiClient
    from optimizer.runtime.client import Client

READS = {
    "status": "upkeep.read_status:read_status",
    "list_families": "scheduling.read_families:read_families",
    "list_variants": "champions.read_variants:read_variants",
    "show_variant": "champions.read_variants:read_variant",
    "diff_variants": "champions.read_variants:read_diff",
    "list_studies": "studies.read_studies:read_studies",
    "show_study": "studies.read_studies:read_study",
    "rollout_status": "rollouts.read_rollout:read_rollout_status",
    "list_alerts": "upkeep.read_operations:read_alerts",
}
ACTS = {
    "optimize": {"optimize": "studies.start_study:start_study"},
    "promote": {"promote": "rollouts.operate_rollout:promote"},
    "rollback": {
        "rollback_rollout": "rollouts.operate_rollout:rollback",
        "rollback_champion": "rollouts.roll_back_champion:roll_back_champion",
    },
}
NOT_FOR_MODELS = ("confirm", "if_match")
NEEDS_SERVER = "No server runs in this home, so no prompt is served and no feedback taken. Start one: detent serve."

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """``schema``: JSON Schema of the arguments. ``call`` raises DetentError, and answers what JSON can hold."""

    name: str
    about: str
    schema: Schema
    is_read: bool
    call: Callable[[Mapping[str, Any]], Any]


def tools_of(client: Client, server: Callable[[], ApiClient | None], *, allowed: tuple[str, ...] = ()) -> list[Tool]:
    """``allowed``: of ``ACTS``; without it a model reads, fetches prompts and reports feedback."""
    acts = {name: function for act in allowed for name, function in ACTS[act].items()}
    return [
        *(_of_use_case(name, use_case_named(f"optimizer.jobs.{it}"), client) for name, it in {**READS, **acts}.items()),
        _get_prompt(server),
        _record_feedback(server),
    ]


def _of_use_case(name: str, use_case: UseCase, client: Client) -> Tool:
    schema = use_case.request.model_json_schema()
    members = {member: it for member, it in schema["properties"].items() if member not in NOT_FOR_MODELS}
    is_paid = "budget" in members
    required = [*schema.get("required", ()), *(["budget"] if is_paid else ())]

    def call(arguments: Mapping[str, Any]) -> Any:
        _refuse_unknown(arguments, members)
        if is_paid and not any((arguments.get("budget") or {}).values()):
            raise InvalidInput(f"{name} needs a budget: {{'calls': N}}, {{'usd': X}} or {{'minutes': M}}.")
        try:
            request = use_case.request(**arguments)
        except ValidationError as error:
            raise InvalidInput(f"{name}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}.") from None
        return json.loads(use_case.written(client.ask(use_case.call, request)))

    return Tool(
        name=name,
        about=use_case.description,
        schema={**schema, "properties": members, "required": required},
        is_read=use_case.is_read,
        call=call,
    )


def _get_prompt(server: Callable[[], ApiClient | None]) -> Tool:
    members = {
        "family": {"type": "string"},
        "unit": {"type": "string", "description": "who it is for: decides which variant, and counts in its arm"},
        "variables": {"type": "object", "description": "fills the prompt in"},
    }

    def call(arguments: Mapping[str, Any]) -> Any:
        _refuse_unknown(arguments, members)
        family, unit = str(arguments.get("family", "")), arguments.get("unit")
        place = f"/v1/families/{quote(family, safe='')}"
        options: dict[str, Any] = {"headers": {"X-Detent-Unit": str(unit)} if unit is not None else {}}
        if "variables" not in arguments:
            return json.loads(_running(server).content("GET", f"{place}/prompt", **options))
        options["json"] = {"variables": arguments["variables"]}
        return json.loads(_running(server).content("POST", f"{place}/render", **options))

    about = "The prompt that is served now: messages, model and the assignment token to report with. With a unit it is"
    about += " that user's, and counts as one use of it."
    schema = {"type": "object", "properties": members, "required": ["family"], "additionalProperties": False}
    return Tool(name="get_prompt", about=about, schema=schema, is_read=False, call=call)


def _record_feedback(server: Callable[[], ApiClient | None]) -> Tool:
    token = {"type": "string", "description": "the assignment token of the prompt that made the answer"}
    fields = {name: {**it.kind.schema, "description": it.about} for name, it in fields_in(FeedbackEvent).items()}
    members = {"assignment": token, **fields}
    schema = {"type": "object", "properties": members, "required": ["assignment"], "additionalProperties": False}

    def call(arguments: Mapping[str, Any]) -> Any:
        _refuse_unknown(arguments, members)
        return json.loads(_running(server).content("POST", "/v1/feedback", json=dict(arguments)))

    about = "How good an answer was: the assignment token of the prompt that made it, and success, score, label or the"
    about += " expected output."
    return Tool(name="record_feedback", about=about, schema=schema, is_read=False, call=call)


def _running(server: Callable[[], ApiClient | None]) -> ApiClient:
    running = server()
    if running is None:
        raise Busy(NEEDS_SERVER)
    return running


def _refuse_unknown(arguments: Mapping[str, Any], members: Mapping[str, Any]) -> None:
    unknown = sorted(set(arguments) - set(members))
    if unknown:
        raise InvalidInput(f"There is no argument {', '.join(unknown)}; known are {', '.join(sorted(members))}.")
