"""Hypothesis strategies of the domain, shared by all property tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.family.settings import Output
from optimizer.core.family.variant import VARIABLE, FewShot, Message, Variant

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LABELS = ("physics", "economics", "computer science", "C++", "C")

texts = st.text(st.characters(codec="utf-8"), max_size=60)
names = st.from_regex(r"[a-z][a-z0-9_]{1,8}", fullmatch=True)
closed_texts = texts.filter(lambda text: "{" not in text and "}" not in text)  # no part of a {{variable}}
json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


@st.composite
def templates(draw: st.DrawFn, variables: list[str]) -> str:
    """A text in which some of the variables stand open."""
    parts = draw(
        st.lists(closed_texts | st.sampled_from(variables).map(lambda name: "{{" + name + "}}"), min_size=1, max_size=6)
    )
    return "".join(parts)


@st.composite
def message_lists(draw: st.DrawFn, variables: list[str]) -> list[Message]:
    """Messages with at least one of the user's, and at most one slot each for examples and history."""
    spoken = st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "user", "assistant"]),
        templates(variables),
    )
    messages: list[Message] = draw(st.lists(spoken, max_size=4))
    messages.insert(draw(st.integers(0, len(messages))), {"role": "user", "content": draw(templates(variables))})
    for slot in draw(st.sets(st.sampled_from(["examples", "history"]))):
        messages.insert(draw(st.integers(0, len(messages))), {"role": slot})
    return messages


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    variables = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    inputs = st.fixed_dictionaries({name: closed_texts | st.integers() for name in variables})
    shots = draw(st.lists(st.tuples(inputs, closed_texts), max_size=3))
    return Variant(
        messages=tuple(draw(message_lists(variables))),
        examples=tuple(FewShot(id=f"ex_{i}", input=input, output=output) for i, (input, output) in enumerate(shots)),
        model=draw(
            st.fixed_dictionaries({"name": names, "temperature": st.floats(0, 2), "max_tokens": st.integers(1, 4096)})
        ),
        policy=draw(st.dictionaries(names, st.floats(0, 1), max_size=2)),
    )


def variables_for(variant: Variant) -> st.SearchStrategy[dict[str, Any]]:
    """A value for each open variable; texts may hold {{names}} themselves, as real users' texts do."""
    tricky = texts | st.sampled_from(
        ["{{document}}", "{{", "}}", "\\1 \\g<0>", *("{{" + name + "}}" for name in variant.variables)]
    )
    values = json_values.filter(lambda value: value is not None)  # null is none
    return st.fixed_dictionaries({name: tricky | values for name in variant.variables})


histories = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]), texts),
    max_size=4,
)


@st.composite
def outputs_with_values(draw: st.DrawFn) -> tuple[Output, Any]:
    """An Output and a value that it may hold."""
    parser = draw(st.sampled_from(["text", "label", "json", "list"]))
    if parser == "label":
        return Output(field="answer", parser="label", labels=LABELS), draw(st.sampled_from(LABELS))
    if parser == "json":
        return Output(field="answer", parser="json", json_schema={}), draw(json_values)
    if parser == "list":
        return Output(field="answer", parser="list"), draw(st.lists(texts, max_size=5))
    return Output(field="answer", parser="text"), draw(texts.map(str.strip).filter(bool))


@st.composite
def examples(draw: st.DrawFn, family: str = "summarization") -> Example:
    return make_example(
        family=family,
        input={"document": draw(texts)},
        expected={"summary": draw(texts)},
        group=draw(st.none() | texts),
        origin=draw(st.sampled_from(["curated", "import", "correction", "interaction"])),
        created_at=NOW,
    )


def is_open(text: str) -> bool:
    """Whether a {{variable}} stands in the text."""
    return VARIABLE.search(text) is not None
