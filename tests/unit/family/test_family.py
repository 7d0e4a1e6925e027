from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidFamily, NotFound
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from tests.cases import named

MESSAGES = [{"role": "examples"}, {"role": "user", "content": "Document: {{document}}"}]
SMALL: dict[str, Any] = {
    "name": "summarization",
    "inputs": {"document": {"type": "text", "max_chars": 4000}},
    "output": {"field": "summary"},
    "prompt": {"current": "1", "versions": {"1": {"created_at": date(2026, 11, 20), "content": MESSAGES}}},
}

CONTENT = "/prompt/versions/1/content"
USER, EXAMPLES, HISTORY = {"role": "user", "content": "x"}, {"role": "examples"}, {"role": "history"}


def changed(**paths: Any) -> dict[str, Any]:
    """SMALL with values put at ``__``-separated paths; a value of ``...`` removes the key."""
    data = copy.deepcopy(SMALL)
    for path, value in paths.items():
        *way, last = path.split("__")
        here = data
        for key in way:
            here = here.setdefault(key, {})
        if value is ...:
            del here[last]
        else:
            here[last] = value
    return data


def faults(data: Any) -> dict[str, str]:
    with pytest.raises(InvalidFamily) as error:
        parse_family(data)
    return {f.pointer: f.detail for f in error.value.faults}


def with_messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return changed(prompt={"current": "1", "versions": {"1": {"content": list(messages)}}})


def test_a_small_family_has_the_defaults_that_its_page_shows():
    """test_family_reference.py holds the others to the page."""
    family = parse_family(SMALL)
    assert family.kind == "prompt"
    assert family.model.tiers == ("embedded",)
    assert (family.rollout.approve, family.rollout.margin, family.privacy.store) == ("person", None, "full")
    assert set(family.space) == {"instruction", "examples", "temperature"}


def test_the_variant_of_a_version_holds_its_messages_and_the_models_settings():
    variant = parse_family(changed(model={"default": "small", "max_tokens": 40, "stop": ["\n"]})).variant()
    assert variant.messages == ({"role": "examples"}, {"role": "user", "content": "Document: {{document}}"})
    assert variant.model == {"name": "small", "temperature": 0.0, "max_tokens": 40, "stop": ["\n"]}
    assert variant.examples == ()


def test_a_version_that_the_file_does_not_have_is_not_found():
    with pytest.raises(NotFound, match=r"no prompt version '9'; its file has 1"):
        parse_family(SMALL).variant("9")


def test_the_default_model_is_the_only_tier_unless_others_are_named():
    named = {"default": "small", "tiers": ["small", "large"]}
    assert parse_family(changed(model__default="small")).model.tiers == ("small",)
    assert parse_family(changed(model=named)).model.tiers == ("small", "large")


def test_an_unquoted_version_number_means_its_text():
    data = changed(prompt={"current": 1, "versions": {1: SMALL["prompt"]["versions"]["1"]}})
    assert parse_family(data) == parse_family(SMALL)


def test_an_unquoted_decimal_version_is_refused_since_1_10_would_become_1_1():
    versions = SMALL["prompt"]["versions"]
    found = faults(changed(prompt={"current": "1", "versions": {**versions, 1.1: versions["1"]}}))
    assert "put it in quotes" in found["/prompt/versions/1.1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": {"strategy": "settings", "aim": "speed"}},
        {"rollout": {"gates": {"aim": "speed"}}, "triggers": {"strategy": "settings"}},
        {"prompt": {"current": "1", "versions": {"1": {"content": [{"role": ["user"], "content": "{{document}}"}]}}}},
        {"space": {"policy.gate.scorer": "rouge_l"}},
        {"space": {"policy.gate.scorer": {"choices": 5}}},
        {"space": {"policy.validate.facts": {"choices": [["judge"]]}}},
        {"policy": {"validate": ["too_long", ["factual_errors"]]}},
    ],
    ids=str,
)
def test_a_value_of_a_wrong_type_is_a_fault_and_no_other_error(wrong):
    assert faults(changed(**wrong))


@pytest.mark.parametrize("switch", [None, False])
def test_a_trigger_is_switched_off_by_null_and_by_false(switch):
    triggers = parse_family(changed(triggers={"degradation": switch, "feedback": switch, "student": False})).triggers
    assert (triggers.degradation, triggers.feedback, triggers.student) == (None, None, False)


@pytest.mark.parametrize(
    ("parser", "metric"),
    [("text", "rouge_l"), ("label", "label_match"), ("json", "exact_match"), ("list", "list_f1")],
    ids=lambda x: x,
)
def test_without_a_scorer_the_metric_that_suits_the_parser_counts(parser, metric):
    extra = {"label": {"labels": ["a", "b"]}, "json": {"schema": {"type": "object"}}}.get(parser, {})
    assert parse_family(changed(output={"parser": parser, **extra})).metrics == {metric: 1.0}


