"""What the demo announces, what it then tells, in which words, and the exit code that says whether all came out so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.search.study import Study
from optimizer.demo.ending import demo_page, side_by_side
from optimizer.demo.plain import in_words
from optimizer.demo.stories import Bar, Story, better_prompt, careless_edit, exit_code, same_for_less
from tests.cases import named
from tests.stores import study
from tests.worlds.study_world import topic_family

GAINED = {"n": 100, "champion_mean": 0.5, "winner_mean": 0.75, "lift": 0.25, "lift_low": 0.125, "lift_high": 0.375}
CHEAPER = {"n": 100, "saving": 0.4, "lift": 0.0, "lift_low": -0.04, "lift_high": 0.04, "margin": 0.1}
BARS = (
    Bar(name="before", n=100, score=0.5, low=0.4, high=0.6),
    Bar(name="after", n=100, score=0.75, low=0.66, high=0.83, usd=0.12),
)


BEFORE = topic_family().variant()
AFTER = replace(BEFORE, messages=({"role": "system", "content": "Name the topic, in one word."}, *BEFORE.messages[1:]))
PROMPTS = (BEFORE, AFTER)


def a_study(**changes: Any) -> Study:
    return study(**{"family": "docstring_type", "status": "finished", "champion": "v_champion", **changes})


def better(rollout: str = "promoted", taken_back: bool = True, **changes: Any) -> Story:
    of = a_study(**({"outcome": "nominated", "confirmation": GAINED} | changes))
    return better_prompt(of, rollout=rollout, taken_back=taken_back, bars=BARS, chance=1 / 3)


def all_stories() -> list[Story]:
    cheaper = same_for_less(a_study(outcome="nominated", confirmation=CHEAPER))
    return [better(), careless_edit(rollout="worse", why="the candidate is worse"), cheaper]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_demo_ends_with_0_when_all_came_out_as_announced_and_with_3_when_any_did_not(place: int) -> None:
    stories = all_stories()
    assert exit_code(stories) == 0
    stories[place] = replace(stories[place], as_announced=False)
    assert exit_code(stories) == 3


@named(
    "story",
    {
        "a search that confirms nothing": better(outcome="not_confirmed"),
        "a search that finds nothing": better(outcome="no_improvement", confirmation=None),
        "a gain that may be none": better(confirmation=GAINED | {"lift_low": -0.01}),
        "a rollout that is not promoted": better(rollout="inconclusive"),
        "no rollout, or one that did not end in time": better(rollout=""),
        "a promotion that is not taken back": better(taken_back=False),
        "a careless edit that is promoted": careless_edit(rollout="promoted", why=""),
        "a careless edit that falls for want of evidence": careless_edit(rollout="inconclusive", why=""),
        "a careless edit that stays": careless_edit(rollout="", why=""),
        "no cascade": same_for_less(a_study(outcome="no_improvement")),
        "a cascade that is still searched": same_for_less(a_study(status="running", outcome=None)),
    },
)
def test_what_came_out_otherwise_is_not_called_as_announced(story: Story) -> None:
    assert not story.as_announced
    assert story.happened


@pytest.mark.parametrize("rollout", ["worse", "guardrail"])
def test_a_careless_edit_may_fall_by_its_quality_or_by_a_guardrail(rollout: str) -> None:
    assert careless_edit(rollout=rollout, why="").as_announced


def test_a_gain_is_told_with_its_interval_in_points() -> None:
    told = "50 of 100 right before, 75 after, on 100 sealed examples: +25 points, 95 % interval +12 to +38"
    assert told in better().happened


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("it is worse: evidence 10^87, 20.0 suffices", "it is worse: evidence strong enough; 20 suffices"),
        ("it is worse: evidence 1,569, 20.0 suffices", "it is worse: evidence strong enough; 20 suffices"),
        (
            "evidence 10^9 against at most 2 points more errors, 1000 suffices, after 120 outcomes",
            "evidence against at most 2 points more errors strong enough; 1,000 suffices, after 120 outcomes",
        ),
        ("evidence 0.31, 20.0 suffices", "evidence 0.31, 20.0 suffices"),
        ("lift +0.330, p 1.25e-07, look 1", "lift +0.330, p below 0.001, look 1"),
        ("cheaper (p 0.012)", "cheaper (p 0.012)"),
        ("step 3 of 4, 12 rows", "step 3 of 4, 12 rows"),
    ],
)
def test_numbers_that_nobody_can_weigh_are_said_in_words(said: str, told: str) -> None:
    assert in_words(said) == told


def test_the_page_tells_the_three_stories_their_intervals_and_the_next_commands() -> None:
    nexts = [
        ("detent serve --profile demo", "the same servers again"),
        ("detent study report st_1 --open", "all"),
        ("detent family create", "own"),
    ]
    page = demo_page(all_stories(), nexts, took="8:31", model="a small model")
    assert page.count('class="story"') == 3
    assert "All came out as announced." in page
    assert "measured in 8:31 minutes, with a small model." in page
    assert "75</strong> (66 to 83), $0.120 per 1,000 requests" in page
    assert "measured on 100 sealed examples; the thin line is the 95 % interval" in page
    assert 'class="chance" style="left:33.3%"' in page
    assert all(f"<pre>{command}</pre>" in page for command, _ in nexts)


def test_the_page_names_what_did_not_come_out_and_shows_other_people_s_words_as_text() -> None:
    page = demo_page([better(), careless_edit(rollout="", why="<script>")], [], took="8:31", model="a small model")
    assert "1 of 2 came out as announced." in page
    assert "not as announced" in page
    assert "<script>" not in page


def test_each_prompt_is_shown_before_and_after_with_what_changed_marked() -> None:
    before, after = side_by_side(*PROMPTS)
    assert [line for kind, line in before if kind == "gone"] == ["Name the topic."]
    assert [line for kind, line in after if kind == "added"] == ["Name the topic, in one word."]
    assert [line for kind, line in before if kind == "same"] == [line for kind, line in after if kind == "same"]
    page = demo_page([replace(better(), prompts=PROMPTS)], [], took="8:31", model="a small model")
    assert page.count('<pre class="diff">') == 2
    assert '<span class="added">Name the topic, in one word.</span>' in page
    assert f"<code>{BEFORE.id}</code>" in page
    assert f"<code>{AFTER.id}</code>" in page
