"""What the client under client/ must decide and render as the server does: golden files that both sides read.

DETENT_REFRESH_GOLDEN=1 writes them anew, and a person reads their diff.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import detent_client
from api.prompt import ServedFamily
from api.snapshot import Snapshots
from detent_client.adapters import variant_call
from detent_client.choice import bucket as client_bucket, first_bucket_of, salt_bytes
from detent_client.snapshot import families_of
from detent_client.template import Template
from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.rendering import fill, limit_inputs, render_open
from optimizer.core.family.variant import SETTINGS, FewShot, Message, Variant
from optimizer.core.policy import nearest
from optimizer.core.policy.nearest import needs_server
from optimizer.core.policy.policy import KNOBS
from optimizer.core.serving.access import EVERYTHING
from optimizer.core.serving.assignment import Holdback, Override, bucket, in_candidate, unit_hash, unit_hmac
from optimizer.core.serving.rollout import Champion, Freeze
from optimizer.core.views.prompt import prompt_members
from tests.stores import rollout
from tests.strategies import variables_for, variants

GOLDEN = Path(__file__).parents[3] / "client" / "tests" / "golden"
T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SYSTEM = {"role": "system", "content": "Is it billing or technical?"}
USER = {"role": "user", "content": "Request: {{message}}\nTopic:"}
SHOTS = (
    FewShot(id="ex_1", input={"message": "The card was charged twice."}, output="billing"),
    FewShot(id="ex_2", input={"message": "Die Seite lädt nicht. “Warum?”"}, output="technical"),
)
TURNS: list[Message] = [{"role": "user", "content": "Hi {{message}}"}, {"role": "assistant", "content": "Hello"}]
BOUNDS = {"message": {"type": "text", "max_chars": 20}, "note": {"type": "text", "max_chars": 5, "too_long": "refuse"}}
PLAIN = {"message": {"type": "text"}, "context": {"type": "text"}}


def family_of(inputs: Mapping[str, Any], name: str = "triage") -> Any:
    content = [{"role": "user", "content": " ".join(f"{{{{{name}}}}}" for name in inputs)}]
    version = {"created_at": "2026-11-20", "description": "base", "content": content}
    described = {"name": name, "description": "Topic of a request.", "output": {"field": "topic", "parser": "text"}}
    prompt = {"current": "1", "versions": {"1": version}}
    return parse_family({**described, "inputs": dict(inputs), "prompt": prompt})


def variant(*messages: Message, examples: tuple[FewShot, ...] = ()) -> Variant:
    return Variant(messages=messages or (SYSTEM, USER), examples=examples, model={"name": "small", "temperature": 0.0})


Case = tuple[Variant, Mapping[str, Any], Mapping[str, Any], Sequence[Any]]  # with inputs, variables, history
MANY = variant({"role": "user", "content": "{{a}} {{ b }}{{c}} {{a}} {{d}} {{ 1 }} {{}} {e}"})
SLOTS = variant(SYSTEM, {"role": "examples"}, {"role": "history"}, USER, examples=SHOTS)
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
CALLED, ANN = {"role": "tool", "tool_call_id": "1"}, {"role": "user", "name": "ann"}
CASES: dict[str, Case] = {
    "plain": (variant(), PLAIN, {"message": "It is slow."}, []),
    "a text of many scripts": (variant(), PLAIN, {"message": "Grüße \U0001f4a7 “ä” \\n \n\t</s> ​"}, []),
    "an empty text": (variant(), PLAIN, {"message": ""}, []),
    "examples in place": (variant(examples=SHOTS), PLAIN, {"message": "It is slow."}, []),
    "an input that no message uses": (variant(), PLAIN, {"message": "m", "context": "c"}, []),
    "values that look like variables": (variant(), PLAIN, {"message": "{{message}} {{x}} \\1 \\g<0>"}, []),
    "values that are no texts": (
        MANY,
        {name: {"type": "json"} for name in "abcd"},
        {"a": {"z": 1, "a": [True, None, 0.5, "ä"]}, "b": 3, "c": [], "d": 1e-7},
        [],
    ),
    "no variables": (variant({"role": "user", "content": "Say something."}), {"x": {"type": "text"}}, {}, []),
    "history before the last user message": (variant(SYSTEM, USER, examples=SHOTS), PLAIN, {"message": "m"}, TURNS),
    "history in its slot": (SLOTS, PLAIN, {"message": "m"}, TURNS),
    "a slot without history": (variant(SYSTEM, {"role": "history"}, USER), PLAIN, {"message": "m"}, []),
    "two slots": (variant({"role": "history"}, USER, {"role": "history"}), PLAIN, {"message": "m"}, TURNS),
    "turns with tools": (variant(), PLAIN, {"message": "m"}, [CALL, {**CALLED, "content": "42"}]),
    "a name beside the content": (variant({**ANN, "content": "{{message}}"}), PLAIN, {"message": "m"}, []),
    "a missing variable": (variant(), PLAIN, {}, []),
    "a variable that is null": (variant(), PLAIN, {"message": None, "context": None}, []),
    "an unknown variable": (variant(), PLAIN, {"message": "m", "mesage": "x"}, []),
    "a turn that is none": (variant(), PLAIN, {"message": "m"}, [{"role": "examples"}, TURNS[0], "hello"]),
    "turns without a content": (
        variant(),
        PLAIN,
        {"message": "m"},
        [
            {"role": "user"},
            {"role": "user", "content": 5},
            {**CALL, "tool_calls": None},
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ],
    ),
    "everything wrong at once": (variant(), PLAIN, {"other": 1}, [{"content": "x"}]),
    "a text that is cut": (variant(), BOUNDS, {"message": "x" * 15 + "äöü\U0001f4a7yz" + "tail"}, []),
    "a text as long as it may be": (variant(), BOUNDS, {"message": "x" * 20, "note": "12345"}, []),
    "a text that is refused": (variant(), BOUNDS, {"message": "x" * 30, "note": "123456"}, []),
    "a text too long that is no text": (variant(), BOUNDS, {"message": ["x" * 30]}, []),
}


def rendered(case: Case) -> dict[str, Any]:
    of, inputs, variables, history = case
    family = family_of(inputs)
    try:
        limited, truncated = limit_inputs(family, variables)
        return {
            "messages": fill(render_open(of), limited, history, declared=family.inputs),
            "truncated": list(truncated),
        }
    except InvalidInput as error:
        return {"pointers": [fault.pointer for fault in error.faults]}


def shown(name: str, case: Case) -> dict[str, Any]:
    of, inputs, variables, history = case
    family = served("triage", of, definition=family_of(inputs))
    entry = family.shape(family.champion_choice())
    asked = {"messages": entry["messages"], "inputs": entry["inputs"], "variables": variables, "history": history}
    return {"case": name, **asked, "expected": rendered(case)}


def is_as_kept(file: str, rows: Iterable[Any]) -> bool:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = GOLDEN / file
    if os.environ.get("DETENT_REFRESH_GOLDEN") == "1":
        path.write_text(content, encoding="utf-8")
    return content == path.read_text(encoding="utf-8")


def test_the_server_renders_what_the_client_s_golden_file_says() -> None:
    assert is_as_kept("rendering.jsonl", [shown(name, case) for name, case in CASES.items()])


def champion_of(family: str, of: Variant) -> Champion:
    return Champion(family=family, seq=1, variant=of.id, since=T0, why="a test", by="tester")


CHAMPION, CANDIDATE = variant(SYSTEM, USER), variant({"role": "user", "content": "Topic of {{message}}"})
STUDENT = replace(CANDIDATE, policy={"tiers": ["student", "m"], "students": {"student": "st_1"}, "accept": 0.9})
THIRD = variant({"role": "user", "content": "Another topic of {{message}}"})
UNITS = [f"unit-{n}" for n in range(60)] + ["ünit \U0001f4a7", "a" * 512, " ", "0"]
FREEZE = Freeze(scope="frozen", reason="a test", by="tester", since=T0)


def served(name: str, champion: Variant = CHAMPION, **changes: Any) -> ServedFamily:
    usual = {
        "champion": champion_of(name, champion),
        "definition": family_of(PLAIN, name),
        "variants": {one.id: one for one in (champion, CANDIDATE, THIRD)},
        "ever_champion": frozenset([champion.id]),
    }
    return ServedFamily(**{"name": name, "rollout": None, "overrides": {}, **usual, **changes})


def deploying(name: str, share: float, lease_s: float = 60) -> Any:
    arms = {"champion": CHAMPION.id, "candidate": CANDIDATE.id, "ladder": (share,), "salt": f"salt of {name}"}
    lease = {"status": "deploying", "stage": 0, "lease_expires_at": T0 + timedelta(seconds=lease_s)}
    return rollout(f"ro_{name}", family=name, **arms, **lease)


def held_back(name: str) -> Holdback:
    return Holdback(
        rollout="ro_before", variant=CANDIDATE.id, salt=name, until=T0 + timedelta(hours=1), cohort_minutes=60
    )


SALT = "salt of overrides"
OVERRIDES = {
    unit_hmac(b"k", unit): Override(variant.id, T0 + timedelta(seconds=seconds), unit_hash(SALT, unit))
    for unit, variant, seconds in zip(UNITS[1:], (CHAMPION, CANDIDATE, THIRD, THIRD), (60, 60, 60, 5), strict=False)
}
FAMILIES = {
    family.name: family
    for family in (
        served("plain"),
        *(served(f"at_{int(100 * share)}", rollout=deploying(f"at_{int(100 * share)}", share)) for share in (0.1, 1.0)),
        served("at_a_third", rollout=deploying("at_a_third", 1 / 3)),
        served("soon_over", rollout=deploying("soon_over", 0.5, lease_s=10)),
        served("over", rollout=deploying("over", 0.5, lease_s=-1)),
        served("held_back", holdback=held_back("held_back")),
        served(
            "by_student",
            rollout=replace(deploying("by_student", 0.5), candidate=STUDENT.id),
            variants={one.id: one for one in (CHAMPION, STUDENT)},
            compares_student=True,
        ),
        served("overridden", rollout=deploying("overridden", 0.5), overrides=OVERRIDES),
        served("frozen", overrides=OVERRIDES, rollout=deploying("frozen", 0.5), freeze=FREEZE),
    )
}


def decisions() -> list[dict[str, Any]]:
    at_s = {"soon_over": (0, 9, 10), "held_back": (0, 3599, 3600), "overridden": (0, 10)}
    rows = []
    for name, family in FAMILIES.items():
        for after_s in at_s.get(name, (0,)):
            for unit in (None, *UNITS):
                hashed = unit_hmac(b"k", unit) if unit is not None else None
                choice = family.choose(unit, hashed, T0 + timedelta(seconds=after_s))
                arm = {"variant": choice.variant, "role": choice.role, "rollout": choice.rollout, "stage": choice.stage}
                rows.append({"family": name, "unit": unit, "after_s": after_s, **arm})
    return rows


def test_the_server_decides_what_the_client_s_golden_file_says() -> None:
    body = json.loads(Snapshots(SALT).of(FAMILIES, EVERYTHING, T0).body)
    rows = decisions()
    assert is_as_kept("decisions.jsonl", [{"date": format_datetime(T0, usegmt=True), "snapshot": body}, *rows])
    assert {row["role"] for row in rows} == {"champion", "candidate", "holdback"}
    assert {(row["role"], row["rollout"]) for row in rows if row["family"] == "by_student"} == {("champion", None)}
    by_chat = [FAMILIES["by_student"].choose(unit, unit_hmac(b"k", unit), T0, by_chat=True) for unit in UNITS]
    assert {(choice.role, choice.rollout) for choice in by_chat} == {
        ("champion", "ro_by_student"),
        ("candidate", "ro_by_student"),
    }


@given(st.data(), variants())
def test_every_variant_is_rendered_by_the_client_as_by_the_server(data: st.DataObject, of: Variant) -> None:
    variables = data.draw(variables_for(of))
    history = data.draw(st.sampled_from([[], TURNS]))
    opened = render_open(of)
    assert Template(opened).fill(variables, history).messages == fill(opened, variables, history)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """Knobs of nearest examples stand beside ``examples`` alone, as valid policies have them."""
    models = draw(st.dictionaries(st.sampled_from(["nearest", "small", "examples-7b"]), st.integers(1, 32)))
    of_nearest = [knob.name for knob in nearest.KNOBS if "nearest" in models]
    others = [knob.name for knob in KNOBS if knob not in nearest.KNOBS and knob.name != "examples"]
    names = draw(st.lists(st.sampled_from(others), max_size=1)) + of_nearest
    return {**{name: 1 for name in names}, **({"examples": models} if models else {})}


@given(variants(), policies())
def test_the_client_leaves_to_the_server_what_the_server_says_that_it_alone_can_do(of, policy):
    of = replace(of, policy=policy)
    champion = {"family": "triage", "variant": of.id, **prompt_members(of, None)}
    read = families_of({"families": {"triage": {"champion": champion}}})["triage"].champion.variant
    assert read.needs_server == needs_server(of)


@given(st.text(), st.text(), st.floats(0, 1))
def test_every_unit_falls_into_the_same_bucket(salt: str, unit: str, share: float) -> None:
    number = client_bucket(salt_bytes(salt), unit)
    assert number == bucket(salt, unit)
    assert (number < first_bucket_of(share)) == in_candidate(number, share)


def test_the_adapters_of_the_client_know_every_setting_that_a_variant_may_have() -> None:
    assert tuple(setting.name for setting in SETTINGS) == variant_call.SETTINGS


def test_what_the_server_would_refuse_as_json_is_refused_too() -> None:
    template = Template([USER], {})
    for value in ("\ud800", float("nan"), object()):
        with pytest.raises(detent_client.InvalidInput) as error:
            template.fill({"message": value})
        assert error.value.pointers == ("/variables/message",)