def test_all_faults_come_at_once():
    wrong = {"output__parser": "lable", "rollout__ladder": [0.5, 0.2], "privacy__mask": ["emial"]}
    found = faults(changed(name="X", prompt__current="2", tempo=1, **wrong))
    assert set(found) == {"/name", "/output/parser", "/rollout/ladder", "/privacy/mask/0", "/prompt/current", "/tempo"}


@named(
    ("data", "pointer", "says"),
    {
        "a name in capitals": (changed(name="Summaries"), "/name", "small letter"),
        "a name of one letter": (changed(name="s"), "/name", "1 to 62"),
        "no name": (changed(name=...), "/name", "missing"),
        "no input": ({**with_messages({"role": "user", "content": "Hi"}), "inputs": {}}, "/inputs", "at least one"),
        "no template names it": (changed(inputs={"document": {}, "1st": {}}), "/inputs/1st", "template variable"),
        "a number": (changed(inputs__n={"type": "number", "max_chars": 3}), "/inputs/n/max_chars", "limits texts"),
        "too_long": (changed(inputs__document={"too_long": "refuse"}), "/inputs/document/too_long", "no max_chars"),
        "label without labels": (changed(output__parser="label"), "/output/labels", "needs the labels"),
        "Yes, yes": (changed(output={"parser": "label", "labels": ["Yes", "yes"]}), "/output/labels", "listed twice"),
        "labels of a text": (changed(output__labels=["a"]), "/output/labels", "belong to the parser 'label'"),
        "json without schema": (changed(output__parser="json"), "/output/schema", "needs a JSON Schema"),
        "a wrong schema": (
            changed(output={"parser": "json", "schema": {"type": "objekt"}}),
            "/output/schema/type",
            "no JSON Schema",
        ),
        "current names no version": (changed(prompt__current="2"), "/prompt/current", "there are: '1'"),
        "no prompt": (changed(prompt=...), "/prompt", "only kind: policy"),
        "an unknown role": (with_messages({"role": "usr", "content": "x"}), f"{CONTENT}/0/role", "no role 'usr'"),
        "nothing to answer": (with_messages({"role": "system", "content": "x"}), CONTENT, "no user message"),
        "a message without content": (with_messages({"role": "user"}), f"{CONTENT}/0/content", "needs a text"),
        "an undeclared variable": (with_messages({**USER, "content": "{{doc}}"}), f"{CONTENT}/0/content", "no input"),
        "code": (with_messages({**USER, "content": "{{a.b}}"}), f"{CONTENT}/0/content", "no variable"),
        "two places for examples": (with_messages(USER, EXAMPLES, EXAMPLES), CONTENT, "2 times"),
        "a slot": (with_messages(USER, {**EXAMPLES, "content": "y"}), f"{CONTENT}/1/content", "remove its content"),
        "an unknown key of a message": (with_messages({**USER, "nam": 1}), f"{CONTENT}/0/nam", "unknown key"),
        "a weight of zero": (changed(scorer={"rouge_l": 0.0}), "/scorer/rouge_l", "greater than 0"),
        "an unknown metric": (changed(scorer={"rouge_9": 1.0}), "/scorer/rouge_9", "no metric 'rouge_9'"),
        "another's": (changed(scorer={"label_match": 1.0}), "/scorer/label_match", "judges outputs of parser label"),
        "an unknown slot": (changed(space={"temprature": {"float": [0, 1]}}), "/space/temprature", "no slot"),
        "a range upside down": (changed(space={"temperature": {"float": [1, 0]}}), "/space/temperature", "lies above"),
        "whole temperatures": (changed(space={"temperature": {"int": [0, 1]}}), "/space/temperature", "does not fit"),
        "no range": (changed(space={"policy.accept": 0.5}), "/space/policy.accept", "takes a mapping"),
        "an hour of 25": (changed(schedule__cron="0 25 * * *"), "/schedule/cron", "no hour (0 to 23)"),
        "no cron line": (changed(schedule__cron="daily"), "/schedule/cron", "takes five"),
        "a ladder that stands still": (changed(rollout__ladder=[0.1, 0.1]), "/rollout/ladder", "must rise"),
        "percent instead of shares": (changed(rollout__ladder=[10, 25]), "/rollout/ladder", "fractions"),
        "an unknown outcome": (changed(rollout__metric={"field": "clicks"}), "/rollout/metric/field", "not one of"),
        "misspelt": (changed(rollout__gates__confidenc=0.9), "/rollout/gates/confidenc", "did you mean 'confidence'"),
        "soon": (changed(rollout__feedback_window__hours="soon"), "/rollout/feedback_window/hours", "'auto'"),
        "a large stage": (changed(rollout__max_labelled=100), "/rollout/max_labelled", "no stage could end"),
        "over before it may end": (changed(rollout__max_days=0.5), "/rollout/max_days", "raise max_days"),
        "an unknown mask": (changed(privacy__mask=["emial"]), "/privacy/mask/0", "no mask named 'emial'"),
        "a broken pattern": (changed(privacy__mask=[{"pattern": "("}]), "/privacy/mask/0", "no regular expression"),
        "a mask without end": (
            changed(privacy__mask=[{"pattern": "a", "replacement": "aa"}]),
            "/privacy/mask/0",
            "its own replacement",
        ),
        "a typing error in sample": (changed(sample={"balanced": "x"}), "/sample/balanced", "did you mean 'balance'"),
        "a list": (["name"], "", "mapping of keys"),
    },
)
def test_a_fault_is_named_with_its_place_and_what_to_do(data, pointer, says):
    found = faults(data)
    assert set(found) == {pointer}
    assert says in found[pointer]


