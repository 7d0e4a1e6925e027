"""Several suites by name: how a file declares them, what each is called as a gate, and what uses tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.suite import GOLDEN, check_suite, gates_of_suites, suite_id, suites_of
from optimizer.core.family.family import GoldenRow
from optimizer.core.family.settings import Output
from optimizer.core.policy.answer_checks import uses_tools
from tests.rows.evaluations import SCORER_VERSION, batch_of, check_of, evaluate
from tests.worlds.study_world import World, topic_family

ROW = GoldenRow(id="g", scenario="g", input={"document": "On music."}, expected={"topic": "music"})
ASKED = {"release": {"mean_score": 0.9}, "tool_use": {"tools_used": {"inputs": ["document"]}}}


def test_suites_by_name_stand_in_the_order_of_the_file_with_the_golden_one_last() -> None:
    family = topic_family(targets=ASKED).with_golden((ROW,))
    assert list(suites_of(family)) == ["release", "tool_use", "golden"]
    gates = gates_of_suites(family, [], "v_1", champion="v_0", scorer_version=SCORER_VERSION)
    assert [gate["name"] for gate in gates] == ["suite release", "suite tool_use", "golden"]
    assert "detent family evaluate topics --variant v_1 --suite release" in gates[0]["reason"]


def test_an_evaluation_speaks_for_the_suite_that_it_was_made_for() -> None:
    family = topic_family(targets={"a": {"mean_score": 0.5}, "b": {"mean_score": 0.9}})
    suites = suites_of(family)
    batch = batch_of(suite=suite_id(family, "v_0", suites["a"]), checks=[check_of("mean_score", "met")])
    verdicts = {
        g["name"]: g["verdict"]
        for g in gates_of_suites(family, [batch], "v_1", champion="v_0", scorer_version=SCORER_VERSION)
    }
    assert verdicts == {"suite a": "pass", "suite b": "inconclusive"}


def test_one_suite_without_a_name_is_what_it_was() -> None:
    family = topic_family(targets={"mean_score": 0.9, "regression": {}})
    (suite,) = suites_of(family).values()
    assert (suite.gate, suite.targets.mean_score, suite.compares) == ("suite", 0.9, True)


def test_what_a_file_asks_of_golden_scenarios_goes_beside_the_usual_regression_or_in_its_place() -> None:
    def golden(**asked: Any) -> Any:
        return suites_of(topic_family(targets={"golden": asked}).with_golden((ROW,)))[GOLDEN].targets

    beside, instead = golden(mean_score=0.8), golden(regression={"latency": None, "per_class": 0.2})
    assert (beside.mean_score, beside.regression.overall, beside.regression.latency) == (0.8, 0.05, 0.20)
    assert (instead.regression.per_class, instead.regression.latency) == (0.2, None)


def test_golden_scenarios_that_the_file_asks_for_and_that_are_not_there_hold_a_rollout(tmp_path: Path) -> None:
    world = World(tmp_path, family=topic_family(targets={"golden": {"mean_score": 0.8}})).fill()
    (gate,) = gates_of_suites(world.family, [], "v_1", champion="v_0", scorer_version=SCORER_VERSION)
    assert (gate["name"], gate["verdict"]) == ("golden", "inconclusive")
    with pytest.raises(InvalidInput, match=r"has no golden scenarios\. Write some"):
        evaluate(world, suite="golden")


@pytest.mark.parametrize(
    ("targets", "pointer", "says"),
    [
        ({"full": {"mean_score": 0.9}}, "/targets/full", "it means every suite of the family"),
        ({"targets": {"mean_score": 0.9}}, "/targets/targets", "it means the suite that has no name"),
        ({"Release 1": {"mean_score": 0.9}}, "/targets/Release 1", "small letters"),
        ({"release": {"mean_scor": 0.9}}, "/targets/release/mean_scor", "did you mean 'mean_score'"),
        ({"release": {"mean_score": 0.9}, "mean_score": 0.9}, "/targets/release", "unknown key 'release'"),
        ({"tools_used": {"inputs": ["documnt"]}}, "/targets/tools_used/inputs/0", "did you mean 'document'"),
        ({"t": {"tools_used": {"inputs": ["x"]}}}, "/targets/t/tools_used/inputs/0", "declared: document"),
        ({"n": 50}, "/targets", "it asks for nothing"),
        ({"release": {"n": 50, "errors": None}}, "/targets/release", "it asks nothing"),
        ({"golden": {"regression": None}}, "/targets/golden", "it asks nothing"),
        ({"t": {"tools_used": {"inputs": []}}}, "/targets/t/tools_used/inputs", "give at least one entry"),
    ],
)
def test_a_fault_of_a_suite_has_its_place(targets: dict[str, Any], pointer: str, says: str) -> None:
    with pytest.raises(InvalidFamily) as refused:
        topic_family(targets=targets)
    found = {fault.pointer: fault.detail for fault in refused.value.faults}
    assert says in found[pointer], found


FOUND = '{"city": "Lisbon", "degrees": 21.4, "sky": "overcast"}'


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("It is 21 degrees in Lisbon, with an overcast sky.", True),
        ("It is probably warm there, as always in spring.", False),
        ("I could not find any information about the degrees in Lisbon.", False),
        ("", False),
    ],
)
def test_an_answer_uses_what_tools_found_or_it_does_not(text: str, uses: bool) -> None:
    asked = {"question": "What is the weather in Lisbon?", "results": FOUND}
    assert uses_tools(Output(), asked, ["results"], text) is uses


@pytest.mark.parametrize("found", ["", "error: timed out", "[]", "No results"])
def test_where_tools_found_nothing_an_answer_has_nothing_to_use(found: str) -> None:
    assert uses_tools(Output(), {"question": "And?", "results": found}, ["results"], "It is warm.") is None


def results(*texts: str | None) -> list[ExampleResult]:
    return [ExampleResult(example=str(i), score=1.0, output=text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "tools", "verdict", "says"),
    [
        (["a", "b"], {"0": True, "1": True}, "met", "100.0% of the answers"),
        (["a", "b"], {"0": True, "1": False}, "missed", "50.0% of the answers"),
        (["a", "b"], {"0": True}, "met", "100.0% of the answers"),
        (["a", "b"], {}, "unmeasured", "no input holds what tools found"),
        (["a", None], {"0": True, "1": False}, "unmeasured", "1 of 2 answers are missing"),
    ],
)
def test_tool_use_is_asked_of_every_answer_that_had_something_to_use(texts, tools, verdict, says):
    (suite,) = suites_of(topic_family(targets={"tools_used": {"inputs": ["document"]}})).values()
    (check,) = check_suite(suite.targets, results(*texts), tools=tools)
    assert (check.name, check.verdict, says in check.said) == ("tools_used", verdict, True)


def test_a_suite_of_tool_use_is_evaluated_by_its_name(tmp_path: Path) -> None:
    texts = {"output": {"field": "topic", "parser": "text"}, "scorer": {"exact_match": 1.0}}
    world = World(tmp_path, family=topic_family(**texts, targets=ASKED)).fill(n_dev=6)
    batch = evaluate(world, suite="tool_use")
    (check,) = batch["checks"]
    assert (batch["suite_name"], batch["n"], check["name"], check["verdict"]) == ("tool_use", 6, "tools_used", "missed")
    assert evaluate(world).get("checks") is None, "no suite was named"
