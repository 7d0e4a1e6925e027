"""A prompt beside the one that it started from: what differs, and which inputs it uses."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from optimizer.core.views.edited_prompt import EditedPrompt, edited_prompt


def content(*texts: str, **model: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text} for text in texts]}


def shown(edited: EditedPrompt) -> list[str]:
    """A line a line, what changed within one in brackets."""
    sign = {"same": " ", "added": "+", "gone": "-", "gap": "…"}
    return [
        sign[line.kind] + "".join(f"<{part.text}>" if part.is_changed else part.text for part in line.parts)
        for line in edited.lines
    ]


def test_words_that_differ_are_marked_and_far_lines_are_left_out() -> None:
    far = "\n".join(f"line {i}" for i in range(20))
    before = content(f"{far}\nName the topic of {{{{text}}}}.", temperature=0.0)
    after = content(f"{far}\nName one topic of {{{{text}}}}.", temperature=0.5)
    assert shown(edited_prompt(before, after, ["text"])) == [
        *("-temperature: 0.<0>", "+temperature: 0.<5>", " [user]"),
        *(" line 0", " line 1", "…", " line 17", " line 18", " line 19"),
        *("-Name <the> topic of {{text}}.", "+Name <one> topic of {{text}}."),
    ]


def test_whole_lines_come_and_go() -> None:
    assert shown(edited_prompt(content("{{text}}"), content("{{text}}\nBe brief."), ["text"]))[-1] == "+Be brief."
    gone = shown(edited_prompt(content("{{text}}", "Be brief."), content("{{text}}"), ["text"]))
    assert gone[-2:] == ["-[user]", "-Be brief."]
    assert edited_prompt(content("{{text}}"), content("{{text}}"), ["text"]).lines == []


def test_each_input_is_used_or_not_and_what_is_none_is_named() -> None:
    inputs = edited_prompt(content("{{text}}"), content("{{ text }} {{txet}}"), ["text", "style"]).inputs
    assert [(one.name, one.is_input, one.is_used) for one in inputs] == [
        ("text", True, True),
        ("style", True, False),
        ("txet", False, True),
    ]


@given(before=st.text(alphabet="ab \n"), after=st.text(alphabet="ab \n"))
def test_what_is_shown_holds_every_line_that_came_and_none_that_stayed(before: str, after: str) -> None:
    lines = edited_prompt(content(before), content(after), []).lines
    texts = {
        kind: ["".join(p.text for p in line.parts) for line in lines if line.kind == kind] for kind in ("added", "gone")
    }
    old, new = ["[user]", *before.splitlines()], ["[user]", *after.splitlines()]
    for line in set(old + new):
        assert new.count(line) - old.count(line) == texts["added"].count(line) - texts["gone"].count(line)
    assert (lines == []) == (old == new)


def test_very_long_lines_are_shown_whole() -> None:
    before, after = "a " * 2000, "b " * 2000
    assert shown(edited_prompt(content(before), content(after), []))[-1] == f"+{after}"
