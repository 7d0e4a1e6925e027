"""OpenAPI names every member of every good answer, nested ones too, but for JSON that a stranger wrote; and what is
answered is that and no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from api.answers import EventsImported
from api.gateway.app import create_gateway
from api.hot import events as hot_events
from api.routes import events as routes
from optimizer.host.config import load_settings
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.keep_events import EventsTaken
from tests.recordings.answers import kept_answers
from tests.rows.answer_schemas import Schema, answer_schemas, declared_answers

MESSAGES = "messages of a prompt, in OpenAI's form and with what a provider adds to it"
SETTINGS = "generation settings as their providers name them"
TOOLS = "functions that users declare, as JSON Schema"
POLICY = "a policy's knobs; a package may declare more, and some have one for each content type"
INPUT = "what a user sent, as the family's own file declares it"
ANY_PART = "any part of a variant"
EVENT = "what an application reported, in members of its own"
GRAPH = "a graph, in the family's own form"
# Schema and member -> which stranger wrote the JSON there.
OF_STRANGERS = {
    "AuditEntry.detail": "what was asked of an act, by each package in its own words",
    "ChatChoice.message": MESSAGES,
    **{
        f"{schema}.{member}": whose
        for schema in (
            "Variant",
            "VariantView",
            "ListedVariant",
            "CreatedVariant",
            "ServedVariant",
            "OpenPrompt",
            "FilledPrompt",
            "EvaluatedPrompt",
        )
        for member, whose in {
            "messages[]": MESSAGES,
            "model": SETTINGS,
            "tools[]": TOOLS,
            "response_format": TOOLS,
            "policy": POLICY,
        }.items()
    },
    "CascadeAdvice.policy": POLICY,
    "EnvironmentView.knobs": POLICY,
    "EnvironmentView.variables": "variables of the machine's environment, by their names there",
    "Example.expected": INPUT,
    "ConversationTurn.input": INPUT,
    "LowAnswer.input": INPUT,
    "Example.input": INPUT,
    "EvaluationReport.judgements.*": "what a judge said",
    "ExampleResult.judgement": "what a judge said; null in answers",
    "Family.space.*": "the settings that a search may try; a strategy of a package reads its own",
    "FewShot.input": INPUT,
    "GoldenRowOfFamily.expected": INPUT,
    "GoldenRowOfFamily.input": INPUT,
    "GoldenRowView.expected": INPUT,
    "GoldenRowView.input": INPUT,
    **{
        f"{schema}.{member}": GRAPH
        for schema in ("GraphView", "ProposedGraph")
        for member in ("input", "given", "repaired")
    },
    **{
        f"{schema}.{member}": EVENT
        for schema, members in {
            "FeedbackView": ("expected", "tags"),
            "InteractionView": ("input", "parts[]", "tags"),
            "FoundInteraction": ("input", "parts[]", "tags"),
            "InteractionWithFeedback": ("input", "parts[]", "later_parts[]", "tags"),
        }.items()
        for member in members
    },
    "GridRow.expected": INPUT,
    "GridRow.input": INPUT,
    "LowAnswer.expected": INPUT,
    "OfferedExample.expected": INPUT,
    "OfferedExample.input": INPUT,
    "Knob.default": POLICY,
    "KnobValue.value": POLICY,
    "MetricUse": "parameters of a metric, which a package may have declared",
    "Output.schema": "a JSON Schema",
    "PartChange.after": ANY_PART,
    "PartChange.before": ANY_PART,
    "PipelineRecommendation.changed": POLICY,
    "PipelineRecommendation.policy": POLICY,
    "PromptVersion.content[]": MESSAGES,
    "PromptVersion.policy": POLICY,
    "PromptVersion.response_format": TOOLS,
    "PromptVersion.tools[]": TOOLS,
    "RecommendationEvidence.changed": POLICY,
    "ReviewWithTexts.expected": INPUT,
    "ReviewWithTexts.input": INPUT,
    "Study.definition": "a study's definition as its author wrote it",
    "Study.findings": "what a strategy found; one of a package has its own",
    "StudyView.definition": "as the study has it",
    "StudyView.findings": "as the study has them",
    "Trial.params": "what a strategy tried; one of a package has its own",
}
# Members that each version wrote in its own way, and over which a rollout's hash chain goes: they are shown as kept.
AS_KEPT = {
    "Decision.content",
    "LoggedDecision.content",
    "Rollout.settings",
    "RolloutChange.settings",
    "RolloutWithEvidence.settings",
    "StartReport.settings",
}

REJECTED = {"index": 0, "type": "malformed", "detail": "", "one_more": 1}


@pytest.fixture(scope="module")
def document() -> Mapping[str, Any]:
    return answer_schemas().document


def test_every_member_of_every_good_answer_is_named(document: Mapping[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    open_places, seen = set(), set[str]()
    for operation, _, media_type, schema in declared_answers(document):
        if media_type == "application/json":
            open_places |= set(_open_places(schema, operation, schemas, seen))
    known = OF_STRANGERS.keys() | AS_KEPT
    assert open_places - known == set(), "name the members of these"
    assert known - open_places == set(), "these are named by now: take them off the lists"


def test_the_gateways_own_answers_name_every_member(tmp_path: Path) -> None:
    document = create_gateway(load_settings("dev", tmp_path)).openapi()
    known, seen, open_places = document["components"]["schemas"], set[str](), set[str]()
    own = {"GET /health", "GET /ready"}
    for operation, _, _, schema in declared_answers(document):
        if operation in own:
            own.discard(operation)
            open_places |= set(_open_places(schema, operation, known, seen))
    assert (own, open_places) == (set(), set())
    assert {"Health", "GatewayReadiness", "ModelHealth", "EmbeddedState"} <= seen


def test_every_operation_says_what_it_gives(document: Mapping[str, Any]) -> None:
    operations = {f"{method.upper()} {path}" for path, of_path in document["paths"].items() for method in of_path}
    assert operations == {operation for operation, *_ in declared_answers(document)}


def test_what_takes_events_gives_what_their_routes_declare() -> None:
    given = [get_type_hints(one)["return"] for one in (Intake.take, Intake.atake, hot_events.take, routes.feedback)]
    assert given == [EventsTaken] * 4
    imports = [get_type_hints(one)["return"] for one in (hot_events.take_lines, routes.import_interactions)]
    assert imports == [EventsImported] * 2


def test_a_chat_says_what_it_takes(document: Mapping[str, Any]) -> None:
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ChatBody"}


def test_every_recorded_answer_has_the_members_that_are_declared_and_no_other() -> None:
    n_looked_at, faults = 0, list[str]()
    for asked, answer in kept_answers().items():
        found = re.search(r": (GET|POST|PUT|DELETE) ([^ ?]+)", asked)
        if found is not None:
            status, headers, body = answer
            n_looked_at += 200 <= status < 300
            faults += answer_schemas().faults(*found.groups(), status, headers.get("content-type", ""), body)
    assert n_looked_at > 250
    assert faults == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/feedback", {"accepted": 1, "duplicates": 0, "rejected": [], "more": 1}),
        ("/v1/feedback", {"accepted": 0, "duplicates": 0, "rejected": [REJECTED]}),
        ("/v1/feedback", {"accepted": 1, "duplicates": 0}),
        ("/v1/feedback", {"accepted": "1", "duplicates": 0, "rejected": []}),
        ("/v1/chat/completions", {"id": "in_1"}),
        ("/v1/freeze", {"scope": 3}),
    ],
)
def test_a_member_too_many_or_too_few_is_a_fault(path: str, answer: Any) -> None:
    assert answer_schemas().faults("POST", path, 200, "application/json", answer)
    assert not answer_schemas().faults("POST", path, 404, "application/problem+json", answer)


def _open_places(schema: Schema, where: str, schemas: Mapping[str, Schema], seen: set[str]) -> Iterator[str]:
    """Where JSON without named members may stand; each component is looked at once."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            yield from _open_places(schemas[name], name, schemas, seen)
        return
    either = [one for kind in ("anyOf", "oneOf", "allOf") for one in schema.get(kind, ())]
    for one in either:
        yield from _open_places(one, where, schemas, seen)
    if either or "const" in schema or "enum" in schema:
        return
    kind, others = schema.get("type"), schema.get("additionalProperties", "properties" not in schema)
    if kind == "object":
        for name, member in schema.get("properties", {}).items():
            yield from _open_places(member, f"{where}.{name}", schemas, seen)
        if isinstance(others, dict) and others:
            yield from _open_places(others, f"{where}.*", schemas, seen)
        elif others is not False:
            yield where
    elif kind == "array":
        entries = schema.get("prefixItems") or [schema.get("items", {})]
        for one in entries:
            yield from _open_places(one, f"{where}[]", schemas, seen)
    elif kind is None:
        yield where


def test_what_is_not_named_is_found_at_any_depth() -> None:
    schema = json.loads(
        """{"type": "object", "properties": {
            "named": {"type": "string"}, "free": {"type": "object"}, "any": {"title": "Any"},
            "list": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "object"}]}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": true}},
            "open": {"type": "object", "properties": {}, "additionalProperties": true},
            "bare": {"type": "array"}, "counts": {"type": "object", "additionalProperties": {"type": "integer"}}}}"""
    )
    assert set(_open_places(schema, "X", {}, set())) == {"X.free", "X.any", "X.list[]", "X.map.*", "X.open", "X.bare[]"}