@pytest.mark.parametrize(
    "place",
    [
        "triggers/feedback/window_hours",
        "budget/minutes",
        "rollout/min_duration_hours",
        "rollout/min_dwell_minutes",
        "rollout/max_days",
        "rollout/cohort_minutes",
        "rollout/feedback_window/hours",
        "rollout/feedback_window/floor_hours",
        "privacy/retain_days",
    ],
)
def test_no_time_is_longer_than_a_date_can_be_moved_by(place):
    assert f"/{place}" in faults(changed(**{place.replace("/", "__"): 10**9}))


@pytest.mark.parametrize(
    "braces",
    [
        '{{"a": 1}}',
        '{"a": {"b": 1}}',
        "{{\n  answer: yes\n}}",
        "{{'a'}}",
        "{{[1, 2], [3]}}",
        '{{{"a": 1}}}',
        "{{1, 2}}",
        "{{-1, 2}}",
        "{{<name>: <value>}}",
        "{{first name: x}}",
        "{{ **Name**: x }}",
        '{{// as JSON: {"a": 1}}',
        "{{\n# as YAML\na.b: 1\n}}",
    ],
)
def test_double_braces_of_json_in_a_prompt_are_no_variables(braces):
    message = {"role": "user", "content": f"Answer like {braces} for {{{{ document }}}}"}
    assert parse_family(with_messages(message)).variant().variables == ("document",)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("output", {"parser": "json", "schema": {"enum": [date(2026, 11, 20)]}}, "output/schema/enum/0"),
        ("output", {"parser": "json", "schema": {"patternProperties": {1: {}}}}, "output/schema/patternProperties/1"),
        ("scorer", {"json_field": {"weight": 1.0, "key": date(2026, 11, 20)}}, "scorer/json_field/key"),
        (
            "scorer",
            {"json_schema": {"schema": {"properties": {True: {}}}}},
            "scorer/json_schema/schema/properties/True",
        ),
        ("space", {"model": {"choices": [date(2026, 11, 20)]}}, "space/model/choices/0"),
    ],
    ids=["a date in a schema", "a number as a key", "a date in a metric", "a key of a metric", "a date in the space"],
)
def test_a_date_or_a_key_that_is_no_text_is_told_where_json_is_meant(key, value, place):
    assert "in quotes" in faults(changed(**{key: value}))[f"/{place}"]


@pytest.mark.parametrize(
    "code",
    [
        "document | upper",
        "#each items",
        "f(a, b)",
        "user name",
        "1",
        "- document -",
        "{document}",
        "",
        "> part",
        "a.b",
        'document | date: "%Y"',
        "document[1:2]",
        "$x := 1",
        "f(a={1: 2})",
        'if eq .a "x: y"',
        "document} and {{other",
    ],
)
def test_double_braces_of_another_template_language_are_told(code):
    found = faults(with_messages({**USER, "content": f"{{{{{code}}}}} of {{{{document}}}}"}))
    assert "is no variable" in found[f"{CONTENT}/0/content"]


@pytest.mark.parametrize("number", [20261120, 2026.5, "20261120", True])
def test_a_number_is_no_date(number):
    assert "is no date" in faults(changed(prompt__versions__1__created_at=number))["/prompt/versions/1/created_at"]


@pytest.mark.parametrize("day", ["2026-11-20", "2026-11-20T08:00:00Z", date(2026, 11, 20), None])
def test_a_date_may_stand_in_quotes(day):
    created_at = parse_family(changed(prompt__versions__1__created_at=day)).prompt.versions["1"].created_at
    assert str(created_at)[:10] == str(day)[:10]


def test_a_family_written_as_json_and_read_again_is_the_same_family():
    family = parse_family(changed(output={"field": "x", "parser": "json", "schema": {"type": "object"}}))
    assert Family.model_validate(family.model_dump(mode="json", by_alias=True)) == family
